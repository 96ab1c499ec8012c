//! libibverbs, safe: the one module of this crate with `unsafe`.
//!
//! In: plain values, and memory of guests as [`libxc_safe::GrantMapping`]. Out: objects that destroy
//! themselves, each before what it was made of. libibverbs is loaded when the program starts, so that
//! building needs no rdma-core, and a host without it is told so. `tests/headers.rs` compares every
//! structure with the C headers.
//!
//! All objects of one context belong to one thread: nothing here is `Sync`, and nothing locks.

mod device;
mod ffi;
pub mod guardian;
mod library;
mod objects;
mod post;
mod region;

pub use device::{AsyncAbout, AsyncNews, Context};
pub use ffi::LAYOUTS;
pub use guardian::KERNEL_NUMBERS;
pub use library::Library;
pub use objects::{Channel, Cq, Pd, Qp, QpWanted};
pub use post::{Payload, ReceiveBatch, SendBatch, Stopped};
pub use region::Mr;

use libxc_safe::Errno;

/// The errno that a function of libibverbs, which returned NULL or -1, has left in this thread.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A function of libibverbs that returns 0 or an errno; some return -1 and set errno.
fn done(code: libc::c_int) -> Result<(), Errno> {
    match code {
        0 => Ok(()),
        1.. => Err(Errno::from_raw_os_error(code)),
        -1 => Err(last_errno()),
        // Older providers negate it.
        _ => Err(Errno::from_raw_os_error(code.saturating_neg())),
    }
}
