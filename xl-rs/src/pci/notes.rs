//! What toolstacks note of PCI functions in xenstore, where no guest can write: the driver that one
//! was taken from, its name, and whose it is. xl keeps the same notes in the same places.

use super::{Bdf, PciError};
use libxc_safe::Xen;
use std::collections::BTreeMap;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Where the notes are.
const ROOT: &str = "/libxl/pci";
/// Where the devices of domains are described to xen-pciback.
const BACKENDS: &str = "/local/domain/0/backend/pci";
/// More functions than a domain can be given.
const DEVICES_MAX: usize = 256;

/// What is noted of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Directory of the driver that it was taken from.
    Driver,
    /// The name it was given.
    Name,
    /// The domain that it belongs to.
    Owner,
    /// That domain and its UUID, as numbers of domains come again. xl has no such note.
    OwnerUuid,
}

impl Note {
    const fn node(self) -> &'static str {
        match self {
            Self::Driver => "driver_path",
            Self::Name => "name",
            Self::Owner => "domid",
            Self::OwnerUuid => "owner",
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(self, bdf: Bdf) -> String {
        format!("{ROOT}/{}/{}", bdf.node(), self.node())
    }
}

/// What is noted.
///
/// # Errors
/// Those of the store.
pub fn read(store: &mut Client, bdf: Bdf, note: Note) -> Result<Option<String>, PciError> {
    Ok(store.read_text_optional(note.path(bdf))?)
}

/// Writes a note, or removes it; what holds no note any more is removed as well.
///
/// # Errors
/// Those of the store.
pub fn write(
    store: &mut Client,
    bdf: Bdf,
    note: Note,
    value: Option<&str>,
) -> Result<(), PciError> {
    if let Some(value) = value {
        return Ok(store.write(note.path(bdf), value)?);
    }
    match store.rm(note.path(bdf)) {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => {}
    }
    let own = format!("{ROOT}/{}", bdf.node());
    // Another toolstack may be about to write there.
    store.transaction(|transaction| {
        for path in [own.as_str(), ROOT] {
            match transaction.directory(path) {
                Ok(children) if children.is_empty() => transaction.rm(path)?,
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Notes whose a function is about to be.
///
/// # Errors
/// Those of the hypervisor and of the store.
pub fn own(xen: &Xen, store: &mut Client, bdf: Bdf, domid: Domid) -> Result<(), PciError> {
    let info = xen.domain_info(domid).map_err(|source| PciError::Xen { bdf, source })?;
    let uuid = info.map(|info| owner_uuid(domid.0, info.uuid));
    store.transaction(|transaction| {
        transaction.write(Note::Owner.path(bdf), domid.to_string())?;
        match &uuid {
            Some(uuid) => transaction.write(Note::OwnerUuid.path(bdf), uuid.as_str()),
            None => Ok(()),
        }
    })?;
    Ok(())
}

/// It is nobody's any more.
///
/// # Errors
/// Those of the store.
pub fn disown(store: &mut Client, bdf: Bdf) -> Result<(), PciError> {
    write(store, bdf, Note::OwnerUuid, None)?;
    write(store, bdf, Note::Owner, None)
}

/// Nothing is a domain's any more that is gone.
///
/// # Errors
/// Those of the store.
pub fn disown_all(store: &mut Client, domid: Domid, uuid: [u8; 16]) -> Result<(), PciError> {
    let own = owner_uuid(domid.0, uuid);
    for bdf in known(store)? {
        if read(store, bdf, Note::OwnerUuid)?.as_deref() == Some(own.as_str()) {
            disown(store, bdf)?;
        }
    }
    Ok(())
}

fn owner_uuid(domid: u16, uuid: [u8; 16]) -> String {
    format!("{domid} {}", Uuid::from_bytes(uuid))
}

/// Whether a note means the domain that has its number now. One without a UUID is taken at its word,
/// and a UUID beside another number is older than that.
fn means(domid: u16, note: Option<&str>, uuid: [u8; 16]) -> bool {
    match note.and_then(|note| note.split_once(' ')) {
        Some((number, _)) if number == domid.to_string() => {
            note == Some(owner_uuid(domid, uuid).as_str())
        }
        _ => true,
    }
}

/// The name of every function that has one.
///
/// # Errors
/// Those of the store.
pub fn all_names(store: &mut Client) -> Result<BTreeMap<Bdf, String>, PciError> {
    let known = known(store)?;
    let names = store.read_each(known.iter().map(|bdf| Note::Name.path(*bdf)))?;
    let named = |(bdf, name)| Some((bdf, text(name)?));
    Ok(known.into_iter().zip(names).filter_map(named).collect())
}

fn known(store: &mut Client) -> Result<Vec<Bdf>, PciError> {
    Ok(directory(store, ROOT)?.iter().filter_map(|name| Bdf::from_node(name)).collect())
}

/// The domain of every function that belongs to one that exists, by what xen-pciback is told and by
/// the notes: releases of xl differ in which of them they write first.
///
/// # Errors
/// Those of the store and of the hypervisor.
pub fn owners(xen: &Xen, store: &mut Client) -> Result<BTreeMap<Bdf, u16>, PciError> {
    let mut owners = BTreeMap::new();
    let known = known(store)?;
    let noted = store.read_each(known.iter().map(|bdf| Note::Owner.path(*bdf)))?;
    for (bdf, domid) in known.into_iter().zip(noted) {
        let Some(domid) = text(domid).and_then(|domid| domid.parse::<u16>().ok()) else {
            continue;
        };
        let note = read(store, bdf, Note::OwnerUuid)?;
        let info = xen.domain_info(Domid(domid)).map_err(|source| PciError::Xen { bdf, source })?;
        if info.is_some_and(|info| means(domid, note.as_deref(), info.uuid)) {
            owners.insert(bdf, domid);
        }
    }
    for domid in directory(store, BACKENDS)? {
        let Ok(domid) = domid.parse::<u16>() else { continue };
        for bdf in given(store, domid)? {
            owners.insert(bdf, domid);
        }
    }
    // What is written of a domain may outlive it.
    let mut alive = BTreeMap::new();
    for (bdf, domid) in owners {
        let info = xen.domain_info(Domid(domid)).map_err(|source| PciError::Xen { bdf, source })?;
        if info.is_some() {
            alive.insert(bdf, domid);
        }
    }
    Ok(alive)
}

/// The functions that xen-pciback is told to give to a domain.
fn given(store: &mut Client, domid: u16) -> Result<Vec<Bdf>, PciError> {
    let backend = format!("{BACKENDS}/{domid}/0");
    let count = store.read_text_optional(format!("{backend}/num_devs"))?;
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(0).min(DEVICES_MAX);
    let functions = store.read_each((0..count).map(|number| format!("{backend}/dev-{number}")))?;
    Ok(functions.into_iter().filter_map(|bdf| text(bdf)?.parse().ok()).collect())
}

fn directory(store: &mut Client, path: &str) -> Result<Vec<String>, PciError> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        found => Ok(found?),
    }
}

/// What is no text is none of ours.
fn text(value: Option<Vec<u8>>) -> Option<String> {
    String::from_utf8(value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_came_again_owns_nothing() {
        let (now, before) = ([7; 16], [8; 16]);
        let check = |note: Option<String>, expected: bool| {
            assert_eq!(means(3, note.as_deref(), now), expected, "{note:?}");
        };
        check(None, true);
        check(Some(owner_uuid(3, now)), true);
        check(Some(owner_uuid(3, before)), false);
        check(Some(String::from("3 nonsense")), false);
        // xl has given it to another one since.
        check(Some(owner_uuid(4, before)), true);
        check(Some(String::from("nonsense")), true);
    }
}
