//! The page tables, and the first vcpu that runs on them.

use super::*;
use crate::plan::page_tables::to_bytes;
use crate::plan::steps::VcpuStart;
use crate::plan::vcpu::vcpu_context;

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
    let entries = page_tables(&layout, &as_p2m(&p2m)).unwrap();
    assert_eq!(entries, wanted);
    let bytes = to_bytes(&entries);
    assert_eq!(bytes.len(), 5 * 4096);
    assert_eq!(bytes[..8], wanted[0].to_le_bytes());
}

#[test]
fn a_short_p2m_list_is_an_error() {
    let layout = Layout::new(&micro(), None, 8 * MIB / PAGE_BYTES).unwrap();
    let p2m = shuffled_p2m(layout.map_end - 1);
    let error = page_tables(&layout, &as_p2m(&p2m)).unwrap_err();
    assert_eq!(error.pfn, layout.map_end - 1);
}

#[test]
fn the_first_vcpu_starts_in_kernel_mode_on_its_tables() {
    let start = VcpuStart { rip: 0x11, rsp: 0x22, rsi: 0x33, root_table_pfn: 5 };
    let context = vcpu_context(&start, 0x12_3456);
    assert_eq!((context.user_regs.rip, context.user_regs.rsp), (0x11, 0x22));
    assert_eq!((context.user_regs.rsi, context.kernel_sp), (0x33, 0x22));
    assert_eq!((context.user_regs.cs, context.user_regs.ss), (0xe033, 0xe02b));
    assert_eq!((context.user_regs.ds, context.kernel_ss), (0, 0xe02b));
    assert_eq!((context.flags, context.user_regs.rflags), (0b10_0100, 0x200));
    assert_eq!(context.ctrlreg[3], 0x1_2345_6000);
}
