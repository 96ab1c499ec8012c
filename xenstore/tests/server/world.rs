//! Rings in memory, the guests at their other ends, and the world around the server.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use xenstore::server::{Entry, Fault, Host, Identity, Journal, Page, PageRing, Server};
use xenstore::store::{ConnectionId, Effect, Ring, State};
use xenstore::wire::{
    MessageType, Packet, Parser, Reply, Request, RequestId, Token, TransactionId,
};
use xenstore::{Domid, Errno, Gfn, Path, Port};

pub const REQ_CONS: usize = 2048;
pub const REQ_PROD: usize = 2052;
pub const RSP_CONS: usize = 2056;
pub const RSP_PROD: usize = 2060;
pub const CONNECTION: usize = 2068;
pub const ERROR: usize = 2072;

/// A page that both ends see.
#[derive(Clone, Debug)]
pub struct Shared {
    pub bytes: Rc<RefCell<Vec<u8>>>,
    pub signals: Rc<Cell<u32>>,
}

impl Shared {
    fn new() -> Self {
        Self { bytes: Rc::new(RefCell::new(vec![0; 4096])), signals: Rc::default() }
    }

    pub fn word(&self, offset: usize) -> u32 {
        let bytes = self.bytes.borrow();
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    pub fn set(&self, offset: usize, value: u32) {
        self.bytes.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl Page for Shared {
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Fault> {
        bytes.copy_from_slice(&self.bytes.borrow()[offset..offset + bytes.len()]);
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn load(&self, offset: usize) -> Result<u32, Fault> {
        Ok(self.word(offset))
    }

    fn store(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.set(offset, value);
        Ok(())
    }

    fn signal(&self) -> Result<(), Fault> {
        self.signals.set(self.signals.get() + 1);
        Ok(())
    }
}

/// What the server has of the outside.
#[derive(Debug, Default)]
pub struct World {
    pub pages: BTreeMap<Domid, Shared>,
    pub existing: BTreeSet<Domid>,
    pub now: Rc<Cell<Duration>>,
    pub faults: Vec<(ConnectionId, String)>,
    pub effects: Vec<Effect>,
}

impl Host for World {
    type Transport = PageRing<Shared>;

    fn connect(&mut self, domid: Domid, _ring: Ring) -> Result<PageRing<Shared>, Errno> {
        let page = self.pages.get(&domid).ok_or(Errno::Einval)?;
        Ok(PageRing::new(page.clone()).expect("a page"))
    }

    fn identity(&mut self, domid: Domid) -> Option<Identity> {
        let exists = self.existing.contains(&domid) || self.pages.contains_key(&domid);
        exists.then(Identity::default)
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn carry_out(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn faulted(&mut self, connection: ConnectionId, fault: &Fault) {
        self.faults.push((connection, fault.to_string()));
    }
}

/// A journal that can fail, and that counts what it was told.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub requests: Rc<Cell<usize>>,
    pub commits: Rc<Cell<usize>>,
    pub partial_bytes: Rc<Cell<usize>>,
    pub broken: Rc<Cell<bool>>,
    /// Looks at the world in the moment of the commit.
    pub pages: Rc<RefCell<Vec<(Shared, u32, u32)>>>,
}

impl Journal for Notes {
    fn note(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Request { .. } => self.requests.set(self.requests.get() + 1),
            Entry::Partial { bytes, .. } => {
                self.partial_bytes.set(self.partial_bytes.get() + bytes.len());
            }
            _ => {}
        }
    }

    fn commit(&mut self) -> io::Result<()> {
        self.commits.set(self.commits.get() + 1);
        for (page, request, reply) in self.pages.borrow_mut().iter_mut() {
            *request = page.word(REQ_CONS);
            *reply = page.word(RSP_PROD);
        }
        if self.broken.get() { Err(io::Error::other("full")) } else { Ok(()) }
    }
}

pub type TestServer = Server<World, Notes>;

/// The guest's end of a ring.
pub struct Guest {
    pub id: ConnectionId,
    pub page: Shared,
    parser: Parser,
    /// What does not fit into the ring.
    pub outgoing: Vec<u8>,
    next_id: u32,
}

impl Guest {
    /// Puts the bytes of a request into line.
    pub fn ask(&mut self, transaction: u32, request: &Request) -> u32 {
        self.next_id += 1;
        let mut bytes = Vec::new();
        let header = (RequestId(self.next_id), TransactionId(transaction));
        request.encode(header.0, header.1, &mut bytes).expect("fits");
        self.outgoing.extend(bytes);
        self.next_id
    }

    /// Puts as much as fits into the ring.
    pub fn push(&mut self) -> usize {
        let (cons, prod) = (self.page.word(REQ_CONS), self.page.word(REQ_PROD));
        let room = 1024 - prod.wrapping_sub(cons) as usize;
        let count = room.min(self.outgoing.len());
        for (at, byte) in self.outgoing.drain(..count).enumerate() {
            let index = prod.wrapping_add(at as u32) as usize & 1023;
            self.page.bytes.borrow_mut()[index] = byte;
        }
        self.page.set(REQ_PROD, prod.wrapping_add(count as u32));
        count
    }

    /// Takes what waits in the ring.
    pub fn pull(&mut self) -> Vec<Packet> {
        let (cons, prod) = (self.page.word(RSP_CONS), self.page.word(RSP_PROD));
        let count = prod.wrapping_sub(cons);
        assert!(count <= 1024, "the server overran the ring");
        let bytes: Vec<u8> = (0..count)
            .map(|at| self.page.bytes.borrow()[1024 + (cons.wrapping_add(at) as usize & 1023)])
            .collect();
        self.page.set(RSP_CONS, prod);
        let mut input = bytes.as_slice();
        let mut packets = Vec::new();
        while !input.is_empty() {
            packets.extend(self.parser.advance(&mut input).expect("a stream of messages"));
        }
        packets
    }
}

/// A server with its guests.
pub struct Setting {
    pub server: TestServer,
    pub notes: Notes,
    pub now: Rc<Cell<Duration>>,
    /// Domain 0's ring comes first.
    pub guests: Vec<Guest>,
}

impl Setting {
    /// Domain 0 and `guests` guests, whose streams are at `start`.
    pub fn new(guests: u16, start: u32) -> Self {
        let now = Rc::new(Cell::new(Duration::ZERO));
        let notes = Notes::default();
        let world = World { now: Rc::clone(&now), ..World::default() };
        let mut server = Server::new(State::new(), world, notes.clone());
        let guest = |domid| {
            let page = Shared::new();
            let id = ConnectionId::Domain(domid);
            Guest { id, page, parser: Parser::new(), outgoing: Vec::new(), next_id: 0 }
        };
        let control = guest(Domid::DOM0);
        for index in [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD] {
            control.page.set(index, start);
        }
        let ring = PageRing::new(control.page.clone()).unwrap();
        server.attach(control.id, ring, start, start);
        let mut setting = Self { server, notes, now, guests: vec![control] };
        for number in 1..=guests {
            let domid = Domid(number);
            let guest = guest(domid);
            let world = setting.server.host_mut();
            world.pages.insert(domid, guest.page.clone());
            world.existing.insert(domid);
            setting.guests.push(guest);
            assert_eq!(setting.introduce(number), Reply::Done(MessageType::Introduce));
            let home = format!("/local/domain/{number}");
            setting.control(&Request::Mkdir(path(&home)));
            let permissions = format!("n{number}").parse().unwrap();
            setting.control(&Request::SetPerms { path: path(&home), permissions });
        }
        setting
    }

    /// A program connects; to keep things simple by a ring as well.
    pub fn open_socket(&mut self) {
        let page = Shared::new();
        let ring = PageRing::new(page.clone()).unwrap();
        let mut id = None;
        let opened = self.server.open_socket(|number| {
            id = Some(ConnectionId::Socket(number));
            Ok(ring)
        });
        opened.unwrap();
        let (parser, outgoing) = (Parser::new(), Vec::new());
        self.guests.push(Guest { id: id.unwrap(), page, parser, outgoing, next_id: 0 });
    }

    pub fn introduce(&mut self, number: u16) -> Reply {
        let domid = Domid(number);
        self.control(&Request::Introduce { domid, gfn: Gfn(1), port: Port(1) })
    }

    /// Domain 0 asks, and gets its answer.
    pub fn control(&mut self, request: &Request) -> Reply {
        self.call(0, request)
    }

    /// A guest asks, and gets its answer; events before it are dropped.
    pub fn call(&mut self, guest: usize, request: &Request) -> Reply {
        let id = self.guests[guest].ask(0, request);
        for _ in 0..40 {
            self.turn(guest);
            for packet in self.guests[guest].pull() {
                if packet.header.kind != MessageType::WatchEvent.raw() {
                    assert_eq!(packet.header.request, RequestId(id));
                    return Reply::decode(&packet).expect("a reply");
                }
            }
        }
        panic!("no answer to {request:?}");
    }

    /// A guest does what it can, and the server looks at it once.
    pub fn turn(&mut self, guest: usize) {
        self.guests[guest].push();
        self.server.ready(self.guests[guest].id);
        self.server.round().expect("the journal works");
    }

    /// Rounds until nothing is left to do.
    pub fn rest(&mut self) {
        for guest in 0..self.guests.len() {
            self.server.ready(self.guests[guest].id);
        }
        for _ in 0..10_000 {
            if !self.server.has_work() {
                return;
            }
            self.server.round().expect("the journal works");
        }
        panic!("the server never rests");
    }
}

pub fn path(text: &str) -> Path {
    Path::new(text).expect("a path")
}

pub fn write(text: &str, value: &str) -> Request {
    Request::Write { path: path(text), value: value.into() }
}

pub fn watch(text: &str, token: &str) -> Request {
    Request::Watch { path: path(text), token: Token::new(token).unwrap(), depth: None }
}
