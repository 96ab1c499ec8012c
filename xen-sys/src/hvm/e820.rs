//! Types of ranges in a memory map. Mirrors `xenctrl.h`.
//!
//! The public headers have none of them: the values are those of the firmware interface, and
//! Debian's package carries them in `xenctrl.h`, beside the record.

/// Memory.
pub const E820_RAM: u32 = 1;
/// Not to be used.
pub const E820_RESERVED: u32 = 2;
/// ACPI tables, usable afterwards.
pub const E820_ACPI: u32 = 3;
/// ACPI storage.
pub const E820_NVS: u32 = 4;
/// Defective.
pub const E820_UNUSABLE: u32 = 5;
/// One range of a memory map, packed: 20 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct e820entry {
    /// First byte.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// `E820_*`.
    pub r#type: u32,
}
layout!(struct e820entry: 20, addr 0, size 8, r#type 16);
