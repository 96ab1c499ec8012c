//! The planning against naive models, over many shapes of domain; here what the tests share.

mod layout;
mod loads;
mod options;
mod page_tables;
mod placement;
mod specification;
mod start_info;

use super::facts::{CpuLeaf, HostCpu, HostFacts, KernelFacts, KernelSegment};
use super::layout::{Frames, Layout, PAGE_BYTES};
use super::p2m::P2m;
use super::page_tables::{ENTRIES, page_tables};
use crate::spec::DomainSpec;

pub(super) const MIB: u64 = 1024 * 1024;
/// A leaf that has to be changed when the time stamp counter is emulated.
pub(super) const LEAF_7: CpuLeaf =
    CpuLeaf { leaf: 0x8000_0007, subleaf: u32::MAX, a: 0, b: 0, c: 0, d: 0 };
/// Where Linux has its kernel.
pub(super) const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;
/// Where Linux wants its p2m list.
pub(super) const LINUX_P2M: u64 = 0x80_0000_0000;

pub(super) fn segment(
    index: usize,
    start: u64,
    file_bytes: u64,
    memory_bytes: u64,
) -> KernelSegment {
    let data = (file_bytes > 0).then_some(0..file_bytes).into_iter().collect();
    KernelSegment { index, start, file_bytes, data, memory_bytes }
}

/// Sizes like those of a distribution's kernel, scaled to `code_bytes`.
pub(super) fn linux(code_bytes: u64) -> KernelFacts {
    let data = 16 * MIB + code_bytes.next_multiple_of(2 * MIB);
    KernelFacts {
        guest_os: "linux".to_owned(),
        virt_base: LINUX_BASE,
        entry_vaddr: LINUX_BASE + 16 * MIB + 0x1c0,
        hypercall_page_vaddr: Some(LINUX_BASE + 16 * MIB + 0x1000),
        init_p2m_vaddr: Some(LINUX_P2M),
        ramdisk_by_pfn: true,
        segments: vec![
            segment(0, 16 * MIB, code_bytes, code_bytes),
            segment(1, data, 0x1_2345, 0x2_0000),
            segment(2, data + 0x2_0000, 0x800, 3 * MIB),
        ],
    }
}

/// A microkernel: everything inside of the initial mapping.
pub(super) fn micro() -> KernelFacts {
    KernelFacts {
        guest_os: "micro".to_owned(),
        virt_base: 0,
        entry_vaddr: 0x10_0000,
        hypercall_page_vaddr: None,
        init_p2m_vaddr: None,
        ramdisk_by_pfn: false,
        segments: vec![segment(0, 0x10_0000, 0x3210, 0x8000)],
    }
}

pub(super) fn host() -> HostFacts {
    HostFacts {
        xen_version: (4, 17),
        max_grant_version: 2,
        cpu: HostCpu {
            hyper_threading: true,
            cmp_legacy: false,
            pv_default: vec![LEAF_7],
            host: Vec::new(),
        },
        numa_nodes: vec![0],
        node_loads: Vec::new(),
        flask: false,
        pvh_dom0: false,
        cpus: 4,
        iommu: true,
        memory_map: Vec::new(),
        store_domid: 0,
        console_domid: 0,
    }
}

pub(super) fn spec(memory_kib: u64, vcpus: u32) -> DomainSpec {
    DomainSpec {
        cmdline: "console=hvc0".to_owned(),
        vcpus,
        max_vcpus: vcpus,
        ..DomainSpec::new("guest", [0xab; 16], "/boot/vmlinuz", memory_kib)
    }
}

/// A p2m list that is neither the identity nor ascending.
pub(super) fn shuffled_p2m(pages: u64) -> Vec<u64> {
    (0..pages).map(|pfn| 0x10_0000 + (pfn ^ 0x155)).collect()
}

/// The same as the builder keeps it.
pub(super) fn as_p2m(frames: &[u64]) -> P2m {
    let mut p2m = P2m::default();
    p2m.add(frames.iter().copied());
    p2m
}

/// Follows the tables as a CPU does; gives the leaf entry.
pub(super) fn walk(layout: &Layout, p2m: &[u64], entries: &[u64], vaddr: u64) -> Option<u64> {
    let mut mfn = p2m[layout.tables.start as usize];
    for level in (1..=4).rev() {
        let pfn = p2m.iter().position(|&m| m == mfn)? as u64;
        let table = layout.all_tables.iter().position(|t| t.pfn == pfn)?;
        assert_eq!(layout.all_tables[table].level, level);
        let slot = (vaddr >> (12 + 9 * (level - 1))) % ENTRIES as u64;
        let entry = entries[table * ENTRIES + slot as usize];
        if entry & 1 == 0 {
            return None;
        }
        if level == 1 {
            return Some(entry);
        }
        assert_eq!(entry & 0xfff, 0x67, "branch at level {level} for {vaddr:#x}");
        mfn = entry >> 12;
    }
    None
}

/// No two things share a frame, and everything lies inside of what was allocated.
pub(super) fn check_disjoint(layout: &Layout) {
    let one = |start| Frames { start, count: 1 };
    let mut all = vec![
        layout.kernel,
        layout.p2m,
        layout.p2m_tables,
        one(layout.start_info),
        one(layout.store),
        one(layout.console),
        layout.tables,
        one(layout.boot_stack),
    ];
    all.extend(layout.ramdisk);
    all.retain(|frames| frames.count > 0);
    all.sort_by_key(|frames| frames.start);
    for pair in all.windows(2) {
        assert!(pair[0].end() <= pair[1].start, "{pair:?} overlap");
    }
    assert!(all.last().unwrap().end() <= layout.alloc_end);
    assert!(layout.alloc_end <= layout.pages);
    let padding = (layout.map_end - layout.boot_stack - 1) * PAGE_BYTES;
    assert!(padding >= 512 * 1024, "{padding} bytes of padding");
    assert_eq!(layout.vaddr(layout.map_end) % (4 * MIB), 0);
    assert!(layout.map_end <= layout.pages);
}

/// Exactly the mappings are mapped, each page to its frame, tables read-only.
pub(super) fn check_tables(layout: &Layout) {
    let p2m = shuffled_p2m(layout.pages);
    let entries = page_tables(layout, &as_p2m(&p2m)).unwrap();
    assert_eq!(entries.len(), layout.all_tables.len() * ENTRIES);
    let mut leaves = 0;
    for (table, entries) in layout.all_tables.iter().zip(entries.chunks(ENTRIES)) {
        if table.level == 1 {
            leaves += entries.iter().filter(|&&entry| entry != 0).count() as u64;
        }
    }
    assert_eq!(leaves, layout.mappings.iter().map(|m| m.frames.count).sum::<u64>());
    for mapping in &layout.mappings {
        let last = mapping.frames.count - 1;
        // All pages would take a minute in a debug build: ends, middle, and around the tables.
        let near = [0, 1, last / 2, last].into_iter().chain(
            (layout.start_info..layout.boot_stack + 3)
                .map(|pfn| pfn.wrapping_sub(mapping.frames.start)),
        );
        for page in near.filter(|&page| page <= last) {
            let pfn = mapping.frames.start + page;
            let vaddr = mapping.vaddr.wrapping_add(page * PAGE_BYTES);
            let entry = walk(layout, &p2m, &entries, vaddr).expect("mapped");
            assert_eq!(entry >> 12, p2m[pfn as usize], "{vaddr:#x}");
            let wanted = if layout.is_table(pfn) { 0x21 } else { 0x23 };
            assert_eq!(entry & 0xfff, wanted, "{vaddr:#x}, pfn {pfn:#x}");
        }
        let end = mapping.vaddr.wrapping_add(mapping.frames.count * PAGE_BYTES);
        assert_eq!(walk(layout, &p2m, &entries, end), None, "{end:#x}");
    }
}
