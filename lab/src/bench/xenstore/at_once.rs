//! Clients that ask at once: none waits for the answer that another one gets, so that a server finds
//! requests of all of them.

use super::cases::CLIENTS;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use xenstore::client::SOCKETS;
use xenstore::wire::{MessageType, Packet, Parser, Request, RequestId, TransactionId};

/// Connections without a client in between, which would wait.
pub struct AtOnce(Vec<UnixStream>);

/// Requests of [`AtOnce::conflict`]: in each round those that are left make a transaction of four
/// requests, and one of them is done.
pub const REQUESTS: usize = 4 * CLIENTS * (CLIENTS + 1) / 2;

impl AtOnce {
    /// Connects all of them.
    pub fn connect() -> io::Result<Self> {
        (0..CLIENTS).map(|_| UnixStream::connect(SOCKETS[0])).collect::<io::Result<_>>().map(Self)
    }

    /// Transactions of all on one node, at once: one commits, the others do theirs again, at once.
    pub fn conflict(&mut self) -> io::Result<()> {
        let path = |_| io::Error::other("the path is none");
        let read = Request::read("/bench/a").map_err(path)?;
        let write = Request::write("/bench/a", "value").map_err(path)?;
        let end = Request::TransactionEnd { commit: true };
        for left in (1..=self.0.len()).rev() {
            let none = vec![TransactionId::NONE; left];
            let begun = self.ask(&Request::TransactionStart, &none)?;
            let numbers: Option<Vec<_>> = begun.iter().map(number).collect();
            let numbers = numbers.ok_or_else(|| io::Error::other("no number of a transaction"))?;
            self.ask(&read, &numbers)?;
            self.ask(&write, &numbers)?;
            let ends = self.ask(&end, &numbers)?;
            let committed =
                |packet: &&Packet| packet.header.message_type() != Some(MessageType::Error);
            let count = ends.iter().filter(committed).count();
            if count != 1 {
                return Err(io::Error::other(format!("{count} of {left} conflicting commits")));
            }
        }
        Ok(())
    }

    /// Sends one request for each transaction, on a connection of its own, and takes the answers.
    fn ask(
        &mut self,
        request: &Request,
        transactions: &[TransactionId],
    ) -> io::Result<Vec<Packet>> {
        for (stream, transaction) in self.0.iter_mut().zip(transactions) {
            let mut bytes = Vec::new();
            let encoded = request.encode(RequestId(1), *transaction, &mut bytes);
            encoded.map_err(|len| io::Error::other(format!("a request of {len} bytes")))?;
            stream.write_all(&bytes)?;
        }
        self.0.iter_mut().take(transactions.len()).map(answer).collect()
    }
}

fn number(packet: &Packet) -> Option<TransactionId> {
    let text = packet.payload.strip_suffix(b"\0").unwrap_or(&packet.payload);
    str::from_utf8(text).ok()?.parse().ok().map(TransactionId)
}

fn answer(stream: &mut UnixStream) -> io::Result<Packet> {
    let (mut parser, mut bytes) = (Parser::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // One answer to one request: nothing is left behind it.
        let whole = parser.advance(&mut &bytes[..count]).map_err(io::Error::other)?;
        if let Some(packet) = whole {
            return Ok(packet);
        }
    }
}
