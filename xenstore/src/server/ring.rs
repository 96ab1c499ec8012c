//! A xenstore ring page as a transport (`misc/xenstore-ring.txt` of the Xen documentation).
//!
//! The peer can write every byte of the page at any time. The positions of the server's own two
//! indices are therefore the server's, never read back from the page; the peer's two are read once
//! per use and checked. What is read is a copy.

use std::mem::offset_of;

use xen_sys::io::ring_index::RingSize;
use xen_sys::io::xs_wire::{
    XENSTORE_CONNECTED, XENSTORE_ERROR_NONE, XENSTORE_RECONNECT, xenstore_domain_interface as Raw,
};

use super::fault::Fault;
use super::transport::Transport;

const REQ: usize = offset_of!(Raw, req);
const RSP: usize = offset_of!(Raw, rsp);
const REQ_CONS: usize = offset_of!(Raw, req_cons);
const REQ_PROD: usize = offset_of!(Raw, req_prod);
const RSP_CONS: usize = offset_of!(Raw, rsp_cons);
const RSP_PROD: usize = offset_of!(Raw, rsp_prod);
const FEATURES: usize = offset_of!(Raw, server_features);
const CONNECTION: usize = offset_of!(Raw, connection);
const ERROR: usize = offset_of!(Raw, error);

/// A shared page, and the way to wake the other end. Offsets lie within the page, those of words at
/// multiples of four.
pub trait Page {
    /// Copies out of the page.
    ///
    /// # Errors
    /// The page cannot be reached.
    fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Copies into the page.
    ///
    /// # Errors
    /// The page cannot be reached.
    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Fault>;

    /// Reads a word, and with it all that its writer wrote before.
    ///
    /// # Errors
    /// The page cannot be reached.
    fn load(&self, offset: usize) -> Result<u32, Fault>;

    /// Writes a word after all that was written before.
    ///
    /// # Errors
    /// The page cannot be reached.
    fn store(&self, offset: usize, value: u32) -> Result<(), Fault>;

    /// Signals the event channel.
    ///
    /// # Errors
    /// It is not bound any more.
    fn signal(&self) -> Result<(), Fault>;
}

/// The ring in a page.
#[derive(Debug)]
pub struct PageRing<P> {
    page: P,
    /// What was last published as `req_cons`.
    published: u32,
}

impl<P: Page> PageRing<P> {
    /// Takes a page as it is; nothing in it is changed.
    ///
    /// # Errors
    /// The page cannot be reached.
    pub fn new(page: P) -> Result<Self, Fault> {
        let published = page.load(REQ_CONS)?;
        Ok(Self { page, published })
    }

    /// Where a server that knows nothing of the ring's past goes on: `req_cons` and `rsp_prod`.
    ///
    /// # Errors
    /// The page cannot be reached.
    pub fn positions(&self) -> Result<(u32, u32), Fault> {
        Ok((self.page.load(REQ_CONS)?, self.page.load(RSP_PROD)?))
    }

    /// The page.
    pub const fn page(&self) -> &P {
        &self.page
    }
}

impl<P: Page> Transport for PageRing<P> {
    fn receive(&mut self, at: u32, buffer: &mut Vec<u8>) -> Result<usize, Fault> {
        let produced = self.page.load(REQ_PROD)?;
        let waiting = RingSize::XENSTORE.waiting(at, produced)?;
        for span in RingSize::XENSTORE.spans(at, waiting) {
            let start = buffer.len();
            buffer.resize(start + span.len(), 0);
            self.page.read(REQ + span.start, &mut buffer[start..])?;
        }
        Ok(waiting as usize)
    }

    fn taken(&mut self, at: u32) -> Result<bool, Fault> {
        if self.published == at {
            return Ok(false);
        }
        self.page.store(REQ_CONS, at)?;
        self.published = at;
        Ok(true)
    }

    fn send(&mut self, at: u32, bytes: &[u8]) -> Result<usize, Fault> {
        let consumed = self.page.load(RSP_CONS)?;
        let room = RingSize::XENSTORE.room(consumed, at)?;
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(room);
        if count == 0 {
            return Ok(0);
        }
        let mut rest = bytes;
        for span in RingSize::XENSTORE.spans(at, count) {
            let (now, later) = rest.split_at(span.len());
            self.page.write(RSP + span.start, now)?;
            rest = later;
        }
        self.page.store(RSP_PROD, at.wrapping_add(count))?;
        Ok(count as usize)
    }

    fn published(&self, _at: u32) -> Result<Option<(u32, u32)>, Fault> {
        self.positions().map(Some)
    }

    fn notify(&mut self) -> Result<(), Fault> {
        self.page.signal()
    }

    fn asks_for_reset(&self) -> bool {
        self.page.load(CONNECTION).is_ok_and(|state| state == XENSTORE_RECONNECT)
    }

    fn reset(&mut self, features: u32) -> Result<(), Fault> {
        self.advertise(features)?;
        // The server's first index last: as long as it is what it was, the ring is not empty yet.
        for index in [REQ_PROD, RSP_CONS, RSP_PROD, REQ_CONS] {
            self.page.store(index, 0)?;
        }
        self.published = 0;
        Ok(())
    }

    fn advertise(&mut self, features: u32) -> Result<(), Fault> {
        self.page.store(ERROR, XENSTORE_ERROR_NONE)?;
        self.page.store(FEATURES, features)
    }

    fn reset_done(&mut self) -> Result<(), Fault> {
        if self.page.load(CONNECTION)? == XENSTORE_CONNECTED {
            return Ok(());
        }
        self.page.store(CONNECTION, XENSTORE_CONNECTED)?;
        self.page.signal()
    }

    fn park(&mut self, fault: &Fault) {
        // A page or a channel that cannot be reached leaves nobody to be told.
        let _ = self.page.store(ERROR, fault.ring_code());
        let _ = self.page.signal();
    }
}
