//! Raw ABI of the Xen hypervisor, as the public headers define it: numbers, `repr(C)` structures,
//! rings and ioctls. No logic beyond sizes, no I/O, no allocation.
//!
//! Modules are named after the header they come from, items carry the header's names. Structures
//! whose layout differs between interface revisions stand once per revision; [`revision`] names
//! the revisions and the Xen releases that speak them.
#![no_std]
#![allow(non_camel_case_types)]

pub mod types;
