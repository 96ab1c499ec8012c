//! `pci-attach`, `pci-detach`, `pci-list`: the PCI devices of a domain.

use super::error::CommandError;
use super::pci::{address_or_name, parse};
use super::signals::Signals;
use super::{domain, print, print_json, tell};
use crate::cli::{PciAttachArgs, PciDetachArgs, PciListArgs};
use crate::config::device::pci::{Function, Pci, Which};
use crate::device;
use crate::device::pci::{self, Given, Taker};
use crate::output::pci::devices_table;
use crate::pci::assignable::Host;
use crate::pci::{PciError, Sysfs};
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::{DomainInfo, Xen};
use serde_json::{Value, json};
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
    give(&given, info.domid, &xen, &mut store, &signals)
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

/// Gives a domain that was just made what its configuration names.
///
/// # Errors
/// As [`give`].
pub fn give_configured(
    wanted: &[Pci],
    domid: Domid,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<(), CommandError> {
    let _pci = state.lock(Subject::PciDevices, |text| tell(text))?;
    if signals.seen() {
        return Err(CommandError::Interrupted);
    }
    let given = wanted_of(wanted, Taker::Existing(domid), xen, store)?;
    give(&given, domid, xen, store, signals)
}

/// Gives functions to a domain, which runs or not.
///
/// # Errors
/// Nothing is given then; functions that were seized for it stay set aside.
pub fn give(
    given: &[Given],
    domid: Domid,
    xen: &Xen,
    store: &mut Client,
    signals: &Signals,
) -> Result<(), CommandError> {
    let name = store.read_text_optional(domain::name_path(domid))?.unwrap_or_default();
    let mut host = Host { xen, store: &mut *store, sysfs: Sysfs::default() };
    pci::seize(given, &mut host)?;
    let mut host = device::Host::new(store, Some(signals.came()));
    match pci::attach(xen, domid, &name, given, &mut host) {
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
    let mut host = device::Host::new(&mut store, Some(signals.came()));
    for bdf in bdfs {
        pci::detach(&xen, domid, bdf, &mut host)?;
    }
    Ok(())
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
