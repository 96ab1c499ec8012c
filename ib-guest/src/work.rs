//! The send and the receive ring of a QP.
//!
//! In: work requests, already in the protocol's form. Out: slots filled, the index advanced once for a
//! list of them, the backend woken if it sleeps.

use crate::error::{Error, Result};
use crate::region::Directory;
use crate::session::Session;
use ib_protocol::{
    CreateQp, QpLayout, QpReply, QpSize, Receive, Record, Request, Ring, SendWork, Sge, available,
};
use libxc_safe::GrantedPages;

/// Of a ring's head: what this side has produced, what the other one has consumed.
const PRODUCER: usize = 0x00;
const CONSUMER: usize = 0x40;

/// Both rings, and how far this side is.
#[derive(Debug)]
pub struct Rings {
    pages: GrantedPages,
    send: Side,
    recv: Side,
    size: QpSize,
}

/// One ring. What is filled counts once [`Side::publish`] has told of it.
#[derive(Debug)]
struct Side {
    ring: Ring,
    /// How many requests it takes, which may be less than it has slots.
    most: u32,
    filled: u32,
    published: u32,
}

impl Side {
    const fn new(ring: Ring, most: u32) -> Self {
        Self { ring, most, filled: 0, published: 0 }
    }

    /// Where the next request goes.
    fn room(&self, pages: &GrantedPages) -> Result<usize> {
        let consumed = pages.load_u32(self.ring.header + CONSUMER)?;
        match available(self.filled, consumed, self.ring.slots)? < self.most {
            true => Ok(self.ring.slot(self.filled)),
            false => Err(Error::Full),
        }
    }

    fn publish(&mut self, pages: &GrantedPages) -> Result<bool> {
        if self.published == self.filled {
            return Ok(false);
        }
        pages.store_u32(self.ring.header + PRODUCER, self.filled)?;
        self.published = self.filled;
        Ok(true)
    }
}

/// What a send carries.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Places in registered memory.
    Scattered(&'a [Sge]),
    /// The bytes themselves, piece by piece.
    Inline(&'a [&'a [u8]]),
}

impl Rings {
    /// Makes a QP; gives its rings, its handle, and what the backend says of it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create(session: &Session, pd: u32, create: CreateQp) -> Result<(Self, u32, QpReply)> {
        let size = create.size();
        let layout = QpLayout::new(size).ok_or(Error::Invalid("no such size of a QP"))?;
        let pages = session.allocator.allocate(session.backend, layout.pages, true)?;
        let directory = Directory::new(&session.allocator, session.backend, pages.references())?;
        let create = CreateQp { directory: directory.first(), ..create };
        let reply = session.request(&Request::CreateQp(pd, create))?;
        let (send, recv) =
            (Side::new(layout.send, size.send_wr), Side::new(layout.recv, size.recv_wr));
        Ok((Self { pages, send, recv, size }, reply.handle, reply.body()))
    }

    /// Bytes of inline data that a send can have.
    #[must_use]
    pub const fn inline_max(&self) -> u32 {
        self.size.inline_bytes
    }

    /// Fills a slot of the send ring.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Invalid`] when it carries more than the QP was made for.
    #[inline]
    pub fn send(&mut self, work: &SendWork, payload: Payload<'_>) -> Result<()> {
        let at = self.send.room(&self.pages)?;
        let mut head = [0; SendWork::SIZE];
        match payload {
            Payload::Scattered(sges) => {
                if sges.len() > self.size.send_sge as usize {
                    return Err(Error::Invalid("more scatter-gather entries than max_send_sge"));
                }
                SendWork { sges: sges.len() as u32, ..*work }.encode(&mut head);
                scatter(&self.pages, at + SendWork::SIZE, sges)?;
            }
            Payload::Inline(pieces) => {
                let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
                if bytes > self.size.inline_bytes as usize {
                    return Err(Error::Invalid("more inline data than max_inline_data"));
                }
                SendWork { inline_bytes: bytes as u32, ..*work }.encode(&mut head);
                let mut to = at + SendWork::SIZE;
                for piece in pieces {
                    self.pages.write(to, piece)?;
                    to += piece.len();
                }
            }
        }
        self.pages.write(at, &head)?;
        self.send.filled = self.send.filled.wrapping_add(1);
        Ok(())
    }

    /// Fills a slot of the receive ring.
    ///
    /// # Errors
    /// As [`Rings::send`].
    #[inline]
    pub fn receive(&mut self, wr_id: u64, sges: &[Sge]) -> Result<()> {
        if sges.len() > self.size.recv_sge as usize {
            return Err(Error::Invalid("more scatter-gather entries than max_recv_sge"));
        }
        let at = self.recv.room(&self.pages)?;
        let mut head = [0; Receive::SIZE];
        Receive { wr_id, sges: sges.len() as u32 }.encode(&mut head);
        self.pages.write(at, &head)?;
        scatter(&self.pages, at + Receive::SIZE, sges)?;
        self.recv.filled = self.recv.filled.wrapping_add(1);
        Ok(())
    }

    /// Tells of what was filled since; whether there was anything.
    ///
    /// # Errors
    /// [`Error::Xen`].
    #[inline]
    pub fn publish(&mut self) -> Result<bool> {
        let sent = self.send.publish(&self.pages)?;
        Ok(self.recv.publish(&self.pages)? || sent)
    }
}

fn scatter(pages: &GrantedPages, at: usize, sges: &[Sge]) -> Result<()> {
    for (index, sge) in sges.iter().enumerate() {
        let mut bytes = [0; Sge::SIZE];
        sge.encode(&mut bytes);
        pages.write(at + index * Sge::SIZE, &bytes)?;
    }
    Ok(())
}
