//! The completion ring of a CQ: polled without a system call, armed for one event at a time.

use crate::error::{Error, Result};
use crate::region::Directory;
use crate::session::Session;
use ib_protocol::{Completion, CompletionHeader, CqLayout, CreateCq, Record, Request, Ring};
use ib_protocol::{arm_after, available};
use libxc_safe::GrantedPages;
use std::sync::atomic::{Ordering, fence};

const CONSUMER: usize = 0x00;
const NOTIFY: usize = 0x04;
const PRODUCER: usize = 0x40;
const FIRED: usize = 0x44;
const BACKEND_ALIVE: usize = 0x48;
const _: () = assert!(CompletionHeader::FIELDS[0].offset == CONSUMER);
const _: () = assert!(CompletionHeader::FIELDS[1].offset == NOTIFY);
const _: () = assert!(CompletionHeader::FIELDS[2].offset == PRODUCER);
const _: () = assert!(CompletionHeader::FIELDS[3].offset == FIRED);
const _: () = assert!(CompletionHeader::FIELDS[4].offset == BACKEND_ALIVE);

/// The ring, and how far this side is.
#[derive(Debug)]
pub struct Completions {
    pages: GrantedPages,
    ring: Ring,
    consumed: u32,
    armed: u32,
    fired: u32,
}

impl Completions {
    /// Makes a CQ; gives its ring and handle.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create(
        session: &Session,
        entries: u32,
        channel: u32,
        vector: u32,
    ) -> Result<(Self, u32)> {
        let layout = CqLayout::new(entries).ok_or(Error::Invalid("no such size of a CQ"))?;
        let pages = session.allocator.allocate(session.backend, layout.pages, true)?;
        let directory = Directory::new(&session.allocator, session.backend, pages.references())?;
        let create = CreateCq { entries, channel, directory: directory.first(), vector };
        let handle = session.request(&Request::CreateCq(create))?.handle;
        let ring = layout.ring;
        Ok((Self { pages, ring, consumed: 0, armed: 0, fired: 0 }, handle))
    }

    /// How many completions it holds.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.ring.slots
    }

    /// Takes up to `most` completions, and hands each to `take`. Returns how many there were, and
    /// whether the ring was full, so that the backend may wait for room.
    ///
    /// # Errors
    /// [`Error::Ring`]; [`Error::Gone`] when there is none and will be none.
    #[inline]
    pub fn poll(
        &mut self,
        most: u32,
        mut take: impl FnMut(u32, Completion),
    ) -> Result<(u32, bool)> {
        let mut producer = self.pages.load_u32(PRODUCER)?;
        if producer == self.consumed {
            if self.pages.load_u8(BACKEND_ALIVE)? != 0 {
                return Ok((0, false));
            }
            // What was written just before the end is there.
            producer = self.pages.load_u32(PRODUCER)?;
            if producer == self.consumed {
                return Err(Error::Gone);
            }
        }
        let waiting = available(producer, self.consumed, self.ring.slots)?;
        let count = waiting.min(most);
        for index in 0..count {
            let mut slot = [0; Completion::SIZE];
            let at = self.ring.slot(self.consumed.wrapping_add(index));
            self.pages.read(at, &mut slot)?;
            take(index, Completion::decode(&slot));
        }
        let before = self.consumed;
        self.consumed = before.wrapping_add(count);
        self.pages.store_u32(CONSUMER, self.consumed)?;
        if waiting < self.ring.slots / 2 {
            return Ok((count, false));
        }
        // The backend may have filled the rest meanwhile, and found no room: it looks at the index after
        // it has said that it sleeps, and this looks at its index after the own one.
        fence(Ordering::SeqCst);
        let now = self.pages.load_u32(PRODUCER)?;
        Ok((count, now.wrapping_sub(before) >= self.ring.slots))
    }

    /// Asks for one event, at the next completion.
    ///
    /// # Errors
    /// [`Error::Xen`].
    pub fn arm(&mut self, solicited_only: bool) -> Result<()> {
        self.armed = arm_after(self.armed, solicited_only);
        self.pages.store_u32(NOTIFY, self.armed)?;
        // Whoever polls now sees what came before the backend could see this.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Whether the event was sent that was asked for, and not told yet; it counts as told now.
    ///
    /// # Errors
    /// [`Error::Xen`].
    pub fn take_event(&mut self) -> Result<bool> {
        let fired = self.pages.load_u32(FIRED)?;
        let new = fired != self.fired;
        self.fired = fired;
        Ok(new)
    }

    /// Whether there is such an event; it stays.
    ///
    /// # Errors
    /// [`Error::Xen`].
    pub fn has_event(&self) -> Result<bool> {
        Ok(self.pages.load_u32(FIRED)? != self.fired)
    }
}
