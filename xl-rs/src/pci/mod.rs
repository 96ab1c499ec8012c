//! PCI devices of this host: what there is, who has it, and how it is set free for guests.
//!
//! In: sysfs, the driver xen-pciback, and what toolstacks note in `/libxl/pci`. Out: functions with
//! their drivers and names; devices taken from dom0's drivers and given back. Nothing here knows
//! what a domain's nodes look like; [`crate::device`] does.

pub mod address;
pub mod assignable;
pub mod error;
pub mod function;
pub mod names;
pub mod notes;
pub mod sysfs;

pub use address::Bdf;
pub use error::PciError;
pub use function::Function;
pub use sysfs::Sysfs;
