//! `/dev/xen/privcmd`: hypercalls and foreign memory. Mirrors Linux's `xen/privcmd.h`.

use super::ioc;
use crate::xen::domid_t;

/// A hypercall: the ioctl returns its result.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_hypercall {
    /// `__HYPERVISOR_*`.
    pub op: u64,
    /// Arguments.
    pub arg: [u64; 5],
}
layout!(struct privcmd_hypercall: 48, op 0, arg 8);

/// One range of a [`privcmd_mmap`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_mmap_entry {
    /// Where to.
    pub va: u64,
    /// First frame.
    pub mfn: u64,
    /// Frames.
    pub npages: u64,
}
layout!(struct privcmd_mmap_entry: 24, va 0, mfn 8, npages 16);

/// Map ranges of frames; fails as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_mmap {
    /// Ranges.
    pub num: i32,
    /// Domain whose frames they are.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Address of [`privcmd_mmap_entry`] records.
    pub entry: u64,
}
layout!(struct privcmd_mmap: 16, num 0, dom 4, _hole0 6, entry 8);

/// Map frames; an error is written into the list of frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_mmapbatch {
    /// Frames.
    pub num: i32,
    /// Domain whose frames they are.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Where to.
    pub addr: u64,
    /// Address of [`crate::xen::xen_pfn_t`] frame numbers.
    pub arr: u64,
}
layout!(struct privcmd_mmapbatch: 24, num 0, dom 4, _hole0 6, addr 8, arr 16);

/// Bits that mark a failed frame in `arr`.
pub const PRIVCMD_MMAPBATCH_MFN_ERROR: u32 = 0xf000_0000;
/// Bit that marks a frame which is paged out.
pub const PRIVCMD_MMAPBATCH_PAGED_ERROR: u32 = 0x8000_0000;
/// Map frames; errors have a list of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_mmapbatch_v2 {
    /// Frames.
    pub num: u32,
    /// Domain whose frames they are.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Where to.
    pub addr: u64,
    /// Address of [`crate::xen::xen_pfn_t`] frame numbers.
    pub arr: u64,
    /// Address of results: 0 or a negative errno, `int` each.
    pub err: u64,
}
layout!(struct privcmd_mmapbatch_v2: 32, num 0, dom 4, _hole0 6, addr 8, arr 16, err 24);

/// One buffer of a device model operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_dm_op_buf {
    /// Address.
    pub uptr: u64,
    /// Bytes.
    pub size: u64,
}
layout!(struct privcmd_dm_op_buf: 16, uptr 0, size 8);

/// Device model operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_dm_op {
    /// The domain.
    pub dom: domid_t,
    /// Buffers.
    pub num: u16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`privcmd_dm_op_buf`] records.
    pub ubufs: u64,
}
layout!(struct privcmd_dm_op: 16, dom 0, num 2, _hole0 4, ubufs 8);

/// Map frames of a resource (`XENMEM_acquire_resource`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct privcmd_mmap_resource {
    /// The domain.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// `XENMEM_resource_*`.
    pub r#type: u32,
    /// Which one.
    pub id: u32,
    /// First frame.
    pub idx: u32,
    /// Frames.
    pub num: u64,
    /// Where to.
    pub addr: u64,
}
layout!(struct privcmd_mmap_resource: 32, dom 0, _hole0 2, r#type 4, id 8, idx 12, num 16, addr 24);

/// Make a hypercall.
pub const IOCTL_PRIVCMD_HYPERCALL: u32 = ioc(b'P', 0, size_of::<privcmd_hypercall>());
/// Map ranges.
pub const IOCTL_PRIVCMD_MMAP: u32 = ioc(b'P', 2, size_of::<privcmd_mmap>());
/// Map frames, first form.
pub const IOCTL_PRIVCMD_MMAPBATCH: u32 = ioc(b'P', 3, size_of::<privcmd_mmapbatch>());
/// Map frames.
pub const IOCTL_PRIVCMD_MMAPBATCH_V2: u32 = ioc(b'P', 4, size_of::<privcmd_mmapbatch_v2>());
/// Device model operation.
pub const IOCTL_PRIVCMD_DM_OP: u32 = ioc(b'P', 5, size_of::<privcmd_dm_op>());
/// Restrict this handle to one domain, for ever.
pub const IOCTL_PRIVCMD_RESTRICT: u32 = ioc(b'P', 6, size_of::<domid_t>());
/// Map a resource.
pub const IOCTL_PRIVCMD_MMAP_RESOURCE: u32 = ioc(b'P', 7, size_of::<privcmd_mmap_resource>());
