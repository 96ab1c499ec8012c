//! Interrupts and PCI devices, as guests and dom0 manage them. Mirrors `xen/physdev.h`.

use crate::xen::{domid_t, xen_pfn_t};

/// [`physdev_irq_status_query`].
pub const PHYSDEVOP_irq_status_query: u64 = 5;
/// [`physdev_set_iopl`].
pub const PHYSDEVOP_set_iopl: u64 = 6;
/// [`physdev_set_iobitmap`].
pub const PHYSDEVOP_set_iobitmap: u64 = 7;
/// Read an I/O APIC: [`physdev_apic`].
pub const PHYSDEVOP_apic_read: u64 = 8;
/// Write an I/O APIC: [`physdev_apic`].
pub const PHYSDEVOP_apic_write: u64 = 9;
/// Allocate a vector: [`physdev_irq`].
pub const PHYSDEVOP_alloc_irq_vector: u64 = 10;
/// Free a vector: [`physdev_irq`].
pub const PHYSDEVOP_free_irq_vector: u64 = 11;
/// End of interrupt: [`physdev_eoi`].
pub const PHYSDEVOP_eoi: u64 = 12;
/// [`physdev_map_pirq`].
pub const PHYSDEVOP_map_pirq: u64 = 13;
/// [`physdev_unmap_pirq`].
pub const PHYSDEVOP_unmap_pirq: u64 = 14;
/// Page of bits that ask for an end of interrupt, first form.
pub const PHYSDEVOP_pirq_eoi_gmfn_v1: u64 = 17;
/// Restore message interrupts after a sleep.
pub const PHYSDEVOP_restore_msi: u64 = 19;
/// [`physdev_setup_gsi`].
pub const PHYSDEVOP_setup_gsi: u64 = 21;
/// [`physdev_get_free_pirq`].
pub const PHYSDEVOP_get_free_pirq: u64 = 23;
/// [`physdev_pci_mmcfg_reserved`].
pub const PHYSDEVOP_pci_mmcfg_reserved: u64 = 24;
/// [`physdev_pci_device_add`].
pub const PHYSDEVOP_pci_device_add: u64 = 25;
/// A device is gone: [`physdev_pci_device`].
pub const PHYSDEVOP_pci_device_remove: u64 = 26;
/// As [`PHYSDEVOP_restore_msi`], any segment: [`physdev_pci_device`].
pub const PHYSDEVOP_restore_msi_ext: u64 = 27;
/// Page of bits that ask for an end of interrupt: [`physdev_pirq_eoi_gmfn`].
pub const PHYSDEVOP_pirq_eoi_gmfn_v2: u64 = 28;
/// Debug port of a USB controller.
pub const PHYSDEVOP_dbgp_op: u64 = 29;
/// Before MSI-X is passed through: [`physdev_pci_device`].
pub const PHYSDEVOP_prepare_msix: u64 = 30;
/// After MSI-X was passed through: [`physdev_pci_device`].
pub const PHYSDEVOP_release_msix: u64 = 31;
/// Tell Xen of a reset: [`pci_device_reset`]. Since Xen 4.20.
pub const PHYSDEVOP_pci_device_reset: u64 = 32;
/// The interrupt needs an end of interrupt.
pub const XENIRQSTAT_needs_eoi: u32 = 1 << 0;
/// The interrupt is shared.
pub const XENIRQSTAT_shared: u32 = 1 << 1;
/// Message interrupt.
pub const MAP_PIRQ_TYPE_MSI: u32 = 0;
/// Interrupt line.
pub const MAP_PIRQ_TYPE_GSI: u32 = 1;
/// Unknown.
pub const MAP_PIRQ_TYPE_UNKNOWN: u32 = 2;
/// Message interrupt; the segment is in the high half of `bus`.
pub const MAP_PIRQ_TYPE_MSI_SEG: u32 = 3;
/// Several message interrupts.
pub const MAP_PIRQ_TYPE_MULTI_MSI: u32 = 4;
/// The range is reserved by firmware.
pub const XEN_PCI_MMCFG_RESERVED: u32 = 1;
/// Extended function.
pub const XEN_PCI_DEV_EXTFN: u32 = 1;
/// Virtual function.
pub const XEN_PCI_DEV_VIRTFN: u32 = 2;
/// `optarr` begins with the proximity domain.
pub const XEN_PCI_DEV_PXM: u32 = 4;
/// Power cycle. Since Xen 4.20.
pub const PCI_DEVICE_RESET_COLD: u32 = 0;
/// Platform reset. Since Xen 4.20.
pub const PCI_DEVICE_RESET_WARM: u32 = 1;
/// Bus reset. Since Xen 4.20.
pub const PCI_DEVICE_RESET_HOT: u32 = 2;
/// Function level reset. Since Xen 4.20.
pub const PCI_DEVICE_RESET_FLR: u32 = 3;
/// Mask of the kind. Since Xen 4.20.
pub const PCI_DEVICE_RESET_MASK: u32 = 3;

/// `PHYSDEVOP_eoi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_eoi {
    /// Interrupt.
    pub irq: u32,
}
layout!(struct physdev_eoi: 4, irq 0);

/// `PHYSDEVOP_pirq_eoi_gmfn_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_pirq_eoi_gmfn {
    /// Frame.
    pub gmfn: xen_pfn_t,
}
layout!(struct physdev_pirq_eoi_gmfn: 8, gmfn 0);

/// `PHYSDEVOP_irq_status_query`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_irq_status_query {
    /// Interrupt.
    pub irq: u32,
    /// Out: `XENIRQSTAT_*`.
    pub flags: u32,
}
layout!(struct physdev_irq_status_query: 8, irq 0, flags 4);

/// `PHYSDEVOP_set_iopl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_set_iopl {
    /// I/O privilege level, 0 to 3.
    pub iopl: u32,
}
layout!(struct physdev_set_iopl: 4, iopl 0);

/// `PHYSDEVOP_set_iobitmap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_set_iobitmap {
    /// Address of a bitmap; set bits forbid.
    pub bitmap: u64,
    /// Ports in it.
    pub nr_ports: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct physdev_set_iobitmap: 16, bitmap 0, nr_ports 8, _hole0 12);

/// `PHYSDEVOP_apic_read` and `PHYSDEVOP_apic_write`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_apic {
    /// Address of the I/O APIC.
    pub apic_physbase: u64,
    /// Register.
    pub reg: u32,
    /// Value.
    pub value: u32,
}
layout!(struct physdev_apic: 16, apic_physbase 0, reg 8, value 12);

/// `PHYSDEVOP_alloc_irq_vector`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_irq {
    /// Interrupt.
    pub irq: u32,
    /// Vector.
    pub vector: u32,
}
layout!(struct physdev_irq: 8, irq 0, vector 4);

/// `PHYSDEVOP_map_pirq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_map_pirq {
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// `MAP_PIRQ_TYPE_*`.
    pub r#type: i32,
    /// Interrupt line, or -1.
    pub index: i32,
    /// Wanted, or -1; out: the interrupt.
    pub pirq: i32,
    /// Bus of a message interrupt.
    pub bus: i32,
    /// Device and function of a message interrupt.
    pub devfn: i32,
    /// Entry of MSI-X, or number of message interrupts.
    pub entry_nr: i32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
    /// Address of the MSI-X table.
    pub table_base: u64,
}
layout!(
    struct physdev_map_pirq: 40, domid 0, _hole0 2, r#type 4, index 8, pirq 12, bus 16, devfn
    20, entry_nr 24, _hole1 28, table_base 32
);

/// `PHYSDEVOP_unmap_pirq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_unmap_pirq {
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// The interrupt.
    pub pirq: i32,
}
layout!(struct physdev_unmap_pirq: 8, domid 0, _hole0 2, pirq 4);

/// `PHYSDEVOP_setup_gsi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_setup_gsi {
    /// Interrupt line.
    pub gsi: i32,
    /// 1 for level.
    pub triggering: u8,
    /// 1 for active low.
    pub polarity: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(struct physdev_setup_gsi: 8, gsi 0, triggering 4, polarity 5, _hole0 6);

/// `PHYSDEVOP_get_free_pirq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_get_free_pirq {
    /// `MAP_PIRQ_TYPE_*`.
    pub r#type: i32,
    /// Out: the interrupt.
    pub pirq: u32,
}
layout!(struct physdev_get_free_pirq: 8, r#type 0, pirq 4);

/// `PHYSDEVOP_pci_mmcfg_reserved`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_pci_mmcfg_reserved {
    /// Address of configuration space.
    pub address: u64,
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus.
    pub end_bus: u8,
    /// `XEN_PCI_MMCFG_RESERVED`.
    pub flags: u32,
}
layout!(
    struct physdev_pci_mmcfg_reserved: 16, address 0, segment 8, start_bus 10, end_bus 11, flags
    12
);

/// Physical function of a virtual one. In C: `struct physdev_pci_device_add::physfn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_pci_device_add_physfn {
    /// Bus.
    pub bus: u8,
    /// Device << 3 | function.
    pub devfn: u8,
}
layout!(struct physdev_pci_device_add_physfn: 2, bus 0, devfn 1);

/// `PHYSDEVOP_pci_device_add`; `optarr` follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_pci_device_add {
    /// Segment.
    pub seg: u16,
    /// Bus.
    pub bus: u8,
    /// Device << 3 | function.
    pub devfn: u8,
    /// `XEN_PCI_DEV_*`.
    pub flags: u32,
    /// Physical function.
    pub physfn: physdev_pci_device_add_physfn,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(struct physdev_pci_device_add: 12, seg 0, bus 2, devfn 3, flags 4, physfn 8, _hole0 10);

/// Names a PCI function.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct physdev_pci_device {
    /// Segment.
    pub seg: u16,
    /// Bus.
    pub bus: u8,
    /// Device << 3 | function.
    pub devfn: u8,
}
layout!(struct physdev_pci_device: 4, seg 0, bus 2, devfn 3);

/// `PHYSDEVOP_pci_device_reset`. Since Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct pci_device_reset {
    /// The function.
    pub dev: physdev_pci_device,
    /// `PCI_DEVICE_RESET_*`.
    pub flags: u32,
}
layout!(struct pci_device_reset: 8, dev 0, flags 4);
