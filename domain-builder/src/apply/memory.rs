//! Guest memory: allocated in large extents, zeroed without being mapped.
//!
//! In: numbers of pages and runs of pfns. Out: the p2m list. One hypercall allocates up to 1 GiB.

use super::ApplyOptions;
use super::error::StepError;
use crate::plan::layout::Frames;
use libxc_safe::{MemoryFlags, Xen};
use xen_sys::types::{Domid, Gfn, Mfn};

/// 2 MiB in pages.
const EXTENT_PAGES: u64 = 512;
/// log2 of it.
const EXTENT_ORDER: u32 = 9;
/// Most 2 MiB extents in one call: 1 GiB, so that an interruption is seen in time.
const EXTENTS_PER_CALL: u64 = 512;
/// Most pages in one call where single pages are allocated: 128 MiB.
const PAGES_PER_CALL: u64 = 32768;
/// Most pages zeroed in one call.
const CLEARS_PER_CALL: usize = 1024;

/// Allocates `pages` pages from pfn 0 on; gives their machine frames by pfn.
///
/// PV guests gain nothing from larger extents, and a dirty one is scrubbed without preemption on
/// older hypervisors. Where no 2 MiB extent is left, the rest of the call's share comes in single
/// pages, and the next call tries large ones again.
pub(super) fn populate(
    xen: &Xen,
    domid: Domid,
    pages: u64,
    node: Option<u32>,
    options: &ApplyOptions<'_>,
) -> Result<Vec<u64>, StepError> {
    // Asked to prefer a node, Xen takes a clean extent of another one before a dirty extent of this
    // one; single pages it takes from here as long as there are any.
    let (for_large, for_small) = match node.map(u8::try_from) {
        Some(Ok(node)) => (MemoryFlags::exact_node(node), MemoryFlags::node(node)),
        _ => (MemoryFlags::ANY, MemoryFlags::ANY),
    };
    // Until a page is allocated its entry is its pfn, which is what the call takes.
    let mut p2m: Vec<u64> = (0..pages).collect();
    let mut next = 0;
    while next < pages {
        options.check_interrupted()?;
        let extents = EXTENTS_PER_CALL.min((pages - next) / EXTENT_PAGES);
        let end = if extents > 0 { next + extents * EXTENT_PAGES } else { pages };
        next = large(xen, domid, for_large, &mut p2m, next, extents)?;
        while next < end {
            options.check_interrupted()?;
            next = small(xen, domid, for_small, &mut p2m, next, end.min(next + PAGES_PER_CALL))?;
        }
    }
    Ok(p2m)
}

/// Allocates up to `extents` extents from `start` on; gives the first pfn that is still without.
fn large(
    xen: &Xen,
    domid: Domid,
    flags: MemoryFlags,
    p2m: &mut [u64],
    start: u64,
    extents: u64,
) -> Result<u64, StepError> {
    if extents == 0 {
        return Ok(start);
    }
    let mut frames: Vec<u64> = (0..extents).map(|at| start + at * EXTENT_PAGES).collect();
    let done = xen.populate_physmap(domid, EXTENT_ORDER, flags, &mut frames)?.min(frames.len());
    let end = start + done as u64 * EXTENT_PAGES;
    let entries = p2m[start as usize..end as usize].chunks_mut(EXTENT_PAGES as usize);
    for (entries, first) in entries.zip(&frames) {
        for (entry, mfn) in entries.iter_mut().zip(*first..) {
            *entry = mfn;
        }
    }
    Ok(end)
}

/// Allocates single pages from `start` up to `end`; a short answer means that memory ran out.
fn small(
    xen: &Xen,
    domid: Domid,
    flags: MemoryFlags,
    p2m: &mut [u64],
    start: u64,
    end: u64,
) -> Result<u64, StepError> {
    let frames = &mut p2m[start as usize..end as usize];
    let done = xen.populate_physmap(domid, 0, flags, frames)?;
    if done < frames.len() {
        let free_kib = xen.physinfo()?.free_pages * 4;
        let needed_kib = (end - start - done as u64) * 4;
        return Err(StepError::OutOfMemory { needed_kib, free_kib });
    }
    Ok(end)
}

/// Zeroes runs of frames inside the hypervisor.
pub(super) fn clear(
    xen: &Xen,
    domid: Domid,
    runs: &[Frames],
    p2m: &[u64],
) -> Result<(), StepError> {
    for run in runs {
        let frames: Vec<Mfn> = gfns(p2m, *run)?.into_iter().map(|gfn| Mfn(gfn.0)).collect();
        for part in frames.chunks(CLEARS_PER_CALL) {
            xen.clear_pages(domid, part)?;
        }
    }
    Ok(())
}

/// Frames to map for a run of pfns.
pub(super) fn gfns(p2m: &[u64], run: Frames) -> Result<Vec<Gfn>, StepError> {
    let range = usize::try_from(run.start).ok().zip(usize::try_from(run.end()).ok());
    let found = range.and_then(|(start, end)| p2m.get(start..end));
    let found = found.ok_or(StepError::Order { needed: "populate-memory" })?;
    Ok(found.iter().map(|&mfn| Gfn(mfn)).collect())
}
