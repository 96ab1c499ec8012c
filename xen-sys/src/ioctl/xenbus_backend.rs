//! `/dev/xen/xenbus_backend`: the kernel's own xenstore ring, for a xenstored in dom0.
//!
//! Linux exports no header for it (`include/xen/xenbus_dev.h` in its source).

use super::ioc;

/// Ask for the kernel's port. No exported header.
pub const IOCTL_XENBUS_BACKEND_EVTCHN: u32 = ioc(b'B', 0, 0);
/// Set the ring up for the calling domain's own store; returns the port. No exported header.
pub const IOCTL_XENBUS_BACKEND_SETUP: u32 = ioc(b'B', 1, 0);
