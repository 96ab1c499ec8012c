//! Checks what it was started with; laid out as Linux asks for it: the p2m at an address of its own,
//! the ramdisk outside of the initial mapping. Wants `init_p2m=1` on its command line.
#![no_std]
#![no_main]

#[path = "../start_check/mod.rs"]
mod start_check;

xtf::main!(start_check::run, hypercall_page, init_p2m, mod_start_pfn);
