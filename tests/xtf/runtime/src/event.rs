//! Event channels without interrupts: pending bits in shared_info, waiting by `SCHEDOP_poll`.

use crate::{
    clock,
    hypercall::{self, Errno},
    memory,
};
use core::{
    ptr::addr_of_mut,
    sync::atomic::{AtomicU64, Ordering},
};
use xen_sys::{
    event_channel::{
        EVTCHNOP_alloc_unbound, EVTCHNOP_send, EVTCHNOP_status, evtchn_alloc_unbound, evtchn_send,
        evtchn_status,
    },
    sched::{SCHEDOP_poll, sched_poll},
    types::{Domid, Port},
};

/// Ports of the two-level event channel ABI.
pub const PORTS: u32 = 4096;

/// Whether an event arrived on `port`; the event is consumed.
#[must_use]
pub fn take(port: Port) -> bool {
    if port.0 >= PORTS {
        return false;
    }
    // SAFETY: shared_info stays mapped and writable for the life of the guest. Xen sets bits at
    // any time, by atomic operations like this one.
    let word = unsafe {
        let words = addr_of_mut!((*memory::shared_info()).evtchn_pending).cast::<u64>();
        AtomicU64::from_ptr(words.add(port.0 as usize / 64))
    };
    let bit = 1 << (port.0 % 64);
    word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// Waits until an event is pending on one of `ports` or system time reaches `deadline_ns`.
///
/// Events are left pending; a wake-up can be spurious, so callers look at their ring again.
pub fn wait(ports: &[Port], deadline_ns: Option<u64>) -> Result<(), Errno> {
    let mut poll = sched_poll {
        ports: ports.as_ptr() as u64,
        nr_ports: ports.len() as u32,
        _hole0: [0; 4],
        // Zero is "no limit" to Xen.
        timeout: deadline_ns.unwrap_or(0),
    };
    hypercall::sched_op(SCHEDOP_poll, &mut poll).map(drop)
}

/// Tells the other end of `port`.
pub fn notify(port: Port) -> Result<(), Errno> {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port: port.0 }).map(drop)
}

/// A new port, to which domain `remote` may bind.
pub fn allocate(remote: Domid) -> Result<Port, Errno> {
    let mut unbound: evtchn_alloc_unbound = xen_sys::Zeroed::zeroed();
    unbound.dom = Domid::SELF.0;
    unbound.remote_dom = remote.0;
    hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut unbound)?;
    Ok(Port(unbound.port))
}

/// What Xen knows of one of the guest's own ports.
pub fn status(port: Port) -> Result<evtchn_status, Errno> {
    let mut status: evtchn_status = xen_sys::Zeroed::zeroed();
    status.dom = xen_sys::types::Domid::SELF.0;
    status.port = port.0;
    hypercall::event_channel_op(EVTCHNOP_status, &mut status)?;
    Ok(status)
}

/// System time `seconds` from now, for [`wait`].
#[must_use]
pub fn deadline(seconds: u64) -> u64 {
    clock::now_ns() + seconds * clock::SECOND_NS
}
