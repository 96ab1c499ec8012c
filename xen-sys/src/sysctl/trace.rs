//! Observing Xen itself: trace buffers, counters, lock profile, coverage. Mirrors `xen/sysctl.h`.

use crate::xen::xenctl_bitmap;

/// Ask for the buffers.
pub const XEN_SYSCTL_TBUFOP_get_info: u32 = 0;
/// Choose CPUs.
pub const XEN_SYSCTL_TBUFOP_set_cpu_mask: u32 = 1;
/// Choose events.
pub const XEN_SYSCTL_TBUFOP_set_evt_mask: u32 = 2;
/// Set the size.
pub const XEN_SYSCTL_TBUFOP_set_size: u32 = 3;
/// Start.
pub const XEN_SYSCTL_TBUFOP_enable: u32 = 4;
/// Stop.
pub const XEN_SYSCTL_TBUFOP_disable: u32 = 5;
/// `XEN_SYSCTL_tbuf_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_tbuf_op {
    /// `XEN_SYSCTL_TBUFOP_*`.
    pub cmd: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// CPUs.
    pub cpu_mask: xenctl_bitmap,
    /// Events.
    pub evt_mask: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
    /// Out: frame of the buffers.
    pub buffer_mfn: u64,
    /// Pages per CPU; out: bytes.
    pub size: u32,
    /// Unnamed in the header; zero.
    pub _hole2: [u8; 4],
}
layout!(
    struct xen_sysctl_tbuf_op: 48, cmd 0, _hole0 4, cpu_mask 8, evt_mask 24, _hole1 28,
    buffer_mfn 32, size 40, _hole2 44
);

/// Zero all counters.
pub const XEN_SYSCTL_PERFCOP_reset: u32 = 1;
/// Read counters.
pub const XEN_SYSCTL_PERFCOP_query: u32 = 2;
/// Value of a counter.
pub type xen_sysctl_perfc_val_t = u32;
/// One counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_perfc_desc {
    /// Name, terminated.
    pub name: [u8; 80],
    /// Values that it has.
    pub nr_vals: u32,
}
layout!(struct xen_sysctl_perfc_desc: 84, name 0, nr_vals 80);

/// `XEN_SYSCTL_perfc_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_perfc_op {
    /// `XEN_SYSCTL_PERFCOP_*`.
    pub cmd: u32,
    /// Out: counters.
    pub nr_counters: u32,
    /// Out: values.
    pub nr_vals: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`xen_sysctl_perfc_desc`] records.
    pub desc: u64,
    /// Address of [`xen_sysctl_perfc_val_t`] values.
    pub val: u64,
}
layout!(
    struct xen_sysctl_perfc_op: 32, cmd 0, nr_counters 4, nr_vals 8, _hole0 12, desc 16, val 24
);

/// Zero the profile.
pub const XEN_SYSCTL_LOCKPROF_reset: u32 = 1;
/// Read the profile.
pub const XEN_SYSCTL_LOCKPROF_query: u32 = 2;
/// One lock.
pub const LOCKPROF_TYPE_GLOBAL: u32 = 0;
/// A lock of each domain.
pub const LOCKPROF_TYPE_PERDOM: u32 = 1;
/// One lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_lockprof_data {
    /// Name, terminated.
    pub name: [u8; 40],
    /// `LOCKPROF_TYPE_*`.
    pub r#type: i32,
    /// Domain.
    pub idx: i32,
    /// Times taken.
    pub lock_cnt: u64,
    /// Times waited.
    pub block_cnt: u64,
    /// Time held, nanoseconds.
    pub lock_time: u64,
    /// Time waited, nanoseconds.
    pub block_time: u64,
}
layout!(
    struct xen_sysctl_lockprof_data: 80, name 0, r#type 40, idx 44, lock_cnt 48, block_cnt 56,
    lock_time 64, block_time 72
);

/// `XEN_SYSCTL_lockprof_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_lockprof_op {
    /// `XEN_SYSCTL_LOCKPROF_*`.
    pub cmd: u32,
    /// Room.
    pub max_elem: u32,
    /// Out: records.
    pub nr_elem: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Out: time of the profile, nanoseconds.
    pub time: u64,
    /// Address of [`xen_sysctl_lockprof_data`] records.
    pub data: u64,
}
layout!(
    struct xen_sysctl_lockprof_op: 32, cmd 0, max_elem 4, nr_elem 8, _hole0 12, time 16, data 24
);

/// Ask for the size.
pub const XEN_SYSCTL_COVERAGE_get_size: u32 = 0;
/// Read.
pub const XEN_SYSCTL_COVERAGE_read: u32 = 1;
/// Zero.
pub const XEN_SYSCTL_COVERAGE_reset: u32 = 2;
/// First word of what is read.
pub const XEN_GCOV_FORMAT_MAGIC: u32 = 0x5843_4f56;
/// `XEN_SYSCTL_coverage_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_coverage_op {
    /// `XEN_SYSCTL_COVERAGE_*`.
    pub cmd: u32,
    /// Bytes.
    pub size: u32,
    /// Address of the buffer.
    pub buffer: u64,
}
layout!(struct xen_sysctl_coverage_op: 16, cmd 0, size 4, buffer 8);
