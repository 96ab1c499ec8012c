//! Guest memory: allocated in large extents, zeroed without being mapped.
//!
//! In: numbers of pages and runs of pfns. Out: the p2m list. One hypercall allocates up to 1 GiB.

use super::ApplyOptions;
use super::error::StepError;
use crate::plan::layout::Frames;
use crate::plan::p2m::{BLOCK_FRAMES, P2m};
use libxc_safe::{MemoryFlags, Xen};
use xen_sys::types::{Domid, Gfn, Mfn};

/// 2 MiB in pages.
const EXTENT_PAGES: u64 = BLOCK_FRAMES as u64;
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
) -> Result<P2m, StepError> {
    // Asked to prefer a node, Xen takes a clean extent of another one before a dirty extent of this
    // one; single pages it takes from here as long as there are any.
    let (for_large, for_small) = match node.map(u8::try_from) {
        Some(Ok(node)) => (MemoryFlags::exact_node(node), MemoryFlags::node(node)),
        _ => (MemoryFlags::ANY, MemoryFlags::ANY),
    };
    let mut p2m = P2m::default();
    while p2m.pages() < pages {
        options.check_interrupted()?;
        let extents = EXTENTS_PER_CALL.min((pages - p2m.pages()) / EXTENT_PAGES);
        let end = if extents > 0 { p2m.pages() + extents * EXTENT_PAGES } else { pages };
        large(xen, domid, for_large, &mut p2m, extents)?;
        while p2m.pages() < end {
            options.check_interrupted()?;
            let count = PAGES_PER_CALL.min(end - p2m.pages());
            small(xen, domid, for_small, &mut p2m, count)?;
        }
    }
    Ok(p2m)
}

/// Allocates up to `extents` extents more.
fn large(
    xen: &Xen,
    domid: Domid,
    flags: MemoryFlags,
    p2m: &mut P2m,
    extents: u64,
) -> Result<(), StepError> {
    if extents == 0 {
        return Ok(());
    }
    // The call takes pfns, and puts machine frames in their place.
    let start = p2m.pages();
    let mut frames: Vec<u64> = (0..extents).map(|at| start + at * EXTENT_PAGES).collect();
    let done = xen.populate_physmap(domid, EXTENT_ORDER, flags, &mut frames)?;
    frames.into_iter().take(done).for_each(|first| p2m.add_extent(first));
    Ok(())
}

/// Allocates `count` single pages more; a short answer means that memory ran out.
fn small(
    xen: &Xen,
    domid: Domid,
    flags: MemoryFlags,
    p2m: &mut P2m,
    count: u64,
) -> Result<(), StepError> {
    let mut frames: Vec<u64> = (p2m.pages()..p2m.pages() + count).collect();
    let done = xen.populate_physmap(domid, 0, flags, &mut frames)?;
    if done < frames.len() {
        let free_kib = xen.physinfo()?.free_pages * 4;
        let needed_kib = (count - done as u64) * 4;
        return Err(StepError::OutOfMemory { needed_kib, free_kib });
    }
    p2m.add(frames);
    Ok(())
}

/// Zeroes runs of frames inside the hypervisor.
pub(super) fn clear(xen: &Xen, domid: Domid, runs: &[Frames], p2m: &P2m) -> Result<(), StepError> {
    for run in runs {
        let frames: Vec<Mfn> = gfns(p2m, *run)?.into_iter().map(|gfn| Mfn(gfn.0)).collect();
        for part in frames.chunks(CLEARS_PER_CALL) {
            xen.clear_pages(domid, part)?;
        }
    }
    Ok(())
}

/// Frames to map for a run of pfns.
pub(super) fn gfns(p2m: &P2m, run: Frames) -> Result<Vec<Gfn>, StepError> {
    let found = p2m.run(run).ok_or(StepError::Order { needed: "populate-memory" })?;
    Ok(found.map(Gfn).collect())
}
