//! Finishes what commands that were killed, or could not reach xenstored, have left.
//!
//! In: the records that nobody holds. Out: no domain, no node and no file of theirs, and no record.
//! A domain that runs is left alone where its record says that it was whole; one that was leased is not. So is one whose marker
//! names another creation, and everything of a UUID of which a domain is being made just now.

use super::build;
use super::devices::{self, take_down};
use super::error::{CommandError, chain};
use super::remove::leftover;
use super::{kept_devices, pci_device, set_aside, tell};
use crate::cli::program;
use crate::config::device::{rdma, vif};
use crate::device::detach::{Force, remove};
use crate::device::disk;
use crate::device::vif::Nic;
use crate::device::{Address, DeviceError, Host, Kind};
use crate::pci::notes;
use crate::state::lock::{Lock, Subject};
use crate::state::record::{Held, Phase, Record};
use crate::state::xl_lock::XlLock;
use crate::state::{State, StateError, userdata};
use domain_builder::undo::{self, Identity, Seen};
use libxc_safe::{DomainInfo, Xen};
use std::path::Path;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Finishes what can be finished. Never fails the command that comes after: what is left stays
/// recorded, and is told.
pub fn sweep() {
    let swept = match State::existing() {
        Ok(Some(state)) => sweep_state(&state, build::tell_kept),
        Ok(None) => return,
        // Not root: the command itself will say so where it matters.
        Err(error) if error.is_denied() => return,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = swept {
        warn(&error);
    }
}

/// The same for who starts again what was cut short, and need not tell of it.
pub fn sweep_quietly(state: &State) {
    if let Err(error) = sweep_state(state, |_| {}) {
        warn(&error);
    }
}

fn sweep_state(state: &State, tell_kept: impl Fn(&Path)) -> Result<(), CommandError> {
    state.sweep_locks()?;
    let abandoned = state.abandoned()?;
    if !abandoned.is_empty() {
        finish_all(state, abandoned)?;
    }
    // After that: what was half made has been removed, and what was half taken down.
    cut_short(state, tell_kept)
}

/// Restarts that did not come to their end: where there is no domain its configuration is kept, and
/// told; where there is one, the old one was not taken down, or the new one stands.
fn cut_short(state: &State, tell_kept: impl Fn(&Path)) -> Result<(), CommandError> {
    for (uuid, path) in state.cut_short()? {
        let Some(_lock) = state.lock_if_free(Subject::Uuid(uuid))? else { continue };
        let domains = Xen::open()?.domains()?;
        match domains.iter().any(|info| info.uuid == uuid.into_bytes() && !info.dying) {
            true => state.end_restart(uuid)?,
            false => tell_kept(&path),
        }
    }
    Ok(())
}

fn finish_all(state: &State, abandoned: Vec<Result<Held, StateError>>) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect();
    for held in abandoned {
        let swept = match (held, &mut store) {
            (Ok(held), Ok(store)) if held.record.phase == Phase::Device => {
                finish_device(state, held, &xen, store)
            }
            // Nothing can be known of it.
            (Ok(held), Err(_)) if held.record.phase == Phase::Device => Ok(()),
            (Ok(held), Ok(store)) => finish(state, held, &xen, store),
            (Ok(held), Err(_)) => without_store(state, held, &xen),
            (Err(damaged), _) => Err(damaged.into()),
        };
        // One that cannot be finished holds up no other.
        if let Err(error) = swept {
            warn(&error);
        }
    }
    Ok(())
}

fn warn(error: &CommandError) {
    tell(format_args!("{}: warning: {}", program::name(), chain(error)));
}

/// Keeps creates of this UUID away while a record is finished. None if one is at work, be it xlr's
/// or xl's: its domain has no marker yet, and could be taken for the one of the record.
fn guard(state: &State, held: &Held) -> Result<Option<(Lock, XlLock)>, CommandError> {
    let Some(lock) = state.lock_if_free(Subject::Uuid(held.record.uuid))? else { return Ok(None) };
    Ok(XlLock::share_if_free()?.map(|xl| (lock, xl)))
}

/// Takes away a device whose attaching or detaching was cut short; one that is attached stays, and one
/// that its guest was asked for goes only if the guest lets it go. Its domain is left alone.
fn finish_device(
    state: &State,
    mut held: Held,
    xen: &Xen,
    store: &mut Client,
) -> Result<(), CommandError> {
    let record = &held.record;
    let Some(domid) = record.domain() else { return Ok(held.finish()?) };
    let Some(_lock) = state.lock_if_free(Subject::Domain(domid.0))? else { return Ok(()) };
    let info = xen.domain_info(domid)?;
    let alive = info.as_ref().is_some_and(|info| !info.dying);
    let own = match info {
        // Nobody's number: what is left there is its own.
        None => true,
        Some(info) => {
            let seen = Seen::of(store, domid)?;
            info.uuid == record.uuid.into_bytes()
                && record.generation.is_none_or(|own| seen.may_be(own))
        }
    };
    if !own {
        return Ok(held.finish()?);
    }
    let mut left = Vec::new();
    for &device in &record.devices {
        match (record.detach, alive) {
            (None, true) if Host::undisturbed(store).is_attached(&device)? => {
                note_attached(&device, record, store, state)?;
                tell(format_args!(
                    "{device} is attached: only its command had not come to its end"
                ));
                continue;
            }
            (Some(Force::Asked), true) => {
                match remove(&device, Force::Asked, &mut Host::undisturbed(store)) {
                    Ok(()) => {}
                    // It stays the guest's.
                    Err(error @ DeviceError::InUse { .. }) => {
                        warn(&error.into());
                        continue;
                    }
                    Err(error) => {
                        warn(&error.into());
                        left.push(device);
                        continue;
                    }
                }
            }
            _ => {
                let still = devices::remove(&[device], store);
                if !still.is_empty() {
                    left.extend(still);
                    continue;
                }
            }
        }
        if alive && record.detach.is_some() {
            note_detached(&device, record.uuid, state)?;
        }
        tell(format_args!("Removed what was left of {device}"));
    }
    if !record.functions.is_empty() && alive {
        finish_functions(state, record, xen, store)?;
    }
    if !left.is_empty() {
        return Ok(held.update(|record| record.devices = left)?);
    }
    Ok(held.finish()?)
}

/// The same for PCI functions; those of a domain that is gone are free.
fn finish_functions(
    state: &State,
    record: &Record,
    xen: &Xen,
    store: &mut Client,
) -> Result<(), CommandError> {
    let Some(domid) = record.domain() else { return Ok(()) };
    let _pci = state.lock(Subject::PciDevices, |text| tell(text))?;
    for &bdf in &record.functions {
        match pci_device::finish(bdf, domid, record.detach.is_some(), xen, store)? {
            true => tell(format_args!("PCI device {bdf} is given to domain {domid}")),
            false => tell(format_args!("PCI device {bdf} is taken from domain {domid}")),
        }
    }
    kept_devices::set_pci(domid, record.uuid, store, state)
}

/// It counts as one that its command has attached.
fn note_attached(
    device: &Address,
    record: &Record,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let (domid, uuid) = (device.domid, record.uuid);
    match device.kind {
        Kind::Vbd => {
            let disks = disk::present(domid, store)?;
            match disks.iter().find(|disk| disk.devid == device.devid) {
                Some(disk) => kept_devices::add_disk(domid, uuid, disk, state),
                None => Ok(()),
            }
        }
        Kind::Vif => match record.description.as_deref().map(vif::wanted) {
            Some(Ok(vif)) => {
                let nic = Nic::new(&vif, device.devid, uuid);
                Ok(kept_devices::add_interface(domid, uuid, (&vif, &nic), state)?)
            }
            _ => Ok(()),
        },
        Kind::Rdma => match record.description.as_deref().map(rdma::parse) {
            Some(Ok(rdma)) => Ok(kept_devices::add_rdma(domid, uuid, &rdma, state)?),
            _ => Ok(()),
        },
        Kind::Pci | Kind::Console => Ok(()),
    }
}

fn note_detached(device: &Address, uuid: Uuid, state: &State) -> Result<(), CommandError> {
    let (domid, devid) = (device.domid, device.devid);
    match device.kind {
        Kind::Vbd => kept_devices::remove_disk(domid, uuid, devid, state),
        Kind::Vif => Ok(kept_devices::remove_interface(domid, uuid, devid, state)?),
        Kind::Rdma => Ok(kept_devices::remove_rdma(domid, uuid, devid, state)?),
        Kind::Pci | Kind::Console => Ok(()),
    }
}

fn finish(state: &State, held: Held, xen: &Xen, store: &mut Client) -> Result<(), CommandError> {
    let Some(_guard) = guard(state, &held)? else { return Ok(()) };
    if held.record.phase == Phase::SettingAside {
        return set_aside::finish_aside(state, held, xen, store);
    }
    let record = &held.record;
    let mut may_be = |domid| -> Result<bool, CommandError> {
        let seen = Seen::of(store, domid)?;
        Ok(record.generation.is_none_or(|own| seen.may_be(own)))
    };
    let mut found = Vec::new();
    for info in domains(record, xen)? {
        found.push(Found { ran: ran(&info), may_be: may_be(info.domid)?, domid: info.domid });
    }
    let nodes = match record.domid {
        Some(domid) if found.is_empty() => may_be(Domid(domid))?,
        _ => false,
    };
    let domid = match judge(record, &found, nodes) {
        Verdict::Done => return Ok(held.finish()?),
        Verdict::Keep => {
            let (domid, uuid) = (record.domid.unwrap_or_default(), record.uuid);
            tell(format_args!(
                "{}: warning: domain {domid} with UUID {uuid} is left alone: its create did not \
                 finish, but the mark in /libxl/{domid}/xlr is not that create's; xlr destroy \
                 {domid} removes it",
                program::name()
            ));
            return Ok(());
        }
        Verdict::Remove(domid) => domid,
    };
    let Some(_lock) = state.lock_if_free(Subject::Domain(domid.0))? else { return Ok(()) };
    let mut devices = Vec::new();
    let own = xen.domain_info(domid)?.is_none_or(|info| info.uuid == record.uuid.into_bytes());
    if own {
        let (uuid, generation) = (record.uuid.into_bytes(), record.generation);
        match take_down(&Identity { domid, uuid, generation }, xen, store) {
            Ok(left) => devices = left,
            Err(error) => {
                // Its nodes alone say what its devices hold: they stay, and so does the record.
                let mut held = held;
                held.update(|record| {
                    (record.phase, record.domid) = (Phase::Removing, Some(domid.0));
                })?;
                return Err(error);
            }
        }
    }
    let left = undo::remove(xen, store, &leftover(record, domid));
    if own {
        // What could not be removed while its domain was there goes more easily without it.
        devices.extend(record.devices.iter().filter(|device| device.domid == domid));
        devices = devices::remove(&devices, store);
        // Noted before they were given, and before there were nodes that name them.
        notes::disown_all(store, domid, record.uuid.into_bytes()).map_err(CommandError::from)?;
    }
    if left.is_empty() && devices.is_empty() {
        let name = if record.name.is_empty() { "" } else { &format!(" ({})", record.name) };
        tell(format_args!("Removed what was left of domain {domid}{name}"));
    }
    build::forget(state, domid.0, record.uuid);
    build::finish(held, devices, &left);
    Ok(())
}

/// A domain that has the UUID of a record, and its domid where the record has one.
#[derive(Clone, Copy, Debug)]
struct Found {
    domid: Domid,
    /// Whether it was let run.
    ran: bool,
    /// Whether its marker, or that there is none, lets it be the record's.
    may_be: bool,
}

/// What is to be done about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing: there is nothing of its domain, or all is well with it.
    Done,
    /// Nothing yet: its domain is there, and yet is not the one of that creation.
    Keep,
    /// Domain and nodes go.
    Remove(Domid),
}

/// `nodes` says whether the nodes of the record's domid may be its domain's, where that is gone.
fn judge(record: &Record, found: &[Found], nodes: bool) -> Verdict {
    match (found.iter().find(|found| found.may_be), record.domid) {
        (Some(own), _) if record.phase == Phase::Whole && own.ran => Verdict::Done,
        (Some(own), _) => Verdict::Remove(own.domid),
        (None, Some(_)) if !found.is_empty() => Verdict::Keep,
        (None, Some(domid)) if nodes => Verdict::Remove(Domid(domid)),
        // Killed before the domain was there, or its number is another domain's now.
        (None, _) => Verdict::Done,
    }
}

/// The domains that a record may speak of.
fn domains(record: &Record, xen: &Xen) -> Result<Vec<DomainInfo>, CommandError> {
    let mut domains = match record.domid {
        Some(domid) => xen.domain_info(Domid(domid))?.into_iter().collect(),
        None => xen.domains()?,
    };
    domains.retain(|info| info.uuid == record.uuid.into_bytes());
    Ok(domains)
}

/// Whether the domain has been let run, and is not about to go.
fn ran(info: &DomainInfo) -> bool {
    (!info.paused || info.cpu_time_ns > 0) && !info.dying
}

/// Frees at least the memory. The nodes stay, and so does the record.
fn without_store(state: &State, mut held: Held, xen: &Xen) -> Result<(), CommandError> {
    let Some(_guard) = guard(state, &held)? else { return Ok(()) };
    // Without a domid its marker would have to tell that it is the one; one that is set aside stays.
    if held.record.domid.is_none() || held.record.phase == Phase::SettingAside {
        return Ok(());
    }
    let Some(info) = domains(&held.record, xen)?.pop() else { return Ok(()) };
    if held.record.phase == Phase::Whole && ran(&info) {
        return Ok(());
    }
    held.update(|record| record.phase = Phase::Removing)?;
    let identity = Identity { domid: info.domid, uuid: info.uuid, generation: None };
    undo::destroy_without_store(xen, &identity)?;
    Ok(userdata::remove_all(info.domid.0, held.record.uuid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_removes_its_own_and_nothing_else() {
        let check = |phase, domid, found: &[(u16, bool, bool)], nodes, verdict| {
            let record = Record {
                phase,
                name: String::from("a"),
                uuid: Uuid::from_u128(7),
                generation: Some(9),
                domid,
                console_domid: 0,
                brought: Vec::new(),
                aside: None,
                devices: Vec::new(),
                detach: None,
                description: None,
                functions: Vec::new(),
            };
            let found = found.iter().map(|&(domid, ran, may_be)| Found {
                domid: Domid(domid),
                ran,
                may_be,
            });
            let found: Vec<Found> = found.collect();
            assert_eq!(judge(&record, &found, nodes), verdict, "{record:?} {found:?} {nodes}");
        };
        let remove = |domid| Verdict::Remove(Domid(domid));
        use Phase::{Leased, Making, Removing, Whole};
        // Killed before it was there, or before its number was noted.
        check(Making, None, &[], false, Verdict::Done);
        check(Making, None, &[(3, false, true)], false, remove(3));
        check(Making, None, &[(3, true, false)], false, Verdict::Done);
        check(Making, None, &[(3, true, false), (5, false, true)], false, remove(5));
        // Half made; whoever lets such a domain run does not make it whole.
        check(Making, Some(3), &[(3, false, true)], false, remove(3));
        check(Making, Some(3), &[(3, true, true)], false, remove(3));
        check(Whole, Some(3), &[(3, false, true)], false, remove(3));
        check(Whole, Some(3), &[(3, true, true)], false, Verdict::Done);
        check(Removing, Some(3), &[(3, true, true)], false, remove(3));
        check(Leased, Some(3), &[(3, true, true)], false, remove(3));
        check(Leased, Some(3), &[(3, false, true)], false, remove(3));
        check(Leased, None, &[(3, true, true)], false, remove(3));
        // Of another creation.
        check(Making, Some(3), &[(3, true, false)], false, Verdict::Keep);
        check(Removing, Some(3), &[(3, true, false)], false, Verdict::Keep);
        // Gone: its nodes, unless they are another domain's.
        check(Removing, Some(3), &[], true, remove(3));
        check(Removing, Some(3), &[], false, Verdict::Done);
    }
}
