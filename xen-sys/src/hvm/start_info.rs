//! What a PVH guest is started with. Mirrors `xen/arch-x86/hvm/start_info.h`.

/// `hvm_start_info.magic`: "xEn3" with the high bit of the E set.
pub const XEN_HVM_START_MAGIC_VALUE: u32 = 0x336e_c578;
/// Memory.
pub const XEN_HVM_MEMMAP_TYPE_RAM: u32 = 1;
/// Not to be used.
pub const XEN_HVM_MEMMAP_TYPE_RESERVED: u32 = 2;
/// ACPI tables.
pub const XEN_HVM_MEMMAP_TYPE_ACPI: u32 = 3;
/// ACPI storage.
pub const XEN_HVM_MEMMAP_TYPE_NVS: u32 = 4;
/// Defective.
pub const XEN_HVM_MEMMAP_TYPE_UNUSABLE: u32 = 5;
/// Disabled.
pub const XEN_HVM_MEMMAP_TYPE_DISABLED: u32 = 6;
/// Persistent memory.
pub const XEN_HVM_MEMMAP_TYPE_PMEM: u32 = 7;
/// First argument (ebx) of a PVH guest. Addresses are physical.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hvm_start_info {
    /// [`XEN_HVM_START_MAGIC_VALUE`].
    pub magic: u32,
    /// 1 where the memory map is present.
    pub version: u32,
    /// `SIF_*`.
    pub flags: u32,
    /// Modules.
    pub nr_modules: u32,
    /// Address of [`hvm_modlist_entry`] records.
    pub modlist_paddr: u64,
    /// Address of the command line.
    pub cmdline_paddr: u64,
    /// Address of the ACPI root pointer.
    pub rsdp_paddr: u64,
    /// Address of [`hvm_memmap_table_entry`] records.
    pub memmap_paddr: u64,
    /// Such records.
    pub memmap_entries: u32,
    /// Zero.
    pub reserved: u32,
}
layout!(
    struct hvm_start_info: 56, magic 0, version 4, flags 8, nr_modules 12, modlist_paddr 16,
    cmdline_paddr 24, rsdp_paddr 32, memmap_paddr 40, memmap_entries 48, reserved 52
);

/// One module; the first is the ramdisk.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hvm_modlist_entry {
    /// Address.
    pub paddr: u64,
    /// Bytes.
    pub size: u64,
    /// Address of its command line.
    pub cmdline_paddr: u64,
    /// Zero.
    pub reserved: u64,
}
layout!(struct hvm_modlist_entry: 32, paddr 0, size 8, cmdline_paddr 16, reserved 24);

/// One range of memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct hvm_memmap_table_entry {
    /// First byte.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// `XEN_HVM_MEMMAP_TYPE_*`.
    pub r#type: u32,
    /// Zero.
    pub reserved: u32,
}
layout!(struct hvm_memmap_table_entry: 24, addr 0, size 8, r#type 16, reserved 20);
