//! Setting PCI functions aside for guests, and giving them back to dom0's drivers.
//!
//! Everything is checked before anything is changed, and what was changed is taken back when a later
//! step fails. In between, and for as long as no guest has it, a function is in quarantine: it
//! reaches no memory at all.

use super::notes::{self, Note};
use super::sysfs::PCIBACK;
use super::{Bdf, PciError, Sysfs};
use crate::commands::error::chain;
use crate::commands::warn;
use crate::pci::function::Role;
use libxc_safe::{Errno, Xen};
use std::collections::BTreeMap;
use xen_sys::types::Domid;
use xen_sys::xen::DOMID_INVALID;
use xenstore::client::Client;

/// Longest name of a device, as xl has it.
const NAME_MAX: usize = 64;

/// What devices are handled with.
pub struct Host<'a> {
    /// The hypervisor.
    pub xen: &'a Xen,
    /// xenstore.
    pub store: &'a mut Client,
    /// The kernel.
    pub sysfs: Sysfs,
}

/// What came of setting a function aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was taken from this driver, which is noted.
    From(String),
    /// No driver had it.
    Driverless,
    /// It was set aside before.
    Before,
}

/// What came of giving a function back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// This driver has it again.
    To(String),
    /// No driver was asked to take it.
    Driverless,
}

/// A function that is set aside and belongs to no domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignable {
    /// The function.
    pub bdf: Bdf,
    /// Its name.
    pub name: Option<String>,
}

impl Host<'_> {
    /// Makes sure that the host can give devices away at all.
    ///
    /// # Errors
    /// [`PciError::NoIommu`], [`PciError::NoPciback`].
    pub fn check_passthrough(&self, bdf: Bdf) -> Result<(), PciError> {
        let info = self.xen.physinfo().map_err(|source| PciError::Xen { bdf, source })?;
        if !info.capabilities.directio() {
            return Err(PciError::NoIommu { bdf });
        }
        if !self.sysfs.has_pciback() {
            return Err(PciError::NoPciback { bdf });
        }
        Ok(())
    }

    /// Functions that are set aside and belong to nobody, by address.
    ///
    /// # Errors
    /// [`PciError`].
    pub fn assignable(&mut self) -> Result<Vec<Assignable>, PciError> {
        let held = self.sysfs.held()?;
        let owners = notes::owners(self.xen, self.store)?;
        let mut names = notes::all_names(self.store)?;
        let free = held.into_iter().filter(|bdf| !owners.contains_key(bdf));
        Ok(free.map(|bdf| Assignable { bdf, name: names.remove(&bdf) }).collect())
    }

    /// The function that was given this name.
    ///
    /// # Errors
    /// [`PciError::NoSuchName`].
    pub fn by_name(&mut self, name: &str) -> Result<Bdf, PciError> {
        let names = notes::all_names(self.store)?;
        let found = names.iter().find(|(_, other)| *other == name).map(|(bdf, _)| *bdf);
        found.ok_or_else(|| PciError::NoSuchName { name: name.to_owned() })
    }

    /// Makes sure that a function is set aside and belongs to nobody.
    ///
    /// # Errors
    /// [`PciError`] says what is in the way.
    pub fn check_free(&self, bdf: Bdf, owners: &BTreeMap<Bdf, u16>) -> Result<(), PciError> {
        if let Some(domid) = owners.get(&bdf) {
            return Err(PciError::InUse { bdf, domid: *domid });
        }
        match self.sysfs.driver_of(bdf)? {
            Some(driver) if driver == PCIBACK => Ok(()),
            driver => Err(PciError::NotAssignable { bdf, driver }),
        }
    }

    /// Sets a function aside for guests. Its driver is noted, to be given it back.
    ///
    /// # Errors
    /// [`PciError`]; nothing has changed, or [`PciError::Undo`] says what.
    pub fn add(&mut self, bdf: Bdf, name: Option<&str>) -> Result<Added, PciError> {
        let function = self.sysfs.function(bdf)?;
        self.check_passthrough(bdf)?;
        if function.is_bridge() {
            return Err(PciError::Bridge { bdf });
        }
        if let Some(name) = name {
            self.check_name(bdf, name)?;
        }
        if function.driver.as_deref() == Some(PCIBACK) {
            notes::write(self.store, bdf, Note::Name, name)?;
            // In quarantine already if that was done by a toolstack, and then nothing changes; in a
            // guest it stays there.
            if !notes::owners(self.xen, self.store)?.contains_key(&bdf) {
                self.quarantine(bdf)?;
            }
            return Ok(Added::Before);
        }
        self.check_virtual_functions(bdf, &function.role)?;
        self.take_or_undo(bdf, function.driver, name)
    }

    /// Makes sure that a function can be set aside.
    ///
    /// # Errors
    /// [`PciError`] says what is in the way.
    pub fn check_seizable(&self, bdf: Bdf) -> Result<(), PciError> {
        let function = self.sysfs.function(bdf)?;
        if function.is_bridge() {
            return Err(PciError::Bridge { bdf });
        }
        self.check_virtual_functions(bdf, &function.role)
    }

    fn take_or_undo(
        &mut self,
        bdf: Bdf,
        driver: Option<String>,
        name: Option<&str>,
    ) -> Result<Added, PciError> {
        let before = notes::read(self.store, bdf, Note::Driver)?;
        let done = self.take(bdf, driver.as_deref(), name);
        if let Err(error) = done {
            let name = notes::write(self.store, bdf, Note::Name, None);
            let noted = notes::write(self.store, bdf, Note::Driver, before.as_deref());
            let taken_back = self.put_back(bdf, driver.as_deref());
            return Err(match taken_back.and(name).and(noted) {
                Ok(()) => error,
                Err(left) => PciError::Undo { bdf, left: Box::new(left), source: Box::new(error) },
            });
        }
        Ok(driver.map_or(Added::Driverless, Added::From))
    }

    fn take(&mut self, bdf: Bdf, driver: Option<&str>, name: Option<&str>) -> Result<(), PciError> {
        if let Some(driver) = driver {
            // Before it is taken: whoever is killed in between leaves a way back.
            let path = self.sysfs.driver(driver).display().to_string();
            notes::write(self.store, bdf, Note::Driver, Some(&path))?;
            self.sysfs.unbind(bdf, driver)?;
        }
        self.sysfs.add_slot(bdf)?;
        // A driver that is named a slot takes the device at once if it is free.
        if self.sysfs.driver_of(bdf)?.is_none() {
            self.sysfs.bind(bdf, PCIBACK)?;
        }
        notes::write(self.store, bdf, Note::Name, name)?;
        self.quarantine(bdf)
    }

    /// Undoes what of [`Host::take`] was done.
    fn put_back(&mut self, bdf: Bdf, driver: Option<&str>) -> Result<(), PciError> {
        if self.sysfs.driver_of(bdf)?.as_deref() == Some(PCIBACK) {
            self.sysfs.unbind(bdf, PCIBACK)?;
        }
        self.sysfs.remove_slot(bdf)?;
        match (self.sysfs.driver_of(bdf)?, driver) {
            (None, Some(driver)) => self.sysfs.bind(bdf, driver),
            _ => Ok(()),
        }
    }

    fn quarantine(&self, bdf: Bdf) -> Result<(), PciError> {
        self.xen.quarantine_device(bdf.into()).map_err(|source| PciError::Xen { bdf, source })
    }

    /// Gives a function back to dom0: to the driver that it was taken from if `rebind`.
    ///
    /// # Errors
    /// [`PciError`].
    pub fn remove(&mut self, bdf: Bdf, rebind: bool) -> Result<Removed, PciError> {
        if !self.sysfs.has(bdf) {
            return Err(PciError::NoSuchDevice { bdf });
        }
        if let Some(domid) = notes::owners(self.xen, self.store)?.get(&bdf) {
            return Err(PciError::InUse { bdf, domid: *domid });
        }
        let noted = notes::read(self.store, bdf, Note::Driver)?;
        let held = self.sysfs.driver_of(bdf)?;
        // Between drivers is what a command leaves that was killed.
        if held.as_deref() != Some(PCIBACK) && (held.is_some() || noted.is_none()) {
            return Err(PciError::NotAssignable { bdf, driver: held });
        }
        self.check_own(bdf)?;
        // While it still reaches no memory: whatever a guest has begun with it ends here.
        self.sysfs.stop_mastering(bdf)?;
        reset(&self.sysfs, bdf);
        match self.xen.release_device(bdf.into()) {
            // It never came into quarantine: set aside by the kernel's command line, or half-way.
            Err(error) if error.errno() == Some(Errno::NODEV) => self.check_own(bdf)?,
            released => released.map_err(|source| PciError::Xen { bdf, source })?,
        }
        if held.is_some() {
            self.sysfs.unbind(bdf, PCIBACK)?;
        }
        self.sysfs.remove_slot(bdf)?;
        notes::write(self.store, bdf, Note::Name, None)?;
        if !rebind {
            return Ok(Removed::Driverless);
        }
        let driver = noted.as_deref().and_then(driver_name);
        match driver {
            Some(driver) => {
                self.sysfs.bind(bdf, driver).map_err(|error| match error {
                    PciError::Io { source, .. } => {
                        PciError::Rebind { bdf, driver: driver.to_owned(), source }
                    }
                    error => error,
                })?;
                notes::write(self.store, bdf, Note::Driver, None)?;
            }
            None => self.sysfs.probe(bdf)?,
        }
        Ok(self.sysfs.driver_of(bdf)?.map_or(Removed::Driverless, Removed::To))
    }

    /// Makes sure that by Xen's word no guest has a function: it is dom0's, or in quarantine.
    fn check_own(&self, bdf: Bdf) -> Result<(), PciError> {
        let tested = self.xen.test_assign_device(Domid(DOMID_INVALID), bdf.into());
        tested.map_err(|source| PciError::StillGiven { bdf, source })
    }

    fn check_name(&mut self, bdf: Bdf, name: &str) -> Result<(), PciError> {
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_MAX || !visible {
            return Err(PciError::BadName { name: name.to_owned() });
        }
        let names = notes::all_names(self.store)?;
        match names.iter().find(|(other, taken)| **other != bdf && *taken == name) {
            Some((other, _)) => Err(PciError::NameTaken { name: name.to_owned(), bdf: *other }),
            None => Ok(()),
        }
    }

    /// The driver of a physical function takes its virtual ones away as it goes.
    fn check_virtual_functions(&self, bdf: Bdf, role: &Role) -> Result<(), PciError> {
        let Role::Physical { virtual_functions, .. } = role else { return Ok(()) };
        let held = self.sysfs.held()?;
        let functions: Vec<Bdf> =
            virtual_functions.iter().copied().filter(|function| held.contains(function)).collect();
        if functions.is_empty() {
            return Ok(());
        }
        Err(PciError::VirtualFunctions { bdf, functions })
    }
}

/// Puts a function into the state it has after power-on. Some know no reset: they are given all the
/// same, as under xl, and the user is told.
pub fn reset(sysfs: &Sysfs, bdf: Bdf) {
    match sysfs.reset(bdf) {
        Ok(true) => {}
        Ok(false) => warn(format_args!(
            "PCI device {bdf} has no way to be reset, so that it may remember what its last user \
             did to it"
        )),
        Err(error) => warn(format_args!("PCI device {bdf} could not be reset: {}", chain(&error))),
    }
}

/// The driver of a noted directory, if that is one.
fn driver_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/sys/bus/pci/drivers/")?;
    (!name.is_empty() && !name.contains('/') && name != "." && name != "..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_a_directory_of_drivers() {
        for (path, name) in [
            ("/sys/bus/pci/drivers/e1000e", Some("e1000e")),
            ("/sys/bus/pci/drivers/", None),
            ("/sys/bus/pci/drivers/..", None),
            ("/sys/bus/pci/drivers/a/../b", None),
            ("/sys/bus/usb/drivers/x", None),
            ("e1000e", None),
        ] {
            assert_eq!(driver_name(path), name, "{path}");
        }
    }
}
