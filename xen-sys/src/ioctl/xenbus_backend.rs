//! `/dev/xen/xenbus_backend`: the kernel's own xenstore ring. Mirrors `xen/sys/xenbus_dev.h`.
//!
//! Linux exports no header for it; Xen carries a copy.

use super::ioc;

/// Ask for the kernel's port.
pub const IOCTL_XENBUS_BACKEND_EVTCHN: u32 = ioc(b'B', 0, 0);
/// Set the ring up for the calling domain's own store; returns the port.
pub const IOCTL_XENBUS_BACKEND_SETUP: u32 = ioc(b'B', 1, 0);
