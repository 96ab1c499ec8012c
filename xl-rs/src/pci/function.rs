//! One PCI function as sysfs shows it.

use super::sysfs::{Sysfs, link, names};
use super::{Bdf, PciError};
use std::io;
use std::path::Path;

/// The class of network adapters.
const NETWORK: u8 = 0x02;
/// The class of bridges.
const BRIDGE: u8 = 0x06;
/// Class and subclass of InfiniBand adapters that are no network adapters.
const INFINIBAND: (u8, u8) = (0x0c, 0x06);

/// What a function is, beside others on its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A function without virtual ones.
    Plain,
    /// A function that can have virtual ones.
    Physical {
        /// Those that it has now.
        virtual_functions: Vec<Bdf>,
        /// How many it can have.
        most: u32,
    },
    /// A virtual function.
    Virtual {
        /// Whose.
        of: Bdf,
    },
}

/// One range that a function answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first byte or port.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// I/O ports rather than memory.
    pub ports: bool,
}

/// One PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub bdf: Bdf,
    /// Who made it.
    pub vendor: u16,
    /// Its number there.
    pub device: u16,
    /// Who built it into something.
    pub subsystem_vendor: u16,
    /// Its number there.
    pub subsystem_device: u16,
    /// Class, subclass, programming interface.
    pub class: [u8; 3],
    /// Its driver in dom0.
    pub driver: Option<String>,
    /// Beside virtual functions.
    pub role: Role,
    /// Its RDMA devices in dom0.
    pub rdma_devices: Vec<String>,
    /// Its network interfaces in dom0.
    pub net_interfaces: Vec<String>,
}

impl Function {
    /// Whether it leads to other devices.
    #[must_use]
    pub const fn is_bridge(&self) -> bool {
        self.class[0] == BRIDGE
    }

    /// Whether it is an Ethernet or an RDMA adapter.
    #[must_use]
    pub fn is_adapter(&self) -> bool {
        let [class, subclass, _] = self.class;
        class == NETWORK || (class, subclass) == INFINIBAND || !self.rdma_devices.is_empty()
    }
}

impl Sysfs {
    /// Looks at a function.
    ///
    /// # Errors
    /// [`PciError::NoSuchDevice`], [`PciError::Io`], [`PciError::Content`].
    pub fn function(&self, bdf: Bdf) -> Result<Function, PciError> {
        let directory = self.device(bdf);
        if !directory.exists() {
            return Err(PciError::NoSuchDevice { bdf });
        }
        let short = |name: &str| number(&directory.join(name)).map(|number| number as u16);
        let class = number(&directory.join("class"))?;
        let most = match optional(&directory.join("sriov_totalvfs"))? {
            Some(text) => text.parse().unwrap_or(0),
            None => 0,
        };
        let role = match link(&directory.join("physfn"))?.map(|of| of.parse()) {
            Some(Ok(of)) => Role::Virtual { of },
            _ if most > 0 => {
                Role::Physical { virtual_functions: virtual_functions(&directory)?, most }
            }
            _ => Role::Plain,
        };
        Ok(Function {
            bdf,
            vendor: short("vendor")?,
            device: short("device")?,
            subsystem_vendor: short("subsystem_vendor")?,
            subsystem_device: short("subsystem_device")?,
            class: [(class >> 16) as u8, (class >> 8) as u8, class as u8],
            driver: self.driver_of(bdf)?,
            role,
            rdma_devices: children(&directory.join("infiniband"))?,
            net_interfaces: children(&directory.join("net"))?,
        })
    }

    /// The ranges that a function answers at: those that its driver maps.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn regions(&self, bdf: Bdf) -> Result<Vec<Region>, PciError> {
        Ok(regions(&read(&self.device(bdf).join("resource"))?))
    }

    /// The interrupt line of a function, if it has one.
    ///
    /// # Errors
    /// [`PciError::Io`], [`PciError::Content`].
    pub fn irq(&self, bdf: Bdf) -> Result<Option<u32>, PciError> {
        let path = self.device(bdf).join("irq");
        let text = read(&path)?;
        let irq: u32 = text.parse().map_err(|_| PciError::Content { path, text })?;
        Ok((irq != 0).then_some(irq))
    }
}

/// Lines of the kernel's `resource`: six base addresses and the expansion ROM; what follows belongs
/// to virtual functions.
fn regions(text: &str) -> Vec<Region> {
    const OWN: usize = 7;
    /// The kernel's flag for I/O ports.
    const PORTS: u64 = 0x100;
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let region = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = (hex(words.next()?)?, hex(words.next()?)?);
        let flags = hex(words.next()?)?;
        let length = end.checked_sub(start)?.checked_add(1)?;
        (start != 0).then_some(Region { start, length, ports: flags & PORTS != 0 })
    };
    text.lines().take(OWN).filter_map(region).collect()
}

/// What the links `virtfn0`, `virtfn1` … point to, in their order.
fn virtual_functions(directory: &Path) -> Result<Vec<Bdf>, PciError> {
    let mut found = Vec::new();
    for name in names(directory)? {
        let Some(number) = name.strip_prefix("virtfn").and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(Ok(bdf)) = link(&directory.join(&name))?.map(|of| of.parse::<Bdf>()) {
            found.push((number, bdf));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, bdf)| bdf).collect())
}

/// Names in a directory that may not be there, in order.
fn children(directory: &Path) -> Result<Vec<String>, PciError> {
    match names(directory) {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(PciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<String, PciError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| PciError::io("read", path, source))?;
    Ok(text.trim_end().to_owned())
}

fn optional(path: &Path) -> Result<Option<String>, PciError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(PciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number as sysfs writes it: `0x8086`.
fn number(path: &Path) -> Result<u32, PciError> {
    let text = read(path)?;
    let number = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| PciError::Content { path: path.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_a_card() {
        let text = "0x00000000febc0000 0x00000000febdffff 0x0000000000040200\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x000000000000c000 0x000000000000c01f 0x0000000000040101\n\
                    0x00000000febe0000 0x00000000febe3fff 0x0000000000040200\n\
                    what is this\n\
                    0x0000000000000002 0x0000000000000001 0x0000000000040200\n\
                    0x00000000feb80000 0x00000000febbffff 0x0000000000046200\n\
                    0x00000000fea00000 0x00000000fea1ffff 0x0000000000140204\n";
        let memory = |start, length| Region { start, length, ports: false };
        assert_eq!(
            regions(text),
            [
                memory(0xfebc_0000, 0x2_0000),
                Region { start: 0xc000, length: 0x20, ports: true },
                memory(0xfebe_0000, 0x4000),
                memory(0xfeb8_0000, 0x4_0000),
            ]
        );
        assert_eq!(regions("0x1 0xffffffffffffffff 0x200"), [memory(1, u64::MAX)]);
        assert_eq!(regions(""), []);
    }
}
