//! Checks what it was started with; laid out the plain way: p2m and ramdisk in the initial mapping.
#![no_std]
#![no_main]

#[path = "../start_check/mod.rs"]
mod start_check;

xtf::main!(start_check::run);
