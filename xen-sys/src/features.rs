//! Feature bits, negotiated by ELF notes and `XENVER_get_features`. Mirrors `xen/features.h`.

/// The guest may write its page tables; Xen emulates.
pub const XENFEAT_writable_page_tables: u32 = 0;
/// The guest may write its descriptor tables.
pub const XENFEAT_writable_descriptor_tables: u32 = 1;
/// Guest frames are translated by Xen.
pub const XENFEAT_auto_translated_physmap: u32 = 2;
/// The guest kernel runs in ring 0.
pub const XENFEAT_supervisor_mode_kernel: u32 = 3;
/// PAE page directories may be anywhere.
pub const XENFEAT_pae_pgdir_above_4gb: u32 = 4;
/// `MMU_PT_UPDATE_PRESERVE_AD` works.
pub const XENFEAT_mmu_pt_update_preserve_ad: u32 = 5;
/// `MMUEXT_CLEAR_PAGE` and `MMUEXT_COPY_PAGE` work.
pub const XENFEAT_highmem_assist: u32 = 6;
/// Grant mappings can set spare bits of the entry.
pub const XENFEAT_gnttab_map_avail_bits: u32 = 7;
/// Events can come by a vector to HVM guests.
pub const XENFEAT_hvm_callback_vector: u32 = 8;
/// The clock area is reliable for HVM guests.
pub const XENFEAT_hvm_safe_pvclock: u32 = 9;
/// HVM guests may take interrupts by events.
pub const XENFEAT_hvm_pirqs: u32 = 10;
/// The kernel can be, or the caller is, the control domain.
pub const XENFEAT_dom0: u32 = 11;
/// `XENMEMF_vnode` works.
pub const XENFEAT_memory_op_vnode_supported: u32 = 13;
/// Arm: SMC calling convention.
pub const XENFEAT_ARM_SMCCC_supported: u32 = 14;
/// Linux: the RSDP may be anywhere.
pub const XENFEAT_linux_rsdp_unrestricted: u32 = 15;
/// Guest frames are not machine frames. Since Xen 4.15.
pub const XENFEAT_not_direct_mapped: u32 = 16;
/// Guest frames are machine frames. Since Xen 4.15.
pub const XENFEAT_direct_mapped: u32 = 17;
/// Runstate areas can be given by physical address. Since Xen 4.18.
pub const XENFEAT_runstate_phys_area: u32 = 18;
/// Clock areas can be given by physical address. Since Xen 4.18.
pub const XENFEAT_vcpu_time_phys_area: u32 = 19;
/// Device models see all writes to MSI-X tables. Since Xen 4.20.
pub const XENFEAT_dm_msix_all_writes: u32 = 20;
/// Words of features.
pub const XENFEAT_NR_SUBMAPS: u32 = 1;
