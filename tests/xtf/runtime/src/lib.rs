//! Runtime for PV microkernel test domains: a kernel is one function on top of it.
//!
//! ```ignore
//! xtf::main!(hello);
//!
//! fn hello(guest: &mut xtf::Guest) -> xtf::Outcome {
//!     xtf::println!("hello from domain {}", guest.store.read("domid")?);
//!     xtf::Outcome::Success
//! }
//! ```
//!
//! In: what the domain builder sets up (start_info, initial mapping, console and store rings).
//! Out: lines on the PV console, at the end `Test result: SUCCESS|SKIP|ERROR|FAILURE`, then the
//! domain shuts itself down.
//!
//! One vCPU, events masked for good: waiting is `SCHEDOP_poll`, nothing is ever interrupted, so no
//! state is shared between contexts of execution. An exception ends the test. There is no heap.
//!
//! It never trusts the builder more than it must: what a test guest is started with is read once
//! into [`Boot`] and left for the guest to judge.
#![no_std]

pub mod channel;
pub mod clock;
pub mod cmdline;
pub mod console;
pub mod crc;
pub mod event;
pub mod grant;
pub mod hypercall;
mod libcalls;
pub mod memory;
#[doc(hidden)]
pub mod note;
mod single;
mod start;
pub mod store;
pub mod tables;
mod trap;
pub mod vcpu;

pub use hypercall::shutdown;
pub use start::{Boot, Checks, Guest, HYPERCALL_PAGE_UNTOUCHED, Outcome};
pub use xen_sys;

/// Names the guest's main function (`fn(&mut Guest) -> Outcome`) and emits the ELF notes.
///
/// After the function come the optional notes, by default `hypercall_page`. `init_p2m` and
/// `mod_start_pfn` make the builder lay the guest out as it does for Linux.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        $crate::main!($main, hypercall_page);
    };
    ($main:path, $($note:ident),*) => {
        $crate::note!(basic);
        $($crate::note!($note);)*

        #[unsafe(no_mangle)]
        fn xtf_main(guest: &mut $crate::Guest) -> $crate::Outcome {
            $main(guest)
        }
    };
}
