//! One request and its answer.

use super::{Doing, NetlinkError};
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// More than the kernel puts into one answer: it cuts a list into parts of a page or of what was
/// last received, at most 32 KiB.
const ANSWER_BYTES: usize = 64 << 10;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// One answer.
    One,
    /// A list of answers.
    List,
    /// No answer but whether it was done; with further flags of the request.
    Do(u16),
}

/// A connection to the kernel's network configuration.
#[derive(Debug)]
pub struct Rtnetlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Rtnetlink {
    /// Opens it.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open() -> Result<Self, NetlinkError> {
        // Without a protocol it is NETLINK_ROUTE, and without an address it talks to the kernel.
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
                .map_err(|source| NetlinkError::Open { source })?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; ANSWER_BYTES] })
    }

    /// Sends a request and hands the body of each answer to `each`.
    pub(super) fn exchange(
        &mut self,
        doing: Doing<'_>,
        kind: u16,
        ask: Ask,
        body: &impl Emitable,
        mut each: impl FnMut(&[u8]) -> Result<(), NetlinkError>,
    ) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = encode(kind, ask, self.sequence, body);
        send(&self.socket, &request, SendFlags::empty()).map_err(|error| doing.socket(error))?;
        loop {
            let (_, length) = match recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                received => received.map_err(|error| doing.socket(error))?,
            };
            let Some(bytes) = self.buffer.get(..length) else {
                return Err(doing.answer(format!("it has {length} bytes")));
            };
            if read(bytes, self.sequence, ask, doing, &mut each)? {
                return Ok(());
            }
        }
    }
}

fn encode(kind: u16, ask: Ask, sequence: u32, body: &impl Emitable) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + body.buffer_len();
    // Attributes of one interface are a few hundred bytes.
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.sequence_number = sequence;
    header.flags = NLM_F_REQUEST
        | match ask {
            Ask::One => 0,
            Ask::List => NLM_F_DUMP,
            Ask::Do(more) => NLM_F_ACK | more,
        };
    let mut bytes = vec![0; length];
    header.emit(&mut bytes);
    body.emit(&mut bytes[header.buffer_len()..]);
    bytes
}

/// Goes through the messages of one datagram; tells whether the answer is complete.
fn read(
    mut bytes: &[u8],
    sequence: u32,
    ask: Ask,
    doing: Doing<'_>,
    each: &mut impl FnMut(&[u8]) -> Result<(), NetlinkError>,
) -> Result<bool, NetlinkError> {
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(|error| doing.decode(&error))?;
        let length = message.length() as usize;
        let payload = message.payload();
        let (ours, kind) = (message.sequence_number() == sequence, message.message_type());
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        match kind {
            // An answer to a request that was given up.
            _ if !ours => {}
            NOOP => {}
            DONE => return Ok(true),
            ERROR => {
                let code = payload.first_chunk().map(|code| i32::from_ne_bytes(*code));
                return match code {
                    Some(0) => Ok(true),
                    // The kernel sends the number with its sign turned.
                    Some(code) => {
                        Err(doing.refused(Errno::from_raw_os_error(code.saturating_neg())))
                    }
                    None => Err(doing.answer("an error without a number")),
                };
            }
            _ => {
                each(payload)?;
                if ask == Ask::One {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOING: Doing<'static> = Doing { operation: "test", subject: "x" };

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn check(bytes: &[u8], ask: Ask, complete: Option<bool>, bodies: &[&[u8]]) {
        let mut seen = Vec::new();
        let result = read(bytes, 7, ask, DOING, &mut |body: &[u8]| {
            seen.push(body.to_vec());
            Ok(())
        });
        assert_eq!(result.ok(), complete, "{bytes:?} {ask:?}");
        assert_eq!(seen, bodies, "{bytes:?} {ask:?}");
    }

    #[test]
    fn answers_end_where_they_should() {
        let done = message(DONE, 7, &[0; 4]);
        let agreed = message(ERROR, 7, &[0; 20]);
        let refused = message(ERROR, 7, &(-17_i32).to_ne_bytes());
        let (first, second) = (message(16, 7, b"one"), message(16, 7, b"two!"));
        let stale = message(ERROR, 6, &(-1_i32).to_ne_bytes());
        check(&agreed, Ask::Do(0), Some(true), &[]);
        check(&refused, Ask::Do(0), None, &[]);
        check(&message(ERROR, 7, &[1]), Ask::Do(0), None, &[]);
        check(&[stale.clone(), agreed].concat(), Ask::Do(0), Some(true), &[]);
        check(&stale, Ask::Do(0), Some(false), &[]);
        check(&first, Ask::One, Some(true), &[b"one"]);
        let list = [first, second].concat();
        check(&list, Ask::List, Some(false), &[b"one", b"two!"]);
        check(&[list, done].concat(), Ask::List, Some(true), &[b"one", b"two!"]);
        check(&[1, 2, 3], Ask::One, None, &[]);
        check(&message(16, 7, b"x")[..16], Ask::One, None, &[]);
    }

    #[test]
    fn a_refusal_keeps_its_number() {
        let bytes = message(ERROR, 7, &(-17_i32).to_ne_bytes());
        let error = read(&bytes, 7, Ask::One, DOING, &mut |_| Ok(())).expect_err("refused");
        assert!(matches!(error, NetlinkError::Refused { source: Errno::EXIST, .. }), "{error:?}");
    }

    proptest! {
        /// Whatever comes, it ends.
        #[test]
        fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for ask in [Ask::One, Ask::List, Ask::Do(0)] {
                let _ = read(&bytes, 7, ask, DOING, &mut |_| Ok(()));
            }
        }
    }
}
