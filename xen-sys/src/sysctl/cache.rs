//! Cache monitoring and allocation; taking memory off line. Mirrors `xen/sysctl.h`.

/// Ask for the number of monitoring ids.
pub const XEN_SYSCTL_PSR_CMT_get_total_rmid: u32 = 0;
/// Ask for bytes per count.
pub const XEN_SYSCTL_PSR_CMT_get_l3_upscaling_factor: u32 = 1;
/// Ask for the size of cache level 3.
pub const XEN_SYSCTL_PSR_CMT_get_l3_cache_size: u32 = 2;
/// Ask whether monitoring is on.
pub const XEN_SYSCTL_PSR_CMT_enabled: u32 = 3;
/// Ask for the events.
pub const XEN_SYSCTL_PSR_CMT_get_l3_event_mask: u32 = 4;
/// Names a cache. In C: `struct xen_sysctl_psr_cmt_op::u.l3_cache`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_psr_cmt_op_l3_cache {
    /// A CPU of it.
    pub cpu: u32,
    /// Zero.
    pub rsvd: u32,
}
layout!(struct xen_sysctl_psr_cmt_op_l3_cache: 8, cpu 0, rsvd 4);

/// Argument and answer. In C: `struct xen_sysctl_psr_cmt_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_psr_cmt_op_u {
    /// Answer.
    pub data: u64,
    /// Cache.
    pub l3_cache: xen_sysctl_psr_cmt_op_l3_cache,
}
layout!(union xen_sysctl_psr_cmt_op_u: 8, data, l3_cache);

/// `XEN_SYSCTL_psr_cmt_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_psr_cmt_op {
    /// `XEN_SYSCTL_PSR_CMT_*`.
    pub cmd: u32,
    /// Zero.
    pub flags: u32,
    /// Argument and answer.
    pub u: xen_sysctl_psr_cmt_op_u,
}
layout!(struct xen_sysctl_psr_cmt_op: 16, cmd 0, flags 4, u 8);

/// Ask for cache level 3.
pub const XEN_SYSCTL_PSR_get_l3_info: u32 = 0;
/// Ask for cache level 2.
pub const XEN_SYSCTL_PSR_get_l2_info: u32 = 1;
/// Ask for bandwidth.
pub const XEN_SYSCTL_PSR_get_mba_info: u32 = 2;
/// Code and data have masks of their own.
pub const XEN_SYSCTL_PSR_CAT_L3_CDP: u32 = 1 << 0;
/// The throttle is linear.
pub const XEN_SYSCTL_PSR_MBA_LINEAR: u32 = 1 << 0;
/// A cache. In C: `struct xen_sysctl_psr_alloc::u.cat_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_psr_alloc_cat_info {
    /// Bits of a mask.
    pub cbm_len: u32,
    /// Highest class.
    pub cos_max: u32,
    /// `XEN_SYSCTL_PSR_CAT_L3_CDP`.
    pub flags: u32,
}
layout!(struct xen_sysctl_psr_alloc_cat_info: 12, cbm_len 0, cos_max 4, flags 8);

/// Bandwidth. In C: `struct xen_sysctl_psr_alloc::u.mba_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_psr_alloc_mba_info {
    /// Highest throttle.
    pub thrtl_max: u32,
    /// Highest class.
    pub cos_max: u32,
    /// `XEN_SYSCTL_PSR_MBA_LINEAR`.
    pub flags: u32,
}
layout!(struct xen_sysctl_psr_alloc_mba_info: 12, thrtl_max 0, cos_max 4, flags 8);

/// Answer. In C: `struct xen_sysctl_psr_alloc::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_psr_alloc_u {
    /// Cache.
    pub cat_info: xen_sysctl_psr_alloc_cat_info,
    /// Bandwidth.
    pub mba_info: xen_sysctl_psr_alloc_mba_info,
}
layout!(union xen_sysctl_psr_alloc_u: 12, cat_info, mba_info);

/// `XEN_SYSCTL_psr_alloc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_psr_alloc {
    /// `XEN_SYSCTL_PSR_*`.
    pub cmd: u32,
    /// Socket.
    pub target: u32,
    /// Answer.
    pub u: xen_sysctl_psr_alloc_u,
}
layout!(struct xen_sysctl_psr_alloc: 20, cmd 0, target 4, u 8);

/// Take frames off line.
pub const sysctl_page_offline: u32 = 1;
/// Take frames on line.
pub const sysctl_page_online: u32 = 2;
/// Ask.
pub const sysctl_query_page_offline: u32 = 3;
/// Mask of the result.
pub const PG_OFFLINE_STATUS_MASK: u32 = 0xFF;
/// No such frame.
pub const PG_OFFLINE_INVALID: u32 = 1 << 0;
/// Off line.
pub const PG_OFFLINE_OFFLINED: u32 = 1 << 1;
/// Off line once it is free.
pub const PG_OFFLINE_PENDING: u32 = 1 << 2;
/// Refused.
pub const PG_OFFLINE_FAILED: u32 = 1 << 3;
/// Try again.
pub const PG_OFFLINE_AGAIN: u32 = 1 << 4;
/// Xen's.
pub const PG_OFFLINE_XENPAGE: u32 = 1 << 8;
/// Dom0's.
pub const PG_OFFLINE_DOM0PAGE: u32 = 1 << 9;
/// No domain's.
pub const PG_OFFLINE_ANONYMOUS: u32 = 1 << 10;
/// Not memory.
pub const PG_OFFLINE_NOT_CONV_RAM: u32 = 1 << 11;
/// A domain's; it is in the high half.
pub const PG_OFFLINE_OWNED: u32 = 1 << 12;
/// Broken.
pub const PG_OFFLINE_BROKEN: u32 = 1 << 13;
/// Position of the owner.
pub const PG_OFFLINE_OWNER_SHIFT: u32 = 16;
/// `XEN_SYSCTL_page_offline_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_page_offline_op {
    /// `sysctl_page_*`.
    pub cmd: u32,
    /// First frame.
    pub start: u32,
    /// Last frame.
    pub end: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of results, `u32` each.
    pub status: u64,
}
layout!(struct xen_sysctl_page_offline_op: 24, cmd 0, start 4, end 8, _hole0 12, status 16);
