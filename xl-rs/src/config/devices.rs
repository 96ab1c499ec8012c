//! The devices of a configuration: lists of descriptions into what shall be attached.
//!
//! In: settings whose descriptions were parsed ([`super::device`]); what is wrong with their syntax has
//! been told already. Out: [`Devices`], and what of them cannot be had, each at its place. Pure.

use super::device;
use super::device::pci::Pci;
use super::reader::{At, Reader, as_text};
use super::tree::Kind;
use crate::device::disk::DiskSpec;
use std::collections::BTreeMap;

/// What a domain shall have, class by class, in the order in which it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// `disk`.
    pub disks: Vec<DiskSpec>,
    /// `pci`, defaults filled in.
    pub pci: Vec<Pci>,
}

/// Reads all of them.
pub(super) fn read(reader: &mut Reader<'_>) -> Devices {
    // `pci` comes with the rest of the hardware: [`super::hardware`].
    Devices { disks: disks(reader), pci: Vec::new() }
}

/// The texts of a list of descriptions.
pub(super) fn descriptions(reader: &mut Reader<'_>, key: &str) -> Vec<At<String>> {
    let Some(setting) = reader.get(key) else { return Vec::new() };
    let Kind::List(items) = &setting.value.kind else {
        if !matches!(&setting.value.kind, Kind::String(bytes) if bytes.is_empty()) {
            let help = format!("write {key} = [ \"…\" ]");
            let (span, message) = (setting.value.span, format!("{key} must be a list"));
            reader.refuse(span, message, "not a list", Some(help));
        }
        return Vec::new();
    };
    let text = |item| as_text(item).ok().map(str::to_owned);
    items.iter().filter_map(|item| Some(At { value: text(item)?, span: item.span })).collect()
}

fn disks(reader: &mut Reader<'_>) -> Vec<DiskSpec> {
    let mut disks = Vec::new();
    let mut numbers = BTreeMap::new();
    for text in descriptions(reader, "disk") {
        let Ok(disk) = device::disk::parse(&text.value) else { continue };
        match DiskSpec::of(&disk) {
            Err(wrong) => {
                let (message, help) = (format!("disk: {}", wrong.message), wrong.help.to_owned());
                reader.refuse(text.span, message, "not supported", Some(help));
            }
            Ok(spec) => {
                if let Some(other) = numbers.insert(spec.devid, spec.vdev.clone()) {
                    let message = format!("disk: {} is there twice", spec.vdev);
                    let label =
                        if other == spec.vdev { "again" } else { "the same, by another name" };
                    let help = String::from("give each disk a name of its own: xvda, xvdb …");
                    reader.refuse(text.span, message, label, Some(help));
                }
                disks.push(spec);
            }
        }
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::super::source::Sources;
    use super::super::{Loaded, load};
    use super::*;

    fn read(disks: &str) -> Loaded {
        let mut sources = Sources::default();
        sources.add("a.cfg", format!("name='n'\nkernel='/k'\nmemory=64\ndisk={disks}"));
        load(sources)
    }

    #[test]
    fn disks_in_their_order() {
        let loaded = read("['/a,raw,xvdb,rw', '/b,raw,xvda,r',]");
        assert_eq!(loaded.problems, []);
        let disks = loaded.config.unwrap().devices.disks;
        let found: Vec<_> = disks.iter().map(|disk| (disk.devid, disk.read_only)).collect();
        assert_eq!(found, [(51728, false), (51712, true)]);
        assert_eq!(read("''").config.unwrap().devices, Devices::default());
    }

    #[test]
    fn what_cannot_be_had_is_refused_at_its_place() {
        for (disks, words) in [
            ("'/a,raw,xvda,rw'", "disk must be a list"),
            ("['/a,qcow2,xvda,rw']", "not qcow2"),
            ("['/a,raw,xvda,rw','/b,raw,51712,rw']", "51712 is there twice"),
            ("['/a,raw,nvme0,rw']", "\"nvme0\" is no name of a disk"),
            ("['/a,raw,xvda,rw,backend=storage']", "the domain \"storage\""),
            ("['/a']", "needs a vdev"),
        ] {
            let loaded = read(disks);
            assert!(loaded.config.is_none(), "{disks}");
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
            assert!(problems.len() == 1 && problems[0].contains(words), "{disks}: {problems:?}");
        }
    }
}
