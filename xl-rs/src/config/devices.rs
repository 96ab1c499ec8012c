//! The devices of a configuration: lists of descriptions into what shall be attached.
//!
//! In: settings whose descriptions were parsed ([`super::device`]); what is wrong with their syntax has
//! been told already. Out: [`Devices`], and what of them cannot be had, each at its place. Pure.

use super::device;
use super::device::pci::Pci;
use super::device::vif::Vif;
use super::reader::{At, Reader, as_text};
use super::tree::Kind;
use crate::device::disk::DiskSpec;
use std::collections::BTreeMap;

/// What a domain shall have, class by class, in the order in which it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// `disk`.
    pub disks: Vec<DiskSpec>,
    /// `vif`.
    pub vifs: Vec<Vif>,
    /// `pci`, defaults filled in.
    pub pci: Vec<Pci>,
}

/// Reads all of them.
pub(super) fn read(reader: &mut Reader<'_>) -> Devices {
    // `pci` comes with the rest of the hardware: [`super::hardware`].
    Devices { disks: disks(reader), vifs: vifs(reader), pci: Vec::new() }
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

fn vifs(reader: &mut Reader<'_>) -> Vec<Vif> {
    let mut vifs: Vec<Vif> = Vec::new();
    for text in descriptions(reader, "vif") {
        let vif = match device::vif::wanted(&text.value) {
            Ok(vif) => vif,
            Err(wrong) => {
                // What is no description at all has been told.
                if device::vif::parse(&text.value).is_ok() {
                    let (start, end) = (wrong.range.start, wrong.range.end);
                    let span = text.span.inside_literal(text.value.len(), start, end);
                    let help = Some(wrong.help.to_owned());
                    reader.refuse(span, format!("vif: {}", wrong.message), "here", help);
                }
                continue;
            }
        };
        let number = |vif: &Vif| vif.devid.map(|devid| format!("devid={devid}"));
        let name = |vif: &Vif| vif.interface.as_ref().map(|name| format!("vifname={name}"));
        let others: Vec<String> =
            vifs.iter().flat_map(|vif| [number(vif), name(vif)]).flatten().collect();
        let own = [number(&vif), name(&vif)].into_iter().flatten();
        if let Some(same) = own.into_iter().find(|own| others.contains(own)) {
            let help = String::from("no two interfaces may have it: write another one");
            reader.refuse(text.span, format!("vif: {same} is there twice"), "again", Some(help));
        }
        vifs.push(vif);
    }
    vifs
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

    fn read_vifs(vifs: &str) -> Loaded {
        let mut sources = Sources::default();
        sources.add("a.cfg", format!("name='n'\nkernel='/k'\nmemory=64\nvif={vifs}"));
        load(sources)
    }

    #[test]
    fn interfaces_in_their_order() {
        let loaded = read_vifs("['bridge=b', '', 'devid=7']");
        assert_eq!(loaded.problems, []);
        let vifs = loaded.config.unwrap().devices.vifs;
        let found: Vec<_> = vifs.iter().map(|vif| (vif.bridge.as_deref(), vif.devid)).collect();
        assert_eq!(found, [(Some("b"), None), (None, None), (None, Some(7))]);
    }

    #[test]
    fn interfaces_that_cannot_be_had_are_refused_once() {
        for (vifs, words) in [
            ("'bridge=b'", "vif must be a list"),
            ("['brigde=b']", "no parameter \"brigde\""),
            ("['type=ioemu']", "no emulated interface"),
            ("['devid=1','bridge=b','devid=1']", "devid=1 is there twice"),
            ("['vifname=x','vifname=x']", "vifname=x is there twice"),
            ("['vlan=x']", "not the number of a VLAN"),
        ] {
            let loaded = read_vifs(vifs);
            assert!(loaded.config.is_none(), "{vifs}");
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
            assert!(problems.len() == 1 && problems[0].contains(words), "{vifs}: {problems:?}");
        }
    }
}
