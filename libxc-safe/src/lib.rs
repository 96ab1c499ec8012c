//! Safe hypercalls: the only crate that talks to the hypervisor.
//!
//! In: typed requests. Out: typed answers, or an [`Error`] with operation, domid and errno.
//! [`Xen`] is the hypervisor; [`EventChannels`], [`GrantDevice`] and [`GrantAllocator`] are the
//! kernel's devices for what does not need to be privileged. The revision of the interface is
//! found at run time: one build serves every release from Xen 4.14 on.
//!
//! What it never does: hand out a reference to memory that another domain can change, keep a
//! descriptor open across exec, retry a failure other than where the ABI demands it, or know
//! what a domain is for.

mod bitmap;
mod buffer;
mod domctl;
mod error;
mod evtchn;
mod flask;
mod foreign;
mod gntalloc;
mod gntdev;
mod granted_range;
mod grants;
mod guest;
mod hvm;
mod ioctl;
mod layout;
mod machphys;
mod mapping;
mod memory;
mod physdev;
mod privcmd;
mod revision;
mod sysctl;
mod unmap;
mod version;
mod xen;
mod xenbus_backend;

pub use domctl::{
    Affinity, CpuPolicy, CreateDomain, DomainInfo, Leaf, Msr, RtdsParameters, SchedulerParameters,
    ShutdownReason, SystemPolicy, TscInfo, VcpuInfo, VcpuRtdsParameters,
};
pub use error::{Error, Result};
pub use evtchn::EventChannels;
pub use foreign::{ForeignMapping, GrantTableMapping};
pub use gntalloc::{GrantAllocator, GrantedPages};
pub use gntdev::{GrantDevice, GrantMapping, UnmapNotify};
pub use granted_range::GrantedRange;
pub use grants::GrantTableSize;
pub use mapping::{Mapping, Protection};
pub use memory::{E820Entry, MemoryFlags};
pub use rustix::io::Errno;
pub use sysctl::{
    Capabilities, ConsoleText, CpuPlace, CpuPool, NumaNode, PciAddress, PhysInfo,
    PoolSchedulerParameters, Scheduler,
};
pub use version::XenVersion;
pub use xen::Xen;
pub use xen_sys::arch_x86::vcpu_guest_context as VcpuContext;
pub use xen_sys::types::{Domid, Gfn, GrantRef, Mfn, Pfn, Port};
pub use xenbus_backend::KernelRing;
