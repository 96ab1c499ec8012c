//! Scheduler parameters of one domain. Mirrors `xen/domctl.h`.

/// The credit scheduler.
pub const XEN_SCHEDULER_CREDIT: u32 = 5;
/// The default scheduler.
pub const XEN_SCHEDULER_CREDIT2: u32 = 6;
/// Fixed time slots.
pub const XEN_SCHEDULER_ARINC653: u32 = 7;
/// Real-time deferrable server; not in every build.
pub const XEN_SCHEDULER_RTDS: u32 = 8;
/// One vCPU per CPU, no scheduling.
pub const XEN_SCHEDULER_NULL: u32 = 9;
/// Parameters of the credit scheduler.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_sched_credit {
    /// Share, 1 to 65535, default 256; 0 leaves it.
    pub weight: u16,
    /// Limit in percent of one CPU, 0 none; 65535 leaves it.
    pub cap: u16,
}
layout!(struct xen_domctl_sched_credit: 4, weight 0, cap 2);

/// Parameters of credit2.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_sched_credit2 {
    /// Share, 1 to 65535, default 256; 0 leaves it.
    pub weight: u16,
    /// Limit in percent of one CPU, 0 none; 65535 leaves it.
    pub cap: u16,
}
layout!(struct xen_domctl_sched_credit2: 4, weight 0, cap 2);

/// RTDS: may use time beyond its budget.
pub const XEN_DOMCTL_SCHEDRT_extra: u32 = 1 << 0;
/// Parameters of RTDS.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_sched_rtds {
    /// Microseconds.
    pub period: u32,
    /// Microseconds per period.
    pub budget: u32,
    /// `XEN_DOMCTL_SCHEDRT_extra`.
    pub flags: u32,
}
layout!(struct xen_domctl_sched_rtds: 12, period 0, budget 4, flags 8);

/// Parameters by scheduler. In C: `struct xen_domctl_schedparam_vcpu::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_schedparam_vcpu_u {
    /// Credit.
    pub credit: xen_domctl_sched_credit,
    /// Credit2.
    pub credit2: xen_domctl_sched_credit2,
    /// RTDS.
    pub rtds: xen_domctl_sched_rtds,
}
layout!(union xen_domctl_schedparam_vcpu_u: 12, credit, credit2, rtds);

/// Parameters of one vCPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_schedparam_vcpu {
    /// The parameters.
    pub u: xen_domctl_schedparam_vcpu_u,
    /// The vCPU.
    pub vcpuid: u32,
}
layout!(struct xen_domctl_schedparam_vcpu: 16, u 0, vcpuid 12);

/// Set the domain's parameters.
pub const XEN_DOMCTL_SCHEDOP_putinfo: u32 = 0;
/// Get the domain's parameters.
pub const XEN_DOMCTL_SCHEDOP_getinfo: u32 = 1;
/// Set parameters of vCPUs.
pub const XEN_DOMCTL_SCHEDOP_putvcpuinfo: u32 = 2;
/// Get parameters of vCPUs.
pub const XEN_DOMCTL_SCHEDOP_getvcpuinfo: u32 = 3;
/// List of vCPUs. In C: `struct xen_domctl_scheduler_op::u.v`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_scheduler_op_v {
    /// Address of [`xen_domctl_schedparam_vcpu`] records.
    pub vcpus: u64,
    /// In: how many; out: how many were done.
    pub nr_vcpus: u32,
    /// Zero.
    pub padding: u32,
}
layout!(struct xen_domctl_scheduler_op_v: 16, vcpus 0, nr_vcpus 8, padding 12);

/// Parameters by scheduler and operation. In C: `struct xen_domctl_scheduler_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_scheduler_op_u {
    /// Credit.
    pub credit: xen_domctl_sched_credit,
    /// Credit2.
    pub credit2: xen_domctl_sched_credit2,
    /// RTDS.
    pub rtds: xen_domctl_sched_rtds,
    /// The vcpuinfo operations.
    pub v: xen_domctl_scheduler_op_v,
}
layout!(union xen_domctl_scheduler_op_u: 16, credit, credit2, rtds, v);

/// `XEN_DOMCTL_scheduler_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_scheduler_op {
    /// `XEN_SCHEDULER_*`; must be the scheduler of the domain's pool.
    pub sched_id: u32,
    /// `XEN_DOMCTL_SCHEDOP_*`.
    pub cmd: u32,
    /// Parameters.
    pub u: xen_domctl_scheduler_op_u,
}
layout!(struct xen_domctl_scheduler_op: 24, sched_id 0, cmd 4, u 8);
