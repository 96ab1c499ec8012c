//! Raw ABI of the Xen hypervisor, as the public headers define it: numbers, `repr(C)` structures,
//! rings and ioctls. No logic beyond sizes and ring indices, no I/O, no allocation.
//!
//! Modules are named after the header they come from, items carry the header's names. Structures
//! whose layout differs between interface revisions stand once per layout, with the first revision
//! that has it as suffix; [`revision`] names the revisions and the Xen releases that speak them.
//!
//! Guest handles (pointers in arguments) are `u64` addresses in the caller's memory, so that the
//! structures are plain data. Holes of the C layout are fields named `_hole0` and so on.
//!
//! The documentation of an item is also what its proof reads (feature `header-check`, see
//! `tests/headers.rs`): `Since Xen 4.N.` and `Until Xen 4.N.` (inclusive) name the releases whose
//! headers must have the item, `In C:` names it where the C spelling differs.
#![no_std]
#![deny(missing_docs)]
#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]

#[macro_use]
mod layout;

pub mod arch_x86;
pub mod callback;
pub mod domctl;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod hvm;
pub mod io;
pub mod ioctl;
pub mod memory;
pub mod physdev;
pub mod revision;
pub mod sched;
pub mod sysctl;
pub mod types;
pub mod vcpu;
pub mod version;
pub mod xen;
pub mod xsm;

pub use layout::Zeroed;
