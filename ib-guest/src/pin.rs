//! Memory of the program that the backend may map: granted where it is, page by page, for as long as a
//! memory region covers it.
//!
//! In: ranges that a program registers, which may share pages. Out: one grant reference per page. What
//! is granted stands in one table of the process, as its memory is one. Memory is replaced in place
//! (`libxc_safe::GrantedRange`): a thread that writes to these pages while they are registered or
//! deregistered can lose that write, which no verbs program does to a buffer, and which can happen to
//! what merely shares its first or last page.

use crate::error::{Error, Result};
use crate::session::{Session, lock};
use ib_protocol::PAGE_BYTES;
use libxc_safe::{GrantRef, GrantedRange};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Mutex;

/// What is granted, by where it begins. No two overlap.
static GRANTED: Mutex<BTreeMap<usize, Granted>> = Mutex::new(BTreeMap::new());

struct Granted {
    range: GrantedRange,
    /// How many pins cover some of it.
    users: usize,
}

impl Granted {
    fn end(&self, start: usize) -> usize {
        start + self.range.references().len() * PAGE_BYTES
    }
}

/// Pages that stay granted until [`Pin::release`].
#[derive(Debug)]
pub struct Pin {
    pages: Range<usize>,
    /// One for each page.
    pub references: Vec<GrantRef>,
}

impl Pin {
    /// Grants the pages of `length` bytes at `address`.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Xen`]: nothing more is granted than before.
    pub fn new(session: &Session, address: usize, length: usize) -> Result<Self> {
        let refused = |why| Error::Memory { address, why };
        let end =
            address.checked_add(length).and_then(|end| end.checked_next_multiple_of(PAGE_BYTES));
        let end = end.filter(|_| length > 0).ok_or_else(|| refused("no such range"))?;
        let mut pin = Self { pages: address - address % PAGE_BYTES..end, references: Vec::new() };
        let here = std::ptr::from_ref(&pin).addr();
        if pin.pages.contains(&here) {
            return Err(refused("this thread's stack is in it"));
        }
        if !is_private(&pin.pages) {
            return Err(refused("it is not private memory that can be written"));
        }
        let mut granted = lock(&GRANTED);
        let mut at = pin.pages.start;
        while at < end {
            let covering = granted.range_mut(..=at).next_back();
            match covering.filter(|(start, one)| one.end(**start) > at) {
                Some((&start, one)) => {
                    one.users += 1;
                    let from = (at - start) / PAGE_BYTES;
                    let to = (end.min(one.end(start)) - start) / PAGE_BYTES;
                    pin.references.extend_from_slice(&one.range.references()[from..to]);
                    at = start + to * PAGE_BYTES;
                }
                None => {
                    let next = granted.range(at..end).next().map_or(end, |(start, _)| *start);
                    let pages = (next - at) / PAGE_BYTES;
                    let range = grant(session, at, pages).inspect_err(|_| {
                        release(&mut granted, pin.pages.start..at);
                    })?;
                    granted.insert(at, Granted { range, users: 0 });
                }
            }
        }
        Ok(pin)
    }

    /// Gives the pages back that no other pin covers.
    pub fn release(self) {
        release(&mut lock(&GRANTED), self.pages);
    }
}

fn grant(session: &Session, at: usize, pages: usize) -> Result<GrantedRange> {
    let start = NonNull::new(std::ptr::with_exposed_provenance_mut(at));
    let start = start.ok_or(Error::Memory { address: at, why: "no such range" })?;
    // SAFETY: these pages were found to be private, mapped and writable, and they are not this thread's
    // stack. They are the buffer that the program registers: by the rules of verbs it is mapped until it
    // is deregistered, nobody writes to it meanwhile, and what the device does to it is what it is for.
    Ok(unsafe { session.allocator.grant_in_place(session.backend, start, pages) }?)
}

/// One pin less covers `pages`; what none covers becomes ordinary memory again.
fn release(granted: &mut BTreeMap<usize, Granted>, pages: Range<usize>) {
    let touched: Vec<usize> = granted
        .range(..pages.end)
        .rev()
        .take_while(|(start, one)| one.end(**start) > pages.start)
        .map(|(start, _)| *start)
        .collect();
    for start in touched {
        let Some(one) = granted.get_mut(&start) else { continue };
        one.users = one.users.saturating_sub(1);
        if one.users > 0 {
            continue;
        }
        let Some(one) = granted.remove(&start) else { continue };
        if !is_granted(start..one.end(start)) {
            // The program has unmapped its buffer before it deregistered it.
            continue;
        }
        // SAFETY: this range is still mapped as it was granted, and the program deregisters it: as above.
        // Memory that cannot be put back stays as it is, usable, until the program unmaps it.
        let _ = unsafe { one.range.restore() };
    }
}

/// Whether all of a range is mapped privately for reading and writing, or granted already.
fn is_private(range: &Range<usize>) -> bool {
    covered(range, |rights, path| rights == "rw-p" || (rights == "rw-s" && path == GRANTS))
}

/// Whether all of a range is mapped as the kernel grants it.
fn is_granted(range: Range<usize>) -> bool {
    covered(&range, |_, path| path == GRANTS)
}

/// How the kernel calls memory that it grants.
const GRANTS: &str = "/dev/xen/gntalloc";

fn covered(range: &Range<usize>, good: impl Fn(&str, &str) -> bool) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    covered_by(&maps, range, good)
}

/// Whether lines of `maps` for which `good` holds cover a range.
fn covered_by(maps: &str, range: &Range<usize>, good: impl Fn(&str, &str) -> bool) -> bool {
    let mut at = range.start;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(place), Some(rights)) = (words.next(), words.next()) else { return false };
        let hexadecimal = |text: &str| usize::from_str_radix(text, 16).ok();
        let bounds = place.split_once('-').map(|(a, b)| (hexadecimal(a), hexadecimal(b)));
        let Some((Some(start), Some(end))) = bounds else { return false };
        if start <= at && at < end {
            if !good(rights, words.nth(3).unwrap_or_default()) {
                return false;
            }
            at = end;
            if at >= range.end {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_covered_without_holes() {
        let maps = "1000-3000 rw-p 00000000 00:00 0 \n\
                    3000-4000 rw-s 00001000 00:05 9    /dev/xen/gntalloc\n\
                    4000-5000 r--p 00000000 00:00 0    /lib/x\n\
                    6000-7000 rw-p 00000000 00:00 0    [heap]\n";
        let check = |range: Range<usize>, private: bool, granted: bool| {
            let is = |good: &dyn Fn(&str, &str) -> bool| covered_by(maps, &range, good);
            assert_eq!(
                is(&|rights, path| rights == "rw-p" || path == GRANTS),
                private,
                "{range:x?}"
            );
            assert_eq!(is(&|_, path| path == GRANTS), granted, "{range:x?}");
        };
        check(0x1000..0x2000, true, false);
        check(0x1000..0x4000, true, false);
        check(0x3000..0x4000, true, true);
        check(0x3000..0x5000, false, false);
        check(0x0000..0x2000, false, false);
        check(0x6000..0x8000, false, false);
        check(0x6000..0x7000, true, false);
        assert!(!covered_by("rubbish", &(0..1), |_, _| true));
    }

    #[test]
    fn own_memory_is_private_and_code_is_not() {
        let buffer = vec![0_u8; 3 * PAGE_BYTES];
        let start = buffer.as_ptr().addr().next_multiple_of(PAGE_BYTES);
        assert!(is_private(&(start..start + PAGE_BYTES)));
        let code = own_memory_is_private_and_code_is_not as fn() as usize / PAGE_BYTES * PAGE_BYTES;
        assert!(!is_private(&(code..code + PAGE_BYTES)));
    }
}
