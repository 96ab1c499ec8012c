//! State beyond the vCPU context, triggers and debugging. Mirrors `xen/domctl.h`.

use crate::xen::domid_t;

/// `XEN_DOMCTL_gethvmcontext` and `sethvmcontext`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_hvmcontext {
    /// Room; out: bytes. A null buffer asks for the size.
    pub size: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of the records.
    pub buffer: u64,
}
layout!(struct xen_domctl_hvmcontext: 16, size 0, _hole0 4, buffer 8);

/// `XEN_DOMCTL_gethvmcontext_partial`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_hvmcontext_partial {
    /// Type of the record.
    pub r#type: u32,
    /// Which one.
    pub instance: u32,
    /// Room; out: bytes.
    pub bufsz: u64,
    /// Address of the record, without its header.
    pub buffer: u64,
}
layout!(struct xen_domctl_hvmcontext_partial: 24, r#type 0, instance 4, bufsz 8, buffer 16);

/// Machine check state of a vCPU; comes from hvm/save.h with domctl.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hvm_vmce_vcpu {
    /// Capabilities.
    pub caps: u64,
    /// Control of bank 0.
    pub mci_ctl2_bank0: u64,
    /// Control of bank 1.
    pub mci_ctl2_bank1: u64,
    /// Extended control.
    pub mcg_ext_ctl: u64,
}
layout!(struct hvm_vmce_vcpu: 32, caps 0, mci_ctl2_bank0 8, mci_ctl2_bank1 16, mcg_ext_ctl 24);

/// `XEN_DOMCTL_set_ext_vcpucontext` and `get_`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_ext_vcpucontext {
    /// Which vCPU.
    pub vcpu: u32,
    /// Bytes of this structure.
    pub size: u32,
    /// Entry of syscall from 32-bit user mode.
    pub syscall32_callback_eip: u64,
    /// Entry of sysenter.
    pub sysenter_callback_eip: u64,
    /// Its code selector.
    pub syscall32_callback_cs: u16,
    /// Its code selector.
    pub sysenter_callback_cs: u16,
    /// 1: enter with events masked.
    pub syscall32_disables_events: u8,
    /// 1: enter with events masked.
    pub sysenter_disables_events: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Machine checks.
    pub vmce: hvm_vmce_vcpu,
}
layout!(
    struct xen_domctl_ext_vcpucontext: 64, vcpu 0, size 4, syscall32_callback_eip 8,
    sysenter_callback_eip 16, syscall32_callback_cs 24, sysenter_callback_cs 26,
    syscall32_disables_events 28, sysenter_disables_events 29, _hole0 30, vmce 32
);

/// `XEN_DOMCTL_setvcpuextstate` and `get`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vcpuextstate {
    /// Which vCPU.
    pub vcpu: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Features in the state.
    pub xfeature_mask: u64,
    /// Room; out: bytes.
    pub size: u64,
    /// Address of the state: XCR0, accumulated XCR0, XSAVE image.
    pub buffer: u64,
}
layout!(struct xen_domctl_vcpuextstate: 32, vcpu 0, _hole0 4, xfeature_mask 8, size 16, buffer 24);

/// One MSR.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vcpu_msr {
    /// Index.
    pub index: u32,
    /// Zero.
    pub reserved: u32,
    /// Value.
    pub value: u64,
}
layout!(struct xen_domctl_vcpu_msr: 16, index 0, reserved 4, value 8);

/// `XEN_DOMCTL_get_vcpu_msrs` and `set`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vcpu_msrs {
    /// Which vCPU.
    pub vcpu: u32,
    /// Room; out: MSRs.
    pub msr_count: u32,
    /// Address of [`xen_domctl_vcpu_msr`] records.
    pub msrs: u64,
}
layout!(struct xen_domctl_vcpu_msrs: 16, vcpu 0, msr_count 4, msrs 8);

/// NMI.
pub const XEN_DOMCTL_SENDTRIGGER_NMI: u32 = 0;
/// Reset.
pub const XEN_DOMCTL_SENDTRIGGER_RESET: u32 = 1;
/// INIT.
pub const XEN_DOMCTL_SENDTRIGGER_INIT: u32 = 2;
/// Power button.
pub const XEN_DOMCTL_SENDTRIGGER_POWER: u32 = 3;
/// Sleep button.
pub const XEN_DOMCTL_SENDTRIGGER_SLEEP: u32 = 4;
/// `XEN_DOMCTL_sendtrigger`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_sendtrigger {
    /// `XEN_DOMCTL_SENDTRIGGER_*`.
    pub trigger: u32,
    /// Which vCPU.
    pub vcpu: u32,
}
layout!(struct xen_domctl_sendtrigger: 8, trigger 0, vcpu 4);

/// `XEN_DOMCTL_set_target`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_set_target {
    /// Domain to act for.
    pub target: domid_t,
}
layout!(struct xen_domctl_set_target: 2, target 0);

/// `XEN_DOMCTL_subscribe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_subscribe {
    /// Port that hears of a crash.
    pub port: u32,
}
layout!(struct xen_domctl_subscribe: 4, port 0);

/// `XEN_DOMCTL_set_virq_handler`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_set_virq_handler {
    /// Global virtual interrupt.
    pub virq: u32,
}
layout!(struct xen_domctl_set_virq_handler: 4, virq 0);

/// Stop to single-step.
pub const XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF: u32 = 0;
/// Single-step.
pub const XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON: u32 = 1;
/// `XEN_DOMCTL_debug_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_debug_op {
    /// `XEN_DOMCTL_DEBUG_OP_*`.
    pub op: u32,
    /// Which vCPU.
    pub vcpu: u32,
}
layout!(struct xen_domctl_debug_op: 8, op 0, vcpu 4);

/// `XEN_DOMCTL_setdebugging`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_setdebugging {
    /// 1 attaches a debugger.
    pub enable: u8,
}
layout!(struct xen_domctl_setdebugging: 1, enable 0);

/// `XEN_DOMCTL_disable_migrate`. Until Xen 4.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_disable_migrate {
    /// 1: the domain cannot be migrated.
    pub disable: u32,
}
layout!(struct xen_domctl_disable_migrate: 4, disable 0);

/// Debugger: read or write memory.
pub const XEN_DOMCTL_gdbsx_guestmemio: u32 = 1000;
/// Debugger: pause a vCPU.
pub const XEN_DOMCTL_gdbsx_pausevcpu: u32 = 1001;
/// Debugger: continue a vCPU.
pub const XEN_DOMCTL_gdbsx_unpausevcpu: u32 = 1002;
/// Debugger: ask what stopped.
pub const XEN_DOMCTL_gdbsx_domstatus: u32 = 1003;
/// `XEN_DOMCTL_gdbsx_guestmemio`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_gdbsx_memio {
    /// Page table base, or 0.
    pub pgd3val: u64,
    /// Guest address.
    pub gva: u64,
    /// Address of the caller's buffer.
    pub uva: u64,
    /// Bytes.
    pub len: u32,
    /// 1 writes.
    pub gwr: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
    /// Out: bytes not done.
    pub remain: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_domctl_gdbsx_memio: 40, pgd3val 0, gva 8, uva 16, len 24, gwr 28, _hole0 29,
    remain 32, _hole1 36
);

/// `XEN_DOMCTL_gdbsx_pausevcpu` and `unpausevcpu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_gdbsx_pauseunp_vcpu {
    /// Which vCPU.
    pub vcpu: u32,
}
layout!(struct xen_domctl_gdbsx_pauseunp_vcpu: 4, vcpu 0);

/// `XEN_DOMCTL_gdbsx_domstatus`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_gdbsx_domstatus {
    /// Out: 1 while the domain is paused.
    pub paused: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
    /// Out: vCPU that stopped.
    pub vcpu_id: u32,
    /// Out: why.
    pub vcpu_ev: u32,
}
layout!(struct xen_domctl_gdbsx_domstatus: 12, paused 0, _hole0 1, vcpu_id 4, vcpu_ev 8);
