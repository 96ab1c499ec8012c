//! ELF notes by which a kernel says how it wants to be loaded. Mirrors `xen/elfnote.h`.
//!
//! The note's name is `Xen`; numbers are 4 or 8 bytes, texts terminated. Kernels of December 2024
//! and later have no `XEN_ELFNOTE_HYPERCALL_PAGE`.

/// Text of the obsolete `__xen_guest` section.
pub const XEN_ELFNOTE_INFO: u32 = 0;
/// Entry point, virtual address.
pub const XEN_ELFNOTE_ENTRY: u32 = 1;
/// Page that the loader fills with hypercall entry code, virtual address.
pub const XEN_ELFNOTE_HYPERCALL_PAGE: u32 = 2;
/// Virtual address of pfn 0.
pub const XEN_ELFNOTE_VIRT_BASE: u32 = 3;
/// Offset of the ELF file's physical addresses from 0.
pub const XEN_ELFNOTE_PADDR_OFFSET: u32 = 4;
/// Interface that the kernel was written for, text.
pub const XEN_ELFNOTE_XEN_VERSION: u32 = 5;
/// Name of the system, text.
pub const XEN_ELFNOTE_GUEST_OS: u32 = 6;
/// Version of the system, text.
pub const XEN_ELFNOTE_GUEST_VERSION: u32 = 7;
/// Loader, text.
pub const XEN_ELFNOTE_LOADER: u32 = 8;
/// PAE: `yes`, `no` or `bimodal` (32-bit kernels).
pub const XEN_ELFNOTE_PAE_MODE: u32 = 9;
/// Features, text: names separated by `|`, `!` where required.
pub const XEN_ELFNOTE_FEATURES: u32 = 10;
/// The symbol table is wanted behind the kernel.
pub const XEN_ELFNOTE_BSD_SYMTAB: u32 = 11;
/// Lowest address that Xen may take (32-bit kernels).
pub const XEN_ELFNOTE_HV_START_LOW: u32 = 12;
/// Masks and values that mark entries which hold machine frames.
pub const XEN_ELFNOTE_L1_MFN_VALID: u32 = 13;
/// The kernel handles a cancelled suspend.
pub const XEN_ELFNOTE_SUSPEND_CANCEL: u32 = 14;
/// Virtual address where the machine frame list is wanted.
pub const XEN_ELFNOTE_INIT_P2M: u32 = 15;
/// Non-zero: the ramdisk may be handed over unmapped.
pub const XEN_ELFNOTE_MOD_START_PFN: u32 = 16;
/// Features, as bits.
pub const XEN_ELFNOTE_SUPPORTED_FEATURES: u32 = 17;
/// Entry point of PVH, physical address.
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
/// Alignment and range in which a PVH kernel may be placed. Since Xen 4.20.
pub const XEN_ELFNOTE_PHYS32_RELOC: u32 = 19;
/// Crash dump: Xen's version and more.
pub const XEN_ELFNOTE_CRASH_INFO: u32 = 0x0100_0001;
/// Crash dump: registers.
pub const XEN_ELFNOTE_CRASH_REGS: u32 = 0x0100_0002;
/// Core dump: marks one.
pub const XEN_ELFNOTE_DUMPCORE_NONE: u32 = 0x0200_0000;
/// Core dump: header.
pub const XEN_ELFNOTE_DUMPCORE_HEADER: u32 = 0x0200_0001;
/// Core dump: Xen's version.
pub const XEN_ELFNOTE_DUMPCORE_XEN_VERSION: u32 = 0x0200_0002;
/// Core dump: version of the format.
pub const XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION: u32 = 0x0200_0003;
