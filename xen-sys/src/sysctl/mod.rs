//! Host control: what concerns the whole machine rather than one domain. Mirrors `xen/sysctl.h`.
//!
//! Tools only, and checked: `interface_version` must be the revision that the running Xen
//! speaks ([`crate::revision::SysctlRevision`]), else it answers `EACCES`.

mod cache;
mod host;
mod list;
mod livepatch;
mod power;
mod sched;
mod trace;

pub use cache::*;
pub use host::*;
pub use list::*;
pub use livepatch::*;
pub use power::*;
pub use sched::*;
pub use trace::*;

/// Read Xen's message ring.
pub const XEN_SYSCTL_readconsole: u32 = 1;
/// Trace buffers.
pub const XEN_SYSCTL_tbuf_op: u32 = 2;
/// Ask for CPUs and memory.
pub const XEN_SYSCTL_physinfo: u32 = 3;
/// Ask for the default scheduler.
pub const XEN_SYSCTL_sched_id: u32 = 4;
/// Performance counters of Xen itself.
pub const XEN_SYSCTL_perfc_op: u32 = 5;
/// Ask for many domains.
pub const XEN_SYSCTL_getdomaininfolist: u32 = 6;
/// Act as if keys were typed on Xen's console.
pub const XEN_SYSCTL_debug_keys: u32 = 7;
/// Ask for idle times.
pub const XEN_SYSCTL_getcpuinfo: u32 = 8;
/// Ask for free memory by node and width.
pub const XEN_SYSCTL_availheap: u32 = 9;
/// Ask for frequency and idle statistics.
pub const XEN_SYSCTL_get_pmstat: u32 = 10;
/// Take CPUs on and off line.
pub const XEN_SYSCTL_cpu_hotplug: u32 = 11;
/// Power management.
pub const XEN_SYSCTL_pm_op: u32 = 12;
/// Take memory off line.
pub const XEN_SYSCTL_page_offline_op: u32 = 14;
/// Lock profile of Xen itself.
pub const XEN_SYSCTL_lockprof_op: u32 = 15;
/// Ask for the topology of CPUs.
pub const XEN_SYSCTL_cputopoinfo: u32 = 16;
/// Ask for the memory of nodes.
pub const XEN_SYSCTL_numainfo: u32 = 17;
/// CPU pools.
pub const XEN_SYSCTL_cpupool_op: u32 = 18;
/// Scheduler parameters of a pool.
pub const XEN_SYSCTL_scheduler_op: u32 = 19;
/// Test coverage of Xen itself.
pub const XEN_SYSCTL_coverage_op: u32 = 20;
/// Cache monitoring.
pub const XEN_SYSCTL_psr_cmt_op: u32 = 21;
/// Ask for the nodes of PCI devices.
pub const XEN_SYSCTL_pcitopoinfo: u32 = 22;
/// Cache and bandwidth allocation.
pub const XEN_SYSCTL_psr_alloc: u32 = 23;
/// Ask which CPUID leaves can be levelled.
pub const XEN_SYSCTL_get_cpu_levelling_caps: u32 = 25;
/// Ask for a feature set.
pub const XEN_SYSCTL_get_cpu_featureset: u32 = 26;
/// Live patches.
pub const XEN_SYSCTL_livepatch_op: u32 = 27;
/// Ask for a CPU policy of the host.
pub const XEN_SYSCTL_get_cpu_policy: u32 = 29;

/// Argument by operation. In C: `struct xen_sysctl::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_u {
    /// Messages.
    pub readconsole: xen_sysctl_readconsole,
    /// CPUs and memory. Since Xen 4.14, until Xen 4.16.
    pub physinfo_0x13: xen_sysctl_physinfo_0x13,
    /// CPUs and memory. Since Xen 4.17.
    pub physinfo_0x15: xen_sysctl_physinfo_0x15,
    /// Topology.
    pub cputopoinfo: xen_sysctl_cputopoinfo,
    /// Nodes of devices.
    pub pcitopoinfo: xen_sysctl_pcitopoinfo,
    /// Memory of nodes.
    pub numainfo: xen_sysctl_numainfo,
    /// Default scheduler.
    pub sched_id: xen_sysctl_sched_id,
    /// Domains.
    pub getdomaininfolist: xen_sysctl_getdomaininfolist,
    /// Keys.
    pub debug_keys: xen_sysctl_debug_keys,
    /// Idle times.
    pub getcpuinfo: xen_sysctl_getcpuinfo,
    /// Free memory.
    pub availheap: xen_sysctl_availheap,
    /// Statistics. Until Xen 4.20.
    pub get_pmstat: xen_sysctl_get_pmstat,
    /// Power management. Since Xen 4.18, until Xen 4.20.
    pub pm_op: xen_sysctl_pm_op,
    /// Trace buffers.
    pub tbuf_op: xen_sysctl_tbuf_op,
    /// Counters.
    pub perfc_op: xen_sysctl_perfc_op,
    /// Memory off line.
    pub page_offline: xen_sysctl_page_offline_op,
    /// Lock profile.
    pub lockprof_op: xen_sysctl_lockprof_op,
    /// Coverage.
    pub coverage_op: xen_sysctl_coverage_op,
    /// Cache monitoring.
    pub psr_cmt_op: xen_sysctl_psr_cmt_op,
    /// Cache allocation.
    pub psr_alloc: xen_sysctl_psr_alloc,
    /// Live patches. Until Xen 4.20.
    pub livepatch: xen_sysctl_livepatch_op,
    /// CPUs on and off line.
    pub cpu_hotplug: xen_sysctl_cpu_hotplug,
    /// CPU pools.
    pub cpupool_op: xen_sysctl_cpupool_op,
    /// Scheduler parameters.
    pub scheduler_op: xen_sysctl_scheduler_op,
    /// Levelling.
    pub cpu_levelling_caps: xen_sysctl_cpu_levelling_caps,
    /// Feature set.
    pub cpu_featureset: xen_sysctl_cpu_featureset,
    /// CPU policy.
    pub cpu_policy: xen_sysctl_cpu_policy,
    /// Fixes the size.
    pub pad: [u8; 128],
}
layout!(
    union xen_sysctl_u: 128, readconsole, physinfo_0x13, physinfo_0x15, cputopoinfo,
    pcitopoinfo, numainfo, sched_id, getdomaininfolist, debug_keys, getcpuinfo, availheap,
    get_pmstat, pm_op, tbuf_op, perfc_op, page_offline, lockprof_op, coverage_op, psr_cmt_op,
    psr_alloc, livepatch, cpu_hotplug, cpupool_op, scheduler_op, cpu_levelling_caps,
    cpu_featureset, cpu_policy, pad
);

/// The sysctl call. 136 bytes in every revision.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl {
    /// `XEN_SYSCTL_*`.
    pub cmd: u32,
    /// Revision, as [`crate::revision::SysctlRevision::raw`] gives it.
    pub interface_version: u32,
    /// Argument.
    pub u: xen_sysctl_u,
}
layout!(struct xen_sysctl: 136, cmd 0, interface_version 4, u 8);
