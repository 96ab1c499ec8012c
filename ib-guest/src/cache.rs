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
//! may write to meanwhile: so in a process with several threads what is let go of stays granted memory until
//! the program unmaps it. There it is let go of when the room is needed for something else only, what there
//! is no room for is not kept, and half of what the guest may have is left to others.

use crate::error::Result;
use crate::pin::{Pin, is_kept_from_children, pages_of};
use crate::process::PerProcess;
use crate::session::{Session, lock};
use ib_protocol::Request;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// What is idle, the oldest first. A child has nothing of it: it could not even speak to the backend.
fn idle() -> MutexGuard<'static, Vec<Idle>> {
    static IDLE: PerProcess<Mutex<Vec<Idle>>> = PerProcess::new();
    lock(IDLE.get())
}

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
pub fn wants(session: &Session, pin: &Pin) -> bool {
    let (limit, pages) = (limit_pages(), pin.references.len());
    if limit == 0 || pages > limit {
        return false;
    }
    let others = Others { alone: is_alone(), children: is_kept_from_children() };
    stays(pages + held(&idle()), limit, session.pages_most(), others)
}

/// Who else may come to the memory.
#[derive(Clone, Copy)]
struct Others {
    /// No other thread.
    alone: bool,
    /// Children are not to have what is registered; what is not registered any more they shall have.
    children: bool,
}

/// Whether pages stay, with which so many would be idle: of `limit`, in a guest that may have `most`.
const fn stays(pages: usize, limit: usize, most: usize, others: Others) -> bool {
    others.alone || (!others.children && pages <= limit && pages <= most / 2)
}

fn held(idle: &[Idle]) -> usize {
    idle.iter().map(|one| one.pin.references.len()).sum()
}

/// Keeps pages that stayed mapped; others go for them, the oldest first.
pub fn keep(session: &Arc<Session>, address: usize, length: usize, pin: Pin, kept: u32) {
    let start = pages_of(address, length).map_or(address, |pages| pages.start);
    let one = Idle { session: Arc::clone(session), start, pin, kept };
    let (mut idle, mut over) = (idle(), Vec::new());
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
    let mut idle = idle();
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

/// Makes something; if it is room that is missing, again without what is idle.
pub fn or_clear<T>(make: impl Fn() -> Result<T>) -> Result<T> {
    match make() {
        Err(error) if error.is_want_of_room() && clear() => make(),
        made => made,
    }
}

/// Gives up all that is idle; whether there was anything.
fn clear() -> bool {
    if limit_pages() == 0 {
        return false;
    }
    let all = std::mem::take(&mut *idle());
    let any = !all.is_empty();
    all.into_iter().for_each(Idle::end);
    any
}

/// A child would share memory that is still granted though it is no region any more: it goes, if it can
/// become ordinary memory; or would lack it, if it was not to have what is registered.
pub fn clear_before_fork() {
    if limit_pages() > 0 && (is_alone() || is_kept_from_children()) {
        clear();
    }
}

/// Forgets what a session had, which has been closed.
pub fn forget(session: &Arc<Session>) {
    let mut idle = idle();
    let (gone, left) =
        std::mem::take(&mut *idle).into_iter().partition(|one| Arc::ptr_eq(&one.session, session));
    *idle = left;
    drop(idle);
    let gone: Vec<Idle> = gone;
    gone.into_iter().for_each(|one| give_back(one.pin));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_threads_half_of_what_the_guest_may_have_is_left() {
        let check = |pages, limit, (alone, children), expected| {
            let others = Others { alone, children };
            assert_eq!(stays(pages, limit, 1024, others), expected, "{pages} of {limit}");
        };
        // The oldest go for the newest.
        check(2000, 1024, (true, false), true);
        check(512, 1024, (false, false), true);
        check(513, 1024, (false, false), false);
        check(64, 64, (false, false), true);
        check(65, 64, (false, false), false);
        // Nothing can make it memory that children have.
        check(1, 64, (false, true), false);
        check(1, 64, (true, true), true);
    }
}
