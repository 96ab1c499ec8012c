//! Where everything lies in the guest's memory.

use super::*;
use crate::plan::layout::LayoutError;
use proptest::prelude::*;

#[test]
fn a_linux_guest_lies_as_libxc_lays_it() {
    let kernel = linux(14 * MIB);
    let layout = Layout::new(&kernel, Some(5000), 256 * MIB / PAGE_BYTES).unwrap();
    check_disjoint(&layout);
    check_tables(&layout);
    // 16 MiB + 14 MiB + 3 MiB + 0x20000, in pages.
    assert_eq!(layout.kernel, Frames { start: 0x1000, count: 0x1120 });
    assert_eq!(layout.start_info, 0x2120);
    assert_eq!(layout.store, 0x2121);
    assert_eq!(layout.console, 0x2122);
    // 36 MiB: 18 tables of level 1, one of each level above.
    assert_eq!(layout.tables, Frames { start: 0x2123, count: 21 });
    assert_eq!(layout.boot_stack, 0x2138);
    assert_eq!(layout.map_end, 0x2400);
    assert_eq!(layout.ramdisk, Some(Frames { start: 0x2400, count: 2 }));
    assert_eq!(layout.p2m, Frames { start: 0x2402, count: 128 });
    assert_eq!(layout.p2m_vaddr, LINUX_P2M);
    // Levels 3, 2 and 1 of its own; the root is shared.
    assert_eq!(layout.p2m_tables, Frames { start: 0x2482, count: 3 });
    assert_eq!(layout.alloc_end, 0x2485);
}

#[test]
fn a_microkernel_has_everything_in_the_initial_mapping() {
    let layout = Layout::new(&micro(), Some(4096), 8 * MIB / PAGE_BYTES).unwrap();
    check_disjoint(&layout);
    check_tables(&layout);
    assert_eq!(layout.kernel, Frames { start: 0x100, count: 8 });
    assert_eq!(layout.ramdisk, Some(Frames { start: 0x108, count: 1 }));
    assert_eq!(layout.p2m, Frames { start: 0x109, count: 4 });
    assert_eq!(layout.p2m_vaddr, 0x10_9000);
    assert_eq!(layout.start_info, 0x10d);
    assert_eq!(layout.tables, Frames { start: 0x110, count: 5 });
    assert_eq!(layout.map_end, 0x400);
    assert_eq!(layout.p2m_tables.count, 0);
    assert_eq!(layout.mappings.len(), 1);
}

#[test]
fn too_small_memory_says_what_is_needed() {
    for (kernel, ramdisk) in
        [(linux(14 * MIB), None), (linux(44 * MIB), Some(200 * MIB)), (micro(), Some(3 * MIB))]
    {
        let error = Layout::new(&kernel, ramdisk, 1).unwrap_err();
        let LayoutError::TooSmall { memory_kib: 4, needed_kib, needed_mib } = error else {
            panic!("{error}");
        };
        assert_eq!(needed_kib, needed_mib * 1024);
        let pages = needed_kib * 1024 / PAGE_BYTES;
        check_disjoint(&Layout::new(&kernel, ramdisk, pages).unwrap());
        Layout::new(&kernel, ramdisk, pages - 256).unwrap_err();
    }
}

#[test]
fn no_memory_at_all_is_too_little() {
    for kernel in [linux(14 * MIB), micro()] {
        let error = Layout::new(&kernel, None, 0).unwrap_err();
        assert!(matches!(error, LayoutError::TooSmall { memory_kib: 0, .. }), "{error}");
    }
}

#[test]
fn nonsense_in_the_notes_is_refused() {
    fn check(change: impl FnOnce(&mut KernelFacts), part: &str) {
        let mut kernel = linux(14 * MIB);
        change(&mut kernel);
        let error = Layout::new(&kernel, None, 256 * MIB / PAGE_BYTES).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    check(|k| k.virt_base += 1, "VIRT_BASE");
    check(|k| k.virt_base = 0x1234_0000_0000_0000, "VIRT_BASE");
    check(|k| k.segments.clear(), "no loadable segment");
    check(|k| k.segments.swap(0, 1), "overlaps");
    check(|k| k.segments[1].start = k.segments[0].start, "overlaps");
    check(|k| k.segments[2].file_bytes = u64::MAX, "overlaps");
    check(|k| k.segments[2].memory_bytes = u64::MAX, "beyond all memory");
    check(|k| k.entry_vaddr = 0, "entry point");
    check(|k| k.hypercall_page_vaddr = Some(1), "HYPERCALL_PAGE");
    check(|k| k.init_p2m_vaddr = Some(0x7fff_ffff_f000), "INIT_P2M");
    check(|k| k.init_p2m_vaddr = Some(0xffff_ffff_7fff_f000), "INIT_P2M");
}

/// libxc ignores these, and so do we.
#[test]
fn an_impossible_init_p2m_address_counts_as_none() {
    for vaddr in [LINUX_BASE, LINUX_BASE + 0x1000, LINUX_P2M + 1] {
        let mut kernel = linux(14 * MIB);
        kernel.init_p2m_vaddr = Some(vaddr);
        let layout = Layout::new(&kernel, None, 256 * MIB / PAGE_BYTES).unwrap();
        check_tables(&layout);
        assert_eq!(layout.mappings.len(), 1);
        assert_eq!(layout.p2m_vaddr, layout.vaddr(layout.p2m.start));
    }
}

/// The p2m list right below the kernel shares its upper tables.
#[test]
fn shared_upper_tables() {
    let mut kernel = linux(14 * MIB);
    kernel.init_p2m_vaddr = Some(LINUX_BASE - 4 * MIB);
    let layout = Layout::new(&kernel, None, 256 * MIB / PAGE_BYTES).unwrap();
    check_disjoint(&layout);
    check_tables(&layout);
    assert_eq!(layout.p2m_tables.count, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any kernel and ramdisk that fits: nothing overlaps, the tables map what they should.
    #[test]
    fn any_layout_holds(
        memory_mib in 64u64..3072,
        code_pages in 1u64..0x2000,
        ramdisk in proptest::option::of(1u64..64 * MIB),
        like_linux: bool,
        by_pfn: bool,
        base_mib in 0u64..512,
    ) {
        let mut kernel = if like_linux { linux(code_pages * PAGE_BYTES) } else { micro() };
        kernel.ramdisk_by_pfn = by_pfn;
        if !like_linux {
            kernel.virt_base = base_mib * MIB;
            kernel.entry_vaddr += base_mib * MIB;
        }
        match Layout::new(&kernel, ramdisk, memory_mib * MIB / PAGE_BYTES) {
            Ok(layout) => {
                check_disjoint(&layout);
                check_tables(&layout);
            }
            Err(LayoutError::TooSmall { needed_mib, .. }) => {
                prop_assert!(needed_mib > memory_mib);
                prop_assert!(needed_mib < 256);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
