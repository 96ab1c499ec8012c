//! The address of a PCI function: segment, bus, device, function.

use libxc_safe::PciAddress;
use std::fmt;
use std::str::FromStr;

/// Where a function is. Written as everywhere: `0000:01:00.0`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Bdf {
    /// PCI segment, also called domain.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, below 32.
    pub device: u8,
    /// Function, below 8.
    pub function: u8,
}

impl Bdf {
    /// The name of a node for it, which may hold no colon.
    #[must_use]
    pub fn node(self) -> String {
        let Self { segment, bus, device, function } = self;
        format!("{segment:04x}-{bus:02x}-{device:02x}-{function:x}")
    }

    /// The other functions of the same device and this one, by number.
    #[must_use]
    pub const fn sibling(self, function: u8) -> Self {
        Self { function, ..self }
    }

    /// Whether two functions belong to one device.
    #[must_use]
    pub fn same_device(self, other: Self) -> bool {
        self.sibling(0) == other.sibling(0)
    }

    /// Reads the name of a node.
    #[must_use]
    pub fn from_node(text: &str) -> Option<Self> {
        let bdf = match text.split('-').collect::<Vec<_>>()[..] {
            [segment, bus, device, function] => Self::parts(segment, bus, device, function)?,
            _ => return None,
        };
        (bdf.node() == text).then_some(bdf)
    }

    fn parts(segment: &str, bus: &str, device: &str, function: &str) -> Option<Self> {
        Some(Self {
            segment: u16::from_str_radix(segment, 16).ok()?,
            bus: u8::from_str_radix(bus, 16).ok()?,
            device: u8::from_str_radix(device, 16).ok().filter(|device| *device < 32)?,
            function: u8::from_str_radix(function, 8).ok().filter(|function| *function < 8)?,
        })
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, bus, device, function } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// A text that is no address as the kernel writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PCI address as in 0000:01:00.0")]
pub struct NotAnAddress;

impl FromStr for Bdf {
    type Err = NotAnAddress;

    /// Reads the long form, as the kernel writes it and nothing else.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let parts = || {
            let (segment, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (device, function) = rest.split_once('.')?;
            Self::parts(segment, bus, device, function)
        };
        parts().filter(|bdf| bdf.to_string() == text).ok_or(NotAnAddress)
    }
}

impl From<Bdf> for PciAddress {
    fn from(bdf: Bdf) -> Self {
        let Bdf { segment, bus, device, function } = bdf;
        Self { segment, bus, device_function: device << 3 | function }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_lead_back(segment: u16, bus: u8, device in 0u8..32, function in 0u8..8) {
            let bdf = Bdf { segment, bus, device, function };
            prop_assert_eq!(bdf.to_string().parse(), Ok(bdf));
            prop_assert_eq!(Bdf::from_node(&bdf.node()), Some(bdf));
            let sbdf = u32::from(segment) << 16 | u32::from(bus) << 8;
            let sbdf = sbdf | u32::from(device) << 3 | u32::from(function);
            prop_assert_eq!(PciAddress::from(bdf).sbdf(), sbdf);
        }

        #[test]
        fn any_text_survives(text in "[0-9a-f:.+-]{0,14}") {
            if let Ok(bdf) = text.parse::<Bdf>() {
                prop_assert_eq!(bdf.to_string(), text.clone());
            }
            if let Some(bdf) = Bdf::from_node(&text) {
                prop_assert_eq!(bdf.node(), text);
            }
        }
    }

    #[test]
    fn only_the_kernels_form() {
        for text in ["", "01:00.0", "0000:01:20.0", "0000:01:00.8", "0:1:0.0", "0000:01:00.0 "] {
            assert_eq!(text.parse::<Bdf>(), Err(NotAnAddress), "{text:?}");
        }
        assert_eq!(Bdf::from_node("0000-01-00-0-1"), None);
        let first = Bdf { segment: 0, bus: 1, device: 2, function: 0 };
        assert!(first.same_device(first.sibling(7)));
        assert!(!first.same_device(Bdf { device: 3, ..first }));
    }
}
