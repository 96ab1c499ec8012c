//! Calls about a domain that are not domctls: event channels for it, its shutdown.

use xen_sys::event_channel::{
    EVTCHNOP_alloc_unbound, EVTCHNOP_reset, evtchn_alloc_unbound, evtchn_reset,
};
use xen_sys::sched::{SCHEDOP_remote_shutdown, sched_remote_shutdown};
use xen_sys::types::{Domid, Port};
use xen_sys::xen::{__HYPERVISOR_event_channel_op, __HYPERVISOR_sched_op};

use crate::domctl::ShutdownReason;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

impl Xen {
    /// Allocates an event channel port in `domid` that `remote` may bind to.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENOSPC when the domain has no port left.
    pub fn alloc_unbound(&self, domid: Domid, remote: Domid) -> Result<Port> {
        let mut request = [0; size_of::<evtchn_alloc_unbound>()];
        put!(request, evtchn_alloc_unbound { dom: domid.0, remote_dom: remote.0 });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [EVTCHNOP_alloc_unbound, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads and writes one struct evtchn_alloc_unbound, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_event_channel_op, arguments) }
            .map_err(|errno| Error::hypercall("EVTCHNOP_alloc_unbound", Some(domid), errno))?;
        Ok(Port(get!(buffer.bytes(), evtchn_alloc_unbound, port)))
    }

    /// Closes all event channels of a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn reset_event_channels(&self, domid: Domid) -> Result<()> {
        let mut request = [0; size_of::<evtchn_reset>()];
        put!(request, evtchn_reset { dom: domid.0 });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [EVTCHNOP_reset, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads one struct evtchn_reset, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_event_channel_op, arguments) }
            .map_err(|errno| Error::hypercall("EVTCHNOP_reset", Some(domid), errno))?;
        Ok(())
    }

    /// Stops a domain as if it had shut down for `reason`; the guest is not asked.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn shutdown(&self, domid: Domid, reason: ShutdownReason) -> Result<()> {
        let mut request = [0; size_of::<sched_remote_shutdown>()];
        put!(
            request,
            sched_remote_shutdown { domain_id: domid.0, reason: u32::from(reason.code()) }
        );
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [SCHEDOP_remote_shutdown, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads one struct sched_remote_shutdown, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_sched_op, arguments) }
            .map_err(|errno| Error::hypercall("SCHEDOP_remote_shutdown", Some(domid), errno))?;
        Ok(())
    }
}
