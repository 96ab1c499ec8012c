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
use std::sync::atomic::{AtomicBool, Ordering};

/// What is granted, by where it begins. No two overlap.
static GRANTED: Mutex<Table> = Mutex::new(Table { ranges: BTreeMap::new(), made: 0 });

struct Table {
    ranges: BTreeMap<usize, Granted>,
    /// How many were ever made: each has a number of its own.
    made: u64,
}

struct Granted {
    range: GrantedRange,
    number: u64,
    /// How many pins cover some of it.
    users: usize,
}

impl Granted {
    fn end(&self, start: usize) -> usize {
        start + self.range.references().len() * PAGE_BYTES
    }
}

/// The pages of `length` bytes at `address`.
#[must_use]
pub fn pages_of(address: usize, length: usize) -> Option<Range<usize>> {
    let end = address.checked_add(length)?.checked_next_multiple_of(PAGE_BYTES)?;
    (length > 0).then_some(address - address % PAGE_BYTES..end)
}

/// Pages that stay granted until [`Pin::release`].
#[derive(Debug)]
pub struct Pin {
    /// The ranges that it covers some of: where they begin, and their numbers.
    uses: Vec<(usize, u64)>,
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
        let pages = pages_of(address, length).ok_or_else(|| refused("no such range"))?;
        let mut pin = Self { uses: Vec::new(), references: Vec::new() };
        if pages.contains(&std::ptr::from_ref(&pin).addr()) {
            return Err(refused("this thread's stack is in it"));
        }
        if !is_private(&pages) {
            return Err(refused("it is not private memory that can be written"));
        }
        let mut granted = lock(&GRANTED);
        match granted.cover(session, &pages, &mut pin) {
            Ok(()) => Ok(pin),
            Err(error) => {
                granted.uncover(&pin.uses, true);
                Err(error)
            }
        }
    }

    /// Whether all of it is still mapped where it was, as it was.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let granted = lock(&GRANTED);
        let same = |(start, number): &(usize, u64)| {
            granted.ranges.get(start).is_some_and(|one| one.number == *number)
                && granted.is_there(*start)
        };
        self.uses.iter().all(same)
    }

    /// Gives the pages back that no other pin covers.
    pub fn release(self) {
        lock(&GRANTED).uncover(&self.uses, true);
    }

    /// The same, but what no other pin covers stays as it is, usable, until the program unmaps it.
    pub fn abandon(self) {
        lock(&GRANTED).uncover(&self.uses, false);
    }
}

impl Table {
    /// Finds or makes what covers `pages`, and counts it as used by `pin`.
    fn cover(&mut self, session: &Session, pages: &Range<usize>, pin: &mut Pin) -> Result<()> {
        let mut at = pages.start;
        while at < pages.end {
            let before = self.ranges.range(..=at).next_back();
            let covering = before.filter(|(start, one)| one.end(**start) > at);
            let covering = covering.map(|(start, one)| (*start, one.end(*start)));
            match covering {
                // The program has unmapped it, and something else is there now: what covers it covers
                // nothing any more.
                Some((start, _)) if !self.is_there(start) => {
                    self.ranges.remove(&start);
                }
                Some((start, end)) => {
                    let Some(one) = self.ranges.get_mut(&start) else { continue };
                    let to = pages.end.min(end);
                    let those = (at - start) / PAGE_BYTES..(to - start) / PAGE_BYTES;
                    pin.references.extend_from_slice(&one.range.references()[those]);
                    one.users += 1;
                    pin.uses.push((start, one.number));
                    at = to;
                }
                None => {
                    let next = self.ranges.range(at..pages.end).next();
                    let next = next.map_or(pages.end, |(start, _)| *start);
                    let range = grant(session, at, (next - at) / PAGE_BYTES)?;
                    self.made += 1;
                    self.ranges.insert(at, Granted { range, number: self.made, users: 0 });
                }
            }
        }
        Ok(())
    }

    /// Whether the range that begins there is still mapped as it was granted.
    fn is_there(&self, start: usize) -> bool {
        self.ranges.get(&start).is_some_and(|one| {
            let offset = one.range.offset();
            covered(&(start..one.end(start)), |line| {
                line.path == GRANTS && line.offset_of(start) == Some(offset)
            })
        })
    }

    /// One pin less uses these; what none uses becomes ordinary memory again if it is to be restored.
    fn uncover(&mut self, uses: &[(usize, u64)], restores: bool) {
        for (start, number) in uses {
            let Some(one) = self.ranges.get_mut(start).filter(|one| one.number == *number) else {
                continue;
            };
            one.users = one.users.saturating_sub(1);
            if one.users > 0 {
                continue;
            }
            // Where the program has unmapped its buffer before, something else may be there.
            let restores = restores && self.is_there(*start);
            let Some(one) = self.ranges.remove(start).filter(|_| restores) else { continue };
            // SAFETY: this range is still mapped as it was granted, and the program deregisters it: nobody
            // writes to it meanwhile, as said at `grant`. Memory that cannot be put back stays as it is,
            // usable, until the program unmaps it.
            let _ = unsafe { one.range.restore() };
        }
    }
}

fn grant(session: &Session, at: usize, pages: usize) -> Result<GrantedRange> {
    let start = NonNull::new(std::ptr::with_exposed_provenance_mut(at));
    let start = start.ok_or(Error::Memory { address: at, why: "no such range" })?;
    // SAFETY: these pages were found to be private, mapped and writable, and they are not this thread's
    // stack. They are the buffer that the program registers: by the rules of verbs it is mapped until it
    // is deregistered, nobody writes to it meanwhile, and what the device does to it is what it is for.
    let range = unsafe { session.allocator.grant_in_place(session.backend, start, pages) }?;
    if is_kept_from_children() {
        let (advice, bytes) = (rustix::mm::Advice::LinuxDontFork, pages * PAGE_BYTES);
        // SAFETY: the range was granted just now; the advice changes what a child has, nothing here.
        let kept = unsafe { rustix::mm::madvise(start.as_ptr().cast(), bytes, advice) };
        kept.map_err(|errno| Error::System { what: "keep memory from children", errno })?;
    }
    Ok(range)
}

/// Whether children shall not inherit what is registered.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Children that are made from now on do not inherit what is registered from now on.
pub fn keep_from_children() {
    KEPT.store(true, Ordering::Relaxed);
}

/// Whether that was asked for.
pub fn is_kept_from_children() -> bool {
    KEPT.load(Ordering::Relaxed)
}

/// Whether all of a range is mapped privately for reading and writing, or granted already.
fn is_private(range: &Range<usize>) -> bool {
    covered(range, |line| line.rights == "rw-p" || (line.rights == "rw-s" && line.path == GRANTS))
}

/// How the kernel calls memory that it grants.
const GRANTS: &str = "/dev/xen/gntalloc";

/// A line of `maps`: what is mapped, and how.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    start: usize,
    end: usize,
    rights: &'a str,
    /// Of the first byte, in what is mapped.
    offset: u64,
    path: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hexadecimal = |text: &str| usize::from_str_radix(text, 16).ok();
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let (rights, offset) = (words.next()?, u64::from_str_radix(words.next()?, 16).ok()?);
        Some(Self { start, end, rights, offset, path: words.nth(2).unwrap_or_default() })
    }

    /// The offset that `at` would have, were it mapped as this is: `at` lies before it or in it.
    fn offset_of(&self, at: usize) -> Option<u64> {
        match self.start.checked_sub(at) {
            Some(before) => self.offset.checked_sub(before as u64),
            None => self.offset.checked_add((at - self.start) as u64),
        }
    }
}

fn covered(range: &Range<usize>, good: impl Fn(&Line<'_>) -> bool) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    covered_by(&maps, range, good)
}

/// Whether lines of `maps` for which `good` holds cover a range.
fn covered_by(maps: &str, range: &Range<usize>, good: impl Fn(&Line<'_>) -> bool) -> bool {
    let mut at = range.start;
    for text in maps.lines() {
        let Some(line) = Line::parse(text) else { return false };
        if line.start <= at && at < line.end {
            if !good(&line) {
                return false;
            }
            at = line.end;
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
            let is = |good: &dyn Fn(&Line<'_>) -> bool| covered_by(maps, &range, good);
            let either = |line: &Line<'_>| line.rights == "rw-p" || line.path == GRANTS;
            assert_eq!(is(&either), private, "{range:x?}");
            assert_eq!(is(&|line| line.path == GRANTS), granted, "{range:x?}");
        };
        check(0x1000..0x2000, true, false);
        check(0x1000..0x4000, true, false);
        check(0x3000..0x4000, true, true);
        check(0x3000..0x5000, false, false);
        check(0x0000..0x2000, false, false);
        check(0x6000..0x8000, false, false);
        check(0x6000..0x7000, true, false);
        assert!(!covered_by("rubbish", &(0..1), |_| true));
    }

    #[test]
    fn what_was_mapped_anew_is_not_what_was_granted() {
        let check = |maps: &str, there: bool| {
            let same =
                |line: &Line<'_>| line.path == GRANTS && line.offset_of(0x3000) == Some(0x9000);
            assert_eq!(covered_by(maps, &(0x3000..0x6000), same), there, "{maps}");
        };
        check("3000-6000 rw-s 00009000 00:05 9    /dev/xen/gntalloc\n", true);
        check(
            "3000-4000 rw-s 00009000 00:05 9    /dev/xen/gntalloc\n\
             4000-6000 rw-s 0000a000 00:05 9    /dev/xen/gntalloc\n",
            true,
        );
        check("3000-6000 rw-s 00004000 00:05 9    /dev/xen/gntalloc\n", false);
        check(
            "3000-4000 rw-s 00009000 00:05 9    /dev/xen/gntalloc\n\
             4000-6000 rw-s 0000c000 00:05 9    /dev/xen/gntalloc\n",
            false,
        );
        check("3000-5000 rw-s 00009000 00:05 9    /dev/xen/gntalloc\n", false);
        check("3000-6000 rw-p 00009000 00:05 9    /lib/x\n", false);
        check("2000-7000 rw-s 00008000 00:05 9    /dev/xen/gntalloc\n", true);
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
