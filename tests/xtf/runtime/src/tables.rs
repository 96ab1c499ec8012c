//! A walk through the guest's own page tables, as the builder made them and Xen checked them.
//!
//! Every table is looked at through a window of its own, so that tables outside of the initial
//! mapping are found too.

use crate::{
    hypercall::Errno,
    memory::{self, FRAME_MASK, PRESENT, WRITABLE},
};
use xen_sys::types::Mfn;

/// Top-level slots that belong to Xen.
const XEN_SLOTS: core::ops::Range<usize> = 256..272;
/// Page table entry of level 2: a superpage.
const SUPERPAGE: u64 = 1 << 7;

/// What the walk comes across.
#[derive(Clone, Copy, Debug)]
pub enum Visit {
    /// A page table of `level` 4 (top) to 1.
    Table {
        /// Level, 4 is the top.
        level: u32,
        /// Its machine frame.
        mfn: Mfn,
    },
    /// A mapped page, or 512 for a superpage.
    Page {
        /// Where it is mapped.
        va: u64,
        /// Its (first) machine frame.
        mfn: Mfn,
        /// Whether the guest may write to it, all levels taken together.
        writable: bool,
        /// Pages: 1 or 512.
        pages: u64,
    },
}

/// Walks everything below the top-level table `root`, by rising address, Xen's slots left out.
pub fn walk(root: Mfn, visit: &mut dyn FnMut(Visit)) -> Result<(), Errno> {
    table(root, 4, 0, true, visit)
}

fn table(
    mfn: Mfn,
    level: u32,
    base: u64,
    writable: bool,
    visit: &mut dyn FnMut(Visit),
) -> Result<(), Errno> {
    visit(Visit::Table { level, mfn });
    memory::with_frame(mfn, false, |words| {
        for slot in 0..512 {
            if level == 4 && XEN_SLOTS.contains(&slot) {
                continue;
            }
            // SAFETY: `words` is a mapped frame of 512 words; Xen sets accessed and dirty bits in
            // it at any time, hence volatile.
            let entry = unsafe { words.add(slot).read_volatile() };
            if entry & PRESENT == 0 {
                continue;
            }
            let va = sign_extended(base | (slot as u64) << (12 + 9 * (level - 1)));
            let target = Mfn((entry & FRAME_MASK) >> 12);
            let writable = writable && entry & WRITABLE != 0;
            match level {
                1 => visit(Visit::Page { va, mfn: target, writable, pages: 1 }),
                2 if entry & SUPERPAGE != 0 => {
                    visit(Visit::Page { va, mfn: target, writable, pages: 512 });
                }
                _ => table(target, level - 1, va, writable, visit)?,
            }
        }
        Ok(())
    })?
}

fn sign_extended(va: u64) -> u64 {
    ((va << 16) as i64 >> 16) as u64
}
