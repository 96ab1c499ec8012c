//! vCPUs: number, context, affinity, policy, time. Mirrors `xen/domctl.h`.

use crate::xen::xenctl_bitmap;

/// `XEN_DOMCTL_max_vcpus`: allocates the vCPUs; must equal what createdomain was given.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_max_vcpus {
    /// Number of vCPUs.
    pub max: u32,
}
layout!(struct xen_domctl_max_vcpus: 4, max 0);

/// `XEN_DOMCTL_setvcpucontext` and `getvcpucontext`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vcpucontext {
    /// Which vCPU.
    pub vcpu: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of a [`crate::arch_x86::vcpu_guest_context`].
    pub ctxt: u64,
}
layout!(struct xen_domctl_vcpucontext: 16, vcpu 0, _hole0 4, ctxt 8);

/// The hard mask is meant.
pub const XEN_VCPUAFFINITY_HARD: u32 = 1 << 0;
/// The soft mask is meant.
pub const XEN_VCPUAFFINITY_SOFT: u32 = 1 << 1;
/// Undo a temporary pinning by the guest.
pub const XEN_VCPUAFFINITY_FORCE: u32 = 1 << 2;
/// `XEN_DOMCTL_setvcpuaffinity` and `getvcpuaffinity`. A set writes back the masks that took
/// effect.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vcpuaffinity {
    /// Which vCPU.
    pub vcpu: u32,
    /// `XEN_VCPUAFFINITY_*`.
    pub flags: u32,
    /// CPUs that it may run on.
    pub cpumap_hard: xenctl_bitmap,
    /// CPUs that it prefers.
    pub cpumap_soft: xenctl_bitmap,
}
layout!(struct xen_domctl_vcpuaffinity: 40, vcpu 0, flags 4, cpumap_hard 8, cpumap_soft 24);

/// `XEN_DOMCTL_setnodeaffinity` and `getnodeaffinity`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_nodeaffinity {
    /// NUMA nodes for the domain's memory.
    pub nodemap: xenctl_bitmap,
}
layout!(struct xen_domctl_nodeaffinity: 16, nodemap 0);

/// `XEN_DOMCTL_set_address_size` and `get_address_size`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_address_size {
    /// 32 or 64.
    pub size: u32,
}
layout!(struct xen_domctl_address_size: 4, size 0);

/// `XEN_DOMCTL_settimeoffset`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_settimeoffset {
    /// Added to the wall clock, seconds.
    pub time_offset_seconds: i64,
}
layout!(struct xen_domctl_settimeoffset: 8, time_offset_seconds 0);

/// `XEN_DOMCTL_settscinfo` and `gettscinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_tsc_info {
    /// 0 emulate when needed, 1 always emulate, 2 never.
    pub tsc_mode: u32,
    /// Frequency that the guest sees, kHz; 0 takes the host's.
    pub gtsc_khz: u32,
    /// Counts saves and restores.
    pub incarnation: u32,
    /// Zero.
    pub pad: u32,
    /// Guest time, nanoseconds.
    pub elapsed_nsec: u64,
}
layout!(
    struct xen_domctl_tsc_info: 24, tsc_mode 0, gtsc_khz 4, incarnation 8, pad 12, elapsed_nsec
    16
);

/// `XEN_DOMCTL_get_cpu_policy` and `set_cpu_policy`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_cpu_policy {
    /// Leaves in the buffer; with a null buffer, returned: how many are needed.
    pub nr_leaves: u32,
    /// MSRs in the buffer, likewise.
    pub nr_msrs: u32,
    /// Address of [`crate::arch_x86::xen_cpuid_leaf`] records.
    pub leaves: u64,
    /// Address of [`crate::arch_x86::xen_msr_entry`] records.
    pub msrs: u64,
    /// Out: the leaf that was refused, or all ones.
    pub err_leaf: u32,
    /// Out: its subleaf, or all ones.
    pub err_subleaf: u32,
    /// Out: the MSR that was refused, or all ones.
    pub err_msr: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(
    struct xen_domctl_cpu_policy: 40, nr_leaves 0, nr_msrs 4, leaves 8, msrs 16, err_leaf 24,
    err_subleaf 28, err_msr 32, _hole0 36
);

/// `err_*` when nothing was refused.
pub const XEN_CPUID_INPUT_UNUSED: u32 = 0xFFFF_FFFF;
