//! The other end of a socket pair, under a test's control: for what a healthy xenstored never does.
//! How the client works with a real one is tested on real Xen (`examples/xs-selftest.rs`).
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use xenstore::wire::{Header, Parser, Reply, Request, RequestId, Token, TransactionId, WatchEvent};
use xenstore::{Errno, Failure, Path};

/// The server's end.
pub struct Peer {
    pub stream: UnixStream,
    parser: Parser,
    unread: Vec<u8>,
}

impl Peer {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, parser: Parser::new(), unread: Vec::new() }
    }

    /// The next request; `None` when the client has gone.
    pub fn next(&mut self) -> Option<(Header, Request)> {
        let mut buffer = [0; 8192];
        loop {
            let mut input = self.unread.as_slice();
            let packet = self.parser.advance(&mut input).unwrap();
            self.unread = input.to_vec();
            if let Some(packet) = packet {
                return Some((packet.header, Request::decode(&packet).unwrap()));
            }
            let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }

    pub fn reply(&mut self, to: &Header, reply: &Reply) {
        self.send(to.request, to.transaction, reply);
    }

    pub fn send(&mut self, request: RequestId, transaction: TransactionId, reply: &Reply) {
        let mut bytes = Vec::new();
        reply.encode(request, transaction, &mut bytes).unwrap();
        // The client may have hung up, as some tests want.
        let _ = self.stream.write_all(&bytes);
    }

    /// An event, with a header as undefined as the kernel's device leaves it.
    pub fn event(&mut self, path: &str, token: &str) {
        let event =
            WatchEvent { path: Path::new(path).unwrap(), token: Token::new(token).unwrap() };
        self.send(RequestId(0xdead_beef), TransactionId(0xdead_beef), &Reply::Event(event));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// A connected pair, with `script` running at the server's end.
pub fn serve<R: Send + 'static>(
    script: impl FnOnce(&mut Peer) -> R + Send + 'static,
) -> (UnixStream, JoinHandle<R>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = std::thread::spawn(move || script(&mut Peer::new(theirs)));
    (ours, peer)
}

pub fn ok(request: &Request) -> Reply {
    match request {
        Request::Read(path) => Reply::Value(path.as_str().as_bytes().to_vec()),
        Request::TransactionStart => Reply::TransactionStarted(TransactionId(77)),
        Request::Directory(_) => Reply::Directory(vec!["a".to_owned()]),
        other => Reply::Done(other.message_type()),
    }
}

pub fn error(errno: Errno) -> Reply {
    Reply::Error(Failure::Known(errno))
}

/// A packet of this type with this payload, whatever they mean.
pub fn packet(kind: u32, request: RequestId, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let header = Header { kind, request, transaction: TransactionId::NONE, len };
    [header.encode().as_slice(), payload].concat()
}
