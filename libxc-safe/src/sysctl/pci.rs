//! Which NUMA node each PCI device is close to.

use xen_sys::physdev::physdev_pci_device;
use xen_sys::sysctl::{
    XEN_INVALID_DEV, XEN_INVALID_NODE_ID, XEN_SYSCTL_pcitopoinfo, xen_sysctl_pcitopoinfo,
};

use crate::domctl::PAYLOAD_BYTES;
use crate::error::{Error, Result};
use crate::layout::{Field, get, put};
use crate::xen::Xen;

/// More than any machine has: the request stays small.
const DEVICES_MAX: usize = 1 << 16;

/// A function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// The segment, also called domain.
    pub segment: u16,
    /// The bus.
    pub bus: u8,
    /// Device << 3 | function.
    pub device_function: u8,
}

impl Xen {
    /// The NUMA node of each device; none where Xen does not know the device or its node.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for more devices than there can be.
    pub fn pci_nodes(&self, devices: &[PciAddress]) -> Result<Vec<Option<u32>>> {
        let operation = "XEN_SYSCTL_pcitopoinfo";
        const DEVICE: usize = size_of::<physdev_pci_device>();
        const NODE: usize = size_of::<u32>();
        if devices.len() > DEVICES_MAX {
            return Err(Error::Invalid { operation, what: "too many PCI devices" });
        }
        let mut found = Vec::with_capacity(devices.len());
        // Xen stops when it has other things to do; the rest is asked for anew.
        while let Some(rest) = devices.get(found.len()..).filter(|rest| !rest.is_empty()) {
            let mut addresses = self.pool().zeroed(rest.len() * DEVICE)?;
            let mut nodes = self.pool().zeroed(rest.len() * NODE)?;
            for (record, device) in addresses.bytes_mut().chunks_exact_mut(DEVICE).zip(rest) {
                let (seg, bus, devfn) = (device.segment, device.bus, device.device_function);
                put!(record, physdev_pci_device { seg: seg, bus: bus, devfn: devfn });
            }
            let mut payload = [0; PAYLOAD_BYTES];
            // The number is below DEVICES_MAX.
            let count = rest.len() as u32;
            put!(
                payload,
                xen_sysctl_pcitopoinfo {
                    num_devs: count,
                    devs: addresses.address(),
                    nodes: nodes.address(),
                }
            );
            // SAFETY: Xen reads at most num_devs records at `devs` and writes as many words of 32
            // bits at `nodes`, the sizes of the buffers.
            unsafe { self.sysctl(operation, XEN_SYSCTL_pcitopoinfo, &mut payload) }?;
            let done = get!(payload, xen_sysctl_pcitopoinfo, num_devs);
            if done == 0 || done > count {
                let what = "no device done, or more than asked for";
                return Err(Error::BadAnswer { operation, domid: None, what });
            }
            let words = nodes.bytes().chunks_exact(NODE).take(done as usize).map(u32::get);
            found.extend(words.map(|node| (node < XEN_INVALID_DEV).then_some(node)));
        }
        Ok(found)
    }
}

// One comparison tells both marks.
const _: () = assert!(XEN_INVALID_DEV < XEN_INVALID_NODE_ID);
