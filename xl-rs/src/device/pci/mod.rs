//! PCI devices of a domain: functions of the host that it drives itself, through xen-pciback.
//!
//! ```text
//!   wanted ──▶ checked ──▶ given (reset, assigned, permitted) ──▶ nodes ──▶ pciback shows it
//!   asked back ──▶ the guest lets go ──▶ taken (forbidden, reset, in quarantine) ──▶ nodes removed
//! ```
//!
//! All functions of a domain are one device, number 0, whose backend counts them; functions that come
//! and go while the guest runs are a change of it, which both kernels confirm. In: descriptions from a
//! configuration or a command line. Never gives what another domain has, and nothing without an IOMMU.

mod attach;
mod detach;
mod give;
mod nodes;
mod wanted;

pub use attach::{attach, attach_first};
pub use detach::{detach, release, withdraw};
pub use nodes::{Listed, list};
pub use wanted::{Given, Taker, check, functions, seize};

use super::{Address, Kind};
use xen_sys::types::Domid;

/// The one PCI device of a domain.
#[must_use]
pub const fn address(domid: Domid) -> Address {
    Address { kind: Kind::Pci, domid, devid: 0, backend: Domid::DOM0 }
}
