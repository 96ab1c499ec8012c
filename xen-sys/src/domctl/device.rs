//! Devices: permissions, assignment, interrupts, mappings. Mirrors `xen/domctl.h`.

/// `XEN_DOMCTL_irq_permission`. Since Xen 4.14, until Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_irq_permission_0x12 {
    /// Interrupt.
    pub pirq: u8,
    /// 1 allows, 0 forbids.
    pub allow_access: u8,
}
layout!(struct xen_domctl_irq_permission_0x12: 2, pirq 0, allow_access 1);

/// `XEN_DOMCTL_irq_permission`. Since Xen 4.16.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_irq_permission_0x14 {
    /// Interrupt.
    pub pirq: u32,
    /// 1 allows, 0 forbids.
    pub allow_access: u8,
    /// Zero.
    pub pad: [u8; 3],
}
layout!(struct xen_domctl_irq_permission_0x14: 8, pirq 0, allow_access 4, pad 5);

/// `flags`: forbid. Since Xen 4.20.
pub const XEN_DOMCTL_GSI_REVOKE: u32 = 0;
/// `flags`: allow. Since Xen 4.20.
pub const XEN_DOMCTL_GSI_GRANT: u32 = 1;
/// Mask of the action. Since Xen 4.20.
pub const XEN_DOMCTL_GSI_ACTION_MASK: u32 = 1;
/// `XEN_DOMCTL_gsi_permission`. Since Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_gsi_permission {
    /// Interrupt line.
    pub gsi: u32,
    /// `XEN_DOMCTL_GSI_*`.
    pub flags: u32,
}
layout!(struct xen_domctl_gsi_permission: 8, gsi 0, flags 4);

/// `XEN_DOMCTL_iomem_permission`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_iomem_permission {
    /// First frame.
    pub first_mfn: u64,
    /// Frames.
    pub nr_mfns: u64,
    /// 1 allows, 0 forbids.
    pub allow_access: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 7],
}
layout!(struct xen_domctl_iomem_permission: 24, first_mfn 0, nr_mfns 8, allow_access 16, _hole0 17);

/// `XEN_DOMCTL_ioport_permission`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_ioport_permission {
    /// First port.
    pub first_port: u32,
    /// Ports.
    pub nr_ports: u32,
    /// 1 allows, 0 forbids.
    pub allow_access: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
}
layout!(
    struct xen_domctl_ioport_permission: 12, first_port 0, nr_ports 4, allow_access 8, _hole0 9
);

/// `dev`: a PCI device.
pub const XEN_DOMCTL_DEV_PCI: u32 = 0;
/// `dev`: a device tree node.
pub const XEN_DOMCTL_DEV_DT: u32 = 1;
/// `flags`: accept a clash with reserved memory.
pub const XEN_DOMCTL_DEV_RDM_RELAXED: u32 = 1;
/// Names a PCI device. In C: `struct xen_domctl_assign_device::u.pci`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_assign_device_pci {
    /// Segment << 16 | bus << 8 | device << 3 | function.
    pub machine_sbdf: u32,
}
layout!(struct xen_domctl_assign_device_pci: 4, machine_sbdf 0);

/// Names a device tree node. In C: `struct xen_domctl_assign_device::u.dt`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_assign_device_dt {
    /// Bytes of the path.
    pub size: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of the path.
    pub path: u64,
}
layout!(struct xen_domctl_assign_device_dt: 16, size 0, _hole0 4, path 8);

/// Device by kind. In C: `struct xen_domctl_assign_device::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_assign_device_u {
    /// PCI.
    pub pci: xen_domctl_assign_device_pci,
    /// Device tree.
    pub dt: xen_domctl_assign_device_dt,
}
layout!(union xen_domctl_assign_device_u: 16, pci, dt);

/// `XEN_DOMCTL_assign_device`, `test_assign_device`, `deassign_device`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_assign_device {
    /// `XEN_DOMCTL_DEV_*`.
    pub dev: u32,
    /// `XEN_DOMCTL_DEV_RDM_RELAXED`.
    pub flags: u32,
    /// Device.
    pub u: xen_domctl_assign_device_u,
}
layout!(struct xen_domctl_assign_device: 24, dev 0, flags 4, u 8);

/// `XEN_DOMCTL_get_device_group`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_get_device_group {
    /// Device.
    pub machine_sbdf: u32,
    /// Room.
    pub max_sdevs: u32,
    /// Out: devices of the group.
    pub num_sdevs: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of devices, `u32` each.
    pub sdev_array: u64,
}
layout!(
    struct xen_domctl_get_device_group: 24, machine_sbdf 0, max_sdevs 4, num_sdevs 8, _hole0 12,
    sdev_array 16
);

/// Interrupt pin.
pub const PT_IRQ_TYPE_PCI: u32 = 0;
/// ISA interrupt.
pub const PT_IRQ_TYPE_ISA: u32 = 1;
/// Message interrupt.
pub const PT_IRQ_TYPE_MSI: u32 = 2;
/// Interrupt pin, delivered by a message interrupt.
pub const PT_IRQ_TYPE_MSI_TRANSLATE: u32 = 3;
/// Arm.
pub const PT_IRQ_TYPE_SPI: u32 = 4;
/// `gflags`: destination.
pub const XEN_DOMCTL_VMSI_X86_DEST_ID_MASK: u32 = 0x0000ff;
/// `gflags`: redirection hint.
pub const XEN_DOMCTL_VMSI_X86_RH_MASK: u32 = 0x000100;
/// `gflags`: destination mode.
pub const XEN_DOMCTL_VMSI_X86_DM_MASK: u32 = 0x000200;
/// `gflags`: delivery mode.
pub const XEN_DOMCTL_VMSI_X86_DELIV_MASK: u32 = 0x007000;
/// `gflags`: trigger mode.
pub const XEN_DOMCTL_VMSI_X86_TRIG_MASK: u32 = 0x008000;
/// `gflags`: not masked.
pub const XEN_DOMCTL_VMSI_X86_UNMASKED: u32 = 0x010000;
/// ISA interrupt. In C: `struct xen_domctl_bind_pt_irq::u.isa`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_bind_pt_irq_isa {
    /// Interrupt.
    pub isa_irq: u8,
}
layout!(struct xen_domctl_bind_pt_irq_isa: 1, isa_irq 0);

/// Interrupt pin. In C: `struct xen_domctl_bind_pt_irq::u.pci`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_bind_pt_irq_pci {
    /// Bus that the guest sees.
    pub bus: u8,
    /// Device that the guest sees.
    pub device: u8,
    /// Pin.
    pub intx: u8,
}
layout!(struct xen_domctl_bind_pt_irq_pci: 3, bus 0, device 1, intx 2);

/// Message interrupt. In C: `struct xen_domctl_bind_pt_irq::u.msi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_bind_pt_irq_msi {
    /// The guest's vector.
    pub gvec: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
    /// `XEN_DOMCTL_VMSI_X86_*`.
    pub gflags: u32,
    /// Address of the MSI-X table.
    pub gtable: u64,
}
layout!(struct xen_domctl_bind_pt_irq_msi: 16, gvec 0, _hole0 1, gflags 4, gtable 8);

/// Arm. In C: `struct xen_domctl_bind_pt_irq::u.spi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_bind_pt_irq_spi {
    /// Interrupt.
    pub spi: u16,
}
layout!(struct xen_domctl_bind_pt_irq_spi: 2, spi 0);

/// Interrupt by kind. In C: `struct xen_domctl_bind_pt_irq::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_domctl_bind_pt_irq_u {
    /// ISA.
    pub isa: xen_domctl_bind_pt_irq_isa,
    /// Pin.
    pub pci: xen_domctl_bind_pt_irq_pci,
    /// Message.
    pub msi: xen_domctl_bind_pt_irq_msi,
    /// Arm.
    pub spi: xen_domctl_bind_pt_irq_spi,
}
layout!(union xen_domctl_bind_pt_irq_u: 16, isa, pci, msi, spi);

/// `XEN_DOMCTL_bind_pt_irq` and `unbind_pt_irq`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_domctl_bind_pt_irq {
    /// Physical interrupt.
    pub machine_irq: u32,
    /// `PT_IRQ_TYPE_*`.
    pub irq_type: u32,
    /// The guest's interrupt.
    pub u: xen_domctl_bind_pt_irq_u,
}
layout!(struct xen_domctl_bind_pt_irq: 24, machine_irq 0, irq_type 4, u 8);

/// Map.
pub const DPCI_ADD_MAPPING: u32 = 1;
/// Unmap.
pub const DPCI_REMOVE_MAPPING: u32 = 0;
/// `XEN_DOMCTL_memory_mapping`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_memory_mapping {
    /// First guest frame.
    pub first_gfn: u64,
    /// First machine frame.
    pub first_mfn: u64,
    /// Frames.
    pub nr_mfns: u64,
    /// `DPCI_*`.
    pub add_mapping: u32,
    /// Zero.
    pub padding: u32,
}
layout!(
    struct xen_domctl_memory_mapping: 32, first_gfn 0, first_mfn 8, nr_mfns 16, add_mapping 24,
    padding 28
);

/// `XEN_DOMCTL_ioport_mapping`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_ioport_mapping {
    /// First port that the guest sees.
    pub first_gport: u32,
    /// First port of the machine.
    pub first_mport: u32,
    /// Ports.
    pub nr_ports: u32,
    /// `DPCI_*`.
    pub add_mapping: u32,
}
layout!(
    struct xen_domctl_ioport_mapping: 16, first_gport 0, first_mport 4, nr_ports 8, add_mapping
    12
);
