//! The devices of a configuration: lists of descriptions into what shall be attached.
//!
//! In: settings whose descriptions were parsed ([`super::device`]); what is wrong with their syntax has
//! been told already. Out: [`Devices`], and what of them cannot be had, each at its place. Pure.

use super::device;
use super::device::pci::Pci;
use super::device::rdma::Rdma;
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
    /// `rdma`.
    pub rdma: Vec<Rdma>,
}

/// Reads all of them.
pub(super) fn read(reader: &mut Reader<'_>) -> Devices {
    // `pci` comes with the rest of the hardware: [`super::hardware`].
    Devices { disks: disks(reader), vifs: vifs(reader), pci: Vec::new(), rdma: rdma(reader) }
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

fn rdma(reader: &mut Reader<'_>) -> Vec<Rdma> {
    let mut devices: Vec<Rdma> = Vec::new();
    for text in descriptions(reader, "rdma") {
        // What is no description at all has been told.
        let Ok(device) = device::rdma::parse(&text.value) else { continue };
        let same = device.devid.filter(|devid| devices.iter().any(|one| one.devid == Some(*devid)));
        if let Some(devid) = same {
            let message = format!("rdma: devid={devid} is there twice");
            let help = String::from("no two devices may have it: write another one");
            reader.refuse(text.span, message, "again", Some(help));
        }
        devices.push(device);
    }
    devices
}

/// Grants for everything else that a guest has.
const OTHER_GRANTS: u64 = 8192;
/// Grants in a frame of the table.
const GRANTS_IN_FRAME: u64 = 512;
/// Frames of the table that a domain has where nothing is said.
const USUAL_FRAMES: u32 = 64;

/// `max_grant_frames`, raised so that the pages which InfiniBand devices ask for can be granted. What
/// the configuration says itself stays, and is refused where it is not enough.
pub(super) fn grant_frames(
    reader: &mut Reader<'_>,
    rdma: &[Rdma],
    said: Option<u32>,
) -> Option<u32> {
    let pages: u64 = rdma.iter().map(|device| u64::from(device.pages)).sum();
    if pages == 0 {
        return said;
    }
    let frames = (pages + OTHER_GRANTS).div_ceil(GRANTS_IN_FRAME);
    // Each device has at most 2^24 pages, and a text of at most 1 MiB not many devices.
    let frames = u32::try_from(frames).unwrap_or(u32::MAX);
    match (said, reader.get("max_grant_frames")) {
        (Some(said), Some(setting)) if said < frames => {
            let message = format!("max_grant_frames is too small for {pages} pages of rdma");
            let span = setting.value.span;
            let help = Some(format!("remove the line, or write at least {frames}"));
            reader.refuse(span, message, "not enough", help);
            Some(said)
        }
        (None, _) if frames > USUAL_FRAMES => Some(frames),
        _ => said,
    }
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

    #[test]
    fn infiniband_has_the_grants_that_it_asks_for() {
        let check = |text: &str, frames: Option<u32>, words: &str| {
            let mut sources = Sources::default();
            sources.add("a.cfg", format!("name='n'\nkernel='/k'\nmemory=64\n{text}"));
            let loaded = load(sources);
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
            match loaded.config {
                Some(config) => {
                    assert_eq!((config.max_grant_frames, words), (frames, ""), "{text}")
                }
                None => assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}"),
            }
        };
        check("rdma=['backend-device=rxe0,pages=8192']", None, "");
        check("rdma=['backend-device=rxe0,pages=65536']", Some(144), "");
        check(
            "rdma=['backend-device=a,pages=65536','backend-device=b,pages=65536']",
            Some(272),
            "",
        );
        check("rdma=['backend-device=rxe0']\nmax_grant_frames=18", Some(18), "");
        check(
            "rdma=['backend-device=rxe0']\nmax_grant_frames=17",
            None,
            "too small for 1024 pages",
        );
        check("rdma='backend-device=rxe0'", None, "rdma must be a list");
        check(
            "rdma=['backend-device=a,devid=1','backend-device=b,devid=1']",
            None,
            "devid=1 is there",
        );
        check("rdma=['backend-device=rxe0,page=1']", None, "no parameter \"page\"");
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
