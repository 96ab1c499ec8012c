//! A client of the guest's own xenstore ring (`xen/io/xs_wire.h`): one request at a time.
//!
//! Watch events that arrive meanwhile are kept, up to [`EVENTS`]; a guest that watches is expected
//! to fetch them. Values are at most one payload, 4096 bytes.

use crate::event;
use core::{
    fmt,
    ptr::addr_of_mut,
    sync::atomic::{AtomicU32, Ordering},
};
use xen_sys::{
    io::xs_wire::{
        XENSTORE_PAYLOAD_MAX, XENSTORE_RING_SIZE, XS_DIRECTORY, XS_ERROR, XS_READ, XS_RM,
        XS_UNWATCH, XS_WATCH, XS_WATCH_EVENT, XS_WRITE, xenstore_domain_interface,
    },
    types::Port,
};

/// Watch events that are kept.
pub const EVENTS: usize = 8;
/// Longest watched path plus token that is kept, bytes.
const EVENT_BYTES: usize = 256;
/// How long the store may take for a reply.
const PATIENCE_S: u64 = 60;
const RING: u32 = XENSTORE_RING_SIZE as u32;

/// What went wrong with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The store refused; its word, `ENOENT` or the like, zero-padded.
    Refused([u8; 16]),
    /// The other end broke the protocol: what was wrong.
    Protocol(&'static str),
    /// Request longer than a payload.
    TooLong,
    /// The reply is not text.
    NotText,
    /// No answer within a minute.
    Silent,
}

impl Error {
    /// Whether the store refused with `word`.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Refused(bytes) if trimmed(bytes) == word.as_bytes())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(word) => f.write_str(str::from_utf8(trimmed(word)).unwrap_or("refused")),
            Self::Protocol(what) => write!(f, "store broke the protocol: {what}"),
            Self::TooLong => f.write_str("request longer than 4096 bytes"),
            Self::NotText => f.write_str("value is not text"),
            Self::Silent => f.write_str("no answer from the store for a minute"),
        }
    }
}

impl fmt::Debug for Error {
    /// As for people: checks print errors next to values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// A watch that fired.
#[derive(Clone, Copy)]
pub struct Event {
    bytes: [u8; EVENT_BYTES],
    path: usize,
    len: usize,
}

impl Event {
    /// The path that changed.
    #[must_use]
    pub fn path(&self) -> &str {
        str::from_utf8(&self.bytes[..self.path]).unwrap_or("")
    }

    /// The token given with the watch.
    #[must_use]
    pub fn token(&self) -> &str {
        str::from_utf8(trimmed(&self.bytes[self.path + 1..self.len])).unwrap_or("")
    }
}

/// The connection.
pub struct Store {
    ring: Ring,
    request: u32,
    reply: [u8; XENSTORE_PAYLOAD_MAX],
    events: [Option<Event>; EVENTS],
    lost: usize,
}

struct Header {
    kind: u32,
    request: u32,
    len: usize,
}

impl Store {
    /// Takes the ring into use.
    ///
    /// # Safety
    ///
    /// `ring` is the mapped store page, and stays mapped.
    #[must_use]
    pub unsafe fn new(ring: *mut xenstore_domain_interface, port: Port) -> Self {
        let ring = Ring { page: ring, port };
        Self { ring, request: 0, reply: [0; _], events: [None; EVENTS], lost: 0 }
    }

    /// The event channel of the ring.
    #[must_use]
    pub fn port(&self) -> Port {
        self.ring.port
    }

    /// Reads a node; a relative path starts at the domain's own directory.
    pub fn read(&mut self, path: &str) -> Result<&str, Error> {
        let len = self.call(XS_READ, &[path.as_bytes(), b"\0"])?;
        str::from_utf8(&self.reply[..len]).map_err(|_| Error::NotText)
    }

    /// Reads a node that holds a decimal number.
    pub fn read_number(&mut self, path: &str) -> Result<u64, Error> {
        self.read(path)?.parse().map_err(|_| Error::NotText)
    }

    /// Lists the children of a node, each ended by a NUL.
    pub fn directory(&mut self, path: &str) -> Result<&str, Error> {
        let len = self.call(XS_DIRECTORY, &[path.as_bytes(), b"\0"])?;
        str::from_utf8(&self.reply[..len]).map_err(|_| Error::NotText)
    }

    /// Writes a node, creating it where the domain may.
    pub fn write(&mut self, path: &str, value: &str) -> Result<(), Error> {
        self.call(XS_WRITE, &[path.as_bytes(), b"\0", value.as_bytes()]).map(drop)
    }

    /// Removes a node and its children.
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        self.call(XS_RM, &[path.as_bytes(), b"\0"]).map(drop)
    }

    /// Watches a node; an event follows at once, as the protocol has it.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.call(XS_WATCH, &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"]).map(drop)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.call(XS_UNWATCH, &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"]).map(drop)
    }

    /// Waits for a watch event, as long as it takes.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.events[0].take() {
                self.events.rotate_left(1);
                return Ok(event);
            }
            let header = self.receive(None)?;
            if header.kind != XS_WATCH_EVENT {
                return Err(Error::Protocol("a reply without a request"));
            }
            self.keep(header.len)?;
        }
    }

    /// Watch events that did not fit since the start.
    #[must_use]
    pub fn lost_events(&self) -> usize {
        self.lost
    }

    /// Sends one request and receives its reply; the reply's length.
    fn call(&mut self, kind: u32, parts: &[&[u8]]) -> Result<usize, Error> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > XENSTORE_PAYLOAD_MAX {
            return Err(Error::TooLong);
        }
        self.request = self.request.wrapping_add(1);
        let mut header = [0; 16];
        for (word, value) in [kind, self.request, 0, len as u32].iter().enumerate() {
            header[4 * word..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let deadline = event::deadline(PATIENCE_S);
        self.ring.send(&header, deadline)?;
        for part in parts {
            self.ring.send(part, deadline)?;
        }
        loop {
            let header = self.receive(Some(deadline))?;
            if header.kind == XS_WATCH_EVENT {
                self.keep(header.len)?;
            } else if header.request != self.request {
                return Err(Error::Protocol("reply to another request"));
            } else if header.kind == XS_ERROR {
                let mut word = [0; 16];
                let len = header.len.min(word.len());
                word[..len].copy_from_slice(&self.reply[..len]);
                return Err(Error::Refused(word));
            } else if header.kind == kind {
                return Ok(header.len);
            } else {
                return Err(Error::Protocol("reply of another type"));
            }
        }
    }

    fn keep(&mut self, len: usize) -> Result<(), Error> {
        let payload = &self.reply[..len];
        let path = payload.iter().position(|byte| *byte == 0);
        let path = path.ok_or(Error::Protocol("watch event without a path"))?;
        match self.events.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) if len <= EVENT_BYTES => {
                let mut bytes = [0; EVENT_BYTES];
                bytes[..len].copy_from_slice(payload);
                *slot = Some(Event { bytes, path, len });
            }
            _ => self.lost += 1,
        }
        Ok(())
    }

    /// Receives one packet; its payload lies in `reply`.
    fn receive(&mut self, deadline: Option<u64>) -> Result<Header, Error> {
        let mut header = [0; 16];
        self.ring.take(&mut header, deadline)?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let len = word(12) as usize;
        if len > XENSTORE_PAYLOAD_MAX {
            return Err(Error::Protocol("payload longer than 4096 bytes"));
        }
        self.ring.take(&mut self.reply[..len], deadline)?;
        Ok(Header { kind: word(0), request: word(4), len })
    }
}

/// The shared page: bytes in, bytes out.
struct Ring {
    page: *mut xenstore_domain_interface,
    port: Port,
}

impl Ring {
    fn index(&self, of: impl FnOnce(*mut xenstore_domain_interface) -> *mut u32) -> &AtomicU32 {
        // SAFETY: the ring page stays mapped and `of` gives the address of one of its indices,
        // which the other end accesses as whole words too.
        unsafe { AtomicU32::from_ptr(of(self.page)) }
    }

    fn wait(&self, deadline: Option<u64>) -> Result<(), Error> {
        if deadline.is_some_and(|deadline| crate::clock::now_ns() >= deadline) {
            return Err(Error::Silent);
        }
        event::wait(&[self.port], deadline).map_err(|_| Error::Protocol("port cannot be polled"))
    }

    fn send(&self, mut bytes: &[u8], deadline: u64) -> Result<(), Error> {
        // SAFETY: only the address of a field of the mapped page is taken.
        let prod = self.index(|ring| unsafe { addr_of_mut!((*ring).req_prod) });
        // SAFETY: as above.
        let cons = self.index(|ring| unsafe { addr_of_mut!((*ring).req_cons) });
        while !bytes.is_empty() {
            let _ = event::take(self.port);
            let first = prod.load(Ordering::Relaxed);
            let used = first.wrapping_sub(cons.load(Ordering::Acquire));
            let room = RING.checked_sub(used).ok_or(Error::Protocol("req_cons runs ahead"))?;
            if room == 0 {
                self.wait(Some(deadline))?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            for (i, byte) in now.iter().enumerate() {
                let at = first.wrapping_add(i as u32) % RING;
                // SAFETY: within the array; bytes beyond req_prod are ours until it moves.
                unsafe {
                    addr_of_mut!((*self.page).req)
                        .cast::<u8>()
                        .add(at as usize)
                        .write_volatile(*byte);
                }
            }
            prod.store(first.wrapping_add(now.len() as u32), Ordering::Release);
            let _ = event::notify(self.port);
            bytes = later;
        }
        Ok(())
    }

    fn take(&self, bytes: &mut [u8], deadline: Option<u64>) -> Result<(), Error> {
        // SAFETY: only the address of a field of the mapped page is taken.
        let cons = self.index(|ring| unsafe { addr_of_mut!((*ring).rsp_cons) });
        // SAFETY: as above.
        let prod = self.index(|ring| unsafe { addr_of_mut!((*ring).rsp_prod) });
        let mut done = 0;
        while done < bytes.len() {
            let _ = event::take(self.port);
            let first = cons.load(Ordering::Relaxed);
            let ready = prod.load(Ordering::Acquire).wrapping_sub(first);
            if ready > RING {
                return Err(Error::Protocol("rsp_prod runs ahead"));
            }
            if ready == 0 {
                self.wait(deadline)?;
                continue;
            }
            let count = (ready as usize).min(bytes.len() - done);
            for (i, byte) in bytes[done..done + count].iter_mut().enumerate() {
                let at = first.wrapping_add(i as u32) % RING;
                // SAFETY: within the array; the other end writes beyond rsp_prod only.
                *byte = unsafe {
                    addr_of_mut!((*self.page).rsp).cast::<u8>().add(at as usize).read_volatile()
                };
            }
            cons.store(first.wrapping_add(count as u32), Ordering::Release);
            let _ = event::notify(self.port);
            done += count;
        }
        Ok(())
    }
}
