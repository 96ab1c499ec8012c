//! Devices as physdev calls name them. Mirrors `xen/physdev.h`.

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
