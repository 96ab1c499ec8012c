//! Pages that stay granted, and mapped at the backend, after their region was deregistered: the next
//! registration of the same pages needs neither (a pin-down cache). Off unless `XLR_IB_CACHE_PAGES` says how
//! many pages it may hold.
//!
//! What stays is memory only. The device lets go of a region when it is deregistered, as ever: no key
//! reaches the pages from then on. And the guest's kernel gives none of them to anybody else before the
//! backend has unmapped it, whatever the program does to its addresses: it made these pages for the grant,
//! and holds them for as long as the grant is in use. So the worst that an entry can be is useless; whether
//! it is, is looked at before it is used.
//!
//! It is off since the memory of an idle entry is not quite ordinary: it is the kernel's grant device that
//! is mapped there. MADV_DONTNEED takes such pages away and nothing puts zeros in their place (SIGBUS);
//! allocators do that to memory that was freed. And putting ordinary memory back copies it, which nobody
//! may write to meanwhile: so what is idle goes in a process with one thread only. With several, what is
//! kept stays, and what there is no room for is not kept.

use crate::pin::{Pin, pages_of};
use crate::session::{Session, lock};
use ib_protocol::Request;
use std::sync::{Arc, Mutex, OnceLock};

/// What is idle, the oldest first.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

struct Idle {
    session: Arc<Session>,
    /// Where its first page begins.
    start: usize,
    pin: Pin,
    /// The backend's handle of the mapped pages.
    kept: u32,
}

impl Idle {
    fn is(&self, session: &Arc<Session>, start: usize, pages: usize) -> bool {
        Arc::ptr_eq(&self.session, session)
            && self.start == start
            && self.pin.references.len() == pages
    }

    /// Gives it up.
    fn end(self) {
        // A backend that is gone has nothing mapped. Whatever else it says, the kernel waits for it.
        let _ = self.session.request(&Request::UnmapPages(self.kept));
        give_back(self.pin);
    }
}

fn give_back(pin: Pin) {
    match is_alone() {
        true => pin.release(),
        false => pin.abandon(),
    }
}

/// How many pages may be idle.
fn limit_pages() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    let read =
        || std::env::var("XLR_IB_CACHE_PAGES").ok().and_then(|text| text.trim().parse().ok());
    *LIMIT.get_or_init(|| read().unwrap_or(0))
}

/// Whether no other thread could write to memory meanwhile.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Whether the pages of a region that is being deregistered shall stay.
pub fn wants(pin: &Pin) -> bool {
    let (limit, pages) = (limit_pages(), pin.references.len());
    if limit == 0 || pages > limit {
        return false;
    }
    pages + held(&lock(&IDLE)) <= limit || is_alone()
}

fn held(idle: &[Idle]) -> usize {
    idle.iter().map(|one| one.pin.references.len()).sum()
}

/// Keeps pages that stayed mapped; others go for them, the oldest first.
pub fn keep(session: &Arc<Session>, address: usize, length: usize, pin: Pin, kept: u32) {
    let start = pages_of(address, length).map_or(address, |pages| pages.start);
    let one = Idle { session: Arc::clone(session), start, pin, kept };
    let (mut idle, mut over) = (lock(&IDLE), Vec::new());
    idle.push(one);
    while held(&idle) > limit_pages() {
        over.push(idle.remove(0));
    }
    drop(idle);
    over.into_iter().for_each(Idle::end);
}

/// The pages of `length` bytes at `address`, if they are idle and still there, and the backend's handle.
pub fn take(session: &Arc<Session>, address: usize, length: usize) -> Option<(Pin, u32)> {
    if limit_pages() == 0 {
        return None;
    }
    let range = pages_of(address, length)?;
    let pages = range.len() / ib_protocol::PAGE_BYTES;
    let mut idle = lock(&IDLE);
    let at = idle.iter().position(|one| one.is(session, range.start, pages))?;
    let one = idle.remove(at);
    drop(idle);
    if one.pin.is_there() {
        return Some((one.pin, one.kept));
    }
    // The program has mapped something else there.
    one.end();
    None
}

/// Gives up what was taken.
pub fn drop_taken(session: &Arc<Session>, pin: Pin, kept: u32) {
    Idle { session: Arc::clone(session), start: 0, pin, kept }.end();
}

/// Gives up all that is idle, if that can be; whether there was anything.
pub fn clear() -> bool {
    if limit_pages() == 0 || !is_alone() {
        return false;
    }
    let all = std::mem::take(&mut *lock(&IDLE));
    let any = !all.is_empty();
    all.into_iter().for_each(Idle::end);
    any
}

/// Forgets what a session had, which has been closed.
pub fn forget(session: &Arc<Session>) {
    let mut idle = lock(&IDLE);
    let (gone, left) =
        std::mem::take(&mut *idle).into_iter().partition(|one| Arc::ptr_eq(&one.session, session));
    *idle = left;
    drop(idle);
    let gone: Vec<Idle> = gone;
    gone.into_iter().for_each(|one| give_back(one.pin));
}
