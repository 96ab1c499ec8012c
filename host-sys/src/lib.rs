//! Ioctls and socket options of the host's kernel that no crate offers safely.
//!
//! In: open files. Out: typed answers, or the errno. What it never does: decide anything, open what
//! it was not asked for, retry, or touch Xen ([libxc-safe] is for that).
//!
//! [libxc-safe]: ../libxc_safe/index.html

pub mod block;
mod ioctl;
pub mod loops;
pub mod peek;
