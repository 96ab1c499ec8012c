//! The kernel's view of PCI: functions, drivers, and who drives what.
//!
//! Every file here is dom0's own. A write is one system call, as the kernel takes each for one
//! command.

use super::{Bdf, PciError};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The driver that holds devices for guests, by the name of its directory.
pub const PCIBACK: &str = "pciback";

/// Where the command register is in configuration space.
const COMMAND: u64 = 4;
/// Its bit that lets the function reach memory by itself.
const COMMAND_MASTER: u16 = 1 << 2;

/// The directory of the PCI bus.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { root: PathBuf::from("/sys/bus/pci") }
    }
}

impl Sysfs {
    /// The directory of a function.
    pub(super) fn device(&self, bdf: Bdf) -> PathBuf {
        self.root.join("devices").join(bdf.to_string())
    }

    /// The directory of a driver.
    #[must_use]
    pub fn driver(&self, name: &str) -> PathBuf {
        self.root.join("drivers").join(name)
    }

    /// Whether there is such a function.
    #[must_use]
    pub fn has(&self, bdf: Bdf) -> bool {
        self.device(bdf).exists()
    }

    /// Whether the driver that holds devices for guests is there.
    #[must_use]
    pub fn has_pciback(&self) -> bool {
        self.driver(PCIBACK).exists()
    }

    /// Every function of this host, by address.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn all(&self) -> Result<Vec<Bdf>, PciError> {
        addresses(&self.root.join("devices"))
    }

    /// Every function that is set aside for guests, by address.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn held(&self) -> Result<Vec<Bdf>, PciError> {
        match addresses(&self.driver(PCIBACK)) {
            Err(PciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            held => held,
        }
    }

    /// The functions of the device at this address, by number.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn functions(&self, of: Bdf) -> Result<Vec<Bdf>, PciError> {
        let mut all = self.all()?;
        all.retain(|bdf| bdf.same_device(of));
        Ok(all)
    }

    /// The driver of a function.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn driver_of(&self, bdf: Bdf) -> Result<Option<String>, PciError> {
        link(&self.device(bdf).join("driver"))
    }

    /// Takes a function from its driver.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn unbind(&self, bdf: Bdf, driver: &str) -> Result<(), PciError> {
        write(&self.driver(driver).join("unbind"), &bdf.to_string())
    }

    /// Gives a function to a driver.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn bind(&self, bdf: Bdf, driver: &str) -> Result<(), PciError> {
        write(&self.driver(driver).join("bind"), &bdf.to_string())
    }

    /// Has the kernel look for a driver. None that fits is no error.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn probe(&self, bdf: Bdf) -> Result<(), PciError> {
        write(&self.root.join("drivers_probe"), &bdf.to_string())
    }

    /// Lets pciback have a function: it takes none that was not named to it.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn add_slot(&self, bdf: Bdf) -> Result<(), PciError> {
        if self.slots()?.contains(&bdf) {
            return Ok(());
        }
        write(&self.driver(PCIBACK).join("new_slot"), &bdf.to_string())
    }

    /// Takes that back; not done it is no error.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn remove_slot(&self, bdf: Bdf) -> Result<(), PciError> {
        if !self.slots()?.contains(&bdf) {
            return Ok(());
        }
        write(&self.driver(PCIBACK).join("remove_slot"), &bdf.to_string())
    }

    fn slots(&self) -> Result<Vec<Bdf>, PciError> {
        let path = self.driver(PCIBACK).join("slots");
        let text =
            std::fs::read_to_string(&path).map_err(|source| PciError::io("read", path, source))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Lets whoever has the function write to all of its configuration space.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn make_permissive(&self, bdf: Bdf) -> Result<(), PciError> {
        write(&self.driver(PCIBACK).join("permissive"), &bdf.to_string())
    }

    /// Keeps a function from reaching memory by itself until a driver lets it again.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn stop_mastering(&self, bdf: Bdf) -> Result<(), PciError> {
        let path = self.device(bdf).join("config");
        let done = OpenOptions::new().read(true).write(true).open(&path).and_then(|file| {
            let mut command = [0; 2];
            file.read_exact_at(&mut command, COMMAND)?;
            let stopped = u16::from_le_bytes(command) & !COMMAND_MASTER;
            file.write_all_at(&stopped.to_le_bytes(), COMMAND)
        });
        done.map_err(|source| PciError::io("clear bus mastering in", path, source))
    }

    /// Puts a function into the state it has after power-on, if the kernel knows a way; says whether
    /// it does.
    ///
    /// # Errors
    /// [`PciError::Io`].
    pub fn reset(&self, bdf: Bdf) -> Result<bool, PciError> {
        match write(&self.device(bdf).join("reset"), "1") {
            Ok(()) => Ok(true),
            Err(PciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The last part of what a link points to; none where there is no link.
pub(super) fn link(path: &Path) -> Result<Option<String>, PciError> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PciError::io("read", path, source)),
    }
}

/// Names in a directory that are addresses, in order.
fn addresses(path: &Path) -> Result<Vec<Bdf>, PciError> {
    let mut found: Vec<Bdf> = names(path)?.iter().filter_map(|name| name.parse().ok()).collect();
    found.sort_unstable();
    Ok(found)
}

/// Names in a directory.
pub(super) fn names(path: &Path) -> Result<Vec<String>, PciError> {
    let failed = |source| PciError::io("list", path, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn write(path: &Path, text: &str) -> Result<(), PciError> {
    let open = || OpenOptions::new().write(true).open(path);
    open()
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| PciError::io("write to", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_of_the_command_is_cleared() {
        let root = std::env::temp_dir().join(format!("pci-command-{}", std::process::id()));
        let bdf: Bdf = "0000:00:04.0".parse().expect("an address");
        let sysfs = Sysfs { root: root.clone() };
        std::fs::create_dir_all(sysfs.device(bdf)).expect("makes a folder");
        let config = sysfs.device(bdf).join("config");
        std::fs::write(&config, [0x86, 0x80, 1, 2, 0x47, 0x05, 0xff, 0xff]).expect("writes");
        sysfs.stop_mastering(bdf).expect("is there");
        let found = std::fs::read(&config).expect("reads");
        assert_eq!(found, [0x86, 0x80, 1, 2, 0x43, 0x05, 0xff, 0xff]);
        std::fs::remove_dir_all(root).expect("removes");
    }
}
