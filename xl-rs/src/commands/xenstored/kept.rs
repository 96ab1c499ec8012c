//! A socket whose two streams go on where they were when the next xenstored has it.
//!
//! What is read from a socket is gone, and what is written to it is out: neither can be asked for
//! afterwards. So that a kill between a call and its note in the journal changes nothing, the kernel
//! itself keeps both positions, in what the keeper holds as well:
//!
//! * **Requests** are peeked at, and received (which takes them off the socket) only after the commit
//!   that has them. The socket's peek offset says up to where that was done. Below 0 it turns peeking
//!   offsets off, and the rest of the number is ours: `-1 − position`. Before a receive it becomes the
//!   number of bytes that are to go, which the kernel counts down as they go.
//! * **Replies** are written to a file in memory at the offset that is their position, and sent from it
//!   by sendfile(2), which moves the file's own offset by as many bytes as the socket took. Bytes of the
//!   file are written once: the socket hands on the file's pages, not copies of them. When much of a
//!   file has been sent, another one takes its place; what is laid out in it goes first.
//!
//! The end of a connection is told to the keeper, and shows in the peek offset as well: the keeper may
//! never hear of it, and where a reply cannot be sent neither stream has moved.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek, sendfile, tell};
use rustix::io::{Errno, pwrite};
use rustix::net::{RecvFlags, recv};
use xenstore::server::Fault;

use super::keeper::{Keeper, Pair};
use super::link::ended;
use super::steps::{self, Step};

/// Bytes peeked at once.
const CHUNK: usize = 16 << 10;
/// Bytes, and turns, for which what was taken stays in the socket: receiving it costs three calls.
const LAZY_BYTES: u32 = 2 << 10;
const LAZY_TURNS: u32 = 6;
/// Bytes that are laid out at once to be sent.
const STAGE: usize = 64 << 10;
/// Bytes that were sent from a file before another one takes its place.
const FILE_BYTES: u64 = 256 << 10;
/// The part of a position that a peek offset below 0 holds.
const POSITION: u32 = (1 << 30) - 1;

/// A connected socket that a keeper holds as well.
#[derive(Debug)]
pub struct KeptSocket {
    pair: Rc<Pair>,
    out: Rc<OwnedFd>,
    keeper: Rc<Keeper>,
    epoll: Rc<OwnedFd>,
    number: u32,
    /// Up to where request bytes were received; not known before the first look.
    received: Option<u32>,
    /// Turns since then.
    turns: u32,
    /// Whether the last look got less than it could.
    drained: bool,
    /// The file's offset, and the end of what was written to it, in 64 bits of the position.
    sent: u64,
    staged: u64,
    /// Where the file begins.
    file_start: u64,
}

impl KeptSocket {
    /// Takes a connection; its events carry `number`.
    pub fn new(
        number: u32,
        pair: Rc<Pair>,
        keeper: &Rc<Keeper>,
        epoll: &Rc<OwnedFd>,
    ) -> std::io::Result<Self> {
        let out = Rc::clone(&pair.out.borrow());
        let sent = tell(&*out)?;
        let data = EventData::new_u64(number.into());
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&**epoll, &pair.socket, data, flags)?;
        let (keeper, epoll) = (Rc::clone(keeper), Rc::clone(epoll));
        Ok(Self {
            pair,
            out,
            keeper,
            epoll,
            number,
            received: None,
            turns: 0,
            drained: true,
            sent,
            staged: sent,
            file_start: sent,
        })
    }

    /// Whether no server has received anything from it, sent anything to it, or said that it is at its
    /// end. A store that does not know such a connection has carried out no request of it.
    pub fn is_fresh(&self) -> bool {
        self.sent == 0 && host_sys::peek::offset(&self.pair.socket) == Ok(-1)
    }

    /// Up to where request bytes were received, and where the next reply byte goes. `at` is the
    /// position of the last commit.
    pub fn published(&self, at: u32) -> Result<(u32, u32), Fault> {
        let received = match self.received {
            Some(received) => received,
            None => match host_sys::peek::offset(&self.pair.socket) {
                Ok(left) => position(left, at),
                Err(errno) => return Err(failed("ask where a socket is", errno)),
            },
        };
        Ok((received, self.sent as u32))
    }

    /// Up to where request bytes were received. A receive that a kill has cut short is finished first.
    fn received(&mut self, at: u32) -> Result<u32, Fault> {
        if let Some(received) = self.received {
            return Ok(received);
        }
        let offset = host_sys::peek::offset(&self.pair.socket);
        let offset = offset.map_err(|errno| failed("ask where a socket is", errno))?;
        let received = position(offset, at);
        self.received = Some(received);
        if offset >= 0 {
            self.take_off(received, at)?;
            return Ok(at);
        }
        Ok(received)
    }

    /// Receives what lies between the two positions.
    fn take_off(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        let mut left = to.wrapping_sub(from) as usize;
        let socket = &self.pair.socket;
        let set = |value| {
            host_sys::peek::set_offset(socket, value)
                .map_err(|errno| failed("note where a socket is", errno))
        };
        // A peek brings no more than a chunk and what was left before it.
        set(i32::try_from(left).unwrap_or(i32::MAX))?;
        steps::passed(Step::Receive);
        let mut bytes = [0; 4096];
        while left > 0 {
            let most = left.min(bytes.len());
            match recv(socket, &mut bytes[..most], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(Fault::Closed),
                Ok((_, count)) => left -= count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read from a socket", errno)),
            }
        }
        steps::passed(Step::Received);
        set(held(to))?;
        (self.received, self.turns) = (Some(to), 0);
        Ok(())
    }

    pub(super) fn receive(&mut self, at: u32, buffer: &mut Vec<u8>) -> Result<usize, Fault> {
        loop {
            let received = self.received(at)?;
            let old = at.wrapping_sub(received) as usize;
            let start = buffer.len();
            buffer.reserve(old + CHUNK);
            let room = buffer.capacity() - start;
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            let count = match recv(&self.pair.socket, spare_capacity(buffer), flags) {
                Ok((_, 0)) => return Err(Fault::Closed),
                Ok((_, count)) => count,
                Err(Errno::AGAIN) => 0,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed("read from a socket", errno)),
            };
            self.drained = count < room;
            buffer.drain(start..start + old.min(count));
            if count < old {
                return Err(failed("read again from a socket", Errno::NODATA));
            }
            if count == old && old > 0 {
                // Whether the program is gone shows only where nothing is left.
                self.take_off(received, at)?;
                continue;
            }
            return Ok(count - old);
        }
    }

    pub(super) const fn has_more(&self) -> bool {
        !self.drained
    }

    pub(super) fn taken(&mut self, at: u32) -> Result<(), Fault> {
        let received = self.received(at)?;
        let waiting = at.wrapping_sub(received);
        if waiting == 0 {
            return Ok(());
        }
        self.turns += 1;
        if waiting >= LAZY_BYTES || self.turns >= LAZY_TURNS {
            self.take_off(received, at)?;
        }
        Ok(())
    }

    /// Sends the first of `bytes`, which go on where the last ones ended.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut count = bytes.len().min(STAGE);
        let mut laid_out = (self.staged - self.sent) as usize;
        if laid_out > 0 && self.staged - self.file_start >= FILE_BYTES {
            // Another file begins when all of this one is sent: a reader that never catches up would
            // have it grow for ever.
            count = laid_out.min(bytes.len());
        }
        while let Some(rest) = bytes.get(laid_out..count).filter(|rest| !rest.is_empty()) {
            let written = match pwrite(&*self.out, rest, self.staged) {
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed("write what is to be sent", errno)),
            };
            laid_out += written;
            self.staged += written as u64;
        }
        if count == 0 {
            return Ok(0);
        }
        steps::passed(Step::Staged);
        let sent = match sendfile(&self.pair.socket, &*self.out, None, count) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(errno) => return Err(failed("write to a socket", errno)),
        };
        steps::passed(Step::Sent);
        self.sent += sent as u64;
        if self.sent == self.staged && self.sent - self.file_start >= FILE_BYTES {
            self.begin_file();
        }
        Ok(sent)
    }

    /// Goes on with an empty file, where one is to be had.
    fn begin_file(&mut self) {
        let Ok(out) = memfd_create("xenstored", MemfdFlags::CLOEXEC) else { return };
        let out = Rc::new(out);
        if seek(&*out, SeekFrom::Start(self.sent)).is_ok()
            && self.keeper.replace(self.number, &self.pair, &out)
        {
            (self.out, self.file_start) = (out, self.sent);
            steps::passed(Step::Replaced);
        }
    }

    pub(super) fn await_room(&mut self, waiting: bool) -> Result<(), Fault> {
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if waiting {
            flags |= EventFlags::OUT;
        }
        let data = EventData::new_u64(self.number.into());
        epoll::modify(&*self.epoll, &self.pair.socket, data, flags)
            .map_err(|errno| failed("wait for a socket", errno))
    }
}

impl Drop for KeptSocket {
    fn drop(&mut self) {
        // The keeper's descriptor keeps the socket in the epoll.
        let _ = epoll::delete(&*self.epoll, &self.pair.socket);
        self.keeper.drop_connection(self.number);
    }
}

/// The peek offset that says "received up to here".
const fn held(position: u32) -> i32 {
    // At most 2³⁰ − 1.
    -1 - (position & POSITION).cast_signed()
}

/// Up to where bytes were received, as the peek offset says; `at` is the position of the last commit,
/// which is never more than some chunks ahead.
const fn position(offset: i32, at: u32) -> u32 {
    if offset < 0 {
        let held = (-1 - offset).cast_unsigned();
        at.wrapping_sub(at.wrapping_sub(held) & POSITION)
    } else {
        at.wrapping_sub(offset.cast_unsigned())
    }
}

fn failed(operation: &'static str, errno: Errno) -> Fault {
    match errno.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Fault::Closed,
        _ => ended(operation, errno.into()),
    }
}

#[cfg(test)]
mod tests;
