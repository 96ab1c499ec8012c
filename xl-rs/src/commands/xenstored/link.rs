//! The ways to peers: unix sockets and ring pages.

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use xenstore::server::{Fault, PageRing, Transport};

use super::kept::KeptSocket;
use super::page::SharedPage;

/// Bytes read from a socket at once.
const CHUNK: usize = 16 << 10;

/// A way to a peer.
#[derive(Debug)]
pub enum Link {
    /// A program of this domain, whose connection ends with this process.
    Socket(Socket),
    /// A program of this domain, whose connection a keeper holds as well.
    Kept(KeptSocket),
    /// A guest, or the kernel.
    Ring(PageRing<SharedPage>),
}

/// A connected socket. Its descriptor tells of changes only, so that what is not read for a while
/// costs nothing.
#[derive(Debug)]
pub struct Socket {
    stream: UnixStream,
    epoll: Rc<OwnedFd>,
    number: u32,
    /// What was read and not taken.
    buffer: Vec<u8>,
    /// The position of the first byte in `buffer`.
    base: u32,
    /// Whether the last read got less than it could.
    drained: bool,
}

impl Socket {
    /// Takes a connected socket that does not block; its events carry `number`.
    pub fn new(stream: UnixStream, epoll: &Rc<OwnedFd>, number: u32) -> io::Result<Self> {
        let data = EventData::new_u64(number.into());
        epoll::add(&**epoll, &stream, data, EventFlags::IN | EventFlags::RDHUP | EventFlags::ET)?;
        let epoll = Rc::clone(epoll);
        Ok(Self { stream, epoll, number, buffer: Vec::new(), base: 0, drained: true })
    }

    /// What was read from position `at` on.
    fn held(&self, at: u32) -> &[u8] {
        self.buffer.get(at.wrapping_sub(self.base) as usize..).unwrap_or_default()
    }

    fn receive(&mut self, at: u32, buffer: &mut Vec<u8>) -> Result<usize, Fault> {
        let held = self.held(at);
        if !held.is_empty() {
            buffer.extend_from_slice(held);
            return Ok(held.len());
        }
        // The server's buffer is used again and again: nothing needs to be cleared before it is read to.
        let start = buffer.len();
        buffer.reserve(CHUNK);
        match rustix::io::read(&self.stream, spare_capacity(buffer)) {
            Ok(0) => return Err(Fault::Closed),
            Ok(count) => self.drained = count < CHUNK,
            Err(Errno::AGAIN) => self.drained = true,
            Err(Errno::INTR) => self.drained = false,
            Err(errno) => return Err(ended("read from a socket", errno.into())),
        }
        self.buffer.extend_from_slice(&buffer[start..]);
        Ok(buffer.len() - start)
    }

    fn taken(&mut self, at: u32) {
        let count = (at.wrapping_sub(self.base) as usize).min(self.buffer.len());
        self.buffer.drain(..count);
        self.base = at;
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self.stream.write(bytes) {
            Ok(count) => Ok(count),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            Err(error) => Err(ended("write to a socket", error)),
        }
    }

    fn await_room(&mut self, waiting: bool) -> Result<(), Fault> {
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if waiting {
            flags |= EventFlags::OUT;
        }
        epoll::modify(&*self.epoll, &self.stream, EventData::new_u64(self.number.into()), flags)
            .map_err(|errno| ended("wait for a socket", errno.into()))
    }
}

/// A socket that its peer has left is no fault of anyone's.
pub(super) fn ended(operation: &'static str, source: io::Error) -> Fault {
    match source.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Fault::Closed,
        _ => Fault::Link { operation, source },
    }
}

impl Transport for Link {
    fn receive(&mut self, at: u32, buffer: &mut Vec<u8>) -> Result<usize, Fault> {
        match self {
            Self::Socket(socket) => socket.receive(at, buffer),
            Self::Kept(socket) => socket.receive(at, buffer),
            Self::Ring(ring) => ring.receive(at, buffer),
        }
    }

    fn has_more(&self, at: u32) -> bool {
        match self {
            Self::Socket(socket) => !socket.drained || !socket.held(at).is_empty(),
            Self::Kept(socket) => socket.has_more(),
            Self::Ring(ring) => ring.has_more(at),
        }
    }

    fn taken(&mut self, at: u32) -> Result<bool, Fault> {
        match self {
            Self::Socket(socket) => {
                socket.taken(at);
                Ok(false)
            }
            Self::Kept(socket) => socket.taken(at).map(|()| false),
            Self::Ring(ring) => ring.taken(at),
        }
    }

    fn send(&mut self, at: u32, bytes: &[u8]) -> Result<usize, Fault> {
        match self {
            Self::Socket(socket) => socket.send(bytes),
            Self::Kept(socket) => socket.send(bytes),
            Self::Ring(ring) => ring.send(at, bytes),
        }
    }

    fn published(&self, at: u32) -> Result<Option<(u32, u32)>, Fault> {
        match self {
            Self::Socket(_) => Ok(None),
            Self::Kept(socket) => socket.published(at).map(Some),
            Self::Ring(ring) => ring.published(at),
        }
    }

    fn unpublished_max(&self) -> usize {
        match self {
            // No program can write where its positions are.
            Self::Socket(_) | Self::Kept(_) => usize::MAX,
            Self::Ring(ring) => ring.unpublished_max(),
        }
    }

    fn notify(&mut self) -> Result<(), Fault> {
        match self {
            Self::Socket(_) | Self::Kept(_) => Ok(()),
            Self::Ring(ring) => ring.notify(),
        }
    }

    fn await_room(&mut self, waiting: bool) -> Result<(), Fault> {
        match self {
            Self::Socket(socket) => socket.await_room(waiting),
            Self::Kept(socket) => socket.await_room(waiting),
            Self::Ring(ring) => ring.await_room(waiting),
        }
    }

    fn asks_for_reset(&self) -> bool {
        matches!(self, Self::Ring(ring) if ring.asks_for_reset())
    }

    fn reset(&mut self, features: u32) -> Result<(), Fault> {
        match self {
            Self::Socket(_) | Self::Kept(_) => Ok(()),
            Self::Ring(ring) => ring.reset(features),
        }
    }

    fn advertise(&mut self, features: u32) -> Result<(), Fault> {
        match self {
            Self::Socket(_) | Self::Kept(_) => Ok(()),
            Self::Ring(ring) => ring.advertise(features),
        }
    }

    fn reset_done(&mut self) -> Result<(), Fault> {
        match self {
            Self::Socket(_) | Self::Kept(_) => Ok(()),
            Self::Ring(ring) => ring.reset_done(),
        }
    }

    fn park(&mut self, fault: &Fault) {
        if let Self::Ring(ring) = self {
            ring.park(fault);
        }
    }
}
