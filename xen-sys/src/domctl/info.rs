//! What Xen tells of a domain and of its vCPUs. Mirrors `xen/domctl.h`.

use crate::arch_x86::{xen_arch_domainconfig_0x12, xen_arch_domainconfig_0x13};
use crate::xen::{domid_t, xen_domain_handle_t};

/// Being torn down.
pub const XEN_DOMINF_dying: u32 = 1 << 0;
/// HVM or PVH.
pub const XEN_DOMINF_hvm_guest: u32 = 1 << 1;
/// The guest has shut down; the reason is in bits 16 to 23.
pub const XEN_DOMINF_shutdown: u32 = 1 << 2;
/// Paused by the toolstack.
pub const XEN_DOMINF_paused: u32 = 1 << 3;
/// Every vCPU waits for an event.
pub const XEN_DOMINF_blocked: u32 = 1 << 4;
/// A vCPU is on a CPU right now.
pub const XEN_DOMINF_running: u32 = 1 << 5;
/// A debugger is attached.
pub const XEN_DOMINF_debugged: u32 = 1 << 6;
/// Runs xenstored.
pub const XEN_DOMINF_xs_domain: u32 = 1 << 7;
/// Uses hardware-assisted paging.
pub const XEN_DOMINF_hap: u32 = 1 << 8;
/// Mask of the shutdown reason after the shift.
pub const XEN_DOMINF_shutdownmask: u32 = 255;
/// Position of the shutdown reason.
pub const XEN_DOMINF_shutdownshift: u32 = 16;
/// `max_vcpu_id` of a domain that has no vCPU.
pub const XEN_INVALID_MAX_VCPU_ID: u32 = !0;

/// Result of `XEN_DOMCTL_getdomaininfo`. Since Xen 4.14, until Xen 4.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_getdomaininfo_0x12 {
    /// The domain.
    pub domain: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// `XEN_DOMINF_*` and the shutdown reason.
    pub flags: u32,
    /// Pages that it has.
    pub tot_pages: u64,
    /// Pages that it may have.
    pub max_pages: u64,
    /// Pages claimed and not yet allocated.
    pub outstanding_pages: u64,
    /// Pages shared copy-on-write.
    pub shr_pages: u64,
    /// Pages paged out.
    pub paged_pages: u64,
    /// Frame of shared_info.
    pub shared_info_frame: u64,
    /// Time on CPUs, nanoseconds.
    pub cpu_time: u64,
    /// vCPUs that are up.
    pub nr_online_vcpus: u32,
    /// Highest vCPU number.
    pub max_vcpu_id: u32,
    /// Security label.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// CPU pool.
    pub cpupool: u32,
    /// Emulated devices.
    pub arch_config: xen_arch_domainconfig_0x12,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_domctl_getdomaininfo_0x12: 104, domain 0, _hole0 2, flags 4, tot_pages 8,
    max_pages 16, outstanding_pages 24, shr_pages 32, paged_pages 40, shared_info_frame 48,
    cpu_time 56, nr_online_vcpus 64, max_vcpu_id 68, ssidref 72, handle 76, cpupool 92,
    arch_config 96, _hole1 100
);

/// Result of `XEN_DOMCTL_getdomaininfo`. Since Xen 4.15, until Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_getdomaininfo_0x13 {
    /// The domain.
    pub domain: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// `XEN_DOMINF_*` and the shutdown reason.
    pub flags: u32,
    /// Pages that it has.
    pub tot_pages: u64,
    /// Pages that it may have.
    pub max_pages: u64,
    /// Pages claimed and not yet allocated.
    pub outstanding_pages: u64,
    /// Pages shared copy-on-write.
    pub shr_pages: u64,
    /// Pages paged out.
    pub paged_pages: u64,
    /// Frame of shared_info.
    pub shared_info_frame: u64,
    /// Time on CPUs, nanoseconds.
    pub cpu_time: u64,
    /// vCPUs that are up.
    pub nr_online_vcpus: u32,
    /// Highest vCPU number.
    pub max_vcpu_id: u32,
    /// Security label.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// CPU pool.
    pub cpupool: u32,
    /// Emulated devices.
    pub arch_config: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_getdomaininfo_0x13: 104, domain 0, _hole0 2, flags 4, tot_pages 8,
    max_pages 16, outstanding_pages 24, shr_pages 32, paged_pages 40, shared_info_frame 48,
    cpu_time 56, nr_online_vcpus 64, max_vcpu_id 68, ssidref 72, handle 76, cpupool 92,
    arch_config 96
);

/// Result of `XEN_DOMCTL_getdomaininfo`. Since Xen 4.16.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_getdomaininfo_0x14 {
    /// The domain.
    pub domain: domid_t,
    /// Zero.
    pub pad1: u16,
    /// `XEN_DOMINF_*` and the shutdown reason.
    pub flags: u32,
    /// Pages that it has.
    pub tot_pages: u64,
    /// Pages that it may have.
    pub max_pages: u64,
    /// Pages claimed and not yet allocated.
    pub outstanding_pages: u64,
    /// Pages shared copy-on-write.
    pub shr_pages: u64,
    /// Pages paged out.
    pub paged_pages: u64,
    /// Frame of shared_info.
    pub shared_info_frame: u64,
    /// Time on CPUs, nanoseconds.
    pub cpu_time: u64,
    /// vCPUs that are up.
    pub nr_online_vcpus: u32,
    /// Highest vCPU number.
    pub max_vcpu_id: u32,
    /// Security label.
    pub ssidref: u32,
    /// UUID.
    pub handle: xen_domain_handle_t,
    /// CPU pool.
    pub cpupool: u32,
    /// Width of a guest physical address, bits.
    pub gpaddr_bits: u8,
    /// Zero.
    pub pad2: [u8; 7],
    /// Emulated devices.
    pub arch_config: xen_arch_domainconfig_0x13,
}
layout!(
    struct xen_domctl_getdomaininfo_0x14: 112, domain 0, pad1 2, flags 4, tot_pages 8, max_pages
    16, outstanding_pages 24, shr_pages 32, paged_pages 40, shared_info_frame 48, cpu_time 56,
    nr_online_vcpus 64, max_vcpu_id 68, ssidref 72, handle 76, cpupool 92, gpaddr_bits 96, pad2
    97, arch_config 104
);

/// The domain exists. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_STATE_EXIST: u32 = 1 << 0;
/// The guest has shut down. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_STATE_SHUTDOWN: u32 = 1 << 1;
/// Being torn down. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_STATE_DYING: u32 = 1 << 2;
/// Torn down. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_STATE_DEAD: u32 = 1 << 3;
/// The control domain. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_CAP_CONTROL: u32 = 1 << 0;
/// The hardware domain. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_CAP_HARDWARE: u32 = 1 << 1;
/// A xenstore domain. Since Xen 4.21.
pub const XEN_DOMCTL_GETDOMSTATE_CAP_XENSTORE: u32 = 1 << 2;
/// `XEN_DOMCTL_get_domain_state`. Since Xen 4.21.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_get_domain_state {
    /// Out: `XEN_DOMCTL_GETDOMSTATE_STATE_*`.
    pub state: u16,
    /// Out: `XEN_DOMCTL_GETDOMSTATE_CAP_*`.
    pub caps: u16,
    /// Zero.
    pub pad0: u32,
    /// Out: never used twice since Xen was started.
    pub unique_id: u64,
}
layout!(struct xen_domctl_get_domain_state: 16, state 0, caps 2, pad0 4, unique_id 8);

/// `XEN_DOMCTL_getvcpuinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_getvcpuinfo {
    /// In: which vCPU.
    pub vcpu: u32,
    /// 1 while it is up.
    pub online: u8,
    /// 1 while it waits for an event.
    pub blocked: u8,
    /// 1 while it is on a CPU.
    pub running: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 1],
    /// Time on CPUs, nanoseconds.
    pub cpu_time: u64,
    /// The CPU that it is on, or was on last.
    pub cpu: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_domctl_getvcpuinfo: 24, vcpu 0, online 4, blocked 5, running 6, _hole0 7,
    cpu_time 8, cpu 16, _hole1 20
);
