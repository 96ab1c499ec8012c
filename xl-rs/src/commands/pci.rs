//! `pci list`, `pci-assignable-add`, `-remove` and `-list`: the PCI devices of this host, and which of
//! them are set aside for guests.

use super::error::CommandError;
use super::{print, print_json, tell};
use crate::cli::{
    PciArgs, PciAssignableAddArgs, PciAssignableListArgs, PciAssignableRemoveArgs, PciDevicesArgs,
    PciVerb, program,
};
use crate::config::device::pci::{self as description, Pci, Which};
use crate::output::pci::{PciRow, table};
use crate::pci::assignable::{Added, Host, Removed};
use crate::pci::names::Names;
use crate::pci::{Bdf, PciError, Sysfs, notes};
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::Xen;
use serde_json::{Value, json};
use xenstore::client::Client;

/// Runs `pci`.
pub fn run(arguments: &PciArgs) -> Result<(), CommandError> {
    match arguments.verb {
        PciVerb::List(arguments) => devices(arguments),
    }
}

fn devices(arguments: PciDevicesArgs) -> Result<(), CommandError> {
    let (sysfs, names) = (Sysfs::default(), Names::read());
    let owners = notes::owners(&Xen::open()?, &mut Client::connect()?)?;
    let mut rows = Vec::new();
    for bdf in sysfs.all()? {
        let function = match sysfs.function(bdf) {
            // Gone since the list was read.
            Err(PciError::NoSuchDevice { .. }) => continue,
            function => function?,
        };
        if !arguments.rdma || function.is_adapter() {
            rows.push(PciRow::new(function, &names, owners.get(&bdf).copied()));
        }
    }
    if arguments.json {
        return print_json(&serde_json::to_value(rows).unwrap_or_default());
    }
    print(table(&rows).as_bytes())
}

/// Runs `pci-assignable-add`.
pub fn add(arguments: &PciAssignableAddArgs) -> Result<(), CommandError> {
    let Which::Address(address) = parse(&arguments.device)?.which else {
        return Err(not_one(&arguments.device));
    };
    let bdf = address.one().ok_or_else(|| not_one(&arguments.device))?;
    let (xen, mut store, state) = (Xen::open()?, Client::connect()?, State::open()?);
    let _lock = state.lock(Subject::PciDevices, |text| tell(text))?;
    let mut host = Host { xen: &xen, store: &mut store, sysfs: Sysfs::default() };
    match host.add(bdf, arguments.name.as_deref())? {
        Added::From(driver) => tracing::info!(%bdf, driver, "set aside"),
        Added::Driverless => tracing::info!(%bdf, "set aside; no driver had it"),
        Added::Before => warn(format_args!("PCI device {bdf} was set aside for guests before")),
    }
    Ok(())
}

/// Runs `pci-assignable-remove`.
pub fn remove(arguments: &PciAssignableRemoveArgs) -> Result<(), CommandError> {
    let (xen, mut store, state) = (Xen::open()?, Client::connect()?, State::open()?);
    let _lock = state.lock(Subject::PciDevices, |text| tell(text))?;
    let mut host = Host { xen: &xen, store: &mut store, sysfs: Sysfs::default() };
    let bdf = address_or_name(&mut host, &arguments.device)?;
    match host.remove(bdf, arguments.rebind)? {
        Removed::To(driver) => tracing::info!(%bdf, driver, "given back"),
        Removed::Driverless if arguments.rebind => warn(format_args!(
            "PCI device {bdf} is no longer set aside, and no driver of this host took it"
        )),
        Removed::Driverless => {}
    }
    Ok(())
}

/// Runs `pci-assignable-list`.
pub fn list(arguments: &PciAssignableListArgs) -> Result<(), CommandError> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let sysfs = Sysfs::default();
    if !sysfs.has_pciback() {
        warn(format_args!(
            "the kernel module xen-pciback is not loaded, which holds devices for guests; load it \
             with: modprobe xen-pciback"
        ));
    }
    let found = Host { xen: &xen, store: &mut store, sysfs }.assignable()?;
    if arguments.json {
        let row = |one: &crate::pci::assignable::Assignable| json!({ "address": one.bdf.to_string(), "name": one.name });
        return print_json(&Value::Array(found.iter().map(row).collect()));
    }
    let line = |one: &crate::pci::assignable::Assignable| match &one.name {
        Some(name) if arguments.show_names => format!("{} {name}\n", one.bdf),
        _ => format!("{}\n", one.bdf),
    };
    print(found.iter().map(line).collect::<String>().as_bytes())
}

/// The function that an address, or a name, means.
pub(super) fn address_or_name(host: &mut Host<'_>, text: &str) -> Result<Bdf, CommandError> {
    match parse(text).map(|pci| pci.which) {
        Ok(Which::Address(address)) => address.one().ok_or_else(|| not_one(text)),
        Ok(Which::Name(name)) => Ok(host.by_name(&name)?),
        // A name may hold anything but what makes it an address.
        Err(error) => host.by_name(text).map_err(|unknown| match unknown {
            PciError::NoSuchName { .. } if text.contains([':', '.']) => error,
            unknown => unknown.into(),
        }),
    }
}

/// Reads a description.
pub(super) fn parse(text: &str) -> Result<Pci, CommandError> {
    let wrong = |error: crate::config::device::SpecError| {
        let (problem, help) = (error.message, error.help);
        PciError::NotADevice { text: text.to_owned(), problem, help }
    };
    Ok(description::parse(text).map_err(wrong)?)
}

fn not_one(text: &str) -> CommandError {
    PciError::OneFunction { text: text.to_owned() }.into()
}

fn warn(text: std::fmt::Arguments<'_>) {
    tell(format_args!("{}: warning: {text}", program::name()));
}
