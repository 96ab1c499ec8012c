//! Consoles beyond the first: the guest's end of a ring that it sets up itself.
//!
//! Nothing waits here: bytes are put in and taken out as far as there is room.

use crate::{Guest, event, grant, hypercall::Errno, memory};
use core::{
    fmt::Write as _,
    ptr::addr_of_mut,
    sync::atomic::{AtomicU32, Ordering},
};
use xen_sys::{
    io::console::xencons_interface,
    types::{Domid, GrantRef, Port},
};

/// References below are the builder's.
const FIRST_REFERENCE: u32 = 8;
const IN_BYTES: u32 = 1024;
const OUT_BYTES: u32 = 2048;

/// A connected channel.
pub struct Channel {
    /// Its number, from 1 on.
    pub number: u32,
    /// The event channel.
    pub port: Port,
    ring: *mut xencons_interface,
}

/// A short text without a heap.
pub struct Text {
    bytes: [u8; 64],
    len: usize,
}

impl Text {
    /// The text of some arguments; what is too long is cut.
    #[must_use]
    pub fn of(arguments: core::fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; 64], len: 0 };
        let _ = text.write_fmt(arguments);
        text
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.len() - self.len;
        let count = text.len().min(room);
        self.bytes[self.len..self.len + count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        if count == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

impl Channel {
    /// A ring for channel `number`, granted to domain 0, with a port of its own; nobody is told yet.
    pub fn new(guest: &Guest, number: u32) -> Result<Self, Errno> {
        let address = memory::shared_page(number as usize - 1);
        let frame = guest.boot.mfn_of_va(address).ok_or(Errno::NO_ENTRY)?;
        let reference = GrantRef(FIRST_REFERENCE + number);
        grant::permit(grant::first_frame()?, reference, frame, Domid(0))?;
        let port = event::allocate(Domid(0))?;
        Ok(Self { number, port, ring: address as *mut xencons_interface })
    }

    /// Where its nodes are.
    #[must_use]
    pub fn node(&self, name: &str) -> Text {
        Text::of(format_args!("device/console/{}/{name}", self.number))
    }

    /// Tells the backend of ring and port.
    pub fn publish(&self, guest: &mut Guest) -> Result<(), crate::store::Error> {
        let reference = Text::of(format_args!("{}", FIRST_REFERENCE + self.number));
        let port = Text::of(format_args!("{}", self.port.0));
        guest.store.write(self.node("ring-ref").as_str(), reference.as_str())?;
        guest.store.write(self.node("port").as_str(), port.as_str())?;
        guest.store.write(self.node("state").as_str(), "3")
    }

    /// Empties the ring, for a new connection.
    pub fn reset(&mut self) {
        for index in [self.in_cons(), self.in_prod(), self.out_cons(), self.out_prod()] {
            index.store(0, Ordering::Release);
        }
    }

    /// Claims that `count` bytes wait, whether the ring has them or not.
    pub fn claim(&mut self, count: u32) {
        let cons = self.out_cons().load(Ordering::Acquire);
        self.out_prod().store(cons.wrapping_add(count), Ordering::Release);
        let _ = event::notify(self.port);
    }

    /// How many bytes fit in.
    #[must_use]
    pub fn room(&self) -> usize {
        let prod = self.out_prod().load(Ordering::Relaxed);
        let used = prod.wrapping_sub(self.out_cons().load(Ordering::Acquire));
        OUT_BYTES.saturating_sub(used) as usize
    }

    /// Sends as many bytes as fit; how many did.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let page = self.ring;
        let prod = self.out_prod().load(Ordering::Relaxed);
        let count = bytes.len().min(self.room());
        for (i, byte) in bytes[..count].iter().enumerate() {
            let at = prod.wrapping_add(i as u32) % OUT_BYTES;
            // SAFETY: within the array; bytes beyond out_prod are ours until it moves.
            unsafe {
                addr_of_mut!((*page).out).cast::<u8>().add(at as usize).write_volatile(*byte)
            };
        }
        self.out_prod().store(prod.wrapping_add(count as u32), Ordering::Release);
        if count > 0 {
            let _ = event::notify(self.port);
        }
        count
    }

    /// Takes what has come, as much as fits; how much that is.
    pub fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let page = self.ring;
        let first = self.in_cons().load(Ordering::Relaxed);
        let come = self.in_prod().load(Ordering::Acquire).wrapping_sub(first).min(IN_BYTES);
        let count = (come as usize).min(buffer.len());
        for (i, byte) in buffer[..count].iter_mut().enumerate() {
            let at = first.wrapping_add(i as u32) % IN_BYTES;
            // SAFETY: within the array; the other end writes beyond in_prod only.
            *byte =
                unsafe { addr_of_mut!((*page).r#in).cast::<u8>().add(at as usize).read_volatile() };
        }
        self.in_cons().store(first.wrapping_add(count as u32), Ordering::Release);
        if count > 0 {
            let _ = event::notify(self.port);
        }
        count
    }

    fn index(&self, of: impl FnOnce(*mut xencons_interface) -> *mut u32) -> &AtomicU32 {
        // SAFETY: the page is part of the image and `of` gives the address of one of its indices,
        // which the other end accesses as whole words too.
        unsafe { AtomicU32::from_ptr(of(self.ring)) }
    }

    fn in_cons(&self) -> &AtomicU32 {
        // SAFETY: only the address of a field of the page is taken.
        self.index(|ring| unsafe { addr_of_mut!((*ring).in_cons) })
    }

    fn in_prod(&self) -> &AtomicU32 {
        // SAFETY: as above.
        self.index(|ring| unsafe { addr_of_mut!((*ring).in_prod) })
    }

    fn out_cons(&self) -> &AtomicU32 {
        // SAFETY: as above.
        self.index(|ring| unsafe { addr_of_mut!((*ring).out_cons) })
    }

    fn out_prod(&self) -> &AtomicU32 {
        // SAFETY: as above.
        self.index(|ring| unsafe { addr_of_mut!((*ring).out_prod) })
    }
}
