//! Domain control: the call that creates, shapes and destroys domains. Mirrors `xen/domctl.h`.
//!
//! Tools only, and checked: `interface_version` must be the revision that the running Xen
//! speaks ([`crate::revision::DomctlRevision`]), else it answers `EACCES`. Layouts that changed
//! between revisions carry the first revision that has them as suffix.

mod create;
mod device;
mod info;
mod memory;
mod monitor;
mod sched;
mod state;
mod vcpu;

pub use create::*;
pub use device::*;
pub use info::*;
pub use memory::*;
pub use monitor::*;
pub use sched::*;
pub use state::*;
pub use vcpu::*;

use crate::xen::{domid_t, xen_domain_handle_t};

/// Create a domain, paused and empty.
pub const XEN_DOMCTL_createdomain: u32 = 1;
/// Destroy a domain and free what it had; takes long for a large one.
pub const XEN_DOMCTL_destroydomain: u32 = 2;
/// Pause; counted.
pub const XEN_DOMCTL_pausedomain: u32 = 3;
/// Undo one pause.
pub const XEN_DOMCTL_unpausedomain: u32 = 4;
/// Ask for a domain, or for the next one that exists.
pub const XEN_DOMCTL_getdomaininfo: u32 = 5;
/// Set where a vCPU runs.
pub const XEN_DOMCTL_setvcpuaffinity: u32 = 9;
/// Shadow paging and dirty-page tracking.
pub const XEN_DOMCTL_shadow_op: u32 = 10;
/// Set the memory limit.
pub const XEN_DOMCTL_max_mem: u32 = 11;
/// Load a vCPU's state.
pub const XEN_DOMCTL_setvcpucontext: u32 = 12;
/// Read a vCPU's state.
pub const XEN_DOMCTL_getvcpucontext: u32 = 13;
/// Ask for a vCPU's run state.
pub const XEN_DOMCTL_getvcpuinfo: u32 = 14;
/// Allocate the vCPUs.
pub const XEN_DOMCTL_max_vcpus: u32 = 15;
/// Get or set scheduler parameters.
pub const XEN_DOMCTL_scheduler_op: u32 = 16;
/// Change the UUID.
pub const XEN_DOMCTL_setdomainhandle: u32 = 17;
/// Attach or detach a debugger.
pub const XEN_DOMCTL_setdebugging: u32 = 18;
/// Allow or forbid an interrupt.
pub const XEN_DOMCTL_irq_permission: u32 = 19;
/// Allow or forbid device memory.
pub const XEN_DOMCTL_iomem_permission: u32 = 20;
/// Allow or forbid I/O ports.
pub const XEN_DOMCTL_ioport_permission: u32 = 21;
/// Fill a page with hypercall entry code.
pub const XEN_DOMCTL_hypercall_init: u32 = 22;
/// Shift the wall clock.
pub const XEN_DOMCTL_settimeoffset: u32 = 24;
/// Ask where a vCPU runs.
pub const XEN_DOMCTL_getvcpuaffinity: u32 = 25;
/// Resume after a suspend.
pub const XEN_DOMCTL_resumedomain: u32 = 27;
/// Send NMI, power button and the like.
pub const XEN_DOMCTL_sendtrigger: u32 = 28;
/// Name the port that hears of a crash.
pub const XEN_DOMCTL_subscribe: u32 = 29;
/// Read the HVM state.
pub const XEN_DOMCTL_gethvmcontext: u32 = 33;
/// Load the HVM state.
pub const XEN_DOMCTL_sethvmcontext: u32 = 34;
/// Choose 32 or 64 bits for a PV guest.
pub const XEN_DOMCTL_set_address_size: u32 = 35;
/// Ask for that width.
pub const XEN_DOMCTL_get_address_size: u32 = 36;
/// Give a device to a domain.
pub const XEN_DOMCTL_assign_device: u32 = 37;
/// Route a passed-through interrupt.
pub const XEN_DOMCTL_bind_pt_irq: u32 = 38;
/// Map device memory into a translated guest.
pub const XEN_DOMCTL_memory_mapping: u32 = 39;
/// Map I/O ports into an HVM guest.
pub const XEN_DOMCTL_ioport_mapping: u32 = 40;
/// Load the further vCPU state.
pub const XEN_DOMCTL_set_ext_vcpucontext: u32 = 42;
/// Read the further vCPU state.
pub const XEN_DOMCTL_get_ext_vcpucontext: u32 = 43;
/// Ask whether a device can be assigned.
pub const XEN_DOMCTL_test_assign_device: u32 = 45;
/// Make a domain the device model of another.
pub const XEN_DOMCTL_set_target: u32 = 46;
/// Take a device back.
pub const XEN_DOMCTL_deassign_device: u32 = 47;
/// Undo bind_pt_irq.
pub const XEN_DOMCTL_unbind_pt_irq: u32 = 48;
/// Ask for the devices of an IOMMU group.
pub const XEN_DOMCTL_get_device_group: u32 = 50;
/// Single-step a vCPU.
pub const XEN_DOMCTL_debug_op: u32 = 54;
/// Read one record of the HVM state.
pub const XEN_DOMCTL_gethvmcontext_partial: u32 = 55;
/// Set up rings for VM events.
pub const XEN_DOMCTL_vm_event_op: u32 = 56;
/// Switch memory sharing.
pub const XEN_DOMCTL_mem_sharing_op: u32 = 57;
/// Forbid migration. Until Xen 4.14.
pub const XEN_DOMCTL_disable_migrate: u32 = 58;
/// Ask for TSC parameters.
pub const XEN_DOMCTL_gettscinfo: u32 = 59;
/// Set TSC parameters.
pub const XEN_DOMCTL_settscinfo: u32 = 60;
/// Ask for the types of frames.
pub const XEN_DOMCTL_getpageframeinfo3: u32 = 61;
/// Load XSAVE state.
pub const XEN_DOMCTL_setvcpuextstate: u32 = 62;
/// Read XSAVE state.
pub const XEN_DOMCTL_getvcpuextstate: u32 = 63;
/// Pause on memory events that nobody hears.
pub const XEN_DOMCTL_set_access_required: u32 = 64;
/// Check the p2m.
pub const XEN_DOMCTL_audit_p2m: u32 = 65;
/// Send a global virtual interrupt to a domain.
pub const XEN_DOMCTL_set_virq_handler: u32 = 66;
/// Mark a frame broken.
pub const XEN_DOMCTL_set_broken_page_p2m: u32 = 67;
/// Set NUMA nodes.
pub const XEN_DOMCTL_setnodeaffinity: u32 = 68;
/// Ask for NUMA nodes.
pub const XEN_DOMCTL_getnodeaffinity: u32 = 69;
/// Flush caches for frames (Arm).
pub const XEN_DOMCTL_cacheflush: u32 = 71;
/// Read MSRs of a vCPU.
pub const XEN_DOMCTL_get_vcpu_msrs: u32 = 72;
/// Load MSRs of a vCPU.
pub const XEN_DOMCTL_set_vcpu_msrs: u32 = 73;
/// Set the virtual NUMA topology.
pub const XEN_DOMCTL_setvnumainfo: u32 = 74;
/// Cache monitoring.
pub const XEN_DOMCTL_psr_cmt_op: u32 = 75;
/// Choose events to monitor.
pub const XEN_DOMCTL_monitor_op: u32 = 77;
/// Cache and bandwidth allocation.
pub const XEN_DOMCTL_psr_alloc: u32 = 78;
/// Reset a domain in place, for kexec.
pub const XEN_DOMCTL_soft_reset: u32 = 79;
/// Virtual UART (Arm).
pub const XEN_DOMCTL_vuart_op: u32 = 81;
/// Read the CPUID and MSR policy.
pub const XEN_DOMCTL_get_cpu_policy: u32 = 82;
/// Load the CPUID and MSR policy.
pub const XEN_DOMCTL_set_cpu_policy: u32 = 83;
/// Processor tracing. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_op: u32 = 84;
/// Ask for the memory behind shadow or nested page tables. Since Xen 4.17.
pub const XEN_DOMCTL_get_paging_mempool_size: u32 = 85;
/// Set that memory. Since Xen 4.17.
pub const XEN_DOMCTL_set_paging_mempool_size: u32 = 86;
/// Allow or forbid a GSI. Since Xen 4.20.
pub const XEN_DOMCTL_gsi_permission: u32 = 88;
/// Choose cache colours. Since Xen 4.20.
pub const XEN_DOMCTL_set_llc_colors: u32 = 89;
/// Ask for the next domain that changed state; the one stable domctl, `interface_version` 0. Since
/// Xen 4.21.
pub const XEN_DOMCTL_get_domain_state: u32 = 90;

/// `XEN_DOMCTL_hypercall_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_hypercall_init {
    /// Frame of the page to fill.
    pub gmfn: u64,
}
layout!(struct xen_domctl_hypercall_init: 8, gmfn 0);

/// `XEN_DOMCTL_setdomainhandle`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_setdomainhandle {
    /// New UUID.
    pub handle: xen_domain_handle_t,
}
layout!(struct xen_domctl_setdomainhandle: 16, handle 0);

/// Argument by operation. In C: `struct xen_domctl::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_u {
    /// Create. Since Xen 4.14, until Xen 4.14.
    pub createdomain_0x12: xen_domctl_createdomain_0x12,
    /// Create. Since Xen 4.15, until Xen 4.15.
    pub createdomain_0x13: xen_domctl_createdomain_0x13,
    /// Create. Since Xen 4.16, until Xen 4.16.
    pub createdomain_0x14: xen_domctl_createdomain_0x14,
    /// Create. Since Xen 4.17, until Xen 4.18.
    pub createdomain_0x15: xen_domctl_createdomain_0x15,
    /// Create. Since Xen 4.19.
    pub createdomain_0x17: xen_domctl_createdomain_0x17,
    /// Ask. Since Xen 4.14, until Xen 4.14.
    pub getdomaininfo_0x12: xen_domctl_getdomaininfo_0x12,
    /// Ask. Since Xen 4.15, until Xen 4.15.
    pub getdomaininfo_0x13: xen_domctl_getdomaininfo_0x13,
    /// Ask. Since Xen 4.16.
    pub getdomaininfo_0x14: xen_domctl_getdomaininfo_0x14,
    /// Frame types.
    pub getpageframeinfo3: xen_domctl_getpageframeinfo3,
    /// NUMA nodes.
    pub nodeaffinity: xen_domctl_nodeaffinity,
    /// CPUs of a vCPU.
    pub vcpuaffinity: xen_domctl_vcpuaffinity,
    /// Shadow paging.
    pub shadow_op: xen_domctl_shadow_op,
    /// Memory limit.
    pub max_mem: xen_domctl_max_mem,
    /// vCPU state.
    pub vcpucontext: xen_domctl_vcpucontext,
    /// vCPU run state.
    pub getvcpuinfo: xen_domctl_getvcpuinfo,
    /// Number of vCPUs.
    pub max_vcpus: xen_domctl_max_vcpus,
    /// Scheduler parameters.
    pub scheduler_op: xen_domctl_scheduler_op,
    /// UUID.
    pub setdomainhandle: xen_domctl_setdomainhandle,
    /// Hypercall page.
    pub hypercall_init: xen_domctl_hypercall_init,
    /// Wall clock.
    pub settimeoffset: xen_domctl_settimeoffset,
    /// TSC.
    pub tsc_info: xen_domctl_tsc_info,
    /// 32 or 64 bits.
    pub address_size: xen_domctl_address_size,
    /// CPUID and MSRs.
    pub cpu_policy: xen_domctl_cpu_policy,
    /// Paging memory. Since Xen 4.17.
    pub paging_mempool: xen_domctl_paging_mempool,
    /// Debugger.
    pub setdebugging: xen_domctl_setdebugging,
    /// Interrupts. Since Xen 4.14, until Xen 4.15.
    pub irq_permission_0x12: xen_domctl_irq_permission_0x12,
    /// Interrupts. Since Xen 4.16.
    pub irq_permission_0x14: xen_domctl_irq_permission_0x14,
    /// Interrupt lines. Since Xen 4.20.
    pub gsi_permission: xen_domctl_gsi_permission,
    /// Device memory.
    pub iomem_permission: xen_domctl_iomem_permission,
    /// I/O ports.
    pub ioport_permission: xen_domctl_ioport_permission,
    /// HVM state.
    pub hvmcontext: xen_domctl_hvmcontext,
    /// One record of it.
    pub hvmcontext_partial: xen_domctl_hvmcontext_partial,
    /// Triggers.
    pub sendtrigger: xen_domctl_sendtrigger,
    /// IOMMU group.
    pub get_device_group: xen_domctl_get_device_group,
    /// Devices.
    pub assign_device: xen_domctl_assign_device,
    /// Passed-through interrupts.
    pub bind_pt_irq: xen_domctl_bind_pt_irq,
    /// Device memory of a guest.
    pub memory_mapping: xen_domctl_memory_mapping,
    /// I/O ports of a guest.
    pub ioport_mapping: xen_domctl_ioport_mapping,
    /// Further vCPU state.
    pub ext_vcpucontext: xen_domctl_ext_vcpucontext,
    /// Device model.
    pub set_target: xen_domctl_set_target,
    /// Crash port.
    pub subscribe: xen_domctl_subscribe,
    /// Single step.
    pub debug_op: xen_domctl_debug_op,
    /// VM events.
    pub vm_event_op: xen_domctl_vm_event_op,
    /// Sharing.
    pub mem_sharing_op: xen_domctl_mem_sharing_op,
    /// XSAVE state.
    pub vcpuextstate: xen_domctl_vcpuextstate,
    /// MSRs.
    pub vcpu_msrs: xen_domctl_vcpu_msrs,
    /// Memory events.
    pub access_required: xen_domctl_set_access_required,
    /// p2m check.
    pub audit_p2m: xen_domctl_audit_p2m,
    /// Virtual interrupts.
    pub set_virq_handler: xen_domctl_set_virq_handler,
    /// Debugger.
    pub gdbsx_guest_memio: xen_domctl_gdbsx_memio,
    /// Broken frames.
    pub set_broken_page_p2m: xen_domctl_set_broken_page_p2m,
    /// Caches.
    pub cacheflush: xen_domctl_cacheflush,
    /// Debugger.
    pub gdbsx_pauseunp_vcpu: xen_domctl_gdbsx_pauseunp_vcpu,
    /// Debugger.
    pub gdbsx_domstatus: xen_domctl_gdbsx_domstatus,
    /// Virtual NUMA.
    pub vnuma: xen_domctl_vnuma,
    /// Cache monitoring.
    pub psr_cmt_op: xen_domctl_psr_cmt_op,
    /// Monitoring.
    pub monitor_op: xen_domctl_monitor_op,
    /// Cache allocation.
    pub psr_alloc: xen_domctl_psr_alloc,
    /// Tracing. Since Xen 4.15.
    pub vmtrace_op: xen_domctl_vmtrace_op,
    /// Cache colours. Since Xen 4.20.
    pub set_llc_colors: xen_domctl_set_llc_colors,
    /// Migration. Until Xen 4.14.
    pub disable_migrate: xen_domctl_disable_migrate,
    /// State. Since Xen 4.21.
    pub get_domain_state: xen_domctl_get_domain_state,
    /// Fixes the size.
    pub pad: [u8; 128],
}
layout!(
    union xen_domctl_u: 128, createdomain_0x12, createdomain_0x13, createdomain_0x14,
    createdomain_0x15, createdomain_0x17, getdomaininfo_0x12, getdomaininfo_0x13,
    getdomaininfo_0x14, getpageframeinfo3, nodeaffinity, vcpuaffinity, shadow_op, max_mem,
    vcpucontext, getvcpuinfo, max_vcpus, scheduler_op, setdomainhandle, hypercall_init,
    settimeoffset, tsc_info, address_size, cpu_policy, paging_mempool, setdebugging,
    irq_permission_0x12, irq_permission_0x14, gsi_permission, iomem_permission,
    ioport_permission, hvmcontext, hvmcontext_partial, sendtrigger, get_device_group,
    assign_device, bind_pt_irq, memory_mapping, ioport_mapping, ext_vcpucontext, set_target,
    subscribe, debug_op, vm_event_op, mem_sharing_op, vcpuextstate, vcpu_msrs, access_required,
    audit_p2m, set_virq_handler, gdbsx_guest_memio, set_broken_page_p2m, cacheflush,
    gdbsx_pauseunp_vcpu, gdbsx_domstatus, vnuma, psr_cmt_op, monitor_op, psr_alloc, vmtrace_op,
    set_llc_colors, disable_migrate, get_domain_state, pad
);

/// The domctl call. 144 bytes in every revision.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl {
    /// `XEN_DOMCTL_*`.
    pub cmd: u32,
    /// Revision, as [`crate::revision::DomctlRevision::raw`] gives it.
    pub interface_version: u32,
    /// The domain; an answer for createdomain and getdomaininfo.
    pub domain: domid_t,
    /// Zero; named `_pad` from 4.16 on.
    pub _hole0: [u16; 3],
    /// Argument.
    pub u: xen_domctl_u,
}
layout!(struct xen_domctl: 144, cmd 0, interface_version 4, domain 8, _hole0 10, u 16);
