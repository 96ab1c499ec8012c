//! The toolstack program `xlr`: configuration, commands and their output.
//!
//! Everything it does to Xen goes through `domain_builder`, `libxc_safe` and `xenstore`; this crate
//! makes no hypercall of its own and opens no device of Xen's.
#![forbid(unsafe_code)]

pub mod cli;
pub mod colour;
pub mod commands;
pub mod config;
pub mod consoled;
pub mod convert;
pub mod core_dump;
pub mod descriptors;
pub mod device;
pub mod draft;
pub mod events;
pub mod exit;
pub mod host;
pub mod measure;
pub mod metrics;
pub mod netlink;
pub mod output;
pub mod parts;
pub mod pci;
pub mod policy;
pub mod printable;
pub mod state;
pub mod template;
pub mod top;
