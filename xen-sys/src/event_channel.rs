//! Event channels: the interrupts between domains. Mirrors `xen/event_channel.h`.

use crate::xen::domid_t;

/// Port, local to a domain; [`crate::types::Port`] above this crate.
pub type evtchn_port_t = u32;
/// State word of a port in the FIFO ABI.
pub type event_word_t = u32;
/// Bind to a port that another domain allocated.
pub const EVTCHNOP_bind_interdomain: u64 = 0;
/// Bind a virtual interrupt.
pub const EVTCHNOP_bind_virq: u64 = 1;
/// Bind a physical interrupt.
pub const EVTCHNOP_bind_pirq: u64 = 2;
/// Close a port.
pub const EVTCHNOP_close: u64 = 3;
/// Signal the other end.
pub const EVTCHNOP_send: u64 = 4;
/// Ask for a port's state.
pub const EVTCHNOP_status: u64 = 5;
/// Allocate a port for another domain to bind.
pub const EVTCHNOP_alloc_unbound: u64 = 6;
/// Allocate a port between vCPUs.
pub const EVTCHNOP_bind_ipi: u64 = 7;
/// Choose the vCPU that is notified.
pub const EVTCHNOP_bind_vcpu: u64 = 8;
/// Unmask a port and deliver what waits.
pub const EVTCHNOP_unmask: u64 = 9;
/// Close all ports of a domain.
pub const EVTCHNOP_reset: u64 = 10;
/// FIFO ABI: set up a vCPU's control block.
pub const EVTCHNOP_init_control: u64 = 11;
/// FIFO ABI: add a page of event words.
pub const EVTCHNOP_expand_array: u64 = 12;
/// FIFO ABI: set a port's priority.
pub const EVTCHNOP_set_priority: u64 = 13;

/// `EVTCHNOP_alloc_unbound`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_alloc_unbound {
    /// Domain whose port it becomes.
    pub dom: domid_t,
    /// Domain that may bind to it.
    pub remote_dom: domid_t,
    /// Out: the port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_alloc_unbound: 8, dom 0, remote_dom 2, port 4);

/// `EVTCHNOP_bind_interdomain`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_bind_interdomain {
    /// The other domain.
    pub remote_dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Its port.
    pub remote_port: evtchn_port_t,
    /// Out: the caller's port.
    pub local_port: evtchn_port_t,
}
layout!(struct evtchn_bind_interdomain: 12, remote_dom 0, _hole0 2, remote_port 4, local_port 8);

/// `EVTCHNOP_bind_virq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_bind_virq {
    /// `VIRQ_*`.
    pub virq: u32,
    /// vCPU that is notified.
    pub vcpu: u32,
    /// Out: the port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_bind_virq: 12, virq 0, vcpu 4, port 8);

/// `evtchn_bind_pirq.flags`: the interrupt may be shared.
pub const BIND_PIRQ__WILL_SHARE: u32 = 1;
/// `EVTCHNOP_bind_pirq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_bind_pirq {
    /// Physical interrupt.
    pub pirq: u32,
    /// `BIND_PIRQ__WILL_SHARE`.
    pub flags: u32,
    /// Out: the port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_bind_pirq: 12, pirq 0, flags 4, port 8);

/// `EVTCHNOP_bind_ipi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_bind_ipi {
    /// vCPU that is notified.
    pub vcpu: u32,
    /// Out: the port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_bind_ipi: 8, vcpu 0, port 4);

/// `EVTCHNOP_close`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_close {
    /// The port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_close: 4, port 0);

/// `EVTCHNOP_send`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_send {
    /// The port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_send: 4, port 0);

/// The port is free.
pub const EVTCHNSTAT_closed: u32 = 0;
/// Allocated, waits for the other domain.
pub const EVTCHNSTAT_unbound: u32 = 1;
/// Connected to another domain.
pub const EVTCHNSTAT_interdomain: u32 = 2;
/// Bound to a physical interrupt.
pub const EVTCHNSTAT_pirq: u32 = 3;
/// Bound to a virtual interrupt.
pub const EVTCHNSTAT_virq: u32 = 4;
/// Between vCPUs.
pub const EVTCHNSTAT_ipi: u32 = 5;
/// Detail of an unbound port. In C: `struct evtchn_status::u.unbound`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_status_unbound {
    /// Domain that may bind.
    pub dom: domid_t,
}
layout!(struct evtchn_status_unbound: 2, dom 0);

/// Detail of a connected port. In C: `struct evtchn_status::u.interdomain`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_status_interdomain {
    /// The other domain.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Its port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_status_interdomain: 8, dom 0, _hole0 2, port 4);

/// Detail by status. In C: `struct evtchn_status::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union evtchn_status_u {
    /// Waits.
    pub unbound: evtchn_status_unbound,
    /// Connected.
    pub interdomain: evtchn_status_interdomain,
    /// Physical interrupt.
    pub pirq: u32,
    /// Virtual interrupt.
    pub virq: u32,
}
layout!(union evtchn_status_u: 8, unbound, interdomain, pirq, virq);

/// `EVTCHNOP_status`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct evtchn_status {
    /// Domain that owns the port.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// The port.
    pub port: evtchn_port_t,
    /// Out: `EVTCHNSTAT_*`.
    pub status: u32,
    /// Out: vCPU that is notified.
    pub vcpu: u32,
    /// Out: detail.
    pub u: evtchn_status_u,
}
layout!(struct evtchn_status: 24, dom 0, _hole0 2, port 4, status 8, vcpu 12, u 16);

/// `EVTCHNOP_bind_vcpu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_bind_vcpu {
    /// The port.
    pub port: evtchn_port_t,
    /// vCPU to notify.
    pub vcpu: u32,
}
layout!(struct evtchn_bind_vcpu: 8, port 0, vcpu 4);

/// `EVTCHNOP_unmask`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_unmask {
    /// The port.
    pub port: evtchn_port_t,
}
layout!(struct evtchn_unmask: 4, port 0);

/// `EVTCHNOP_reset`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_reset {
    /// The domain.
    pub dom: domid_t,
}
layout!(struct evtchn_reset: 2, dom 0);

/// `EVTCHNOP_init_control`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_init_control {
    /// Frame of the control block.
    pub control_gfn: u64,
    /// Its offset in the frame, bytes.
    pub offset: u32,
    /// The vCPU.
    pub vcpu: u32,
    /// Out: width of a link.
    pub link_bits: u8,
    /// Zero.
    pub _pad: [u8; 7],
}
layout!(struct evtchn_init_control: 24, control_gfn 0, offset 8, vcpu 12, link_bits 16, _pad 17);

/// `EVTCHNOP_expand_array`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_expand_array {
    /// Frame of event words.
    pub array_gfn: u64,
}
layout!(struct evtchn_expand_array: 8, array_gfn 0);

/// `EVTCHNOP_set_priority`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_set_priority {
    /// The port.
    pub port: evtchn_port_t,
    /// 0 is the highest.
    pub priority: u32,
}
layout!(struct evtchn_set_priority: 8, port 0, priority 4);

/// Ports per domain in the two-level ABI.
pub const EVTCHN_2L_NR_CHANNELS: usize = 4096;
/// Ports per domain in the FIFO ABI.
pub const EVTCHN_FIFO_NR_CHANNELS: usize = 1 << 17;
/// Priorities.
pub const EVTCHN_FIFO_MAX_QUEUES: usize = 16;
/// Highest priority.
pub const EVTCHN_FIFO_PRIORITY_MAX: u32 = 0;
/// Priority of a port that chose none.
pub const EVTCHN_FIFO_PRIORITY_DEFAULT: u32 = 7;
/// Lowest priority.
pub const EVTCHN_FIFO_PRIORITY_MIN: u32 = 15;
/// Bit of an event word: pending.
pub const EVTCHN_FIFO_PENDING: u32 = 31;
/// Bit of an event word: masked.
pub const EVTCHN_FIFO_MASKED: u32 = 30;
/// Bit of an event word: on a queue.
pub const EVTCHN_FIFO_LINKED: u32 = 29;
/// Bit of an event word: Xen is changing it.
pub const EVTCHN_FIFO_BUSY: u32 = 28;
/// Width of the link in an event word.
pub const EVTCHN_FIFO_LINK_BITS: u32 = 17;
/// Mask of the link.
pub const EVTCHN_FIFO_LINK_MASK: u32 = (1 << EVTCHN_FIFO_LINK_BITS) - 1;
/// Per-vCPU queues of the FIFO ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct evtchn_fifo_control_block {
    /// Bitmap of queues that have events.
    pub ready: u32,
    /// Zero.
    pub _rsvd: u32,
    /// First port of each queue.
    pub head: [u32; EVTCHN_FIFO_MAX_QUEUES],
}
layout!(struct evtchn_fifo_control_block: 72, ready 0, _rsvd 4, head 8);
