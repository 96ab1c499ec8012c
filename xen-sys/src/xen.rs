//! Hypercall numbers, page-table operations, shared_info and start_info. Mirrors `xen/xen.h`.
//!
//! What every domain sees, privileged or not: none of it carries an interface version.

use crate::arch_x86::{arch_shared_info, arch_vcpu_info};

/// Domain identifier; [`crate::types::Domid`] above this crate.
pub type domid_t = u16;
/// Frame number of whatever kind the operation takes.
pub type xen_pfn_t = u64;
/// The hypervisor's `unsigned long` as guests see it.
pub type xen_ulong_t = u64;
/// UUID of a domain, in the byte order of its text form.
pub type xen_domain_handle_t = [u8; 16];
/// Register a PV guest's trap handlers.
pub const __HYPERVISOR_set_trap_table: u64 = 0;
/// Change page table entries or the machine-to-physical table.
pub const __HYPERVISOR_mmu_update: u64 = 1;
/// Install the frames of a PV guest's GDT.
pub const __HYPERVISOR_set_gdt: u64 = 2;
/// Set the kernel stack of a PV vCPU.
pub const __HYPERVISOR_stack_switch: u64 = 3;
/// Set a PV vCPU's callbacks (obsolete form).
pub const __HYPERVISOR_set_callbacks: u64 = 4;
/// Set or clear CR0.TS of a PV vCPU.
pub const __HYPERVISOR_fpu_taskswitch: u64 = 5;
/// Platform operations of the hardware domain.
pub const __HYPERVISOR_platform_op: u64 = 7;
/// Write a debug register.
pub const __HYPERVISOR_set_debugreg: u64 = 8;
/// Read a debug register.
pub const __HYPERVISOR_get_debugreg: u64 = 9;
/// Write one descriptor of a GDT or LDT.
pub const __HYPERVISOR_update_descriptor: u64 = 10;
/// Memory operations: [`crate::memory`].
pub const __HYPERVISOR_memory_op: u64 = 12;
/// Several hypercalls in one: [`multicall_entry`].
pub const __HYPERVISOR_multicall: u64 = 13;
/// Change the page table entry of one virtual address.
pub const __HYPERVISOR_update_va_mapping: u64 = 14;
/// Arm a vCPU's one-shot timer.
pub const __HYPERVISOR_set_timer_op: u64 = 15;
/// Version and features: [`crate::version`].
pub const __HYPERVISOR_xen_version: u64 = 17;
/// Read from or write to Xen's own console: `CONSOLEIO_*`.
pub const __HYPERVISOR_console_io: u64 = 18;
/// Grant table operations: [`crate::grant_table`].
pub const __HYPERVISOR_grant_table_op: u64 = 20;
/// Switch compatibility aids on or off: `VMASST_*`.
pub const __HYPERVISOR_vm_assist: u64 = 21;
/// As `update_va_mapping`, for another domain.
pub const __HYPERVISOR_update_va_mapping_otherdomain: u64 = 22;
/// Return from an exception in a PV kernel.
pub const __HYPERVISOR_iret: u64 = 23;
/// Bring up, stop and inspect the caller's own vCPUs.
pub const __HYPERVISOR_vcpu_op: u64 = 24;
/// Write the base of FS or GS.
pub const __HYPERVISOR_set_segment_base: u64 = 25;
/// Pin page tables, switch base pointers, flush: [`mmuext_op`].
pub const __HYPERVISOR_mmuext_op: u64 = 26;
/// Security module operations (Flask).
pub const __HYPERVISOR_xsm_op: u64 = 27;
/// Register an NMI callback.
pub const __HYPERVISOR_nmi_op: u64 = 28;
/// Yield, block, shut down: [`crate::sched`].
pub const __HYPERVISOR_sched_op: u64 = 29;
/// Register event, failsafe and syscall callbacks.
pub const __HYPERVISOR_callback_op: u64 = 30;
/// Profiling (obsolete).
pub const __HYPERVISOR_xenoprof_op: u64 = 31;
/// Event channels: [`crate::event_channel`].
pub const __HYPERVISOR_event_channel_op: u64 = 32;
/// Interrupts and devices: [`crate::physdev`].
pub const __HYPERVISOR_physdev_op: u64 = 33;
/// HVM parameters and operations: [`crate::hvm`].
pub const __HYPERVISOR_hvm_op: u64 = 34;
/// Host control, tools only: [`crate::sysctl`].
pub const __HYPERVISOR_sysctl: u64 = 35;
/// Domain control, tools only: [`crate::domctl`].
pub const __HYPERVISOR_domctl: u64 = 36;
/// Load and enter a crash kernel.
pub const __HYPERVISOR_kexec_op: u64 = 37;
/// Argo messages between domains.
pub const __HYPERVISOR_argo_op: u64 = 39;
/// Performance monitoring unit.
pub const __HYPERVISOR_xenpmu_op: u64 = 40;
/// Device model operations.
pub const __HYPERVISOR_dm_op: u64 = 41;
/// The hypervisor's file system of settings.
pub const __HYPERVISOR_hypfs_op: u64 = 42;
/// First architecture-specific number; machine checks on x86.
pub const __HYPERVISOR_arch_0: u64 = 48;
/// Timer, one per vCPU.
pub const VIRQ_TIMER: u32 = 0;
/// A debug key asks the domain to dump its state, one per vCPU.
pub const VIRQ_DEBUG: u32 = 1;
/// Bytes arrived on Xen's emergency console.
pub const VIRQ_CONSOLE: u32 = 2;
/// A domain changed state. One binding in the host: it belongs to xenstored.
pub const VIRQ_DOM_EXC: u32 = 3;
/// The trace buffer holds records.
pub const VIRQ_TBUF: u32 = 4;
/// A domain stopped for its debugger.
pub const VIRQ_DEBUGGER: u32 = 6;
/// Profiling samples are ready, one per vCPU.
pub const VIRQ_XENOPROF: u32 = 7;
/// Xen's console ring got bytes.
pub const VIRQ_CON_RING: u32 = 8;
/// A physical CPU went online or offline.
pub const VIRQ_PCPU_STATE: u32 = 9;
/// A memory event occurred.
pub const VIRQ_MEM_EVENT: u32 = 10;
/// Argo message notification.
pub const VIRQ_ARGO: u32 = 11;
/// Free memory ran low.
pub const VIRQ_ENOMEM: u32 = 12;
/// Performance counter interrupt, one per vCPU.
pub const VIRQ_XENPMU: u32 = 13;
/// First architecture-specific virtual interrupt; machine checks on x86.
pub const VIRQ_ARCH_0: u32 = 16;
/// Number of virtual interrupts.
pub const NR_VIRQS: u32 = 24;
/// `mmu_update`, low bits of the pointer: write a page table entry.
pub const MMU_NORMAL_PT_UPDATE: u32 = 0;
/// `mmu_update`: set the pfn of a machine frame in the machine-to-physical table.
pub const MMU_MACHPHYS_UPDATE: u32 = 1;
/// `mmu_update`: write an entry, keep accessed and dirty bits set meanwhile.
pub const MMU_PT_UPDATE_PRESERVE_AD: u32 = 2;
/// `mmu_update`: write an entry given in machine frames by a translated domain.
pub const MMU_PT_UPDATE_NO_TRANSLATE: u32 = 3;
/// One element of `__HYPERVISOR_mmu_update`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct mmu_update {
    /// Machine address of the entry, `MMU_*` in the two low bits.
    pub ptr: u64,
    /// New content.
    pub val: u64,
}
layout!(struct mmu_update: 16, ptr 0, val 8);

/// Pin `mfn` as a page table of level 1.
pub const MMUEXT_PIN_L1_TABLE: u32 = 0;
/// Pin `mfn` as a page table of level 2.
pub const MMUEXT_PIN_L2_TABLE: u32 = 1;
/// Pin `mfn` as a page table of level 3.
pub const MMUEXT_PIN_L3_TABLE: u32 = 2;
/// Pin `mfn` as a page table of level 4.
pub const MMUEXT_PIN_L4_TABLE: u32 = 3;
/// Unpin the page table in `mfn`.
pub const MMUEXT_UNPIN_TABLE: u32 = 4;
/// Load `mfn` as the calling vCPU's page table base.
pub const MMUEXT_NEW_BASEPTR: u32 = 5;
/// Flush the calling vCPU's TLB.
pub const MMUEXT_TLB_FLUSH_LOCAL: u32 = 6;
/// Flush one address from the calling vCPU's TLB.
pub const MMUEXT_INVLPG_LOCAL: u32 = 7;
/// Flush the TLBs of the vCPUs in a mask.
pub const MMUEXT_TLB_FLUSH_MULTI: u32 = 8;
/// Flush one address from the TLBs of the vCPUs in a mask.
pub const MMUEXT_INVLPG_MULTI: u32 = 9;
/// Flush the TLBs of all vCPUs of the domain.
pub const MMUEXT_TLB_FLUSH_ALL: u32 = 10;
/// Flush one address from the TLBs of all vCPUs.
pub const MMUEXT_INVLPG_ALL: u32 = 11;
/// Write back and invalidate the caller's caches.
pub const MMUEXT_FLUSH_CACHE: u32 = 12;
/// Load an LDT.
pub const MMUEXT_SET_LDT: u32 = 13;
/// Load `mfn` as the page table base of user mode.
pub const MMUEXT_NEW_USER_BASEPTR: u32 = 15;
/// Zero the frame `mfn`.
pub const MMUEXT_CLEAR_PAGE: u32 = 16;
/// Copy frame `src_mfn` to `mfn`.
pub const MMUEXT_COPY_PAGE: u32 = 17;
/// Write back and invalidate caches on all CPUs.
pub const MMUEXT_FLUSH_CACHE_GLOBAL: u32 = 18;
/// Mark an aligned 2 MiB range usable as a superpage (obsolete).
pub const MMUEXT_MARK_SUPER: u32 = 19;
/// Undo [`MMUEXT_MARK_SUPER`].
pub const MMUEXT_UNMARK_SUPER: u32 = 20;
/// First argument of an [`mmuext_op`]. In C: `struct mmuext_op::arg1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union mmuext_op_arg1 {
    /// Machine frame: pin, unpin, base pointers, clear, copy.
    pub mfn: xen_pfn_t,
    /// Virtual address: invlpg, set_ldt.
    pub linear_addr: u64,
}
layout!(union mmuext_op_arg1: 8, mfn, linear_addr);

/// Second argument of an [`mmuext_op`]. In C: `struct mmuext_op::arg2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union mmuext_op_arg2 {
    /// Entries: set_ldt.
    pub nr_ents: u32,
    /// Address of a bitmap of vCPUs: the `_MULTI` operations.
    pub vcpumask: u64,
    /// Machine frame to copy from.
    pub src_mfn: xen_pfn_t,
}
layout!(union mmuext_op_arg2: 8, nr_ents, vcpumask, src_mfn);

/// One element of `__HYPERVISOR_mmuext_op`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mmuext_op {
    /// `MMUEXT_*`.
    pub cmd: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Frame or address.
    pub arg1: mmuext_op_arg1,
    /// Count, mask or source.
    pub arg2: mmuext_op_arg2,
}
layout!(struct mmuext_op: 24, cmd 0, _hole0 4, arg1 8, arg2 16);

/// One call of a `__HYPERVISOR_multicall`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct multicall_entry {
    /// Hypercall number.
    pub op: xen_ulong_t,
    /// Its return value, written by Xen.
    pub result: xen_ulong_t,
    /// Arguments.
    pub args: [xen_ulong_t; 6],
}
layout!(struct multicall_entry: 64, op 0, result 8, args 16);

/// `update_va_mapping`: no flush.
pub const UVMF_NONE: u64 = 0;
/// `update_va_mapping`: flush the TLB.
pub const UVMF_TLB_FLUSH: u64 = 1 << 0;
/// `update_va_mapping`: flush the address.
pub const UVMF_INVLPG: u64 = 2;
/// `update_va_mapping`: mask of the kind of flush.
pub const UVMF_FLUSHTYPE_MASK: u64 = 3;
/// `update_va_mapping`: flush the calling vCPU.
pub const UVMF_LOCAL: u64 = 0;
/// `update_va_mapping`: flush all vCPUs.
pub const UVMF_ALL: u64 = 1 << 2;
/// `console_io`: write bytes.
pub const CONSOLEIO_write: u32 = 0;
/// `console_io`: read bytes.
pub const CONSOLEIO_read: u32 = 1;
/// `vm_assist`: switch on.
pub const VMASST_CMD_enable: u32 = 0;
/// `vm_assist`: switch off.
pub const VMASST_CMD_disable: u32 = 1;
/// `vm_assist`: emulate 4 GiB segments (32-bit guests).
pub const VMASST_TYPE_4gb_segments: u32 = 0;
/// `vm_assist`: report such emulation.
pub const VMASST_TYPE_4gb_segments_notify: u32 = 1;
/// `vm_assist`: emulate writes to page tables.
pub const VMASST_TYPE_writable_pagetables: u32 = 2;
/// `vm_assist`: CR3 above 4 GiB for PAE guests.
pub const VMASST_TYPE_pae_extended_cr3: u32 = 3;
/// `vm_assist`: IOPL behaves as on hardware.
pub const VMASST_TYPE_architectural_iopl: u32 = 4;
/// `vm_assist`: mark runstate areas while they are written.
pub const VMASST_TYPE_runstate_update_flag: u32 = 5;
/// `vm_assist`: no machine-to-physical table in user mode.
pub const VMASST_TYPE_m2p_strict: u32 = 32;
/// First identifier that names no ordinary domain.
pub const DOMID_FIRST_RESERVED: u16 = 0x7FF0;
/// The caller, in arguments.
pub const DOMID_SELF: u16 = 0x7FF0;
/// Owner of device memory.
pub const DOMID_IO: u16 = 0x7FF1;
/// Owner of the hypervisor's shared pages.
pub const DOMID_XEN: u16 = 0x7FF2;
/// Owner of shared copy-on-write pages.
pub const DOMID_COW: u16 = 0x7FF3;
/// No domain.
pub const DOMID_INVALID: u16 = 0x7FF4;
/// Any domain. What 4.22 needs in `xen_domctl.domain` to choose a free identifier itself. Since Xen
/// 4.22.
pub const DOMID_ANY: u16 = 0x7FF5;
/// The idle domain.
pub const DOMID_IDLE: u16 = 0x7FFF;
/// Bits of an identifier.
pub const DOMID_MASK: u16 = 0x7FFF;
/// vCPUs whose [`vcpu_info`] lies in [`shared_info`]; further ones register theirs.
pub const XEN_LEGACY_MAX_VCPUS: usize = 32;
/// Clock parameters of one vCPU, kept fresh by Xen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_time_info {
    /// Odd while Xen writes; read again if it changed.
    pub version: u32,
    /// Zero.
    pub pad0: u32,
    /// TSC at the last update.
    pub tsc_timestamp: u64,
    /// Nanoseconds since boot at the last update.
    pub system_time: u64,
    /// Scale from shifted ticks to nanoseconds, as a 32-bit fraction.
    pub tsc_to_system_mul: u32,
    /// Shift to apply to ticks before scaling; negative is to the right.
    pub tsc_shift: i8,
    /// `XEN_PVCLOCK_*`.
    pub flags: u8,
    /// Zero.
    pub pad1: [u8; 2],
}
layout!(
    struct vcpu_time_info: 32, version 0, pad0 4, tsc_timestamp 8, system_time 16,
    tsc_to_system_mul 24, tsc_shift 28, flags 29, pad1 30
);

/// Time is monotonic across vCPUs.
pub const XEN_PVCLOCK_TSC_STABLE_BIT: u8 = 1 << 0;
/// The guest was stopped by its toolstack.
pub const XEN_PVCLOCK_GUEST_STOPPED: u8 = 1 << 1;
/// Event delivery and clock of one vCPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vcpu_info {
    /// Set when an event waits.
    pub evtchn_upcall_pending: u8,
    /// Non-zero while the vCPU takes no upcalls.
    pub evtchn_upcall_mask: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 6],
    /// Which words of `shared_info.evtchn_pending` have bits.
    pub evtchn_pending_sel: xen_ulong_t,
    /// Fault address.
    pub arch: arch_vcpu_info,
    /// Clock.
    pub time: vcpu_time_info,
}
layout!(
    struct vcpu_info: 64, evtchn_upcall_pending 0, evtchn_upcall_mask 1, _hole0 2,
    evtchn_pending_sel 8, arch 16, time 32
);

/// The page that a domain shares with Xen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct shared_info {
    /// The first vCPUs.
    pub vcpu_info: [vcpu_info; XEN_LEGACY_MAX_VCPUS],
    /// Pending bit per event channel.
    pub evtchn_pending: [xen_ulong_t; 64],
    /// Mask bit per event channel.
    pub evtchn_mask: [xen_ulong_t; 64],
    /// Odd while Xen writes the wall clock.
    pub wc_version: u32,
    /// Wall clock at boot, seconds since 1970, low half.
    pub wc_sec: u32,
    /// Wall clock at boot, nanoseconds within the second.
    pub wc_nsec: u32,
    /// High half of `wc_sec`.
    pub wc_sec_hi: u32,
    /// p2m and NMI.
    pub arch: arch_shared_info,
}
layout!(
    struct shared_info: 3136, vcpu_info 0, evtchn_pending 2048, evtchn_mask 2560, wc_version
    3072, wc_sec 3076, wc_nsec 3080, wc_sec_hi 3084, arch 3088
);

/// Bytes of a PV guest's command line with its terminator.
pub const MAX_GUEST_CMDLINE: usize = 1024;
/// Console of an ordinary guest. In C: `struct start_info::console.domU`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct start_info_console_domU {
    /// Machine frame of the console ring.
    pub mfn: xen_pfn_t,
    /// The guest's port.
    pub evtchn: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct start_info_console_domU: 16, mfn 0, evtchn 8, _hole0 12);

/// Console of the control domain. In C: `struct start_info::console.dom0`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct start_info_console_dom0 {
    /// Offset of the VGA description from `start_info`, bytes.
    pub info_off: u32,
    /// Its size, bytes.
    pub info_size: u32,
}
layout!(struct start_info_console_dom0: 8, info_off 0, info_size 4);

/// Where the console is. In C: `struct start_info::console`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union start_info_console {
    /// Ordinary guest.
    pub domU: start_info_console_domU,
    /// Control domain.
    pub dom0: start_info_console_dom0,
}
layout!(union start_info_console: 16, domU, dom0);

/// What a PV guest is started with: its first argument (rsi) points here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct start_info {
    /// `xen-3.0-x86_64`, zero-padded; the version is of the interface.
    pub magic: [u8; 32],
    /// Memory of the domain, pages.
    pub nr_pages: u64,
    /// Machine address of [`shared_info`].
    pub shared_info: u64,
    /// `SIF_*`.
    pub flags: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Machine frame of the xenstore ring.
    pub store_mfn: xen_pfn_t,
    /// The guest's xenstore port.
    pub store_evtchn: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
    /// The console.
    pub console: start_info_console,
    /// Virtual address of the top page table.
    pub pt_base: u64,
    /// Boot page tables, frames.
    pub nr_pt_frames: u64,
    /// Virtual address of the list of machine frames, indexed by pfn.
    pub mfn_list: u64,
    /// Virtual address of the ramdisk, or its pfn with `SIF_MOD_START_PFN`.
    pub mod_start: u64,
    /// Ramdisk, bytes.
    pub mod_len: u64,
    /// Command line, terminated.
    pub cmd_line: [u8; MAX_GUEST_CMDLINE],
    /// First pfn that holds the machine frame list, where the guest asked for one
    /// (`XEN_ELFNOTE_INIT_P2M`).
    pub first_p2m_pfn: u64,
    /// Frames that hold it.
    pub nr_p2m_frames: u64,
}
layout!(
    struct start_info: 1168, magic 0, nr_pages 32, shared_info 40, flags 48, _hole0 52,
    store_mfn 56, store_evtchn 64, _hole1 68, console 72, pt_base 88, nr_pt_frames 96, mfn_list
    104, mod_start 112, mod_len 120, cmd_line 128, first_p2m_pfn 1152, nr_p2m_frames 1160
);

/// The domain is privileged.
pub const SIF_PRIVILEGED: u32 = 1 << 0;
/// The domain is the initial control domain.
pub const SIF_INITDOMAIN: u32 = 1 << 1;
/// `mod_start` points to a list of multiboot modules.
pub const SIF_MULTIBOOT_MOD: u32 = 1 << 2;
/// `mod_start` is a pfn: the ramdisk is not mapped.
pub const SIF_MOD_START_PFN: u32 = 1 << 3;
/// Toolstacks understand a virtually mapped p2m.
pub const SIF_VIRT_P2M_4TOOLS: u32 = 1 << 4;
/// Power management options of the control domain.
pub const SIF_PM_MASK: u32 = 0xFF << 8;
/// A bitmap in the caller's memory, tools only.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xenctl_bitmap {
    /// Address of the bytes.
    pub bitmap: u64,
    /// Bits that they hold.
    pub nr_bits: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct xenctl_bitmap: 16, bitmap 0, nr_bits 8, _hole0 12);
