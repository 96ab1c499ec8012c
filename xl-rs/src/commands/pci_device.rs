//! `pci-attach`, `pci-detach`, `pci-list`: the PCI devices of a domain.

use super::error::CommandError;
use super::hot::stop_if;
use super::pci::{address_or_name, parse};
use super::remove::{identify, removal};
use super::signals::Signals;
use super::{domain, kept_devices, print, print_json, tell};
use crate::cli::{PciAttachArgs, PciDetachArgs, PciListArgs};
use crate::config::device::pci::{Function, Pci, Which};
use crate::device::detach::Force;
use crate::device::pci::{self, Given, Taker};
use crate::device::{self, DeviceError};
use crate::output::pci::devices_table;
use crate::pci::assignable::Host;
use crate::pci::{Bdf, PciError, Sysfs};
use crate::state::lock::Subject;
use crate::state::record::{Held, Phase, Record};
use crate::state::{State, userdata};
use libxc_safe::{DomainInfo, Xen};
use serde_json::{Value, json};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Runs `pci-attach`.
pub fn attach(arguments: &PciAttachArgs) -> Result<(), CommandError> {
    let text = match &arguments.slot {
        Some(slot) => format!("{},vslot={slot}", arguments.device),
        None => arguments.device.clone(),
    };
    let wanted = parse(&text)?;
    let (xen, mut store, state) = (Xen::open()?, Client::connect()?, State::open()?);
    let (info, _lock) = domain::find_and_lock(&xen, &mut store, &state, &arguments.domain)?;
    check_guest(&info)?;
    let signals = Signals::take()?;
    let _pci = state.lock(Subject::PciDevices, |text| tell(text))?;
    signals.hold();
    let given = wanted_of(&[wanted], Taker::Existing(info.domid), &xen, &mut store)?;
    let functions = given.iter().map(|one| one.bdf).collect();
    let record = state.record(recorded(&info, functions, None, &mut store)?)?;
    let done = give(&given, info.domid, &xen, &mut store, &signals, arguments.stop_at);
    end(record, done, &info, &mut store, &state)
}

/// What is under way with functions of a domain.
fn recorded(
    info: &DomainInfo,
    functions: Vec<Bdf>,
    detach: Option<Force>,
    store: &mut Client,
) -> Result<Record, CommandError> {
    let (identity, _) = identify(store, info)?;
    Ok(Record { phase: Phase::Device, functions, detach, ..removal(&identity, Domid::DOM0.0) })
}

/// What could not be undone is the next command's. What the domain has by now is kept in any case.
fn end(
    record: Held,
    done: Result<(), CommandError>,
    info: &DomainInfo,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let left = matches!(done, Err(CommandError::Device(DeviceError::Left { .. })));
    let kept = kept_devices::set_pci(info.domid, Uuid::from_bytes(info.uuid), store, state);
    if !left && kept.is_ok() {
        record.finish()?;
    }
    done.and(kept)
}

/// Finishes what a command that was killed has begun with a function of a domain that is there: one that
/// both kernels were told of is the domain's, any other one is not. Gives whether it is the domain's.
///
/// # Errors
/// Nothing is known of it then.
pub fn finish(
    bdf: Bdf,
    domid: Domid,
    detach: bool,
    xen: &Xen,
    store: &mut Client,
) -> Result<bool, CommandError> {
    let mut host = device::Host::undisturbed(store);
    let listed = pci::list(host.store, domid)?.iter().any(|one| one.bdf == bdf);
    match (listed, detach) {
        (true, false) => return Ok(true),
        (true, true) => match pci::detach(xen, domid, bdf, &mut host) {
            // The guest was asked, and may keep it.
            Err(DeviceError::Pci(PciError::GuestSilent { .. })) => return Ok(true),
            done => done?,
        },
        (false, _) => pci::withdraw(xen, domid, bdf, &mut host)?,
    }
    Ok(false)
}

/// What these descriptions mean on this host, checked; those to be seized are set aside.
///
/// # Errors
/// [`CommandError::Pci`] says what is in the way; what was seized before stays set aside.
pub fn wanted_of(
    wanted: &[Pci],
    taker: Taker,
    xen: &Xen,
    store: &mut Client,
) -> Result<Vec<Given>, CommandError> {
    let mut host = Host { xen, store, sysfs: Sysfs::default() };
    let given = pci::functions(wanted, &mut host)?;
    pci::check(&given, taker, &mut host)?;
    Ok(given)
}

/// What the configuration of a domain that was just made names.
pub struct Configured<'a> {
    /// Descriptions.
    pub wanted: &'a [Pci],
    /// The domain.
    pub who: (Domid, Uuid),
    /// For tests: where to stop.
    pub stop_at: Option<usize>,
}

/// Gives a domain that was just made what its configuration names.
///
/// # Errors
/// As [`give`].
pub fn give_configured(
    configured: &Configured<'_>,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<(), CommandError> {
    let _pci = state.lock(Subject::PciDevices, |text| tell(text))?;
    if signals.seen() {
        return Err(CommandError::Interrupted);
    }
    let Configured { wanted, who: (domid, uuid), stop_at } = *configured;
    let given = wanted_of(wanted, Taker::Existing(domid), xen, store)?;
    give(&given, domid, xen, store, signals, stop_at)?;
    // What libxl keeps of it names functions; ours is the configuration itself.
    Ok(userdata::set_pci(domid, uuid, &pci::list(store, domid)?)?)
}

/// Gives functions to a domain, which runs or not; `stop_at` is for tests.
///
/// # Errors
/// Nothing is given then; functions that were seized for it stay set aside.
pub fn give(
    given: &[Given],
    domid: Domid,
    xen: &Xen,
    store: &mut Client,
    signals: &Signals,
    stop_at: Option<usize>,
) -> Result<(), CommandError> {
    let name = store.read_text_optional(domain::name_path(domid))?.unwrap_or_default();
    let mut host = Host { xen, store: &mut *store, sysfs: Sysfs::default() };
    pci::seize(given, &mut host)?;
    let mut host = device::Host::new(store, Some(signals.came()));
    let mut reached = |point| stop_if(stop_at, point);
    match pci::attach(xen, domid, &name, given, &mut host, &mut reached) {
        Err(error) if error.is_interrupted() => Err(CommandError::Interrupted),
        attached => Ok(attached?),
    }
}

/// Runs `pci-detach`.
pub fn detach(arguments: &PciDetachArgs) -> Result<(), CommandError> {
    let (xen, mut store, state) = (Xen::open()?, Client::connect()?, State::open()?);
    let (info, _lock) = domain::find_and_lock(&xen, &mut store, &state, &arguments.domain)?;
    check_guest(&info)?;
    let signals = Signals::take()?;
    let _pci = state.lock(Subject::PciDevices, |text| tell(text))?;
    signals.hold();
    let domid = info.domid;
    let mut host = Host { xen: &xen, store: &mut store, sysfs: Sysfs::default() };
    let bdfs = match parse(&arguments.device).map(|pci| pci.which) {
        Ok(Which::Address(address)) if address.function == Function::All => {
            let first = address.at(0);
            let given = pci::list(host.store, domid)?.into_iter().map(|one| one.bdf);
            let all: Vec<_> = given.filter(|bdf| bdf.same_device(first)).collect();
            if all.is_empty() {
                return Err(PciError::NotGiven { bdf: first, domid: domid.0 }.into());
            }
            all
        }
        _ => vec![address_or_name(&mut host, &arguments.device)?],
    };
    let record = recorded(&info, bdfs.clone(), Some(Force::Asked), &mut store)?;
    let record = state.record(record)?;
    let mut host = device::Host::new(&mut store, Some(signals.came()));
    let done = bdfs.into_iter().try_for_each(|bdf| pci::detach(&xen, domid, bdf, &mut host));
    end(record, done.map_err(CommandError::from), &info, &mut store, &state)
}

/// Runs `pci-list`.
pub fn list(arguments: &PciListArgs) -> Result<(), CommandError> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    let listed = pci::list(&mut store, info.domid)?;
    if arguments.json {
        let row = |one: &pci::Listed| {
            let at = one.virtual_devfn.map(|devfn| format!("{:02x}.{:x}", devfn >> 3, devfn & 7));
            json!({ "address": one.bdf.to_string(), "virtual_slot": at })
        };
        return print_json(&Value::Array(listed.iter().map(row).collect()));
    }
    print(devices_table(&listed).as_bytes())
}

/// Whether a domain can have PCI devices at all.
fn check_guest(info: &DomainInfo) -> Result<(), CommandError> {
    if info.domid == Domid::DOM0 {
        return Err(CommandError::Dom0 { hint: "; it drives what is not given away" });
    }
    if info.hvm {
        return Err(PciError::NotPv { domid: info.domid.0 }.into());
    }
    Ok(())
}
