//! Does to the store what a guest should not, by `how=`:
//!
//! * `indices`: a ring index that makes no sense; `long`: a message that is longer than the protocol
//!   allows. Either waits for the error field, asks for a reconnection, and uses the store again.
//! * `partial`: half of a request, for ever.
//! * `flood`: requests without end, their replies thrown away.
//! * `sleep`: requests and watches whose replies and events it never takes.
#![no_std]
#![no_main]

use core::{
    mem::offset_of,
    sync::atomic::{AtomicU32, Ordering},
};
use xtf::{
    Guest, Outcome, event,
    xen_sys::{
        io::xs_wire::{
            XENSTORE_ERROR_PROTO, XENSTORE_ERROR_RINGIDX, XENSTORE_RECONNECT, XENSTORE_RING_SIZE,
            XS_READ, XS_WATCH, XS_WRITE, xenstore_domain_interface as Raw,
        },
        types::Port,
    },
};

xtf::main!(attack);

const RING: u32 = XENSTORE_RING_SIZE as u32;
const PATIENCE_S: u64 = 30;

/// The shared page.
struct Page {
    base: *mut u8,
    port: Port,
}

impl Page {
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the ring page stays mapped for the life of the guest, and `offset` is that of one of
        // its words, which the other end accesses as a whole too.
        unsafe { AtomicU32::from_ptr(self.base.add(offset).cast()) }
    }

    fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    fn notify(&self) {
        let _ = event::notify(self.port);
    }

    /// Puts bytes into the ring, if there is room for all of them.
    fn put(&self, bytes: &[u8]) -> bool {
        let prod = self.load(offset_of!(Raw, req_prod));
        let used = prod.wrapping_sub(self.load(offset_of!(Raw, req_cons)));
        if (RING.wrapping_sub(used) as usize) < bytes.len() {
            return false;
        }
        for (at, byte) in bytes.iter().enumerate() {
            let index = prod.wrapping_add(at as u32) % RING;
            // SAFETY: within the array; bytes beyond req_prod are ours until it moves.
            unsafe { self.base.add(index as usize).write_volatile(*byte) };
        }
        self.store(offset_of!(Raw, req_prod), prod.wrapping_add(bytes.len() as u32));
        self.notify();
        true
    }

    /// Waits for an event of the ring, or a while.
    fn wait(&self, deadline: Option<u64>) {
        let _ = event::wait(&[self.port], deadline);
        let _ = event::take(self.port);
    }

    /// Waits until a word is what is wanted; whether it became that.
    fn until(&self, offset: usize, wanted: impl Fn(u32) -> bool) -> bool {
        let deadline = event::deadline(PATIENCE_S);
        while !wanted(self.load(offset)) {
            if xtf::clock::now_ns() >= deadline {
                return false;
            }
            self.wait(Some(deadline));
        }
        true
    }
}

fn header(kind: u32, len: usize) -> [u8; 16] {
    let mut header = [0; 16];
    for (word, value) in [kind, 1, 0, len as u32].iter().enumerate() {
        header[4 * word..][..4].copy_from_slice(&value.to_le_bytes());
    }
    header
}

/// A request of one short payload.
fn request<'a>(buffer: &'a mut [u8; 64], kind: u32, payload: &[u8]) -> &'a [u8] {
    buffer[..16].copy_from_slice(&header(kind, payload.len()));
    buffer[16..16 + payload.len()].copy_from_slice(payload);
    &buffer[..16 + payload.len()]
}

fn attack(guest: &mut Guest) -> Outcome {
    let (frame, port) = guest.boot.store();
    let Some(base) = guest.boot.va_of(frame) else { return Outcome::Error("no store page") };
    let page = Page { base: base as *mut u8, port };
    let mut buffer = [0; 64];
    match guest.option("how").unwrap_or("") {
        "indices" => {
            let prod = page.load(offset_of!(Raw, req_cons)).wrapping_add(5000);
            page.store(offset_of!(Raw, req_prod), prod);
            page.notify();
            recover(guest, &page, XENSTORE_ERROR_RINGIDX)
        }
        "long" => {
            page.put(&header(XS_READ, 5000));
            recover(guest, &page, XENSTORE_ERROR_PROTO)
        }
        "partial" => {
            page.put(&header(XS_WRITE, 3000));
            page.put(&[b'x'; 800]);
            xtf::println!("xtf: attacks");
            loop {
                page.wait(None);
            }
        }
        "flood" => {
            xtf::println!("xtf: attacks");
            let bytes = request(&mut buffer, XS_READ, b"name\0");
            loop {
                if !page.put(bytes) {
                    page.wait(Some(event::deadline(1)));
                }
                let sent = page.load(offset_of!(Raw, rsp_prod));
                page.store(offset_of!(Raw, rsp_cons), sent);
            }
        }
        "sleep" => {
            page.put(request(&mut buffer, XS_WATCH, b"data\0token\0"));
            for _ in 0..40 {
                page.put(request(&mut buffer, XS_READ, b"name\0"));
            }
            xtf::println!("xtf: attacks");
            loop {
                page.wait(None);
            }
        }
        _ => Outcome::Error("how= says nothing known"),
    }
}

/// The store says what is wrong, and serves again after a reconnection.
fn recover(guest: &mut Guest, page: &Page, error: u32) -> Outcome {
    let told = page.until(offset_of!(Raw, error), |found| found != 0);
    let found = page.load(offset_of!(Raw, error));
    guest.checks.check(told && found == error, format_args!("error field {found}, not {error}"));
    page.store(offset_of!(Raw, connection), XENSTORE_RECONNECT);
    page.notify();
    let anew = page.until(offset_of!(Raw, connection), |state| state == 0);
    guest.checks.check(anew, format_args!("no reconnection"));
    let found = page.load(offset_of!(Raw, error));
    guest.checks.check(found == 0, format_args!("error field {found} after the reconnection"));
    let domid = guest.store.read_number("domid");
    guest.checks.check(domid.is_ok(), format_args!("domid: {domid:?}"));
    guest.checks.verdict()
}
