//! ioctls of Linux's Xen devices. Linux's headers, not Xen's: no release of Xen changes them.

pub mod evtchn;
pub mod gntalloc;
pub mod gntdev;
pub mod privcmd;
pub mod xenbus_backend;

/// An ioctl number: `_IOC(_IOC_NONE, class, number, size)`. Xen's devices encode no direction.
const fn ioc(class: u8, number: u8, size: usize) -> u32 {
    assert!(size < 1 << 14);
    (size as u32) << 16 | (class as u32) << 8 | number as u32
}
