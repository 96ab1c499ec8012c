//! The table of `pci list`, and the same as JSON.

use crate::device::pci::Listed;
use crate::pci::Function;
use crate::pci::function::Role;
use crate::pci::names::Names;
use crate::pci::sysfs::PCIBACK;
use serde::Serialize;
use std::fmt::Write;

/// One function, as `pci list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PciRow {
    /// Where it is.
    pub address: String,
    /// What it is called.
    pub name: Option<String>,
    /// Who made it, in hexadecimal.
    pub vendor_id: String,
    /// Its number there, in hexadecimal.
    pub device_id: String,
    /// Class, subclass and programming interface, in hexadecimal.
    pub class_id: String,
    /// Its class in words.
    pub class: Option<String>,
    /// `plain`, `physical` or `virtual`.
    pub role: &'static str,
    /// Of a virtual function, whose it is.
    pub physical_function: Option<String>,
    /// Of a physical function, those that it has.
    pub virtual_functions: Vec<String>,
    /// Of a physical function, how many it can have.
    pub max_virtual_functions: u32,
    /// Its driver in dom0.
    pub driver: Option<String>,
    /// Its RDMA devices in dom0.
    pub rdma_devices: Vec<String>,
    /// Its network interfaces in dom0.
    pub net_interfaces: Vec<String>,
    /// Whether it is set aside for guests.
    pub assignable: bool,
    /// The domain that it belongs to.
    pub domid: Option<u16>,
}

impl PciRow {
    /// Joins what is known of a function.
    #[must_use]
    pub fn new(function: Function, names: &Names, domid: Option<u16>) -> Self {
        let [class, subclass, interface] = function.class;
        let mut row = Self {
            address: function.bdf.to_string(),
            name: names.of(&function),
            vendor_id: format!("{:04x}", function.vendor),
            device_id: format!("{:04x}", function.device),
            class_id: format!("{class:02x}{subclass:02x}{interface:02x}"),
            class: names.class(function.class),
            role: "plain",
            physical_function: None,
            virtual_functions: Vec::new(),
            max_virtual_functions: 0,
            assignable: function.driver.as_deref() == Some(PCIBACK),
            driver: function.driver,
            rdma_devices: function.rdma_devices,
            net_interfaces: function.net_interfaces,
            domid,
        };
        match function.role {
            Role::Plain => {}
            Role::Physical { virtual_functions, most } => {
                row.role = "physical";
                row.virtual_functions = virtual_functions.iter().map(ToString::to_string).collect();
                row.max_virtual_functions = most;
            }
            Role::Virtual { of } => {
                row.role = "virtual";
                row.physical_function = Some(of.to_string());
            }
        }
        row
    }

    fn function(&self) -> String {
        match &self.physical_function {
            Some(of) => format!("virtual of {of}"),
            None if self.role == "physical" => {
                let (has, most) = (self.virtual_functions.len(), self.max_virtual_functions);
                format!("physical, {has} of {most} virtual")
            }
            None => String::from("-"),
        }
    }

    fn cells(&self) -> [String; 7] {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
        let list = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(",") };
        let numbers = || format!("{}:{}", self.vendor_id, self.device_id);
        [
            self.address.clone(),
            text(&self.driver),
            self.domid.map_or_else(|| String::from("-"), |domid| domid.to_string()),
            self.function(),
            list(&self.rdma_devices),
            list(&self.net_interfaces),
            self.name.clone().unwrap_or_else(numbers),
        ]
    }
}

/// The table of `pci-list`, as xl prints it.
#[must_use]
pub fn devices_table(listed: &[Listed]) -> String {
    let mut out = String::from("Vdev Device\n");
    for one in listed {
        let devfn = one.virtual_devfn.unwrap_or(0);
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{:02x}.{:x} {}", devfn >> 3, devfn & 7, one.bdf);
    }
    out
}

/// The table, header and all. Columns are as wide as what stands in them.
#[must_use]
pub fn table(rows: &[PciRow]) -> String {
    let header = ["Address", "Driver", "ID", "Function", "RDMA", "Network", "Device"];
    let mut cells = vec![header.map(String::from)];
    cells.extend(rows.iter().map(PciRow::cells));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing into a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Bdf;

    #[test]
    fn functions_are_shown_as_what_they_are() {
        let bdf = |device, function| Bdf { segment: 0, bus: 1, device, function };
        let physical = Function {
            bdf: bdf(0, 0),
            vendor: 0x15b3,
            device: 0x1017,
            subsystem_vendor: 0,
            subsystem_device: 0,
            class: [2, 7, 0],
            driver: Some(String::from("mlx5_core")),
            role: Role::Physical { virtual_functions: vec![bdf(0, 1)], most: 16 },
            rdma_devices: vec![String::from("mlx5_0")],
            net_interfaces: vec![String::from("ib0")],
        };
        let virtual_one = Function {
            bdf: bdf(0, 1),
            driver: Some(String::from("pciback")),
            role: Role::Virtual { of: bdf(0, 0) },
            rdma_devices: Vec::new(),
            net_interfaces: Vec::new(),
            ..physical.clone()
        };
        let none = Names::none();
        let rows = [PciRow::new(physical, &none, None), PciRow::new(virtual_one, &none, Some(3))];
        assert_eq!((rows[0].assignable, rows[1].assignable), (false, true));
        assert_eq!(
            table(&rows),
            "Address       Driver     ID  Function                   RDMA    Network  Device\n\
             0000:01:00.0  mlx5_core  -   physical, 1 of 16 virtual  mlx5_0  ib0      15b3:1017\n\
             0000:01:00.1  pciback    3   virtual of 0000:01:00.0    -       -        15b3:1017\n"
        );
    }
}
