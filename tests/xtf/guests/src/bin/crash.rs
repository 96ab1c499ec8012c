//! Ends badly, as the command line says: `how=shutdown` (default), `panic`, `trap` or `overflow`.
//!
//! No `Test result:` line follows `shutdown` and `overflow`; the two others print ERROR. In every
//! case the toolstack sees shutdown reason crash.
#![no_std]
#![no_main]

use xtf::xen_sys::sched::SHUTDOWN_crash;

xtf::main!(crash);

fn crash(guest: &mut xtf::Guest) -> xtf::Outcome {
    let how = guest.option("how").unwrap_or("shutdown");
    xtf::println!("xtf: crash how={how}");
    xtf::console::flush();
    match how {
        "shutdown" => xtf::shutdown(SHUTDOWN_crash),
        "panic" => panic!("as asked"),
        "trap" => {
            // SAFETY: the invalid instruction ends in the runtime's exception handler.
            unsafe { core::arch::asm!("ud2") }
        }
        "overflow" => {
            core::hint::black_box(deeper(u64::MAX));
        }
        _ => {}
    }
    xtf::Outcome::Error("how= is shutdown, panic, trap or overflow")
}

/// Runs off the end of the stack, where Xen finds no room for the exception frame.
fn deeper(left: u64) -> u64 {
    let room = core::hint::black_box([left; 64]);
    if left == 0 { 0 } else { deeper(left - 1) + room[1] }
}
