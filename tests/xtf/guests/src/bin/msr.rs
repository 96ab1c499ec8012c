//! Reads a model-specific register that the processor has and Xen does not know of: SUCCESS if the
//! read is allowed (`msr_relaxed`), a general protection fault otherwise.
#![no_std]
#![no_main]

use core::arch::asm;

/// `EBL_CR_POWERON`: of Intel's older processors, readable on emulated ones.
const UNKNOWN: u32 = 0x2a;

xtf::main!(msr);

fn msr(_guest: &mut xtf::Guest) -> xtf::Outcome {
    let (low, high): (u32, u32);
    // SAFETY: touches no memory; a refused read ends in the runtime's exception handler.
    unsafe {
        asm!("rdmsr", in("ecx") UNKNOWN, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    xtf::println!("xtf: msr {UNKNOWN:#x} reads {high:#x}:{low:#x}");
    xtf::Outcome::Success
}
