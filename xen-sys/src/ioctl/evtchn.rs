//! `/dev/xen/evtchn`: event channels of a process. Mirrors Linux's `xen/evtchn.h`.
//!
//! Reading yields pending ports, 4 bytes each, which are masked until they are written back.

use super::ioc;
use crate::xen::domid_t;

/// Argument of [`IOCTL_EVTCHN_BIND_VIRQ`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_bind_virq {
    /// `VIRQ_*`.
    pub virq: u32,
}
layout!(struct ioctl_evtchn_bind_virq: 4, virq 0);

/// Argument of [`IOCTL_EVTCHN_BIND_INTERDOMAIN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_bind_interdomain {
    /// The other domain.
    pub remote_domain: u32,
    /// Its port.
    pub remote_port: u32,
}
layout!(struct ioctl_evtchn_bind_interdomain: 8, remote_domain 0, remote_port 4);

/// Argument of [`IOCTL_EVTCHN_BIND_UNBOUND_PORT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_bind_unbound_port {
    /// Domain that may bind.
    pub remote_domain: u32,
}
layout!(struct ioctl_evtchn_bind_unbound_port: 4, remote_domain 0);

/// Argument of [`IOCTL_EVTCHN_UNBIND`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_unbind {
    /// The port.
    pub port: u32,
}
layout!(struct ioctl_evtchn_unbind: 4, port 0);

/// Argument of [`IOCTL_EVTCHN_NOTIFY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_notify {
    /// The port.
    pub port: u32,
}
layout!(struct ioctl_evtchn_notify: 4, port 0);

/// Argument of [`IOCTL_EVTCHN_RESTRICT_DOMID`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_evtchn_restrict_domid {
    /// The domain.
    pub domid: domid_t,
}
layout!(struct ioctl_evtchn_restrict_domid: 2, domid 0);

/// Bind a virtual interrupt; returns the port.
pub const IOCTL_EVTCHN_BIND_VIRQ: u32 = ioc(b'E', 0, size_of::<ioctl_evtchn_bind_virq>());
/// Bind to another domain's port; returns the port.
pub const IOCTL_EVTCHN_BIND_INTERDOMAIN: u32 =
    ioc(b'E', 1, size_of::<ioctl_evtchn_bind_interdomain>());
/// Allocate a port for another domain; returns it.
pub const IOCTL_EVTCHN_BIND_UNBOUND_PORT: u32 =
    ioc(b'E', 2, size_of::<ioctl_evtchn_bind_unbound_port>());
/// Close a port.
pub const IOCTL_EVTCHN_UNBIND: u32 = ioc(b'E', 3, size_of::<ioctl_evtchn_unbind>());
/// Signal the other end.
pub const IOCTL_EVTCHN_NOTIFY: u32 = ioc(b'E', 4, size_of::<ioctl_evtchn_notify>());
/// Drop what is pending.
pub const IOCTL_EVTCHN_RESET: u32 = ioc(b'E', 5, 0);
/// Restrict this handle to one domain, for ever.
pub const IOCTL_EVTCHN_RESTRICT_DOMID: u32 = ioc(b'E', 6, size_of::<ioctl_evtchn_restrict_domid>());
