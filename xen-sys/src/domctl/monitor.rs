//! VM events, monitoring, tracing, cache control. Mirrors `xen/domctl.h`.

/// Set the ring up.
pub const XEN_VM_EVENT_ENABLE: u32 = 0;
/// Tear the ring down.
pub const XEN_VM_EVENT_DISABLE: u32 = 1;
/// Look for answers on the ring.
pub const XEN_VM_EVENT_RESUME: u32 = 2;
/// Ask for the version of the ring.
pub const XEN_VM_EVENT_GET_VERSION: u32 = 3;
/// Ring for paging.
pub const XEN_DOMCTL_VM_EVENT_OP_PAGING: u32 = 1;
/// Ring for monitoring.
pub const XEN_DOMCTL_VM_EVENT_OP_MONITOR: u32 = 2;
/// Ring for sharing.
pub const XEN_DOMCTL_VM_EVENT_OP_SHARING: u32 = 3;
/// The ring's port. In C: `struct xen_domctl_vm_event_op::u.enable`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vm_event_op_enable {
    /// Out: port.
    pub port: u32,
}
layout!(struct xen_domctl_vm_event_op_enable: 4, port 0);

/// Answer by operation. In C: `struct xen_domctl_vm_event_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_vm_event_op_u {
    /// Set up.
    pub enable: xen_domctl_vm_event_op_enable,
    /// Version.
    pub version: u32,
}
layout!(union xen_domctl_vm_event_op_u: 4, enable, version);

/// `XEN_DOMCTL_vm_event_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_vm_event_op {
    /// `XEN_VM_EVENT_*`.
    pub op: u32,
    /// `XEN_DOMCTL_VM_EVENT_OP_*`.
    pub mode: u32,
    /// Answer.
    pub u: xen_domctl_vm_event_op_u,
}
layout!(struct xen_domctl_vm_event_op: 12, op 0, mode 4, u 8);

/// Switch memory sharing.
pub const XEN_DOMCTL_MEM_SHARING_CONTROL: u32 = 0;
/// Argument. In C: `struct xen_domctl_mem_sharing_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_mem_sharing_op_u {
    /// 1 switches on.
    pub enable: u8,
}
layout!(union xen_domctl_mem_sharing_op_u: 1, enable);

/// `XEN_DOMCTL_mem_sharing_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_mem_sharing_op {
    /// `XEN_DOMCTL_MEM_SHARING_CONTROL`.
    pub op: u8,
    /// Argument.
    pub u: xen_domctl_mem_sharing_op_u,
}
layout!(struct xen_domctl_mem_sharing_op: 2, op 0, u 1);

/// `XEN_DOMCTL_set_access_required`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_set_access_required {
    /// 1: pause where nobody hears an event.
    pub access_required: u8,
}
layout!(struct xen_domctl_set_access_required: 1, access_required 0);

/// Report an event.
pub const XEN_DOMCTL_MONITOR_OP_ENABLE: u32 = 0;
/// Stop to report it.
pub const XEN_DOMCTL_MONITOR_OP_DISABLE: u32 = 1;
/// Ask which events can be reported.
pub const XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES: u32 = 2;
/// Report each step of a repeated instruction.
pub const XEN_DOMCTL_MONITOR_OP_EMULATE_EACH_REP: u32 = 3;
/// Let answers set registers.
pub const XEN_DOMCTL_MONITOR_OP_CONTROL_REGISTERS: u32 = 4;
/// Control register written.
pub const XEN_DOMCTL_MONITOR_EVENT_WRITE_CTRLREG: u32 = 0;
/// MSR written.
pub const XEN_DOMCTL_MONITOR_EVENT_MOV_TO_MSR: u32 = 1;
/// Single step.
pub const XEN_DOMCTL_MONITOR_EVENT_SINGLESTEP: u32 = 2;
/// Breakpoint.
pub const XEN_DOMCTL_MONITOR_EVENT_SOFTWARE_BREAKPOINT: u32 = 3;
/// The guest asked.
pub const XEN_DOMCTL_MONITOR_EVENT_GUEST_REQUEST: u32 = 4;
/// Debug exception.
pub const XEN_DOMCTL_MONITOR_EVENT_DEBUG_EXCEPTION: u32 = 5;
/// CPUID executed.
pub const XEN_DOMCTL_MONITOR_EVENT_CPUID: u32 = 6;
/// Privileged call (Arm).
pub const XEN_DOMCTL_MONITOR_EVENT_PRIVILEGED_CALL: u32 = 7;
/// Next interrupt.
pub const XEN_DOMCTL_MONITOR_EVENT_INTERRUPT: u32 = 8;
/// Descriptor table accessed.
pub const XEN_DOMCTL_MONITOR_EVENT_DESC_ACCESS: u32 = 9;
/// Instruction that Xen cannot emulate.
pub const XEN_DOMCTL_MONITOR_EVENT_EMUL_UNIMPLEMENTED: u32 = 10;
/// Page fault within the guest's tables.
pub const XEN_DOMCTL_MONITOR_EVENT_INGUEST_PAGEFAULT: u32 = 11;
/// Any exit. Since Xen 4.17.
pub const XEN_DOMCTL_MONITOR_EVENT_VMEXIT: u32 = 12;
/// I/O port accessed. Since Xen 4.18.
pub const XEN_DOMCTL_MONITOR_EVENT_IO: u32 = 13;
/// Control register. In C: `struct xen_domctl_monitor_op::u.mov_to_cr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_monitor_op_mov_to_cr {
    /// Which register.
    pub index: u8,
    /// 1: wait for the answer.
    pub sync: u8,
    /// 1: only where the value changes.
    pub onchangeonly: u8,
    /// Zero.
    pub pad1: u8,
    /// Zero.
    pub pad2: u32,
    /// Bits that do not count as a change.
    pub bitmask: u64,
}
layout!(
    struct xen_domctl_monitor_op_mov_to_cr: 16, index 0, sync 1, onchangeonly 2, pad1 3, pad2 4,
    bitmask 8
);

/// MSR. In C: `struct xen_domctl_monitor_op::u.mov_to_msr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_monitor_op_mov_to_msr {
    /// Which one.
    pub msr: u32,
    /// 1: only where the value changes.
    pub onchangeonly: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
}
layout!(struct xen_domctl_monitor_op_mov_to_msr: 8, msr 0, onchangeonly 4, _hole0 5);

/// Request. In C: `struct xen_domctl_monitor_op::u.guest_request`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_monitor_op_guest_request {
    /// 1: wait for the answer.
    pub sync: u8,
    /// 1: user mode may ask.
    pub allow_userspace: u8,
}
layout!(struct xen_domctl_monitor_op_guest_request: 2, sync 0, allow_userspace 1);

/// Debug exception. In C: `struct xen_domctl_monitor_op::u.debug_exception`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_monitor_op_debug_exception {
    /// 1: wait for the answer.
    pub sync: u8,
}
layout!(struct xen_domctl_monitor_op_debug_exception: 1, sync 0);

/// Any exit. In C: `struct xen_domctl_monitor_op::u.vmexit`. Since Xen 4.17.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_monitor_op_vmexit {
    /// 1: wait for the answer.
    pub sync: u8,
}
layout!(struct xen_domctl_monitor_op_vmexit: 1, sync 0);

/// Options by event. In C: `struct xen_domctl_monitor_op::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_monitor_op_u {
    /// Control register.
    pub mov_to_cr: xen_domctl_monitor_op_mov_to_cr,
    /// MSR.
    pub mov_to_msr: xen_domctl_monitor_op_mov_to_msr,
    /// Request.
    pub guest_request: xen_domctl_monitor_op_guest_request,
    /// Debug exception.
    pub debug_exception: xen_domctl_monitor_op_debug_exception,
    /// Any exit. Since Xen 4.17.
    pub vmexit: xen_domctl_monitor_op_vmexit,
}
layout!(
    union xen_domctl_monitor_op_u: 16, mov_to_cr, mov_to_msr, guest_request, debug_exception,
    vmexit
);

/// `XEN_DOMCTL_monitor_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_monitor_op {
    /// `XEN_DOMCTL_MONITOR_OP_*`.
    pub op: u32,
    /// `XEN_DOMCTL_MONITOR_EVENT_*`; out, of capabilities: a bit for each.
    pub event: u32,
    /// Options.
    pub u: xen_domctl_monitor_op_u,
}
layout!(struct xen_domctl_monitor_op: 24, op 0, event 4, u 8);

/// Start to trace. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_enable: u32 = 1;
/// Stop to trace. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_disable: u32 = 2;
/// Start to trace afresh. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_reset_and_enable: u32 = 3;
/// Ask for the position in the buffer. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_output_position: u32 = 4;
/// Read a register of the tracer. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_get_option: u32 = 5;
/// Write a register of the tracer. Since Xen 4.15.
pub const XEN_DOMCTL_vmtrace_set_option: u32 = 6;
/// `XEN_DOMCTL_vmtrace_op`. Since Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vmtrace_op {
    /// `XEN_DOMCTL_vmtrace_*`.
    pub cmd: u32,
    /// Which vCPU.
    pub vcpu: u32,
    /// Register.
    pub key: u64,
    /// Value or position.
    pub value: u64,
}
layout!(struct xen_domctl_vmtrace_op: 24, cmd 0, vcpu 4, key 8, value 16);

/// Stop to monitor.
pub const XEN_DOMCTL_PSR_CMT_OP_DETACH: u32 = 0;
/// Start to monitor.
pub const XEN_DOMCTL_PSR_CMT_OP_ATTACH: u32 = 1;
/// Ask for the monitoring id.
pub const XEN_DOMCTL_PSR_CMT_OP_QUERY_RMID: u32 = 2;
/// `XEN_DOMCTL_psr_cmt_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_psr_cmt_op {
    /// `XEN_DOMCTL_PSR_CMT_OP_*`.
    pub cmd: u32,
    /// Out: monitoring id.
    pub data: u32,
}
layout!(struct xen_domctl_psr_cmt_op: 8, cmd 0, data 4);

/// Set the mask of cache level 3.
pub const XEN_DOMCTL_PSR_SET_L3_CBM: u32 = 0;
/// Ask for it.
pub const XEN_DOMCTL_PSR_GET_L3_CBM: u32 = 1;
/// Set the mask of cache level 3 for code.
pub const XEN_DOMCTL_PSR_SET_L3_CODE: u32 = 2;
/// Set the mask of cache level 3 for data.
pub const XEN_DOMCTL_PSR_SET_L3_DATA: u32 = 3;
/// Ask for the mask for code.
pub const XEN_DOMCTL_PSR_GET_L3_CODE: u32 = 4;
/// Ask for the mask for data.
pub const XEN_DOMCTL_PSR_GET_L3_DATA: u32 = 5;
/// Set the mask of cache level 2.
pub const XEN_DOMCTL_PSR_SET_L2_CBM: u32 = 6;
/// Ask for it.
pub const XEN_DOMCTL_PSR_GET_L2_CBM: u32 = 7;
/// Throttle memory bandwidth.
pub const XEN_DOMCTL_PSR_SET_MBA_THRTL: u32 = 8;
/// Ask for the throttle.
pub const XEN_DOMCTL_PSR_GET_MBA_THRTL: u32 = 9;
/// `XEN_DOMCTL_psr_alloc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_psr_alloc {
    /// `XEN_DOMCTL_PSR_*`.
    pub cmd: u32,
    /// Socket.
    pub target: u32,
    /// Mask or throttle.
    pub data: u64,
}
layout!(struct xen_domctl_psr_alloc: 16, cmd 0, target 4, data 8);
