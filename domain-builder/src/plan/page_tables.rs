//! The guest's first page tables, as bytes.
//!
//! In: a [`Layout`] and the guest's p2m list. Out: the contents of every table, in the order of
//! [`Layout::all_tables`]. Frames that hold tables are mapped read-only, as Xen demands before it
//! pins the root; everything else is writable, user access is added by Xen itself.

use super::layout::{Layout, Mapping, PAGE_BYTES, Table, table_shift};
use super::p2m::P2m;
use std::collections::HashMap;

/// Entries per table.
pub const ENTRIES: usize = 512;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// Leaf entries, as libxc sets them.
const LEAF: u64 = PRESENT | WRITABLE | ACCESSED;
/// Entries that point to a table.
const BRANCH: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;

/// The p2m list has no machine frame for a pfn that the layout needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pfn {pfn:#x} has no machine frame; this is a fault of the builder, please report it")]
pub struct NoFrame {
    /// The pfn without a frame.
    pub pfn: u64,
}

/// Contents of all tables, 512 entries each, in the order of [`Layout::all_tables`].
///
/// # Errors
/// [`NoFrame`] if `p2m` is shorter than the layout.
pub fn page_tables(layout: &Layout, p2m: &P2m) -> Result<Vec<u64>, NoFrame> {
    let mfn = |pfn: u64| p2m.mfn(pfn).ok_or(NoFrame { pfn });
    let positions: HashMap<(u8, u64), usize> =
        layout.all_tables.iter().enumerate().map(|(at, t)| ((t.level, t.index), at)).collect();
    let mut entries = vec![0u64; layout.all_tables.len() * ENTRIES];
    for (at, table) in layout.all_tables.iter().enumerate() {
        if let Some(&parent) = positions.get(&(table.level + 1, table.index >> 9)) {
            let slot = (table.index % ENTRIES as u64) as usize;
            entries[parent * ENTRIES + slot] = (mfn(table.pfn)? << 12) | BRANCH;
        }
        if table.level == 1 {
            let own = &mut entries[at * ENTRIES..(at + 1) * ENTRIES];
            for mapping in &layout.mappings {
                fill_leaves(own, layout, table, mapping, &mfn)?;
            }
        }
    }
    Ok(entries)
}

/// Fills the entries of one level 1 table that lie in `mapping`.
fn fill_leaves(
    entries: &mut [u64],
    layout: &Layout,
    table: &Table,
    mapping: &Mapping,
    mfn: &impl Fn(u64) -> Result<u64, NoFrame>,
) -> Result<(), NoFrame> {
    let first = (mapping.vaddr & ((1 << 48) - 1)) / PAGE_BYTES;
    let end = first + mapping.frames.count;
    let table_first = table.index << (table_shift(1) - 12);
    let table_end = table_first + ENTRIES as u64;
    for page in first.max(table_first)..end.min(table_end) {
        let pfn = mapping.frames.start + (page - first);
        let protection = if layout.is_table(pfn) { LEAF & !WRITABLE } else { LEAF };
        entries[(page - table_first) as usize] = (mfn(pfn)? << 12) | protection;
    }
    Ok(())
}

/// Table entries as they lie in the guest's memory.
#[must_use]
pub fn to_bytes(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}
