//! Memory of the program that the backend may map: granted where it is, page by page, for as long as a
//! memory region covers it.
//!
//! In: ranges that a program registers, which may share pages. Out: one grant reference per page. What
//! is granted stands in one table of the process, as its memory is one. Memory is replaced in place
//! (`libxc_safe::GrantedRange`): a thread that writes to these pages while they are registered or
//! deregistered can lose that write, which no verbs program does to a buffer, and which can happen to
//! what merely shares its first or last page.

use crate::error::{Error, Result};
use crate::process::PerProcess;
use crate::session::{Session, lock};
use ib_protocol::PAGE_BYTES;
use libxc_safe::{GrantRef, GrantedRange};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// What is granted, by its number. A range whose memory the program has unmapped in part is still here for
/// the rest of it: where two overlap, one of them is mapped at an address.
fn table() -> MutexGuard<'static, Table> {
    static GRANTED: PerProcess<Mutex<Table>> = PerProcess::new();
    lock(GRANTED.get())
}

/// How many were ever made: each has a number of its own, in a child, too.
static MADE: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Table {
    ranges: BTreeMap<u64, Granted>,
}

struct Granted {
    start: usize,
    range: GrantedRange,
    /// How many pins cover some of it.
    users: usize,
}

/// Where something was granted: its number, its addresses, and its offset in the device.
#[derive(Clone, Debug)]
struct Extent {
    number: u64,
    pages: Range<usize>,
    offset: u64,
}

impl Extent {
    /// Whether this line shows it, wherever both are.
    fn is_in(&self, line: &Line<'_>) -> bool {
        line.path == GRANTS && line.offset_of(self.pages.start) == Some(self.offset)
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
    /// The numbers of the ranges that it covers some of.
    uses: Vec<u64>,
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
        let mut granted = table();
        let maps = maps();
        if !is_private(&maps, &pages) {
            return Err(refused("it is not private memory that can be written"));
        }
        match granted.cover(session, &maps, &pages, &mut pin) {
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
        let granted = table();
        self.uses.iter().all(|number| granted.is_there(*number))
    }

    /// Gives the pages back that no other pin covers.
    pub fn release(self) {
        table().uncover(&self.uses, true);
    }

    /// The same, but what no other pin covers stays as it is, usable, until the program unmaps it.
    pub fn abandon(self) {
        table().uncover(&self.uses, false);
    }
}

impl Table {
    /// Finds or makes what covers `pages`, and counts it as used by `pin`. Pages that are granted already,
    /// and still there, are never granted anew: a region may name them.
    fn cover(
        &mut self,
        session: &Session,
        maps: &str,
        pages: &Range<usize>,
        pin: &mut Pin,
    ) -> Result<()> {
        let known = self.ranges.keys().filter_map(|number| self.extent(*number));
        for (piece, number) in pieces(maps, pages, known) {
            let number = match number {
                Some(number) => number,
                None => {
                    let range = grant(session, piece.start, piece.len() / PAGE_BYTES)?;
                    let number = MADE.fetch_add(1, Ordering::Relaxed);
                    self.ranges.insert(number, Granted { start: piece.start, range, users: 0 });
                    number
                }
            };
            let Some(one) = self.ranges.get_mut(&number) else { continue };
            let those =
                (piece.start - one.start) / PAGE_BYTES..(piece.end - one.start) / PAGE_BYTES;
            pin.references.extend_from_slice(&one.range.references()[those]);
            one.users += 1;
            pin.uses.push(number);
        }
        Ok(())
    }

    fn extent(&self, number: u64) -> Option<Extent> {
        let one = self.ranges.get(&number)?;
        let end = one.start + one.range.references().len() * PAGE_BYTES;
        Some(Extent { number, pages: one.start..end, offset: one.range.offset() })
    }

    /// Whether all of this range is still mapped as it was granted.
    fn is_there(&self, number: u64) -> bool {
        self.extent(number)
            .is_some_and(|one| covered_by(&maps(), &one.pages, |line| one.is_in(line)))
    }

    /// What is no region any more and stays as it is, children have like all other memory.
    fn leave_to_children(&self, number: u64) {
        let Some(one) = self.extent(number).filter(|_| is_kept_from_children()) else { return };
        let start: *mut std::ffi::c_void = std::ptr::with_exposed_provenance_mut(one.pages.start);
        // SAFETY: this range is mapped as it was granted, as the caller saw; the advice changes what a child
        // has, nothing here.
        let _ =
            unsafe { rustix::mm::madvise(start, one.pages.len(), rustix::mm::Advice::LinuxDoFork) };
    }

    /// One pin less uses these; what none uses becomes ordinary memory again if it is to be restored.
    fn uncover(&mut self, uses: &[u64], restores: bool) {
        for number in uses {
            let Some(one) = self.ranges.get_mut(number) else { continue };
            one.users = one.users.saturating_sub(1);
            if one.users > 0 {
                continue;
            }
            // Where the program has unmapped its buffer before, something else may be there.
            let is_there = self.is_there(*number);
            let restores = restores && is_there;
            if is_there && !restores {
                self.leave_to_children(*number);
            }
            let Some(one) = self.ranges.remove(number).filter(|_| restores) else { continue };
            // SAFETY: this range is still mapped as it was granted, and the program deregisters it: nobody
            // writes to it meanwhile, as said at `grant`. Memory that cannot be put back stays as it is,
            // usable, until the program unmaps it.
            let _ = unsafe { one.range.restore() };
        }
    }
}

/// Which range each part of `pages` belongs to, by what is mapped there; `None` where it belongs to none.
fn pieces(
    maps: &str,
    pages: &Range<usize>,
    known: impl Iterator<Item = Extent>,
) -> Vec<(Range<usize>, Option<u64>)> {
    let meets = |one: &Extent| one.pages.start < pages.end && pages.start < one.pages.end;
    let known: Vec<Extent> = known.filter(meets).collect();
    let mut found: Vec<(Range<usize>, Option<u64>)> = Vec::new();
    let lines = maps.lines().map_while(Line::parse);
    // Lines are in the order of their addresses; no two extents are seen at one.
    for line in lines.filter(|line| line.start < pages.end && pages.start < line.end) {
        let mut seen: Vec<(Range<usize>, Option<u64>)> = known
            .iter()
            .filter(|one| one.is_in(&line))
            .map(|one| {
                let start = one.pages.start.max(line.start).max(pages.start);
                (start..one.pages.end.min(line.end).min(pages.end), Some(one.number))
            })
            .filter(|(part, _)| !part.is_empty())
            .collect();
        seen.sort_by_key(|(part, _)| part.start);
        found.append(&mut seen);
    }
    let (mut all, mut at) = (Vec::new(), pages.start);
    for (part, number) in found {
        if at < part.start {
            all.push((at..part.start, None));
        }
        at = part.end;
        // The kernel may show one range in several lines.
        match all.last_mut() {
            Some((before, known)) if *known == number && before.end == part.start => {
                before.end = part.end;
            }
            _ => all.push((part, number)),
        }
    }
    if at < pages.end {
        all.push((at..pages.end, None));
    }
    all
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
fn is_private(maps: &str, range: &Range<usize>) -> bool {
    let is_ours = |line: &Line<'_>| line.rights == "rw-s" && line.path == GRANTS;
    covered_by(maps, range, |line| line.rights == "rw-p" || is_ours(line))
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

/// What this process has mapped; nothing if the kernel does not say.
fn maps() -> String {
    std::fs::read_to_string("/proc/self/maps").unwrap_or_default()
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
    fn what_is_still_granted_is_used_and_the_rest_is_granted_anew() {
        const DEVICE: &str = "00:05 9    /dev/xen/gntalloc\n";
        // Two ranges that lie beside each other, and one where the second was before it was unmapped.
        let extent = |number, pages, offset| Extent { number, pages, offset };
        let known = [
            extent(1, 0x3000..0x6000, 0x9000),
            extent(2, 0x6000..0x8000, 0x1000),
            extent(3, 0x7000..0x9000, 0x4000),
        ];
        let check = |maps: &str, pages, expected: &[(Range<usize>, Option<u64>)]| {
            assert_eq!(pieces(maps, &pages, known.iter().cloned()), expected, "{maps}");
        };
        let line = |pages: Range<usize>, offset: u64| {
            format!("{:x}-{:x} rw-s {offset:08x} {DEVICE}", pages.start, pages.end)
        };
        let first = line(0x3000..0x6000, 0x9000);
        check(&first, 0x3000..0x6000, &[(0x3000..0x6000, Some(1))]);
        check(&first, 0x4000..0x5000, &[(0x4000..0x5000, Some(1))]);
        check(&first, 0x2000..0x4000, &[(0x2000..0x3000, None), (0x3000..0x4000, Some(1))]);
        // What follows on it in memory and in the device is not it.
        let beyond = line(0x2000..0x7000, 0x8000);
        check(
            &beyond,
            0x2000..0x7000,
            &[(0x2000..0x3000, None), (0x3000..0x6000, Some(1)), (0x6000..0x7000, None)],
        );
        // The kernel may show it in pieces.
        let pieces = line(0x3000..0x4000, 0x9000) + &line(0x4000..0x6000, 0xa000);
        check(&pieces, 0x3000..0x6000, &[(0x3000..0x6000, Some(1))]);
        // Its tail was unmapped: the head is still what another region names.
        let head = line(0x3000..0x4000, 0x9000) + "4000-6000 rw-p 00000000 00:00 0\n";
        check(&head, 0x3000..0x4000, &[(0x3000..0x4000, Some(1))]);
        check(&head, 0x3000..0x6000, &[(0x3000..0x4000, Some(1)), (0x4000..0x6000, None)]);
        let both_ends = head.replace("4000-6000", "4000-5000") + &line(0x5000..0x6000, 0xb000);
        check(
            &both_ends,
            0x3000..0x6000,
            &[(0x3000..0x4000, Some(1)), (0x4000..0x5000, None), (0x5000..0x6000, Some(1))],
        );
        // All of it was mapped anew, in the same device or not.
        check(&line(0x3000..0x6000, 0x4000), 0x3000..0x6000, &[(0x3000..0x6000, None)]);
        check(
            "3000-6000 rw-p 00009000 00:05 9 /lib/x\n",
            0x3000..0x6000,
            &[(0x3000..0x6000, None)],
        );
        // Two that overlap: at each address one of them is mapped.
        let overlap = line(0x6000..0x7000, 0x1000) + &line(0x7000..0x9000, 0x4000);
        check(&overlap, 0x6000..0x9000, &[(0x6000..0x7000, Some(2)), (0x7000..0x9000, Some(3))]);
    }

    #[test]
    fn own_memory_is_private_and_code_is_not() {
        let buffer = vec![0_u8; 3 * PAGE_BYTES];
        let start = buffer.as_ptr().addr().next_multiple_of(PAGE_BYTES);
        assert!(is_private(&maps(), &(start..start + PAGE_BYTES)));
        let code = own_memory_is_private_and_code_is_not as fn() as usize / PAGE_BYTES * PAGE_BYTES;
        assert!(!is_private(&maps(), &(code..code + PAGE_BYTES)));
    }
}
