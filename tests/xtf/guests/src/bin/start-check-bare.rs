//! Checks what it was started with; without a HYPERCALL_PAGE note, which kernels need not have.
//! Wants `hypercall_page=0` on its command line.
#![no_std]
#![no_main]

#[path = "../start_check/mod.rs"]
mod start_check;

xtf::main!(start_check::run,);
