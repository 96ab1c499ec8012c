//! The devices that a domain has by now, kept with its configuration: a reboot makes it with these.
//!
//! In: a device that came or went while its domain was there. Out: the kept configuration with it, or
//! without. What xl made has none, and stays as it is: xl keeps its own.

use super::error::CommandError;
use crate::config::device::rdma::Rdma;
use crate::config::device::vif::Vif;
use crate::config::load;
use crate::config::lower::DomainConfig;
use crate::device::disk::DiskSpec;
use crate::device::pci;
use crate::device::rdma::{Adapter, adapters};
use crate::device::vif::Nic;
use crate::device::vif::nic::nics;
use crate::state::{State, StateError, userdata};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// What the text is called that says it.
const NAME: &str = "the devices as they were";

/// Notes, for either tool, that a disk was attached.
pub fn add_disk(
    domid: Domid,
    uuid: Uuid,
    disk: &DiskSpec,
    state: &State,
) -> Result<(), CommandError> {
    userdata::add_disk(domid, uuid, disk)?;
    change(domid, uuid, state, |config| disks(&config.devices.disks, disk.devid, Some(disk)))?;
    Ok(())
}

/// Notes, for either tool, that a disk was detached.
pub fn remove_disk(
    domid: Domid,
    uuid: Uuid,
    devid: u32,
    state: &State,
) -> Result<(), CommandError> {
    userdata::remove_disk(domid, uuid, devid)?;
    change(domid, uuid, state, |config| disks(&config.devices.disks, devid, None))?;
    Ok(())
}

/// Notes, for either tool, that an interface was attached.
pub fn add_interface(
    domid: Domid,
    uuid: Uuid,
    (vif, nic): (&Vif, &Nic),
    state: &State,
) -> Result<(), StateError> {
    userdata::add_interface(domid, uuid, vif, nic)?;
    let vif = settled(vif, nic);
    change(domid, uuid, state, |config| {
        interfaces(&config.devices.vifs, uuid, nic.devid, Some(&vif))
    })
}

/// Notes, for either tool, that an interface was detached.
pub fn remove_interface(
    domid: Domid,
    uuid: Uuid,
    devid: u32,
    state: &State,
) -> Result<(), StateError> {
    userdata::remove_interface(domid, uuid, devid)?;
    change(domid, uuid, state, |config| interfaces(&config.devices.vifs, uuid, devid, None))
}

/// Notes that an InfiniBand device was attached. xl knows none.
pub fn add_rdma(domid: Domid, uuid: Uuid, device: &Rdma, state: &State) -> Result<(), StateError> {
    let devid = device.devid.unwrap_or(0);
    change(domid, uuid, state, |config| rdma(&config.devices.rdma, devid, Some(device)))
}

/// Notes that an InfiniBand device was detached.
pub fn remove_rdma(domid: Domid, uuid: Uuid, devid: u32, state: &State) -> Result<(), StateError> {
    change(domid, uuid, state, |config| rdma(&config.devices.rdma, devid, None))
}

/// Notes, for either tool, which PCI devices a domain has now.
pub fn set_pci(
    domid: Domid,
    uuid: Uuid,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let listed = pci::list(store, domid)?;
    userdata::set_pci(domid, uuid, &listed)?;
    change(domid, uuid, state, |config| {
        let mut text = line("pci", listed.iter().map(pci::Listed::text));
        // Without any it could not have another one, unless it says so.
        if listed.is_empty() && config.hardware.passthrough {
            text.push_str("passthrough = \"enabled\"\n");
            text.push_str(if config.hardware.host_map { "e820_host = 1\n" } else { "" });
        }
        Some(text)
    })?;
    Ok(())
}

/// Adds a line to the configuration that is kept; none where it says the same already.
fn change(
    domid: Domid,
    uuid: Uuid,
    state: &State,
    line: impl FnOnce(&DomainConfig) -> Option<String>,
) -> Result<(), StateError> {
    let saved = match state.saved(domid.0, uuid) {
        Ok(saved) => saved,
        Err(StateError::NotSaved { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Of one that cannot be read nothing can be said.
    let Some(config) = load(saved.sources()).config else { return Ok(()) };
    match line(&config) {
        Some(text) => state.save(domid.0, &saved.with(NAME, text)),
        None => Ok(()),
    }
}

/// The line of xl.cfg that makes the disks of a configuration those that there are now.
fn disks(before: &[DiskSpec], devid: u32, disk: Option<&DiskSpec>) -> Option<String> {
    let mut now: Vec<&DiskSpec> = before.iter().filter(|disk| disk.devid != devid).collect();
    now.extend(disk);
    let same = now.len() == before.len() && now.iter().all(|disk| before.contains(disk));
    (!same).then(|| line("disk", now.iter().map(|disk| disk.text())))
}

/// The same for interfaces. Each has the number and the address by now that it had first, whichever
/// others come and go.
fn interfaces(before: &[Vif], domain: Uuid, devid: u32, vif: Option<&Vif>) -> Option<String> {
    let before: Vec<Vif> =
        before.iter().zip(nics(before, domain)).map(|(vif, nic)| settled(vif, &nic)).collect();
    let mut now: Vec<&Vif> = before.iter().filter(|vif| vif.devid != Some(devid)).collect();
    now.extend(vif);
    let same = now.len() == before.len() && now.iter().all(|vif| before.contains(vif));
    (!same).then(|| line("vif", now.iter().map(|vif| vif.text())))
}

/// The same for InfiniBand devices, each with its number.
fn rdma(before: &[Rdma], devid: u32, device: Option<&Rdma>) -> Option<String> {
    let before: Vec<Rdma> = adapters(before).iter().map(Adapter::settled).collect();
    let mut now: Vec<&Rdma> = before.iter().filter(|one| one.devid != Some(devid)).collect();
    now.extend(device);
    let same = now.len() == before.len() && now.iter().all(|one| before.contains(one));
    (!same).then(|| line("rdma", now.iter().map(|one| one.text())))
}

/// A description with what was left open in it.
fn settled(vif: &Vif, nic: &Nic) -> Vif {
    Vif { devid: Some(nic.devid), mac: Some(nic.mac.0), ..vif.clone() }
}

/// A list of xl.cfg.
fn line(key: &str, texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.map(|text| quoted(&text)).collect();
    format!("{key} = [ {} ]\n", texts.join(", "))
}

/// A string of xl.cfg.
pub fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::devices::Devices;
    use crate::config::source::Sources;

    fn of(lines: &str) -> Sources {
        let mut sources = Sources::default();
        let base = "name = \"a\"\nkernel = \"/k\"\nmemory = 8\n";
        sources.add("a.cfg", format!("{base}{lines}"));
        sources
    }

    fn devices(sources: &Sources) -> Devices {
        let loaded = load(sources.clone());
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        loaded.config.unwrap().devices
    }

    fn with(sources: &Sources, line: Option<String>) -> Sources {
        let mut sources = sources.clone();
        sources.add(NAME, line.unwrap());
        sources
    }

    #[test]
    fn disks_come_and_go() {
        let one = of("disk = [\"/a,raw,xvda,rw\"]\n");
        let before = devices(&one).disks;
        let mut later = devices(&of("disk = ['/b \"x\",raw,xvdb,r']\n")).disks.remove(0);
        later.trusted = false;
        let both = devices(&with(&one, disks(&before, later.devid, Some(&later)))).disks;
        assert_eq!(both, [before.clone(), vec![later.clone()]].concat());
        // The same once more changes nothing.
        assert_eq!(disks(&both, later.devid, Some(&later)), None);
        assert_eq!(disks(&before, later.devid, None), None);
        let none = with(&one, disks(&before, before[0].devid, None));
        assert_eq!(devices(&none).disks, []);
    }

    #[test]
    fn interfaces_keep_numbers_and_addresses() {
        let two = of("rdma = ['backend-device=a', 'backend-device=b']\n");
        let second = devices(&with(&two, rdma(&devices(&two).rdma, 0, None))).rdma;
        assert_eq!(second.iter().map(|one| one.devid).collect::<Vec<_>>(), [Some(1)]);
        assert_eq!(rdma(&second, 0, None), None);
        let uuid = Uuid::from_u128(7);
        let two = of("vif = ['bridge=b', 'rate=10Mb/s@20ms,ip=10.0.0.2 10.0.0.3']\n");
        let before = devices(&two).vifs;
        let was = nics(&before, uuid);
        // Without the first the second is no other.
        let second = devices(&with(&two, interfaces(&before, uuid, 0, None))).vifs;
        assert_eq!(nics(&second, uuid), was[1..]);
        assert_eq!(interfaces(&second, uuid, 0, None), None);
        let wanted =
            devices(&of("vif = ['script=,mtu=9000,untrusted,vifname=x']\n")).vifs.remove(0);
        let nic = Nic::new(&wanted, 5, uuid);
        let later = settled(&wanted, &nic);
        let third = devices(&with(&two, interfaces(&second, uuid, 5, Some(&later)))).vifs;
        assert_eq!(nics(&third, uuid), [was[1].clone(), nic]);
        assert_eq!(interfaces(&third, uuid, 5, Some(&later)), None);
        assert_eq!(devices(&with(&two, interfaces(&third[..1], uuid, 1, None))).vifs, []);
    }
}
