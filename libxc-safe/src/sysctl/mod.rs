//! Control and facts of the host: CPUs, memory, pools, the hypervisor's log, all domains at once.

mod console;
mod cpupool;
mod host;
mod list;
mod pci;

pub use console::ConsoleText;
pub use cpupool::{CpuPool, PoolSchedulerParameters};
pub use host::{Capabilities, CpuPlace, NumaNode, PhysInfo};
pub use pci::PciAddress;

use rustix::io::Errno;
use xen_sys::domctl::{
    XEN_SCHEDULER_ARINC653, XEN_SCHEDULER_CREDIT, XEN_SCHEDULER_CREDIT2, XEN_SCHEDULER_NULL,
    XEN_SCHEDULER_RTDS,
};
use xen_sys::sysctl::{XEN_SYSCTL_sched_id, xen_sysctl, xen_sysctl_sched_id};
use xen_sys::xen::__HYPERVISOR_sysctl;

use crate::domctl::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// A scheduler (`XEN_SCHEDULER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// The old default.
    Credit,
    /// The default since Xen 4.12.
    Credit2,
    /// Fixed time slots.
    Arinc653,
    /// Real-time deferrable server, in debug builds only since Xen 4.17.
    Rtds,
    /// One vCPU per CPU, no scheduling.
    Null,
    /// One that this build does not know.
    Other(u32),
}

impl Scheduler {
    /// The scheduler with this number.
    #[must_use]
    pub fn from_id(id: u32) -> Self {
        match id {
            XEN_SCHEDULER_CREDIT => Self::Credit,
            XEN_SCHEDULER_CREDIT2 => Self::Credit2,
            XEN_SCHEDULER_ARINC653 => Self::Arinc653,
            XEN_SCHEDULER_RTDS => Self::Rtds,
            XEN_SCHEDULER_NULL => Self::Null,
            other => Self::Other(other),
        }
    }

    /// The number of this scheduler.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Credit => XEN_SCHEDULER_CREDIT,
            Self::Credit2 => XEN_SCHEDULER_CREDIT2,
            Self::Arinc653 => XEN_SCHEDULER_ARINC653,
            Self::Rtds => XEN_SCHEDULER_RTDS,
            Self::Null => XEN_SCHEDULER_NULL,
            Self::Other(id) => id,
        }
    }

    /// Its name, as xl writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Credit2 => "credit2",
            Self::Arinc653 => "arinc653",
            Self::Rtds => "rtds",
            Self::Null => "null",
            Self::Other(_) => "unknown",
        }
    }
}

impl Xen {
    /// Makes one sysctl in the revision that this Xen speaks. The payload is updated by the
    /// answer, whether it succeeds or fails.
    ///
    /// # Safety
    /// The addresses in `payload` are as [`crate::privcmd::Privcmd::hypercall`] demands.
    pub(crate) unsafe fn sysctl(
        &self,
        operation: &'static str,
        command: u32,
        payload: &mut Payload,
    ) -> Result<()> {
        // SAFETY: as the caller vouches.
        unsafe { self.sysctl_raw(self.sysctl_revision().raw(), command, payload) }?
            .map_err(|errno| Error::hypercall(operation, None, errno))
    }

    /// Makes a sysctl with a given interface version; the outer error is about memory for it.
    ///
    /// # Safety
    /// As [`Xen::sysctl`].
    pub(crate) unsafe fn sysctl_raw(
        &self,
        revision: u32,
        command: u32,
        payload: &mut Payload,
    ) -> Result<Result<(), Errno>> {
        const HEAD: usize = std::mem::offset_of!(xen_sysctl, u);
        let mut buffer = self.pool().zeroed(size_of::<xen_sysctl>())?;
        put!(buffer.bytes_mut(), xen_sysctl { cmd: command, interface_version: revision });
        buffer.bytes_mut()[HEAD..HEAD + PAYLOAD_BYTES].copy_from_slice(payload);
        let arguments = [buffer.address(), 0, 0, 0, 0];
        // SAFETY: Xen reads and writes a struct xen_sysctl at the first argument, which is the
        // size of `buffer`; the caller vouches for the addresses inside.
        let outcome = unsafe { self.privcmd().hypercall(__HYPERVISOR_sysctl, arguments) };
        payload.copy_from_slice(&buffer.bytes()[HEAD..HEAD + PAYLOAD_BYTES]);
        Ok(outcome.map(|_| ()))
    }

    /// The scheduler of pool 0.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn scheduler(&self) -> Result<Scheduler> {
        let mut payload = [0; PAYLOAD_BYTES];
        // SAFETY: sched_id carries no address.
        unsafe { self.sysctl("XEN_SYSCTL_sched_id", XEN_SYSCTL_sched_id, &mut payload) }?;
        Ok(Scheduler::from_id(get!(payload, xen_sysctl_sched_id, sched_id)))
    }
}
