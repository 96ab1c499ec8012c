//! What of the host a domain may reach: I/O memory, I/O ports, interrupts, and PCI devices behind
//! the IOMMU.
//!
//! A permission says that a domain may map a resource; whether it does is its own affair. Assigning
//! a device lets it reach the domain's memory, and nobody else's.

use xen_sys::domctl::{
    XEN_DOMCTL_DEV_PCI, XEN_DOMCTL_DEV_RDM_RELAXED, XEN_DOMCTL_assign_device,
    XEN_DOMCTL_deassign_device, XEN_DOMCTL_iomem_permission, XEN_DOMCTL_ioport_permission,
    XEN_DOMCTL_irq_permission, XEN_DOMCTL_test_assign_device, xen_domctl_assign_device,
    xen_domctl_assign_device_pci, xen_domctl_iomem_permission, xen_domctl_ioport_permission,
    xen_domctl_irq_permission_0x12, xen_domctl_irq_permission_0x14,
};
use xen_sys::revision::DomctlRevision;
use xen_sys::types::{Domid, Mfn};
use xen_sys::xen::DOMID_IO;

use super::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::put;
use crate::sysctl::PciAddress;
use crate::xen::Xen;

impl PciAddress {
    /// The number by which Xen names the function.
    #[must_use]
    pub const fn sbdf(self) -> u32 {
        (self.segment as u32) << 16 | (self.bus as u32) << 8 | self.device_function as u32
    }
}

/// The argument that names a PCI device.
fn device(address: PciAddress, flags: u32) -> Payload {
    const WHICH: usize = std::mem::offset_of!(xen_domctl_assign_device, u);
    let mut payload = [0; PAYLOAD_BYTES];
    put!(payload, xen_domctl_assign_device { dev: XEN_DOMCTL_DEV_PCI, flags: flags });
    put!(payload[WHICH..], xen_domctl_assign_device_pci { machine_sbdf: address.sbdf() });
    payload
}

/// The argument of irq_permission, whose number was widened in Xen 4.16; none when it does not fit.
fn irq(revision: DomctlRevision, pirq: u32, allow: bool) -> Option<Payload> {
    let mut payload = [0; PAYLOAD_BYTES];
    if revision < DomctlRevision::V0x14 {
        let pirq = u8::try_from(pirq).ok()?;
        put!(payload, xen_domctl_irq_permission_0x12 { pirq: pirq, allow_access: u8::from(allow) });
    } else {
        put!(payload, xen_domctl_irq_permission_0x14 { pirq: pirq, allow_access: u8::from(allow) });
    }
    Some(payload)
}

impl Xen {
    /// Allows a domain to map frames of I/O memory, or forbids it.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EPERM for what dom0 itself may not map.
    pub fn set_iomem_permission(
        &self,
        domid: Domid,
        first: Mfn,
        frames: u64,
        allow: bool,
    ) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_domctl_iomem_permission {
                first_mfn: first.0,
                nr_mfns: frames,
                allow_access: u8::from(allow),
            }
        );
        let command = XEN_DOMCTL_iomem_permission;
        // SAFETY: iomem_permission names machine frames and no address of this process.
        unsafe { self.domctl("XEN_DOMCTL_iomem_permission", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Allows a domain to use I/O ports, or forbids it.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_ioport_permission(
        &self,
        domid: Domid,
        first: u32,
        ports: u32,
        allow: bool,
    ) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_domctl_ioport_permission {
                first_port: first,
                nr_ports: ports,
                allow_access: u8::from(allow),
            }
        );
        let command = XEN_DOMCTL_ioport_permission;
        // SAFETY: ioport_permission carries no address.
        unsafe { self.domctl("XEN_DOMCTL_ioport_permission", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Allows a domain to bind a physical interrupt, or forbids it. [`Xen::map_gsi`] gives its
    /// number.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for a number that this Xen has no room for.
    pub fn set_irq_permission(&self, domid: Domid, pirq: u32, allow: bool) -> Result<()> {
        let operation = "XEN_DOMCTL_irq_permission";
        let Some(mut payload) = irq(self.domctl_revision(), pirq, allow) else {
            return Err(Error::Invalid { operation, what: "Xen before 4.16 ends at 255" });
        };
        // SAFETY: irq_permission carries no address.
        unsafe { self.domctl(operation, XEN_DOMCTL_irq_permission, domid, &mut payload) }?;
        Ok(())
    }

    /// Whether a PCI device may be assigned: none has it, and there is an IOMMU.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EBUSY when a domain has it, ENODEV when Xen does not know it,
    /// EOPNOTSUPP without an IOMMU.
    pub fn test_assign_device(&self, domid: Domid, address: PciAddress) -> Result<()> {
        let mut payload = device(address, 0);
        let command = XEN_DOMCTL_test_assign_device;
        // SAFETY: a PCI device is named by number; no address.
        unsafe { self.domctl("XEN_DOMCTL_test_assign_device", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Gives a PCI device to a domain. `relaxed` accepts a clash with memory that firmware has
    /// reserved for the device.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; as [`Xen::test_assign_device`].
    pub fn assign_device(&self, domid: Domid, address: PciAddress, relaxed: bool) -> Result<()> {
        let flags = if relaxed { XEN_DOMCTL_DEV_RDM_RELAXED } else { 0 };
        let mut payload = device(address, flags);
        let command = XEN_DOMCTL_assign_device;
        // SAFETY: a PCI device is named by number; no address.
        unsafe { self.domctl("XEN_DOMCTL_assign_device", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Takes a PCI device back.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENODEV when the domain does not have it.
    pub fn deassign_device(&self, domid: Domid, address: PciAddress) -> Result<()> {
        let mut payload = device(address, 0);
        let command = XEN_DOMCTL_deassign_device;
        // SAFETY: a PCI device is named by number; no address.
        unsafe { self.domctl("XEN_DOMCTL_deassign_device", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Puts a PCI device where it reaches no memory at all (`DOMID_IO`): between its driver in dom0
    /// and a guest, and after a guest.
    ///
    /// # Errors
    /// As [`Xen::assign_device`].
    pub fn quarantine_device(&self, address: PciAddress) -> Result<()> {
        self.assign_device(Domid(DOMID_IO), address, true)
    }

    /// Gives a device in quarantine back to dom0.
    ///
    /// # Errors
    /// As [`Xen::deassign_device`].
    pub fn release_device(&self, address: PciAddress) -> Result<()> {
        self.deassign_device(Domid(DOMID_IO), address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: PciAddress = PciAddress { segment: 0x1234, bus: 0x56, device_function: 0x7f };

    #[test]
    fn devices_are_named_by_one_number() {
        assert_eq!(ADDRESS.sbdf(), 0x1234_567f);
        let payload = device(ADDRESS, XEN_DOMCTL_DEV_RDM_RELAXED);
        assert_eq!(payload[..12], [0, 0, 0, 0, 1, 0, 0, 0, 0x7f, 0x56, 0x34, 0x12]);
        assert!(payload[12..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn interrupts_by_revision() {
        let bytes = |revision, pirq| irq(revision, pirq, true).map(|payload| payload[..5].to_vec());
        assert_eq!(bytes(DomctlRevision::V0x13, 9), Some(vec![9, 1, 0, 0, 0]));
        assert_eq!(bytes(DomctlRevision::V0x13, 256), None);
        assert_eq!(bytes(DomctlRevision::V0x14, 256), Some(vec![0, 1, 0, 0, 1]));
    }
}
