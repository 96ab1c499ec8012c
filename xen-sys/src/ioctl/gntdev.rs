//! `/dev/xen/gntdev`: mapping pages that other domains granted. Mirrors Linux's `xen/gntdev.h`.

use super::ioc;
use crate::grant_table::grant_ref_t;
use crate::xen::domid_t;

/// Names a grant.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_grant_ref {
    /// Granting domain.
    pub domid: u32,
    /// Reference.
    pub r#ref: u32,
}
layout!(struct ioctl_gntdev_grant_ref: 8, domid 0, r#ref 4);

/// Argument of [`IOCTL_GNTDEV_MAP_GRANT_REF`]; `count` references follow from `refs` on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_map_grant_ref {
    /// References.
    pub count: u32,
    /// Zero.
    pub pad: u32,
    /// Out: offset for mmap.
    pub index: u64,
    /// First reference.
    pub refs: [ioctl_gntdev_grant_ref; 1],
}
layout!(struct ioctl_gntdev_map_grant_ref: 24, count 0, pad 4, index 8, refs 16);

/// Argument of [`IOCTL_GNTDEV_UNMAP_GRANT_REF`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_unmap_grant_ref {
    /// As returned by the map.
    pub index: u64,
    /// References.
    pub count: u32,
    /// Zero.
    pub pad: u32,
}
layout!(struct ioctl_gntdev_unmap_grant_ref: 16, index 0, count 8, pad 12);

/// Argument of [`IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_get_offset_for_vaddr {
    /// First address of a mapping.
    pub vaddr: u64,
    /// Out: its index.
    pub offset: u64,
    /// Out: its pages.
    pub count: u32,
    /// Zero.
    pub pad: u32,
}
layout!(struct ioctl_gntdev_get_offset_for_vaddr: 24, vaddr 0, offset 8, count 16, pad 20);

/// Argument of [`IOCTL_GNTDEV_SET_MAX_GRANTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_set_max_grants {
    /// Grants.
    pub count: u32,
}
layout!(struct ioctl_gntdev_set_max_grants: 4, count 0);

/// On unmap, zero the byte at `index`.
pub const UNMAP_NOTIFY_CLEAR_BYTE: u32 = 1;
/// On unmap, signal the port.
pub const UNMAP_NOTIFY_SEND_EVENT: u32 = 2;
/// Argument of [`IOCTL_GNTDEV_SET_UNMAP_NOTIFY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_unmap_notify {
    /// Offset of a byte in the mapping.
    pub index: u64,
    /// `UNMAP_NOTIFY_*`.
    pub action: u32,
    /// The port.
    pub event_channel_port: u32,
}
layout!(struct ioctl_gntdev_unmap_notify: 16, index 0, action 8, event_channel_port 12);

/// A granted page. In C: `struct gntdev_grant_copy_segment::source.foreign`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gntdev_grant_copy_segment_foreign {
    /// Reference.
    pub r#ref: grant_ref_t,
    /// Offset in the page, bytes.
    pub offset: u16,
    /// Granting domain.
    pub domid: domid_t,
}
layout!(struct gntdev_grant_copy_segment_foreign: 8, r#ref 0, offset 4, domid 6);

/// One end of a copy. In C: `struct gntdev_grant_copy_segment::source`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union gntdev_grant_copy_segment_ptr {
    /// Address in this process.
    pub virt: u64,
    /// Granted page.
    pub foreign: gntdev_grant_copy_segment_foreign,
}
layout!(union gntdev_grant_copy_segment_ptr: 8, virt, foreign);

/// One copy.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct gntdev_grant_copy_segment {
    /// From.
    pub source: gntdev_grant_copy_segment_ptr,
    /// To.
    pub dest: gntdev_grant_copy_segment_ptr,
    /// Bytes.
    pub len: u16,
    /// `GNTCOPY_*`.
    pub flags: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(
    struct gntdev_grant_copy_segment: 24, source 0, dest 8, len 16, flags 18, status 20, _hole0
    22
);

/// Argument of [`IOCTL_GNTDEV_GRANT_COPY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ioctl_gntdev_grant_copy {
    /// Copies.
    pub count: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`gntdev_grant_copy_segment`] records.
    pub segments: u64,
}
layout!(struct ioctl_gntdev_grant_copy: 16, count 0, _hole0 4, segments 8);

/// Prepare a mapping.
pub const IOCTL_GNTDEV_MAP_GRANT_REF: u32 = ioc(b'G', 0, size_of::<ioctl_gntdev_map_grant_ref>());
/// Drop a mapping.
pub const IOCTL_GNTDEV_UNMAP_GRANT_REF: u32 =
    ioc(b'G', 1, size_of::<ioctl_gntdev_unmap_grant_ref>());
/// Find a mapping by address.
pub const IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR: u32 =
    ioc(b'G', 2, size_of::<ioctl_gntdev_get_offset_for_vaddr>());
/// Limit this handle.
pub const IOCTL_GNTDEV_SET_MAX_GRANTS: u32 = ioc(b'G', 3, size_of::<ioctl_gntdev_set_max_grants>());
/// Leave a sign when the mapping goes.
pub const IOCTL_GNTDEV_SET_UNMAP_NOTIFY: u32 = ioc(b'G', 7, size_of::<ioctl_gntdev_unmap_notify>());
/// Copy.
pub const IOCTL_GNTDEV_GRANT_COPY: u32 = ioc(b'G', 8, size_of::<ioctl_gntdev_grant_copy>());
