//! Bytes in chunks of any size to packets.
//!
//! In: slices as they arrive. Out: whole packets, or the number of bytes that are still missing. The
//! parser holds at most one packet; it never looks into a payload.

use thiserror::Error;

use super::header::{HEADER_LEN, Header, PAYLOAD_MAX};

/// One message, its payload not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// As it came.
    pub header: Header,
    /// `header.len` bytes, at most [`PAYLOAD_MAX`].
    pub payload: Vec<u8>,
}

/// Why a stream of bytes can be no stream of messages. Nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A header that announces more than the protocol allows.
    #[error("message of type {kind} announces {len} bytes of payload; the limit is {PAYLOAD_MAX}")]
    TooLong {
        /// The type's number.
        kind: u32,
        /// The announced length in bytes.
        len: u32,
    },
}

/// Collects bytes until a packet is whole.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    /// Bytes of the packet under way: part of a header, or a header and part of its payload.
    held: Vec<u8>,
    failed: Option<ParseError>,
}

impl Parser {
    /// A parser at a packet's boundary.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many more bytes the parser wants before it can say anything new: the rest of the header,
    /// then the rest of the payload. Never 0, except after an error.
    #[must_use]
    pub fn needed(&self) -> usize {
        if self.failed.is_some() { 0 } else { self.wanted() - self.held.len() }
    }

    /// The bytes of the packet under way.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Whether the stream may end here without cutting a packet.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes bytes off the front of `input` until a packet is whole or `input` is empty. Call it
    /// again while `input` is not empty.
    ///
    /// # Errors
    /// A header beyond the limit; the same error is given to every later call.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, ParseError> {
        loop {
            if let Some(error) = self.failed {
                return Err(error);
            }
            let missing = self.wanted() - self.held.len();
            let taken = missing.min(input.len());
            let (now, later) = input.split_at(taken);
            self.held.extend_from_slice(now);
            *input = later;
            if taken < missing {
                return Ok(None);
            }
            let Some(header) = self.header() else { return Ok(None) };
            if header.len as usize > PAYLOAD_MAX {
                self.failed = Some(ParseError::TooLong { kind: header.kind, len: header.len });
                self.held = Vec::new();
                continue;
            }
            if self.held.len() == HEADER_LEN + header.len as usize {
                let payload = self.held[HEADER_LEN..].to_vec();
                self.held.clear();
                return Ok(Some(Packet { header, payload }));
            }
        }
    }

    /// The header under way, when all of it is here.
    fn header(&self) -> Option<Header> {
        self.held.first_chunk::<HEADER_LEN>().map(Header::decode)
    }

    /// The length at which the next decision falls.
    fn wanted(&self) -> usize {
        self.header().map_or(HEADER_LEN, |header| HEADER_LEN + header.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageType, RequestId, TransactionId};

    fn packet(len: u32) -> Vec<u8> {
        let header = Header {
            kind: MessageType::Read.raw(),
            request: RequestId(1),
            transaction: TransactionId::NONE,
            len,
        };
        let mut bytes = header.encode().to_vec();
        bytes.resize(HEADER_LEN + len as usize, b'x');
        bytes
    }

    #[test]
    fn says_what_it_needs() {
        let bytes = packet(3);
        let mut parser = Parser::new();
        assert_eq!(parser.needed(), 16);
        assert_eq!(parser.advance(&mut &bytes[..10]), Ok(None));
        assert_eq!(parser.needed(), 6);
        assert!(!parser.at_boundary());
        assert_eq!(parser.advance(&mut &bytes[10..16]), Ok(None));
        assert_eq!(parser.needed(), 3);
        let whole = parser.advance(&mut &bytes[16..]).unwrap().unwrap();
        assert_eq!(whole.payload, b"xxx");
        assert_eq!(parser.needed(), 16);
        assert!(parser.at_boundary());
    }

    #[test]
    fn several_packets_in_one_slice() {
        let mut bytes = packet(0);
        bytes.extend(packet(5));
        bytes.extend(&packet(1)[..4]);
        let mut input = bytes.as_slice();
        let mut parser = Parser::new();
        let mut lengths = Vec::new();
        while !input.is_empty() {
            if let Some(packet) = parser.advance(&mut input).unwrap() {
                lengths.push(packet.payload.len());
            }
        }
        assert_eq!(lengths, [0, 5]);
        assert_eq!(parser.needed(), 12);
    }

    #[test]
    fn payload_at_the_limit_and_one_more() {
        let longest = packet(4096);
        let mut parser = Parser::new();
        assert_eq!(parser.advance(&mut longest.as_slice()).unwrap().unwrap().payload.len(), 4096);
        let over = packet(4097);
        let error = ParseError::TooLong { kind: 2, len: 4097 };
        assert_eq!(parser.advance(&mut over.as_slice()), Err(error));
        assert_eq!(parser.needed(), 0);
        let good = packet(0);
        assert_eq!(parser.advance(&mut good.as_slice()), Err(error), "the stream is lost");
    }
}
