//! What PCI devices are called: from the list `pci.ids` where the host has it.
//!
//! The list is not part of this program, as hosts that want names have it anyway; without it a
//! device goes by its numbers.

use super::Function;
use pciid_parser::Database;

/// The list, if the host has one.
pub struct Names(Option<Database>);

impl Names {
    /// Reads the list. One that cannot be read is like none.
    #[must_use]
    pub fn read() -> Self {
        match Database::read() {
            Ok(names) => Self(Some(names)),
            Err(error) => {
                tracing::info!(%error, "no names of PCI devices");
                Self(None)
            }
        }
    }

    /// No list.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Vendor and device in words; its numbers where the list knows none.
    #[must_use]
    pub fn of(&self, function: &Function) -> Option<String> {
        let Function { vendor, device, subsystem_vendor, subsystem_device, .. } = function;
        let names = self.0.as_ref()?;
        let info = names.get_device_info(*vendor, *device, *subsystem_vendor, *subsystem_device);
        let maker = info.vendor_name?;
        Some(match info.device_name {
            Some(name) => format!("{maker} {name}"),
            None => format!("{maker} [{vendor:04x}:{device:04x}]"),
        })
    }

    /// A class in words.
    #[must_use]
    pub fn class(&self, [class, subclass, _]: [u8; 3]) -> Option<String> {
        let class = self.0.as_ref()?.classes.get(&class)?;
        let finer = class.subclasses.get(&subclass);
        Some(finer.map_or(&class.name, |finer| &finer.name).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Bdf;
    use crate::pci::function::Role;

    #[test]
    fn names_and_numbers() {
        let list = "8086  Intel Corporation\n\t10d3  82574L Gigabit Network Connection\n\
                    C 02  Network controller\n\t00  Ethernet controller\n";
        let names = Names(Database::parse_db(list.as_bytes()).ok());
        let function = |vendor, device| Function {
            bdf: Bdf { segment: 0, bus: 0, device: 4, function: 0 },
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem_device: 0,
            class: [2, 0, 0],
            driver: None,
            role: Role::Plain,
            rdma_devices: Vec::new(),
            net_interfaces: Vec::new(),
        };
        let check = |names: &Names, vendor, device, name: Option<&str>| {
            assert_eq!(names.of(&function(vendor, device)).as_deref(), name);
        };
        let known = "Intel Corporation 82574L Gigabit Network Connection";
        check(&names, 0x8086, 0x10d3, Some(known));
        check(&names, 0x8086, 0x0001, Some("Intel Corporation [8086:0001]"));
        check(&names, 0x0001, 0x10d3, None);
        check(&Names(None), 0x8086, 0x10d3, None);
        assert_eq!(names.class([2, 0, 0]).as_deref(), Some("Ethernet controller"));
        assert_eq!(names.class([2, 7, 0]).as_deref(), Some("Network controller"));
        assert_eq!(names.class([3, 0, 0]), None);
    }
}
