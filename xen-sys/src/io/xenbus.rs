//! States of a split driver's two ends. Mirrors `xen/io/xenbus.h`.

/// No state yet.
pub const XenbusStateUnknown: u32 = 0;
/// Being set up.
pub const XenbusStateInitialising: u32 = 1;
/// Waits for the other end's details.
pub const XenbusStateInitWait: u32 = 2;
/// Details published, not connected.
pub const XenbusStateInitialised: u32 = 3;
/// In use.
pub const XenbusStateConnected: u32 = 4;
/// Being closed, or broken.
pub const XenbusStateClosing: u32 = 5;
/// Closed.
pub const XenbusStateClosed: u32 = 6;
/// Being reconfigured.
pub const XenbusStateReconfiguring: u32 = 7;
/// Reconfigured.
pub const XenbusStateReconfigured: u32 = 8;
