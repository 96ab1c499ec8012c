//! The PV console: a ring that a daemon in the control domain empties (`xen/io/console.h`).
//!
//! Writing waits for room by the ring's event channel. When nothing is taken from a full ring for
//! ten seconds, the rest is dropped: a test must end without a console daemon too.

use crate::{event, hypercall, single::Single};
use core::{
    fmt::{self, Write},
    ptr::addr_of_mut,
    sync::atomic::{AtomicU32, Ordering},
};
use xen_sys::{io::console::xencons_interface, types::Port};

/// How long a full ring may stay full.
const PATIENCE_S: u64 = 10;
const OUT_BYTES: u32 = 2048;
const IN_BYTES: u32 = 1024;

static CONSOLE: Single<Option<Console>> = Single::new(None);

struct Console {
    ring: *mut xencons_interface,
    port: Port,
    dead: bool,
}

/// Prints to the console, with a newline.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Takes the ring into use.
///
/// # Safety
///
/// `ring` is the mapped console page, and stays mapped.
pub unsafe fn init(ring: *mut xencons_interface, port: Port) {
    CONSOLE.with(|console| *console = Some(Console { ring, port, dead: false }));
}

/// Prints to the console, or to Xen's own while the ring is not in use.
pub fn print(text: fmt::Arguments) {
    let printed = CONSOLE.with(|console| match console {
        Some(console) => console.write_fmt(text),
        None => Emergency.write_fmt(text),
    });
    if printed.is_none() {
        // A panic in the middle of printing.
        let _ = Emergency.write_fmt(text);
    }
}

/// Waits until everything printed has been taken, within the same patience.
pub fn flush() {
    CONSOLE.with(|console| console.as_mut().map(|console| console.wait_for_room(OUT_BYTES)));
}

/// Takes what was typed, without waiting; the number of bytes.
pub fn read(buffer: &mut [u8]) -> usize {
    let taken = CONSOLE.with(|console| console.as_mut().map(|console| console.read(buffer)));
    taken.flatten().unwrap_or(0)
}

/// The event channel that tells of typed bytes and of room.
#[must_use]
pub fn port() -> Option<Port> {
    CONSOLE.with(|console| console.as_ref().map(|console| console.port)).flatten()
}

impl Console {
    fn index(&self, of: impl FnOnce(*mut xencons_interface) -> *mut u32) -> &AtomicU32 {
        // SAFETY: the ring page stays mapped and `of` gives the address of one of its indices,
        // which the other end accesses as whole words too.
        unsafe { AtomicU32::from_ptr(of(self.ring)) }
    }

    fn out_prod(&self) -> &AtomicU32 {
        // SAFETY: only the address of a field of the mapped page is taken.
        self.index(|ring| unsafe { addr_of_mut!((*ring).out_prod) })
    }

    fn out_cons(&self) -> &AtomicU32 {
        // SAFETY: as above.
        self.index(|ring| unsafe { addr_of_mut!((*ring).out_cons) })
    }

    /// Waits for `wanted` free bytes; whether they came.
    fn wait_for_room(&mut self, wanted: u32) -> bool {
        let mut deadline = event::deadline(PATIENCE_S);
        let mut seen = self.out_cons().load(Ordering::Acquire);
        loop {
            // Before looking, so that an event after the look ends the wait.
            let _ = event::take(self.port);
            let taken = self.out_cons().load(Ordering::Acquire);
            let used = self.out_prod().load(Ordering::Relaxed).wrapping_sub(taken);
            if OUT_BYTES.saturating_sub(used) >= wanted {
                return true;
            }
            if taken != seen {
                seen = taken;
                deadline = event::deadline(PATIENCE_S);
            } else if crate::clock::now_ns() >= deadline {
                self.dead = true;
            }
            if self.dead || event::wait(&[self.port], Some(deadline)).is_err() {
                return false;
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        let page = self.ring;
        while !bytes.is_empty() {
            if self.dead || !self.wait_for_room(1) {
                return;
            }
            let prod = self.out_prod().load(Ordering::Relaxed);
            let used = prod.wrapping_sub(self.out_cons().load(Ordering::Acquire));
            let room = OUT_BYTES.saturating_sub(used) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            for (i, byte) in now.iter().enumerate() {
                let at = prod.wrapping_add(i as u32) % OUT_BYTES;
                // SAFETY: within the array; bytes beyond out_prod are ours until it moves.
                unsafe {
                    addr_of_mut!((*page).out).cast::<u8>().add(at as usize).write_volatile(*byte);
                }
            }
            self.out_prod().store(prod.wrapping_add(now.len() as u32), Ordering::Release);
            let _ = event::notify(self.port);
            bytes = later;
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let page = self.ring;
        // SAFETY: as in `out_prod`.
        let cons = self.index(|ring| unsafe { addr_of_mut!((*ring).in_cons) });
        // SAFETY: as in `out_prod`.
        let prod = self.index(|ring| unsafe { addr_of_mut!((*ring).in_prod) });
        let first = cons.load(Ordering::Relaxed);
        let typed = prod.load(Ordering::Acquire).wrapping_sub(first).min(IN_BYTES) as usize;
        let count = typed.min(buffer.len());
        for (i, byte) in buffer[..count].iter_mut().enumerate() {
            let at = first.wrapping_add(i as u32) % IN_BYTES;
            // SAFETY: within the array; the other end writes beyond in_prod only.
            *byte =
                unsafe { addr_of_mut!((*page).r#in).cast::<u8>().add(at as usize).read_volatile() };
        }
        cons.store(first.wrapping_add(count as u32), Ordering::Release);
        if count > 0 {
            let _ = event::notify(self.port);
        }
        count
    }
}

impl Write for Console {
    /// Terminals want a carriage return before a newline.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next() {
            self.write(first.as_bytes());
        }
        for line in lines {
            self.write(b"\r\n");
            self.write(line.as_bytes());
        }
        Ok(())
    }
}

struct Emergency;

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        hypercall::emergency_console(text.as_bytes());
        Ok(())
    }
}
