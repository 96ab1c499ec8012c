//! A client behind a ring: it sends a script in pieces of any size, and keeps every byte that comes.

use std::mem::offset_of;

use crate::random::Random;
use crate::world::Shared;
use xen_sys::io::xs_wire::xenstore_domain_interface as Raw;
use xenstore::wire::{Packet, Parser, Reply, Request, RequestId, TransactionId};

pub const REQ_CONS: usize = offset_of!(Raw, req_cons);
const REQ_PROD: usize = offset_of!(Raw, req_prod);
const RSP: usize = offset_of!(Raw, rsp);
const RSP_CONS: usize = offset_of!(Raw, rsp_cons);
pub const RSP_PROD: usize = offset_of!(Raw, rsp_prod);
const SIZE: usize = 1024;

pub struct Client {
    page: Shared,
    unsent: Vec<u8>,
    sent: usize,
    requests: u32,
    parser: Parser,
    /// Replies, and events under its own paths: what its own requests lead to, in order.
    pub own: Vec<Packet>,
    /// Events about others.
    pub foreign: Vec<Packet>,
    home: String,
    replies: u32,
}

impl Client {
    pub fn new(page: &Shared, home: &str) -> Self {
        Self {
            page: page.clone(),
            unsent: Vec::new(),
            sent: 0,
            requests: 0,
            parser: Parser::new(),
            own: Vec::new(),
            foreign: Vec::new(),
            home: home.to_owned(),
            replies: 0,
        }
    }

    pub fn ask(&mut self, transaction: u32, request: &Request) {
        self.requests += 1;
        let number = RequestId(self.requests);
        request.encode(number, TransactionId(transaction), &mut self.unsent).unwrap();
    }

    /// Whether every request has its reply.
    pub fn is_done(&self) -> bool {
        self.sent == self.unsent.len() && self.replies == self.requests
    }

    /// What is sent of what is to be, replies of requests.
    pub fn progress(&self) -> [usize; 4] {
        [self.sent, self.unsent.len(), self.replies as usize, self.requests as usize]
    }

    /// Sends some and takes some.
    pub fn act(&mut self, random: &mut Random) {
        let (produced, consumed) = (self.page.word(REQ_PROD), self.page.word(REQ_CONS));
        let room = SIZE - produced.wrapping_sub(consumed) as usize;
        let count = random.below(600).min(room).min(self.unsent.len() - self.sent);
        for index in 0..count {
            let at = produced.wrapping_add(index as u32) as usize % SIZE;
            self.page.0.borrow_mut()[at] = self.unsent[self.sent + index];
        }
        self.sent += count;
        self.page.set_word(REQ_PROD, produced.wrapping_add(count as u32));
        let (produced, consumed) = (self.page.word(RSP_PROD), self.page.word(RSP_CONS));
        let there = produced.wrapping_sub(consumed) as usize;
        assert!(there <= SIZE, "the server's index is beyond the ring");
        let count = random.below(700).min(there);
        let byte = |index: usize| {
            self.page.0.borrow()[RSP + consumed.wrapping_add(index as u32) as usize % SIZE]
        };
        let bytes: Vec<u8> = (0..count).map(byte).collect();
        self.page.set_word(RSP_CONS, consumed.wrapping_add(count as u32));
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            if let Some(packet) = self.parser.advance(&mut input).expect("a stream in step") {
                self.take(packet);
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        match Reply::decode(&packet).expect("a message that makes sense") {
            Reply::Event(event) if !event.path.as_str().starts_with(&self.home) => {
                self.foreign.push(packet);
            }
            Reply::Event(_) => self.own.push(packet),
            _ => {
                self.replies += 1;
                assert_eq!(packet.header.request.0, self.replies, "replies in order, each once");
                self.own.push(packet);
            }
        }
    }
}
