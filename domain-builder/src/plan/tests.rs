//! Layout, page tables, start info and loads against naive models, over many shapes of domain.

use super::facts::{CpuLeaf, HostCpu, HostFacts, KernelFacts, KernelSegment};
use super::layout::{Frames, Layout, LayoutError, PAGE_BYTES};
use super::page_tables::{ENTRIES, page_tables, to_bytes};
use super::start_info::{Assigned, shared_info_page};
use super::steps::{Source, Step};
use super::{PlanError, plan_facts};
use crate::spec::{CpuSet, DomainSpec, EndActions, SchedParams, TscMode, VcpuAffinity};
use proptest::prelude::*;

const MIB: u64 = 1024 * 1024;
/// A leaf that has to be changed when the time stamp counter is emulated.
const LEAF_7: CpuLeaf = CpuLeaf { leaf: 0x8000_0007, subleaf: u32::MAX, a: 0, b: 0, c: 0, d: 0 };
/// Where Linux has its kernel.
const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;
/// Where Linux wants its p2m list.
const LINUX_P2M: u64 = 0x80_0000_0000;

fn segment(index: usize, start: u64, file_bytes: u64, memory_bytes: u64) -> KernelSegment {
    KernelSegment { index, start, file_bytes, memory_bytes }
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
fn micro() -> KernelFacts {
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
        cpu: HostCpu { hyper_threading: true, cmp_legacy: false, pv_default: vec![LEAF_7] },
        numa_nodes: 1,
        cpus: 4,
        store_domid: 0,
        console_domid: 0,
    }
}

pub(super) fn spec(memory_kib: u64, vcpus: u32) -> DomainSpec {
    DomainSpec {
        name: "guest".to_owned(),
        uuid: [0xab; 16],
        kernel: "/boot/vmlinuz".into(),
        ramdisk: None,
        cmdline: "console=hvc0".to_owned(),
        memory_kib,
        max_memory_kib: memory_kib,
        vcpus,
        max_vcpus: vcpus,
        affinity: Vec::new(),
        numa_nodes: Vec::new(),
        sched: SchedParams::default(),
        cpupool: 0,
        tsc_mode: TscMode::Default,
        on_end: EndActions::default(),
        max_grant_frames: None,
        max_maptrack_frames: None,
        max_event_channels: None,
        max_grant_version: None,
        no_migrate: false,
        msr_relaxed: false,
        time_offset_seconds: 0,
        driver_domain: false,
        no_suspend_node: false,
    }
}

/// A p2m list that is neither the identity nor ascending.
fn shuffled_p2m(pages: u64) -> Vec<u64> {
    (0..pages).map(|pfn| 0x10_0000 + (pfn ^ 0x155)).collect()
}

/// Follows the tables as a CPU does; gives the leaf entry.
fn walk(layout: &Layout, p2m: &[u64], entries: &[u64], vaddr: u64) -> Option<u64> {
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
fn check_disjoint(layout: &Layout) {
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
fn check_tables(layout: &Layout) {
    let p2m = shuffled_p2m(layout.pages);
    let entries = page_tables(layout, &p2m).unwrap();
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

/// Every entry of a microkernel's tables, computed without the code under test.
#[test]
fn page_tables_to_the_byte() {
    let layout = Layout::new(&micro(), None, 8 * MIB / PAGE_BYTES).unwrap();
    let p2m = shuffled_p2m(layout.pages);
    let first = layout.tables.start;
    let mfn = |pfn: u64| p2m[pfn as usize];
    // Root, level 3, level 2, then two tables of level 1.
    let mut wanted = vec![0u64; 5 * 512];
    wanted[0] = mfn(first + 1) << 12 | 0x67;
    wanted[512] = mfn(first + 2) << 12 | 0x67;
    wanted[1024] = mfn(first + 3) << 12 | 0x67;
    wanted[1025] = mfn(first + 4) << 12 | 0x67;
    for pfn in 0..1024 {
        let read_only = (first..first + 5).contains(&pfn);
        wanted[1536 + pfn as usize] = mfn(pfn) << 12 | if read_only { 0x21 } else { 0x23 };
    }
    let entries = page_tables(&layout, &p2m).unwrap();
    assert_eq!(entries, wanted);
    let bytes = to_bytes(&entries);
    assert_eq!(bytes.len(), 5 * 4096);
    assert_eq!(bytes[..8], wanted[0].to_le_bytes());
}

#[test]
fn a_short_p2m_list_is_an_error() {
    let layout = Layout::new(&micro(), None, 8 * MIB / PAGE_BYTES).unwrap();
    let p2m = shuffled_p2m(layout.map_end - 1);
    let error = page_tables(&layout, &p2m).unwrap_err();
    assert_eq!(error.pfn, layout.map_end - 1);
}

fn check_start_info(kernel: &KernelFacts, ramdisk: Option<u64>, words: &[(usize, u64)]) {
    let plan = plan_facts(&spec(256 * 1024, 1), kernel, ramdisk, &host()).unwrap();
    let assigned = Assigned {
        shared_info_mfn: 0x1234,
        store_mfn: 0x5678,
        store_port: 1,
        console_mfn: 0x9abc,
        console_port: 2,
    };
    let page = plan.start_info.page(&plan.layout, &assigned);
    let mut wanted = [0u8; 4096];
    wanted[..14].copy_from_slice(b"xen-3.0-x86_64");
    wanted[128..140].copy_from_slice(b"console=hvc0");
    let common = [
        (32, 0x1_0000),
        (40, 0x123_4000),
        (56, 0x5678),
        (64, 1),
        (72, 0x9abc),
        (80, 2),
        (88, plan.layout.vaddr(plan.layout.tables.start)),
        (96, plan.layout.tables.count),
    ];
    for &(at, value) in common.iter().chain(words) {
        wanted[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    assert_eq!(page.as_slice(), wanted);
}

#[test]
fn start_info_to_the_byte() {
    // Offsets: flags 48, mfn_list 104, mod_start 112, mod_len 120, first_p2m_pfn 1152, nr 1160.
    let kernel = linux(14 * MIB);
    check_start_info(&kernel, None, &[(104, LINUX_P2M), (1152, 0x2400), (1160, 131)]);
    check_start_info(
        &kernel,
        Some(5000),
        &[(48, 8), (104, LINUX_P2M), (112, 0x2400), (120, 5000), (1152, 0x2402), (1160, 131)],
    );
    let base = |pfn: u64| pfn * PAGE_BYTES;
    check_start_info(&micro(), None, &[(104, base(0x108))]);
    check_start_info(&micro(), Some(4097), &[(104, base(0x10a)), (112, base(0x108)), (120, 4097)]);
}

#[test]
fn the_command_line_fits_or_is_refused() {
    let mut spec = spec(256 * 1024, 1);
    spec.cmdline = "x".repeat(1023);
    let plan = plan_facts(&spec, &micro(), None, &host()).unwrap();
    let page = plan.start_info.page(&plan.layout, &Assigned::default());
    assert_eq!(page[128 + 1022..128 + 1024], [b'x', 0]);
    assert_eq!(page[1152..], [0; 4096 - 1152]);
    spec.cmdline.push('x');
    let error = plan_facts(&spec, &micro(), None, &host()).unwrap_err();
    assert!(matches!(error, PlanError::CmdlineTooLong { bytes: 1024 }), "{error}");
}

#[test]
fn shared_info_masks_every_vcpu() {
    let page = shared_info_page();
    for (at, &byte) in page.iter().enumerate() {
        assert_eq!(byte, u8::from(at < 2048 && at % 64 == 1), "byte {at}");
    }
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

#[test]
fn bad_specifications_are_refused() {
    fn check(change: impl FnOnce(&mut DomainSpec), part: &str) {
        let mut spec = spec(256 * 1024, 2);
        change(&mut spec);
        let error = plan_facts(&spec, &micro(), None, &host()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let pinned = |cpus: Vec<u32>| {
        vec![VcpuAffinity::default(), VcpuAffinity { hard: Some(CpuSet(cpus)), soft: None }]
    };
    check(|s| s.name.clear(), "must not be empty");
    check(|s| s.name = "a/b".to_owned(), "must not be empty");
    check(|s| s.vcpus = 0, "vcpus=0");
    check(|s| s.max_vcpus = 1, "maxvcpus=1");
    check(|s| s.max_vcpus = 8193, "maxvcpus=8193");
    check(|s| s.max_memory_kib = 1, "raise maxmem");
    check(|s| s.cmdline = "a\0b".to_owned(), "NUL");
    check(|s| s.numa_nodes = vec![0, 1], "no NUMA node 1");
    check(|s| s.affinity = pinned(vec![4]), "vcpu 1 cannot be pinned to CPU 4");
    check(|s| s.affinity = pinned(vec![]), "no CPU");
    check(|s| s.memory_kib = 1024, "at least");
    check(|s| (s.memory_kib, s.max_memory_kib) = (u64::MAX, u64::MAX), "lower memory");
}

#[test]
fn steps_follow_the_specification() {
    let mut wanted = spec(64 * 1024, 2);
    wanted.max_vcpus = 4;
    wanted.max_memory_kib = 128 * 1024;
    wanted.tsc_mode = TscMode::AlwaysEmulate;
    wanted.sched.weight = Some(512);
    let hard = Some(CpuSet(vec![1, 3, 9]));
    wanted.affinity = vec![VcpuAffinity { hard, soft: None }];
    let plan = plan_facts(&wanted, &linux(14 * MIB), Some(5000), &host()).unwrap();
    let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
    assert_eq!(
        names,
        [
            "check-name",
            "create-domain",
            "write-identity",
            "max-vcpus",
            "vcpu-affinity",
            "max-memory",
            "event-channels",
            "memory-map",
            "tsc",
            "cpu-policy",
            "address-size",
            "claim-memory",
            "populate-memory",
            "cancel-claim",
            "load-kernel",
            "load-ramdisk",
            "clear-pages",
            "shared-info",
            "write-p2m",
            "write-boot-pages",
            "hypercall-page",
            "pin-tables",
            "vcpu-context",
            "seed-grants",
            "sched-params",
            "introduce"
        ]
    );
    for step in &plan.steps {
        match step {
            Step::MaxMemory { kib } => assert_eq!(*kib, 65 * 1024),
            Step::MemoryMap { ram_end } => assert_eq!(*ram_end, 128 * MIB),
            Step::CpuPolicy { leaves } => assert_eq!(leaves, &[CpuLeaf { d: 256, ..LEAF_7 }]),
            Step::VcpuAffinity { vcpus } => assert_eq!(vcpus[0].hard, Some(vec![1, 3])),
            Step::VcpuContext(start) => {
                assert_eq!(start.rip, LINUX_BASE + 16 * MIB + 0x1c0);
                assert_eq!(start.rsi, plan.layout.vaddr(plan.layout.start_info));
                assert_eq!(start.rsp, plan.layout.vaddr(plan.layout.boot_stack) + 4096);
            }
            Step::HypercallPage { pfn } => assert_eq!(*pfn, 0x1001),
            _ => {}
        }
    }
    let text = plan.to_string();
    assert!(text.contains("write  /local/domain/D/cpu/3/availability = \"offline\""), "{text}");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<super::Plan>(&json).unwrap(), plan);
}

/// What loads and clears leave in the kernel's frames, byte by byte: (segment, offset) or zero.
fn check_loads(kernel: &KernelFacts, layout: &Layout) {
    let bytes = (layout.kernel.end() * PAGE_BYTES) as usize;
    // 0: untouched, 1: zero, otherwise 2 + a mix of segment and offset.
    let mut memory = vec![0u32; bytes];
    let mark = |segment: usize, offset: u64| 2 + segment as u32 * 0x1000_0000 + offset as u32;
    for load in super::loads::kernel_loads(kernel) {
        let from = (load.frames.start * PAGE_BYTES) as usize;
        let to = (load.frames.end() * PAGE_BYTES) as usize;
        assert!(memory[from..to].iter().all(|&b| b == 0), "mapped twice");
        memory[from..to].fill(1);
        for piece in load.pieces {
            let Source::Kernel { segment, offset } = piece.source else { panic!() };
            for at in 0..piece.bytes {
                memory[from + (piece.at + at) as usize] = mark(segment, offset + at);
            }
        }
    }
    for frames in super::loads::kernel_clears(kernel, layout) {
        let range = (frames.start * PAGE_BYTES) as usize..(frames.end() * PAGE_BYTES) as usize;
        assert!(memory[range.clone()].iter().all(|&b| b == 0), "cleared what was loaded");
        memory[range].fill(1);
    }
    let mut wanted = vec![0u32; bytes];
    wanted[(layout.kernel.start * PAGE_BYTES) as usize..].fill(1);
    for segment in &kernel.segments {
        for at in 0..segment.file_bytes {
            wanted[(segment.start + at) as usize] = mark(segment.index, at);
        }
    }
    assert!(memory == wanted);
}

#[test]
fn kernel_bytes_and_zeros_go_where_they_belong() {
    let kernel = micro();
    check_loads(&kernel, &Layout::new(&kernel, None, 8 * MIB / PAGE_BYTES).unwrap());
    // Two segments share a page; one has no file bytes; a load is longer than one mapping.
    let mut kernel = micro();
    kernel.segments = vec![
        segment(0, 0x10_0000, 0x1800, 0x1800),
        segment(1, 0x10_1800, 0x100, 0x9000),
        segment(2, 0x20_0000, 0, 0x3000),
        segment(3, 0x20_3010, 17 * MIB, 17 * MIB),
    ];
    check_loads(&kernel, &Layout::new(&kernel, None, 64 * MIB / PAGE_BYTES).unwrap());
}

#[test]
fn ramdisk_loads_cover_the_file_once() {
    for bytes in [0, 1, 4096, 4097, 16 * MIB, 40 * MIB + 3] {
        let frames = Frames { start: 7, count: bytes.div_ceil(PAGE_BYTES) };
        let mut next = 0;
        for load in super::loads::ramdisk_loads(frames, bytes) {
            assert_eq!(load.pieces.len(), 1);
            let piece = load.pieces[0];
            assert_eq!(piece.source, Source::Ramdisk { offset: next });
            assert_eq!(load.frames.start * PAGE_BYTES + piece.at, 7 * PAGE_BYTES + next);
            next += piece.bytes;
        }
        assert_eq!(next, bytes);
    }
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

    /// Plans never panic, whatever the numbers.
    #[test]
    fn any_numbers_give_a_plan_or_an_error(
        virt_base: u64,
        entry: u64,
        p2m in proptest::option::of(any::<u64>()),
        start: u64,
        file_bytes: u64,
        memory_bytes: u64,
        ramdisk in proptest::option::of(any::<u64>()),
        memory_kib: u64,
        vcpus: u32,
    ) {
        let kernel = KernelFacts {
            guest_os: String::new(),
            virt_base: virt_base & !0xfff,
            entry_vaddr: entry,
            hypercall_page_vaddr: None,
            init_p2m_vaddr: p2m,
            ramdisk_by_pfn: entry & 1 == 0,
            segments: vec![segment(0, start, file_bytes, memory_bytes)],
        };
        let _ = plan_facts(&spec(memory_kib, vcpus), &kernel, ramdisk, &host());
    }
}

#[test]
fn the_first_vcpu_starts_in_kernel_mode_on_its_tables() {
    use super::steps::VcpuStart;
    let start = VcpuStart { rip: 0x11, rsp: 0x22, rsi: 0x33, root_table_pfn: 5 };
    let context = super::vcpu::vcpu_context(&start, 0x12_3456);
    assert_eq!((context.user_regs.rip, context.user_regs.rsp), (0x11, 0x22));
    assert_eq!((context.user_regs.rsi, context.kernel_sp), (0x33, 0x22));
    assert_eq!((context.user_regs.cs, context.user_regs.ss), (0xe033, 0xe02b));
    assert_eq!((context.user_regs.ds, context.kernel_ss), (0, 0xe02b));
    assert_eq!((context.flags, context.user_regs.rflags), (0b10_0100, 0x200));
    assert_eq!(context.ctrlreg[3], 0x1_2345_6000);
}
