//! CPU pools and parameters of schedulers. Mirrors `xen/sysctl.h`.

use crate::xen::{xen_domain_handle_t, xenctl_bitmap};

/// `XEN_SYSCTL_sched_id`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_sched_id {
    /// Out: `XEN_SCHEDULER_*`.
    pub sched_id: u32,
}
layout!(struct xen_sysctl_sched_id: 4, sched_id 0);

/// Make a pool.
pub const XEN_SYSCTL_CPUPOOL_OP_CREATE: u32 = 1;
/// Remove a pool.
pub const XEN_SYSCTL_CPUPOOL_OP_DESTROY: u32 = 2;
/// Ask for this or the next pool.
pub const XEN_SYSCTL_CPUPOOL_OP_INFO: u32 = 3;
/// Add a CPU.
pub const XEN_SYSCTL_CPUPOOL_OP_ADDCPU: u32 = 4;
/// Remove a CPU.
pub const XEN_SYSCTL_CPUPOOL_OP_RMCPU: u32 = 5;
/// Move a domain.
pub const XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN: u32 = 6;
/// Ask for CPUs in no pool.
pub const XEN_SYSCTL_CPUPOOL_OP_FREEINFO: u32 = 7;
/// Any pool, any CPU.
pub const XEN_SYSCTL_CPUPOOL_PAR_ANY: u32 = 0xFFFF_FFFF;
/// `XEN_SYSCTL_cpupool_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpupool_op {
    /// `XEN_SYSCTL_CPUPOOL_OP_*`.
    pub op: u32,
    /// The pool.
    pub cpupool_id: u32,
    /// Its scheduler.
    pub sched_id: u32,
    /// Domain to move.
    pub domid: u32,
    /// CPU to add or remove.
    pub cpu: u32,
    /// Out: domains in the pool.
    pub n_dom: u32,
    /// Out: CPUs.
    pub cpumap: xenctl_bitmap,
}
layout!(
    struct xen_sysctl_cpupool_op: 40, op 0, cpupool_id 4, sched_id 8, domid 12, cpu 16, n_dom
    20, cpumap 24
);

/// Entries of a schedule.
pub const ARINC653_MAX_DOMAINS_PER_SCHEDULE: usize = 64;
/// One slot. In C: `struct xen_sysctl_arinc653_schedule::sched_entries[0]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_arinc653_schedule_entry {
    /// UUID of the domain.
    pub dom_handle: xen_domain_handle_t,
    /// vCPU.
    pub vcpu_id: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Nanoseconds.
    pub runtime: u64,
}
layout!(
    struct xen_sysctl_arinc653_schedule_entry: 32, dom_handle 0, vcpu_id 16, _hole0 20, runtime
    24
);

/// A cycle of slots.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_arinc653_schedule {
    /// Length of the cycle, nanoseconds.
    pub major_frame: u64,
    /// Slots in use.
    pub num_sched_entries: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 7],
    /// Slots.
    pub sched_entries: [xen_sysctl_arinc653_schedule_entry; ARINC653_MAX_DOMAINS_PER_SCHEDULE],
}
layout!(
    struct xen_sysctl_arinc653_schedule: 2064, major_frame 0, num_sched_entries 8, _hole0 9,
    sched_entries 16
);

/// Highest rate limit, microseconds.
pub const XEN_SYSCTL_SCHED_RATELIMIT_MAX: u32 = 500_000;
/// Lowest rate limit but 0, microseconds.
pub const XEN_SYSCTL_SCHED_RATELIMIT_MIN: u32 = 100;
/// Longest slice, milliseconds.
pub const XEN_SYSCTL_CSCHED_TSLICE_MAX: u32 = 1000;
/// Shortest slice, milliseconds.
pub const XEN_SYSCTL_CSCHED_TSLICE_MIN: u32 = 1;
/// Longest migration delay, microseconds.
pub const XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US: u32 = 100 * 1000;
/// Parameters of the credit scheduler.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_credit_schedule {
    /// Slice, milliseconds.
    pub tslice_ms: u32,
    /// Least time on a CPU, microseconds.
    pub ratelimit_us: u32,
    /// Time that a vCPU stays where it was, microseconds.
    pub vcpu_migr_delay_us: u32,
}
layout!(struct xen_sysctl_credit_schedule: 12, tslice_ms 0, ratelimit_us 4, vcpu_migr_delay_us 8);

/// Parameters of credit2.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_credit2_schedule {
    /// Least time on a CPU, microseconds.
    pub ratelimit_us: u32,
}
layout!(struct xen_sysctl_credit2_schedule: 4, ratelimit_us 0);

/// Set.
pub const XEN_SYSCTL_SCHEDOP_putinfo: u32 = 0;
/// Get.
pub const XEN_SYSCTL_SCHEDOP_getinfo: u32 = 1;
/// Parameters of ARINC 653.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_sched_arinc653 {
    /// Address of an [`xen_sysctl_arinc653_schedule`].
    pub schedule: u64,
}
layout!(struct xen_sysctl_sched_arinc653: 8, schedule 0);

/// Parameters by scheduler. In C: `struct xen_sysctl_scheduler_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_scheduler_op_u {
    /// ARINC 653.
    pub sched_arinc653: xen_sysctl_sched_arinc653,
    /// Credit.
    pub sched_credit: xen_sysctl_credit_schedule,
    /// Credit2.
    pub sched_credit2: xen_sysctl_credit2_schedule,
}
layout!(union xen_sysctl_scheduler_op_u: 16, sched_arinc653, sched_credit, sched_credit2);

/// `XEN_SYSCTL_scheduler_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_scheduler_op {
    /// The pool.
    pub cpupool_id: u32,
    /// `XEN_SCHEDULER_*`, the pool's.
    pub sched_id: u32,
    /// `XEN_SYSCTL_SCHEDOP_*`.
    pub cmd: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Parameters.
    pub u: xen_sysctl_scheduler_op_u,
}
layout!(struct xen_sysctl_scheduler_op: 32, cpupool_id 0, sched_id 4, cmd 8, _hole0 12, u 16);
