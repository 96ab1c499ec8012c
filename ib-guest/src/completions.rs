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
const _: () = assert!(CompletionHeader::FIELDS[0].offset == CONSUMER);
const _: () = assert!(CompletionHeader::FIELDS[1].offset == NOTIFY);
const _: () = assert!(CompletionHeader::FIELDS[2].offset == PRODUCER);
const _: () = assert!(CompletionHeader::FIELDS[3].offset == FIRED);

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

    /// Takes up to `most` completions, and hands each to `take`. Returns how many there were.
    ///
    /// # Errors
    /// [`Error::Ring`].
    #[inline]
    pub fn poll(&mut self, most: u32, mut take: impl FnMut(u32, Completion)) -> Result<u32> {
        let producer = self.pages.load_u32(PRODUCER)?;
        if producer == self.consumed {
            return Ok(0);
        }
        let count = available(producer, self.consumed, self.ring.slots)?.min(most);
        for index in 0..count {
            let mut slot = [0; Completion::SIZE];
            let at = self.ring.slot(self.consumed.wrapping_add(index));
            self.pages.read(at, &mut slot)?;
            take(index, Completion::decode(&slot));
        }
        self.consumed = self.consumed.wrapping_add(count);
        self.pages.store_u32(CONSUMER, self.consumed)?;
        Ok(count)
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
        let new = fired != self.fired && fired == self.armed;
        self.fired = fired;
        Ok(new)
    }

    /// Whether there is such an event; it stays.
    ///
    /// # Errors
    /// [`Error::Xen`].
    pub fn has_event(&self) -> Result<bool> {
        let fired = self.pages.load_u32(FIRED)?;
        Ok(fired != self.fired && fired == self.armed)
    }
}
