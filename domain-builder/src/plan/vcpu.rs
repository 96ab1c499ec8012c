//! The first vcpu's registers at start (`struct vcpu_guest_context`).
//!
//! In: [`VcpuStart`] and the machine frame of the root page table. Out: the context as Xen takes
//! it: 64-bit, in kernel mode, online, everything else zero, as libxc sets it.

use super::steps::VcpuStart;
use xen_sys::arch_x86::{
    FLAT_KERNEL_CS, FLAT_KERNEL_DS, FLAT_KERNEL_SS, VGCF_in_kernel, VGCF_online, cpu_user_regs,
    trap_info, vcpu_guest_context, xen_pfn_to_cr3,
};

/// Interrupts enabled. Xen adds the bits that are always set.
const RFLAGS_IF: u64 = 1 << 9;
/// Values of the debug registers after reset.
const DR6: u64 = 0xffff_0ff0;
const DR7: u64 = 0x400;

/// The context of vcpu 0.
#[must_use]
pub fn vcpu_context(start: &VcpuStart, root_table_mfn: u64) -> Box<vcpu_guest_context> {
    let no_trap = trap_info { vector: 0, flags: 0, cs: 0, _hole0: [0; 4], address: 0 };
    Box::new(vcpu_guest_context {
        fpu_ctxt: [0; 512],
        flags: VGCF_in_kernel | VGCF_online,
        user_regs: registers(start),
        trap_ctxt: [no_trap; 256],
        ldt_base: 0,
        ldt_ents: 0,
        gdt_frames: [0; 16],
        gdt_ents: 0,
        kernel_ss: u64::from(FLAT_KERNEL_SS),
        kernel_sp: start.rsp,
        ctrlreg: [0, 0, 0, xen_pfn_to_cr3(root_table_mfn), 0, 0, 0, 0],
        debugreg: [0, 0, 0, 0, 0, 0, DR6, DR7],
        event_callback_eip: 0,
        failsafe_callback_eip: 0,
        syscall_callback_eip: 0,
        vm_assist: 0,
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
    })
}

fn registers(start: &VcpuStart) -> cpu_user_regs {
    cpu_user_regs {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        rbp: 0,
        rbx: 0,
        r11: 0,
        r10: 0,
        r9: 0,
        r8: 0,
        rax: 0,
        rcx: 0,
        rdx: 0,
        rsi: start.rsi,
        rdi: 0,
        error_code: 0,
        entry_vector: 0,
        rip: start.rip,
        cs: FLAT_KERNEL_CS,
        _pad0: [0],
        saved_upcall_mask: 0,
        _pad1: [0; 3],
        rflags: RFLAGS_IF,
        rsp: start.rsp,
        ss: FLAT_KERNEL_SS,
        _pad2: [0; 3],
        es: FLAT_KERNEL_DS,
        _pad3: [0; 3],
        ds: FLAT_KERNEL_DS,
        _pad4: [0; 3],
        fs: FLAT_KERNEL_DS,
        _pad5: [0; 3],
        gs: FLAT_KERNEL_DS,
        _pad6: [0; 3],
    }
}
