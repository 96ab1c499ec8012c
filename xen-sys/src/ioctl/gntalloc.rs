//! `/dev/xen/gntalloc`: granting pages to other domains. Mirrors Linux's `xen/gntalloc.h`.

use super::ioc;

/// The other domain may write.
pub const GNTALLOC_FLAG_WRITABLE: u32 = 1;
/// Argument of [`IOCTL_GNTALLOC_ALLOC_GREF`]; `count` references are returned from `gref_ids` on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntalloc_alloc_gref {
    /// Domain that may map.
    pub domid: u16,
    /// `GNTALLOC_FLAG_*`.
    pub flags: u16,
    /// Pages.
    pub count: u32,
    /// Out: offset for mmap.
    pub index: u64,
    /// Out: first reference.
    pub gref_ids: [u32; 1],
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(
    struct ioctl_gntalloc_alloc_gref: 24, domid 0, flags 2, count 4, index 8, gref_ids 16,
    _hole0 20
);

/// Argument of [`IOCTL_GNTALLOC_DEALLOC_GREF`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntalloc_dealloc_gref {
    /// As returned by the allocation.
    pub index: u64,
    /// Pages.
    pub count: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct ioctl_gntalloc_dealloc_gref: 16, index 0, count 8, _hole0 12);

/// Argument of [`IOCTL_GNTALLOC_SET_UNMAP_NOTIFY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntalloc_unmap_notify {
    /// Offset of a byte in the allocation.
    pub index: u64,
    /// `UNMAP_NOTIFY_*`, see [`crate::ioctl::gntdev`].
    pub action: u32,
    /// The port.
    pub event_channel_port: u32,
}
layout!(struct ioctl_gntalloc_unmap_notify: 16, index 0, action 8, event_channel_port 12);

/// Allocate and grant pages.
pub const IOCTL_GNTALLOC_ALLOC_GREF: u32 = ioc(b'G', 5, size_of::<ioctl_gntalloc_alloc_gref>());
/// Take them back.
pub const IOCTL_GNTALLOC_DEALLOC_GREF: u32 = ioc(b'G', 6, size_of::<ioctl_gntalloc_dealloc_gref>());
/// Leave a sign when the pages go.
pub const IOCTL_GNTALLOC_SET_UNMAP_NOTIFY: u32 =
    ioc(b'G', 7, size_of::<ioctl_gntalloc_unmap_notify>());
