//! x86-64 parts: vCPU context, descriptors, CPUID leaves. Mirrors `xen/arch-x86/xen.h`.

/// First virtual address that Xen keeps from PV guests.
pub const __HYPERVISOR_VIRT_START: u64 = 0xFFFF_8000_0000_0000;
/// First address above that range.
pub const __HYPERVISOR_VIRT_END: u64 = 0xFFFF_8800_0000_0000;
/// Start of the read-only machine-to-physical table.
pub const __MACH2PHYS_VIRT_START: u64 = 0xFFFF_8000_0000_0000;
/// End of that table.
pub const __MACH2PHYS_VIRT_END: u64 = 0xFFFF_8040_0000_0000;
/// Xen's flat 32-bit code selector at ring 3.
pub const FLAT_RING3_CS32: u16 = 0xe023;
/// Xen's flat 64-bit code selector at ring 3.
pub const FLAT_RING3_CS64: u16 = 0xe033;
/// Xen's flat 32-bit data selector at ring 3.
pub const FLAT_RING3_DS32: u16 = 0xe02b;
/// The null selector: 64-bit data.
pub const FLAT_RING3_DS64: u16 = 0;
/// Xen's flat 32-bit stack selector at ring 3.
pub const FLAT_RING3_SS32: u16 = 0xe02b;
/// Xen's flat 64-bit stack selector at ring 3.
pub const FLAT_RING3_SS64: u16 = 0xe02b;
/// Code selector of a 64-bit PV kernel.
pub const FLAT_KERNEL_CS: u16 = FLAT_RING3_CS64;
/// Data selector of a 64-bit PV kernel.
pub const FLAT_KERNEL_DS: u16 = FLAT_RING3_DS64;
/// Stack selector of a 64-bit PV kernel.
pub const FLAT_KERNEL_SS: u16 = FLAT_RING3_SS64;
/// `set_segment_base`: base of FS.
pub const SEGBASE_FS: u32 = 0;
/// `set_segment_base`: base of the user's GS.
pub const SEGBASE_GS_USER: u32 = 1;
/// `set_segment_base`: base of the kernel's GS.
pub const SEGBASE_GS_KERNEL: u32 = 2;
/// `set_segment_base`: load the user's GS selector.
pub const SEGBASE_GS_USER_SEL: u32 = 3;
/// First GDT page that Xen keeps for itself.
pub const FIRST_RESERVED_GDT_PAGE: u32 = 14;
/// First GDT entry that Xen keeps for itself.
pub const FIRST_RESERVED_GDT_ENTRY: u32 = 14 * 4096 / 8;
/// I/O port that prints to Xen's log, for HVM guests.
pub const XEN_HVM_DEBUGCONS_IOPORT: u32 = 0xe9;
/// Registers as an exception frame holds them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct cpu_user_regs {
    /// General register.
    pub r15: u64,
    /// General register.
    pub r14: u64,
    /// General register.
    pub r13: u64,
    /// General register.
    pub r12: u64,
    /// General register.
    pub rbp: u64,
    /// General register.
    pub rbx: u64,
    /// General register.
    pub r11: u64,
    /// General register.
    pub r10: u64,
    /// General register.
    pub r9: u64,
    /// General register.
    pub r8: u64,
    /// General register.
    pub rax: u64,
    /// General register.
    pub rcx: u64,
    /// General register.
    pub rdx: u64,
    /// General register; a new PV guest finds its start_info here.
    pub rsi: u64,
    /// General register.
    pub rdi: u64,
    /// Of the exception; private to Xen.
    pub error_code: u32,
    /// Of the exception; private to Xen.
    pub entry_vector: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// Code selector.
    pub cs: u16,
    /// Zero.
    pub _pad0: [u16; 1],
    /// Event mask at the time of the exception.
    pub saved_upcall_mask: u8,
    /// Zero.
    pub _pad1: [u8; 3],
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack selector.
    pub ss: u16,
    /// Zero.
    pub _pad2: [u16; 3],
    /// Data selector.
    pub es: u16,
    /// Zero.
    pub _pad3: [u16; 3],
    /// Data selector.
    pub ds: u16,
    /// Zero.
    pub _pad4: [u16; 3],
    /// Data selector.
    pub fs: u16,
    /// Zero.
    pub _pad5: [u16; 3],
    /// Data selector.
    pub gs: u16,
    /// Zero.
    pub _pad6: [u16; 3],
}
layout!(
    struct cpu_user_regs: 200, r15 0, r14 8, r13 16, r12 24, rbp 32, rbx 40, r11 48, r10 56, r9
    64, r8 72, rax 80, rcx 88, rdx 96, rsi 104, rdi 112, error_code 120, entry_vector 124, rip
    128, cs 136, _pad0 138, saved_upcall_mask 140, _pad1 141, rflags 144, rsp 152, ss 160, _pad2
    162, es 168, _pad3 170, ds 176, _pad4 178, fs 184, _pad5 186, gs 192, _pad6 194
);

/// One PV exception handler.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct trap_info {
    /// Exception number.
    pub vector: u8,
    /// Bits 0-1 lowest ring that may raise it, bit 2 mask events on entry.
    pub flags: u8,
    /// Code selector of the handler.
    pub cs: u16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of the handler.
    pub address: u64,
}
layout!(struct trap_info: 16, vector 0, flags 1, cs 2, _hole0 4, address 8);

/// The FPU area is valid.
pub const VGCF_i387_valid: u64 = 1 << 0;
/// The vCPU runs in kernel mode.
pub const VGCF_in_kernel: u64 = 1 << 2;
/// The failsafe callback starts with events masked.
pub const VGCF_failsafe_disables_events: u64 = 1 << 3;
/// The syscall callback starts with events masked.
pub const VGCF_syscall_disables_events: u64 = 1 << 4;
/// The vCPU is up.
pub const VGCF_online: u64 = 1 << 5;
/// The vCPU entered by syscall.
pub const VGCF_in_syscall: u64 = 1 << 8;
/// Whole state of a PV vCPU (`XEN_DOMCTL_setvcpucontext`, `VCPUOP_initialise`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_guest_context {
    /// FXSAVE image.
    pub fpu_ctxt: [u8; 512],
    /// `VGCF_*`.
    pub flags: u64,
    /// General registers.
    pub user_regs: cpu_user_regs,
    /// Virtual IDT.
    pub trap_ctxt: [trap_info; 256],
    /// LDT, virtual address.
    pub ldt_base: u64,
    /// LDT, entries.
    pub ldt_ents: u64,
    /// GDT, machine frames.
    pub gdt_frames: [u64; 16],
    /// GDT, entries.
    pub gdt_ents: u64,
    /// Kernel stack selector.
    pub kernel_ss: u64,
    /// Kernel stack pointer.
    pub kernel_sp: u64,
    /// CR0 to CR7; CR1 holds the user page table base, CR3 the kernel's ([`xen_pfn_to_cr3`]).
    pub ctrlreg: [u64; 8],
    /// DR0 to DR7.
    pub debugreg: [u64; 8],
    /// Event upcall entry.
    pub event_callback_eip: u64,
    /// Entry after a failed iret.
    pub failsafe_callback_eip: u64,
    /// Entry of syscall.
    pub syscall_callback_eip: u64,
    /// `VMASST_TYPE_*` bitmap.
    pub vm_assist: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS in kernel mode.
    pub gs_base_kernel: u64,
    /// Base of GS in user mode.
    pub gs_base_user: u64,
}
layout!(
    struct vcpu_guest_context: 5168, fpu_ctxt 0, flags 512, user_regs 520, trap_ctxt 720,
    ldt_base 4816, ldt_ents 4824, gdt_frames 4832, gdt_ents 4960, kernel_ss 4968, kernel_sp
    4976, ctrlreg 4984, debugreg 5048, event_callback_eip 5112, failsafe_callback_eip 5120,
    syscall_callback_eip 5128, vm_assist 5136, fs_base 5144, gs_base_kernel 5152, gs_base_user
    5160
);

/// CR3 value of a 64-bit guest for the top page table in machine frame `mfn`.
#[must_use]
pub const fn xen_pfn_to_cr3(mfn: u64) -> u64 {
    mfn << 12
}

/// Machine frame of the top page table in a 64-bit guest's CR3.
#[must_use]
pub const fn xen_cr3_to_pfn(cr3: u64) -> u64 {
    cr3 >> 12
}

/// Architecture part of `vcpu_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct arch_vcpu_info {
    /// Address of the last page fault.
    pub cr2: u64,
    /// Zero.
    pub pad: u64,
}
layout!(struct arch_vcpu_info: 16, cr2 0, pad 8);

/// Architecture part of `shared_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct arch_shared_info {
    /// Highest pfn in the frame lists, plus one.
    pub max_pfn: u64,
    /// Machine frame of the root of the p2m frame lists.
    pub pfn_to_mfn_frame_list_list: u64,
    /// Pending NMI causes.
    pub nmi_reason: u64,
    /// CR3 value under which `p2m_vaddr` holds; 0 when unused.
    pub p2m_cr3: u64,
    /// Virtual address of a linear p2m.
    pub p2m_vaddr: u64,
    /// Odd while the guest changes its p2m.
    pub p2m_generation: u64,
}
layout!(
    struct arch_shared_info: 48, max_pfn 0, pfn_to_mfn_frame_list_list 8, nmi_reason 16, p2m_cr3
    24, p2m_vaddr 32, p2m_generation 40
);

/// Frame that `__HYPERVISOR_iret` takes from the stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct iret_context {
    /// Restored register.
    pub rax: u64,
    /// Restored register.
    pub r11: u64,
    /// Restored register.
    pub rcx: u64,
    /// `VGCF_in_syscall` or 0.
    pub flags: u64,
    /// Where to go.
    pub rip: u64,
    /// Code selector.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack selector.
    pub ss: u64,
}
layout!(
    struct iret_context: 72, rax 0, r11 8, rcx 16, flags 24, rip 32, cs 40, rflags 48, rsp 56,
    ss 64
);

/// `subleaf` of a leaf that has none.
pub const XEN_CPUID_NO_SUBLEAF: u32 = 0xffff_ffff;
/// One leaf of a CPU policy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_cpuid_leaf {
    /// Leaf, eax in.
    pub leaf: u32,
    /// Subleaf, ecx in, or [`XEN_CPUID_NO_SUBLEAF`].
    pub subleaf: u32,
    /// eax out.
    pub a: u32,
    /// ebx out.
    pub b: u32,
    /// ecx out.
    pub c: u32,
    /// edx out.
    pub d: u32,
}
layout!(struct xen_cpuid_leaf: 24, leaf 0, subleaf 4, a 8, b 12, c 16, d 20);

/// One MSR of a CPU policy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_msr_entry {
    /// Index.
    pub idx: u32,
    /// Zero.
    pub flags: u32,
    /// Value.
    pub val: u64,
}
layout!(struct xen_msr_entry: 16, idx 0, flags 4, val 8);

/// Emulate local APICs.
pub const XEN_X86_EMU_LAPIC: u32 = 1 << 0;
/// Emulate an HPET.
pub const XEN_X86_EMU_HPET: u32 = 1 << 1;
/// Emulate ACPI power management.
pub const XEN_X86_EMU_PM: u32 = 1 << 2;
/// Emulate an RTC.
pub const XEN_X86_EMU_RTC: u32 = 1 << 3;
/// Emulate an I/O APIC.
pub const XEN_X86_EMU_IOAPIC: u32 = 1 << 4;
/// Emulate the PICs.
pub const XEN_X86_EMU_PIC: u32 = 1 << 5;
/// Emulate VGA memory.
pub const XEN_X86_EMU_VGA: u32 = 1 << 6;
/// Emulate an IOMMU.
pub const XEN_X86_EMU_IOMMU: u32 = 1 << 7;
/// Emulate a PIT; the one flag that a PV guest gets.
pub const XEN_X86_EMU_PIT: u32 = 1 << 8;
/// Let an HVM guest take interrupts through event channels.
pub const XEN_X86_EMU_USE_PIRQ: u32 = 1 << 9;
/// Emulate PCI configuration space in Xen.
pub const XEN_X86_EMU_VPCI: u32 = 1 << 10;
/// `misc_flags`: unhandled MSRs read as zero. Since Xen 4.15.
pub const XEN_X86_MSR_RELAXED: u32 = 1 << 0;
/// x86 part of createdomain and getdomaininfo. Until Xen 4.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_arch_domainconfig_0x12 {
    /// `XEN_X86_EMU_*`.
    pub emulation_flags: u32,
}
layout!(struct xen_arch_domainconfig_0x12: 4, emulation_flags 0);

/// x86 part of createdomain and getdomaininfo. Since Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_arch_domainconfig_0x13 {
    /// `XEN_X86_EMU_*`.
    pub emulation_flags: u32,
    /// `XEN_X86_MSR_RELAXED`.
    pub misc_flags: u32,
}
layout!(struct xen_arch_domainconfig_0x13: 8, emulation_flags 0, misc_flags 4);
