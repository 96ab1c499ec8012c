//! C xenstored: sockets of dom0, and the rings of guests that never run.

use super::CONNECTIONS;
use super::generate::{self, Asked};
use crate::dom0::host::{Stop, argv};
use crate::fail;
use libxc_safe::{ForeignMapping, Protection, Xen};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::mem::offset_of;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use xen_sys::io::xs_wire::{XENSTORE_RING_SIZE, xenstore_domain_interface as Raw};
use xenstore::client::SOCKETS;
use xenstore::wire::{Header, MessageType, Packet, Parser, RequestId, TransactionId};
use xenstore::{Domid, Gfn};

const RING: u32 = XENSTORE_RING_SIZE as u32;
const PATIENCE: Duration = Duration::from_secs(20);
/// The number of requests whose only purpose is their reply.
const FENCE: u32 = 0x00fe_9ce0;

enum Way {
    Socket(UnixStream),
    Ring(ForeignMapping),
}

struct Connection {
    way: Way,
    parser: Parser,
    /// Packets that have come.
    inbox: VecDeque<Packet>,
}

/// Events of each connection.
pub type Events = [Vec<Packet>; CONNECTIONS];

pub struct Theirs {
    connections: [Connection; CONNECTIONS],
    /// Another socket: a request there makes C xenstored look at all rings.
    poke: UnixStream,
}

fn failed(what: &str) -> impl FnOnce(libxc_safe::Error) -> Stop + '_ {
    move |error| Stop::Failed(format!("{what}: {error}"))
}

fn bytes(kind: u32, request: u32, transaction: u32, payload: &[u8]) -> Vec<u8> {
    let (request, transaction) = (RequestId(request), TransactionId(transaction));
    let header = Header { kind, request, transaction, len: payload.len() as u32 };
    [&header.encode()[..], payload].concat()
}

impl Theirs {
    pub fn connect(guests: [Domid; 2]) -> Result<Self, Stop> {
        let xen = Xen::open().map_err(failed("hypercalls"))?;
        let socket = || -> Result<Connection, Stop> {
            let way = Way::Socket(UnixStream::connect(SOCKETS[0])?);
            Ok(Connection { way, parser: Parser::new(), inbox: VecDeque::new() })
        };
        let ring = |domid: Domid| -> Result<Connection, Stop> {
            let home = format!("/local/domain/{domid}");
            let said = argv(&["xenstore-read", &format!("{home}/store/ring-ref")])?.success()?;
            let frame = said.out.trim().parse().unwrap_or(0);
            let page = xen.map_foreign(domid, &[Gfn(frame)], Protection::ReadWrite);
            let way = Way::Ring(page.map_err(failed("the ring of a guest"))?);
            Ok(Connection { way, parser: Parser::new(), inbox: VecDeque::new() })
        };
        let [first, second] = guests;
        let connections = [socket()?, socket()?, ring(first)?, ring(second)?];
        // What both begin with, see `generate::beginning`.
        for name in argv(&["xenstore-list", "/"])?.success()?.out.split_whitespace() {
            if name != "tool" {
                argv(&["xenstore-rm", &format!("/{name}")])?.success()?;
            }
        }
        Ok(Self { connections, poke: UnixStream::connect(SOCKETS[0])? })
    }

    fn send(&mut self, number: usize, mut bytes: &[u8]) -> Result<(), Stop> {
        let start = Instant::now();
        while !bytes.is_empty() {
            let sent = match &mut self.connections[number].way {
                Way::Socket(stream) => stream.write(bytes)?,
                Way::Ring(page) => put(page, bytes).map_err(failed("write a ring"))?,
            };
            bytes = &bytes[sent..];
            if sent == 0 {
                poke(&mut self.poke)?;
            }
            if start.elapsed() > PATIENCE {
                fail!("connection {number}: C xenstored takes nothing");
            }
        }
        Ok(())
    }

    /// Takes what has come, at least something.
    fn receive(&mut self, number: usize) -> Result<(), Stop> {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        let connection = &mut self.connections[number];
        let count = loop {
            let count = match &mut connection.way {
                Way::Socket(stream) => match stream.read(&mut buffer)? {
                    0 => fail!("connection {number}: C xenstored has closed it"),
                    count => count,
                },
                Way::Ring(page) => take(page, &mut buffer).map_err(failed("read a ring"))?,
            };
            if count > 0 {
                break count;
            }
            if start.elapsed() > PATIENCE {
                fail!("connection {number}: no answer of C xenstored");
            }
            poke(&mut self.poke)?;
        };
        let mut input = &buffer[..count];
        while !input.is_empty() {
            let packet = connection.parser.advance(&mut input);
            connection.inbox.extend(packet.map_err(|error| Stop::Failed(error.to_string()))?);
        }
        Ok(())
    }

    /// Takes packets up to the reply to a fence; gives the other replies.
    fn until_fence(
        &mut self,
        number: usize,
        events: &mut Vec<Packet>,
    ) -> Result<Vec<Packet>, Stop> {
        let mut replies: Vec<Packet> = Vec::new();
        loop {
            let Some(packet) = self.connections[number].inbox.pop_front() else {
                self.receive(number)?;
                continue;
            };
            if packet.header.kind == MessageType::WatchEvent.raw() {
                events.push(packet);
            } else if packet.header.request.0 == FENCE {
                return Ok(replies);
            } else if packet.header.request.0 as usize == replies.len() {
                replies.push(packet);
            } else {
                fail!("connection {number}: a reply to nothing: {packet:?}");
            }
        }
    }

    /// Asks all of it through one connection, and waits until all that comes of it is here.
    pub fn ask_all(
        &mut self,
        connection: usize,
        requests: &[(&Asked, u32)],
    ) -> Result<(Vec<Packet>, Events), Stop> {
        let fence = bytes(MessageType::GetDomainPath.raw(), FENCE, 0, b"0\0");
        let mut events = Events::default();
        let mut all = Vec::new();
        for (index, (asked, transaction)) in requests.iter().enumerate() {
            all.extend(bytes(asked.kind, index as u32, *transaction, &asked.payload));
        }
        all.extend(&fence);
        self.send(connection, &all)?;
        let replies = self.until_fence(connection, &mut events[connection])?;
        if replies.len() != requests.len() {
            fail!("connection {connection}: {} replies", replies.len());
        }
        // The rings first: what the sockets send makes C look at them.
        let others = (0..CONNECTIONS).rev().filter(|&number| number != connection);
        for number in others.clone() {
            self.send(number, &fence)?;
        }
        for number in others.rev() {
            self.until_fence(number, &mut events[number])?;
        }
        Ok((replies, events))
    }

    /// How many nodes C has counted for a domain.
    pub fn nodes_of(&mut self, domid: Domid) -> Result<u64, Stop> {
        let asked = generate::asked(0, MessageType::Control, format!("quota\0{domid}\0"));
        let (replies, _) = self.ask_all(0, &[(&asked, 0)])?;
        let text = String::from_utf8_lossy(&replies[0].payload).into_owned();
        let line = text.lines().find(|line| line.starts_with("nodes"));
        let count = line.and_then(|line| line.rsplit([' ', ':']).next()?.parse().ok());
        count.ok_or_else(|| Stop::Failed(format!("C's account of domain {domid}: {text}")))
    }
}

/// Makes C xenstored look at all rings.
fn poke(stream: &mut UnixStream) -> Result<(), Stop> {
    stream.write_all(&bytes(MessageType::GetDomainPath.raw(), 0, 0, b"0\0"))?;
    let mut reply = [0; 16 + "/local/domain/0\0".len()];
    stream.read_exact(&mut reply)?;
    Ok(())
}

/// Puts bytes into the ring of requests, as many as there is room for.
fn put(page: &ForeignMapping, bytes: &[u8]) -> Result<usize, libxc_safe::Error> {
    let produced = page.load_u32(offset_of!(Raw, req_prod))?;
    let used = produced.wrapping_sub(page.load_u32(offset_of!(Raw, req_cons))?);
    let count = bytes.len().min(RING.saturating_sub(used) as usize);
    for (index, byte) in bytes[..count].iter().enumerate() {
        let at = produced.wrapping_add(index as u32) % RING;
        page.write(offset_of!(Raw, req) + at as usize, &[*byte])?;
    }
    page.store_u32(offset_of!(Raw, req_prod), produced.wrapping_add(count as u32))?;
    Ok(count)
}

/// Takes bytes from the ring of replies, as many as there are and are wanted.
fn take(page: &ForeignMapping, bytes: &mut [u8]) -> Result<usize, libxc_safe::Error> {
    let consumed = page.load_u32(offset_of!(Raw, rsp_cons))?;
    let there = page.load_u32(offset_of!(Raw, rsp_prod))?.wrapping_sub(consumed);
    let count = bytes.len().min(there as usize);
    for (index, byte) in bytes[..count].iter_mut().enumerate() {
        let at = consumed.wrapping_add(index as u32) % RING;
        page.read(offset_of!(Raw, rsp) + at as usize, std::slice::from_mut(byte))?;
    }
    page.store_u32(offset_of!(Raw, rsp_cons), consumed.wrapping_add(count as u32))?;
    Ok(count)
}
