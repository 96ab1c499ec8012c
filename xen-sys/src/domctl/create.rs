//! Creating a domain: one layout per interface revision. Mirrors `xen/domctl.h`.

use crate::arch_x86::{xen_arch_domainconfig_0x12, xen_arch_domainconfig_0x13};
use crate::xen::xen_domain_handle_t;

/// HVM or PVH rather than PV.
pub const XEN_DOMCTL_CDF_hvm: u32 = 1 << 0;
/// Hardware-assisted paging.
pub const XEN_DOMCTL_CDF_hap: u32 = 1 << 1;
/// Memory is measured over S3.
pub const XEN_DOMCTL_CDF_s3_integrity: u32 = 1 << 2;
/// Shadow page tables never out of sync.
pub const XEN_DOMCTL_CDF_oos_off: u32 = 1 << 3;
/// The domain runs xenstored.
pub const XEN_DOMCTL_CDF_xs_domain: u32 = 1 << 4;
/// The domain may get devices. Fixed at creation.
pub const XEN_DOMCTL_CDF_iommu: u32 = 1 << 5;
/// The domain may run a hypervisor. Since Xen 4.15.
pub const XEN_DOMCTL_CDF_nested_virt: u32 = 1 << 6;
/// The domain may have a virtual PMU. Since Xen 4.16.
pub const XEN_DOMCTL_CDF_vpmu: u32 = 1 << 7;
/// `iommu_opts`: keep IOMMU page tables apart.
pub const XEN_DOMCTL_IOMMU_no_sharept: u32 = 1 << 0;
/// `grant_opts`: highest grant table version. Since Xen 4.16.
pub const XEN_DOMCTL_GRANT_version_mask: u32 = 0xf;
/// `altp2m_opts`: guest and tools may use alternate p2ms. Since Xen 4.19.
pub const XEN_DOMCTL_ALTP2M_mixed: u32 = 1;
/// `altp2m_opts`: tools only. Since Xen 4.19.
pub const XEN_DOMCTL_ALTP2M_external: u32 = 2;
/// `altp2m_opts`: guest may use, not control. Since Xen 4.19.
pub const XEN_DOMCTL_ALTP2M_limited: u32 = 3;
/// `altp2m_opts`: bits of the mode. Since Xen 4.19.
pub const XEN_DOMCTL_ALTP2M_mode_mask: u32 = 3;

/// Argument of `XEN_DOMCTL_createdomain`. Since Xen 4.14, until Xen 4.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_createdomain_0x12 {
    /// Security label; 0 only without Flask.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// vCPUs, at most.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table frames; negative takes the hypervisor's default.
    pub max_grant_frames: i32,
    /// Frames that track mapped grants; negative takes the default.
    pub max_maptrack_frames: i32,
    /// Emulated devices.
    pub arch: xen_arch_domainconfig_0x12,
}
layout!(
    struct xen_domctl_createdomain_0x12: 48, ssidref 0, handle 4, flags 20, iommu_opts 24,
    max_vcpus 28, max_evtchn_port 32, max_grant_frames 36, max_maptrack_frames 40, arch 44
);

/// Argument of `XEN_DOMCTL_createdomain`. Since Xen 4.15, until Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_createdomain_0x13 {
    /// Security label; 0 only without Flask.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// vCPUs, at most.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table frames; negative takes the hypervisor's default.
    pub max_grant_frames: i32,
    /// Frames that track mapped grants; negative takes the default.
    pub max_maptrack_frames: i32,
    /// Processor trace buffer per vCPU, bytes; 0 for none.
    pub vmtrace_size: u32,
    /// Emulated devices.
    pub arch: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_createdomain_0x13: 56, ssidref 0, handle 4, flags 20, iommu_opts 24,
    max_vcpus 28, max_evtchn_port 32, max_grant_frames 36, max_maptrack_frames 40, vmtrace_size
    44, arch 48
);

/// Argument of `XEN_DOMCTL_createdomain`. Since Xen 4.16, until Xen 4.16.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_createdomain_0x14 {
    /// Security label; 0 only without Flask.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// vCPUs, at most.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table frames; negative takes the hypervisor's default.
    pub max_grant_frames: i32,
    /// Frames that track mapped grants; negative takes the default.
    pub max_maptrack_frames: i32,
    /// Highest grant table version, 1 or 2.
    pub grant_opts: u32,
    /// Processor trace buffer per vCPU, bytes; 0 for none.
    pub vmtrace_size: u32,
    /// Emulated devices.
    pub arch: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_createdomain_0x14: 60, ssidref 0, handle 4, flags 20, iommu_opts 24,
    max_vcpus 28, max_evtchn_port 32, max_grant_frames 36, max_maptrack_frames 40, grant_opts
    44, vmtrace_size 48, arch 52
);

/// Argument of `XEN_DOMCTL_createdomain`. Since Xen 4.17, until Xen 4.18.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_createdomain_0x15 {
    /// Security label; 0 only without Flask.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// vCPUs, at most.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table frames; negative takes the hypervisor's default.
    pub max_grant_frames: i32,
    /// Frames that track mapped grants; negative takes the default.
    pub max_maptrack_frames: i32,
    /// Highest grant table version, 1 or 2.
    pub grant_opts: u32,
    /// Processor trace buffer per vCPU, bytes; 0 for none.
    pub vmtrace_size: u32,
    /// CPU pool.
    pub cpupool_id: u32,
    /// Emulated devices.
    pub arch: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_createdomain_0x15: 64, ssidref 0, handle 4, flags 20, iommu_opts 24,
    max_vcpus 28, max_evtchn_port 32, max_grant_frames 36, max_maptrack_frames 40, grant_opts
    44, vmtrace_size 48, cpupool_id 52, arch 56
);

/// Argument of `XEN_DOMCTL_createdomain`. 4.21 reads `altp2m_opts` as two halves, the mode in the
/// low 16 bits and the number of alternate p2ms in the high ones: all zero means none in every
/// release. Since Xen 4.19.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_createdomain_0x17 {
    /// Security label; 0 only without Flask.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// `XEN_DOMCTL_CDF_*`.
    pub flags: u32,
    /// `XEN_DOMCTL_IOMMU_*`.
    pub iommu_opts: u32,
    /// vCPUs, at most.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_evtchn_port: u32,
    /// Grant table frames; negative takes the hypervisor's default.
    pub max_grant_frames: i32,
    /// Frames that track mapped grants; negative takes the default.
    pub max_maptrack_frames: i32,
    /// Highest grant table version, 1 or 2.
    pub grant_opts: u32,
    /// `XEN_DOMCTL_ALTP2M_*`. Until Xen 4.20.
    pub altp2m_opts: u32,
    /// Processor trace buffer per vCPU, bytes; 0 for none.
    pub vmtrace_size: u32,
    /// CPU pool.
    pub cpupool_id: u32,
    /// Emulated devices.
    pub arch: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_createdomain_0x17: 68, ssidref 0, handle 4, flags 20, iommu_opts 24,
    max_vcpus 28, max_evtchn_port 32, max_grant_frames 36, max_maptrack_frames 40, grant_opts
    44, altp2m_opts 48, vmtrace_size 52, cpupool_id 56, arch 60
);
