//! Where everything lies in a PV guest's first memory.
//!
//! In: [`KernelFacts`], the number of pages, the length of the ramdisk. Out: [`Layout`], frame by
//! frame, as Linux and the other PV kernels expect it (the order is described in xen.h beside
//! `start_info`). Pure arithmetic: knows no machine frame and no hypercall.
//!
//! ```text
//! pfn 0                                                              map_end         alloc_end
//! | gap | kernel | ramdisk | p2m | start info, store, console | tables | stack | pad |
//!                  (or here, when the kernel takes a frame number)            | ramdisk | p2m, its tables |
//!                            (or here, when the kernel names an address for it)
//! ```

use super::facts::KernelFacts;
use serde::{Deserialize, Serialize};

/// Bytes per page.
pub const PAGE_BYTES: u64 = 4096;
/// Free mapped room that the kernel can count on after its boot stack (xen.h).
const PADDING_BYTES: u64 = 512 * 1024;
/// The initial mapping ends on this boundary (xen.h).
const MAP_END_ALIGN_BYTES: u64 = 4 * 1024 * 1024;
/// Virtual addresses have this many significant bits in a 4-level table.
const VIRTUAL_BITS: u32 = 48;
/// Above every x86-64 machine: keeps all sums far from overflow.
const MAX_PAGES: u64 = 1 << 40;

/// A run of pseudo-physical frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// First pfn.
    pub start: u64,
    /// Number of frames.
    pub count: u64,
}

impl Frames {
    /// First pfn after the run.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.count
    }

    /// Whether `pfn` is in the run.
    #[must_use]
    pub const fn contains(&self, pfn: u64) -> bool {
        pfn >= self.start && pfn < self.end()
    }
}

/// One stretch of the guest's first address space: `frames` mapped from `vaddr` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Virtual address of the first frame.
    pub vaddr: u64,
    /// What is mapped there.
    pub frames: Frames,
}

/// One page table. Level 1 holds leaf entries, level 4 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// 1 to 4.
    pub level: u8,
    /// The 48-bit virtual address the table's first entry stands for, shifted right by the number
    /// of address bits that a whole table of this level covers.
    pub index: u64,
    /// Frame that holds the table.
    pub pfn: u64,
}

/// Why a layout is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The domain's memory does not hold what must be in it at start.
    #[error(
        "{memory_kib} KiB of memory are too few for this kernel and ramdisk: \
         at least {needed_kib} KiB are needed to start; set memory to {needed_mib} or more"
    )]
    TooSmall {
        /// What the domain would have.
        memory_kib: u64,
        /// What must fit, rounded up to whole MiB.
        needed_kib: u64,
        /// The same in MiB.
        needed_mib: u64,
    },
    /// The kernel's own numbers contradict each other or leave the address space.
    #[error("the kernel's notes make no sense: {what} ({value:#x}); use another kernel image")]
    Kernel {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// More memory than the layout can express.
    #[error("{memory_kib} KiB of memory are more than a PV domain can have; lower memory")]
    TooLarge {
        /// What was asked for.
        memory_kib: u64,
    },
}

/// Where everything lies. All frame numbers are pseudo-physical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Virtual address of pfn 0.
    pub virt_base: u64,
    /// Memory of the domain in pages; also the length of the p2m list.
    pub pages: u64,
    /// From the kernel's first to its last byte.
    pub kernel: Frames,
    /// The ramdisk; `None` without one.
    pub ramdisk: Option<Frames>,
    /// Whether the ramdisk lies outside of the initial mapping and is handed over by pfn.
    pub ramdisk_by_pfn: bool,
    /// The p2m list: 8 bytes per page of memory.
    pub p2m: Frames,
    /// Virtual address of the p2m list.
    pub p2m_vaddr: u64,
    /// Tables that map the p2m list where it lies outside of the initial mapping.
    pub p2m_tables: Frames,
    /// Frame of the start info page.
    pub start_info: u64,
    /// Frame of the xenstore ring.
    pub store: u64,
    /// Frame of the console ring.
    pub console: u64,
    /// Page tables of the initial mapping, the root first.
    pub tables: Frames,
    /// Frame of the boot stack.
    pub boot_stack: u64,
    /// First frame after the initial mapping, which begins at pfn 0.
    pub map_end: u64,
    /// First frame that nothing was placed in.
    pub alloc_end: u64,
    /// What is mapped: the initial mapping, then the p2m list where it lies outside.
    pub mappings: Vec<Mapping>,
    /// Every page table, in ascending frames within `tables`, then `p2m_tables`.
    pub all_tables: Vec<Table>,
}

impl Layout {
    /// Places everything for a domain with `pages` pages of memory.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] names the memory that would do.
    pub fn new(
        kernel: &KernelFacts,
        ramdisk_bytes: Option<u64>,
        pages: u64,
    ) -> Result<Self, LayoutError> {
        let memory_kib = pages.saturating_mul(PAGE_BYTES / 1024);
        if pages > MAX_PAGES {
            return Err(LayoutError::TooLarge { memory_kib });
        }
        let layout = place(kernel, ramdisk_bytes, pages)?;
        if layout.alloc_end <= pages {
            return Ok(layout);
        }
        let needed_mib = needed_mib(kernel, ramdisk_bytes, layout.alloc_end)?;
        Err(LayoutError::TooSmall { memory_kib, needed_kib: needed_mib * 1024, needed_mib })
    }

    /// Virtual address of a frame in the initial mapping.
    #[must_use]
    pub const fn vaddr(&self, pfn: u64) -> u64 {
        self.virt_base.wrapping_add(pfn * PAGE_BYTES)
    }

    /// Whether the frame holds a page table and must be read-only for the guest.
    #[must_use]
    pub const fn is_table(&self, pfn: u64) -> bool {
        self.tables.contains(pfn) || self.p2m_tables.contains(pfn)
    }
}

/// Smallest memory in MiB that holds the layout. The p2m list grows with the memory, so the answer
/// is a fixed point; it is reached in a few rounds as 512 pages cost one more.
fn needed_mib(
    kernel: &KernelFacts,
    ramdisk_bytes: Option<u64>,
    alloc_end: u64,
) -> Result<u64, LayoutError> {
    let pages_per_mib = 1024 * 1024 / PAGE_BYTES;
    let mut mib = alloc_end.div_ceil(pages_per_mib);
    loop {
        let pages = mib * pages_per_mib;
        if pages > MAX_PAGES {
            return Err(LayoutError::TooLarge { memory_kib: mib * 1024 });
        }
        let layout = place(kernel, ramdisk_bytes, pages)?;
        if layout.alloc_end <= pages {
            return Ok(mib);
        }
        mib = layout.alloc_end.div_ceil(pages_per_mib);
    }
}

/// Hands out frames one after the other.
struct Cursor(u64);

impl Cursor {
    fn take(&mut self, count: u64) -> Frames {
        let frames = Frames { start: self.0, count };
        self.0 += count;
        frames
    }
}

fn place(
    kernel: &KernelFacts,
    ramdisk_bytes: Option<u64>,
    pages: u64,
) -> Result<Layout, LayoutError> {
    let kernel_frames = check_kernel(kernel)?;
    let ramdisk_pages = ramdisk_bytes.map(|bytes| bytes.div_ceil(PAGE_BYTES));
    if ramdisk_pages.is_some_and(|count| count > MAX_PAGES) {
        return Err(LayoutError::TooLarge { memory_kib: u64::MAX / 1024 });
    }
    let p2m_pages = (pages * 8).div_ceil(PAGE_BYTES).max(1);
    let p2m_apart = p2m_address(kernel, p2m_pages)?;

    let mut cursor = Cursor(kernel_frames.end());
    let mut ramdisk = match ramdisk_pages {
        Some(count) if !kernel.ramdisk_by_pfn => Some(cursor.take(count)),
        _ => None,
    };
    let mut p2m = if p2m_apart.is_none() { cursor.take(p2m_pages) } else { Frames::default() };
    let start_info = cursor.take(1).start;
    let store = cursor.take(1).start;
    let console = cursor.take(1).start;
    let (mut all_tables, map_end) = place_tables(kernel.virt_base, cursor.0)?;
    let tables = cursor.take(all_tables.len() as u64);
    let boot_stack = cursor.take(1).start;
    let mut mappings =
        vec![Mapping { vaddr: kernel.virt_base, frames: Frames { start: 0, count: map_end } }];

    cursor.0 = map_end;
    if let (Some(count), true) = (ramdisk_pages, kernel.ramdisk_by_pfn) {
        ramdisk = Some(cursor.take(count));
    }
    let mut p2m_tables = Frames { start: cursor.0, count: 0 };
    if let Some(vaddr) = p2m_apart {
        p2m = cursor.take(p2m_pages);
        mappings.push(Mapping { vaddr, frames: p2m });
        let more = tables_of(vaddr, p2m_pages, cursor.0, &all_tables);
        p2m_tables = cursor.take(more.len() as u64);
        all_tables.extend(more);
    }
    Ok(Layout {
        virt_base: kernel.virt_base,
        pages,
        kernel: kernel_frames,
        ramdisk,
        ramdisk_by_pfn: kernel.ramdisk_by_pfn,
        p2m,
        p2m_vaddr: p2m_apart.unwrap_or_else(|| kernel.virt_base + p2m.start * PAGE_BYTES),
        p2m_tables,
        start_info,
        store,
        console,
        tables,
        boot_stack,
        map_end,
        alloc_end: cursor.0,
        mappings,
        all_tables,
    })
}

/// Checks what the kernel says of itself; gives the frames from its first to its last byte.
fn check_kernel(kernel: &KernelFacts) -> Result<Frames, LayoutError> {
    let bad = |what, value| Err(LayoutError::Kernel { what, value });
    if !kernel.virt_base.is_multiple_of(PAGE_BYTES) || !is_canonical(kernel.virt_base) {
        return bad("VIRT_BASE is not a canonical address on a page boundary", kernel.virt_base);
    }
    let (Some(first), Some(last)) = (kernel.segments.first(), kernel.segments.last()) else {
        return bad("no loadable segment", 0);
    };
    let mut end = 0;
    for segment in &kernel.segments {
        if segment.start < end || segment.file_bytes > segment.memory_bytes {
            return bad("a segment overlaps the one before it", segment.start);
        }
        end = segment.end();
    }
    if last.end() > MAX_PAGES * PAGE_BYTES {
        return bad("a segment ends beyond all memory", last.end());
    }
    let start = first.start / PAGE_BYTES;
    let frames = Frames { start, count: last.end().div_ceil(PAGE_BYTES) - start };
    let map_bytes = frames.end() * PAGE_BYTES;
    let in_map = |vaddr: u64| vaddr.checked_sub(kernel.virt_base).is_some_and(|at| at < map_bytes);
    if !in_map(kernel.entry_vaddr) {
        return bad("the entry point lies outside of the kernel", kernel.entry_vaddr);
    }
    match kernel.hypercall_page_vaddr {
        Some(vaddr) if !in_map(vaddr) || !vaddr.is_multiple_of(PAGE_BYTES) => {
            bad("HYPERCALL_PAGE is not a page of the kernel", vaddr)
        }
        _ => Ok(frames),
    }
}

/// Where the p2m list goes when it goes outside of the initial mapping. As libxc does, an address
/// above the kernel's base or off a page boundary counts as none.
fn p2m_address(kernel: &KernelFacts, p2m_pages: u64) -> Result<Option<u64>, LayoutError> {
    let Some(vaddr) = kernel.init_p2m_vaddr else { return Ok(None) };
    if vaddr >= kernel.virt_base || !vaddr.is_multiple_of(PAGE_BYTES) {
        return Ok(None);
    }
    let last = vaddr.checked_add(p2m_pages * PAGE_BYTES - 1);
    let fits = last.is_some_and(|last| {
        last < kernel.virt_base && is_canonical(vaddr) && is_canonical(last) && {
            let sign = 1 << (VIRTUAL_BITS - 1);
            (vaddr & sign) == (last & sign)
        }
    });
    if fits {
        Ok(Some(vaddr))
    } else {
        Err(LayoutError::Kernel { what: "INIT_P2M leaves no room for the list", value: vaddr })
    }
}

/// Page tables of the initial mapping, and the mapping's end in frames. The end depends on how many
/// tables there are and they on the end, so this goes round until both agree.
fn place_tables(virt_base: u64, alloc_end: u64) -> Result<(Vec<Table>, u64), LayoutError> {
    let extra = 1 + PADDING_BYTES / PAGE_BYTES;
    let mut wanted = extra;
    loop {
        let end = virt_base
            .checked_add((alloc_end + wanted) * PAGE_BYTES - 1)
            .map(|last| last | (MAP_END_ALIGN_BYTES - 1))
            .filter(|&last| is_canonical(last))
            .ok_or(LayoutError::Kernel {
                what: "the initial mapping leaves the address space from VIRT_BASE on",
                value: virt_base,
            })?;
        let map_end = (end - virt_base) / PAGE_BYTES + 1;
        let tables = tables_of(virt_base, map_end, alloc_end, &[]);
        wanted = tables.len() as u64 + extra;
        if alloc_end + wanted <= map_end {
            return Ok((tables, map_end));
        }
    }
}

/// Tables that map `pages` pages from `vaddr` on and are not in `present`: the root first, then
/// level by level, each in ascending addresses, in frames from `pfn` on.
fn tables_of(vaddr: u64, pages: u64, pfn: u64, present: &[Table]) -> Vec<Table> {
    let first = vaddr & ((1 << VIRTUAL_BITS) - 1);
    let last = first + pages * PAGE_BYTES - 1;
    let mut tables = Vec::new();
    for level in (1..=4u8).rev() {
        let shift = table_shift(level);
        for index in first >> shift..=last >> shift {
            if !present.iter().any(|table| table.level == level && table.index == index) {
                tables.push(Table { level, index, pfn: pfn + tables.len() as u64 });
            }
        }
    }
    tables
}

/// Number of address bits that one table of the level covers.
pub(super) const fn table_shift(level: u8) -> u32 {
    12 + 9 * level as u32
}

/// Whether bits 47 to 63 are all equal.
const fn is_canonical(vaddr: u64) -> bool {
    let high = vaddr >> (VIRTUAL_BITS - 1);
    high == 0 || high == (1 << (64 - VIRTUAL_BITS + 1)) - 1
}
