//! The start info and shared info pages.

use super::*;
use crate::plan::start_info::{Assigned, shared_info_page};
use crate::plan::{PlanError, plan_facts};

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
