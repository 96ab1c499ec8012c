//! `block-attach`, `block-detach`, `block-list`: the disks of a domain while it is there.
//!
//! What is begun is recorded first: a device that a command which was killed has left half attached or
//! half detached goes with the next command.

use super::device_list;
use super::error::CommandError;
use super::hot::Hot;
use super::kept_devices;
use crate::cli::{BlockAttachArgs, BlockDetachArgs, DeviceListArgs};
use crate::config::device::disk;
use crate::device::disk::{Disk, DiskSpec};
use crate::device::list::{Frontend, devices_of, frontends};
use crate::device::{Kind, vdev};
use crate::output::disks::{DiskRow, table};
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Runs `block-attach`.
pub fn attach(arguments: &BlockAttachArgs) -> Result<(), CommandError> {
    let text = arguments.description();
    let wrong = |what: String, help: &str| CommandError::BadDevice {
        what: format!("disk {text:?}: {what}"),
        help: help.to_owned(),
    };
    let parsed = disk::parse(&text).map_err(|error| wrong(error.to_string(), error.help))?;
    let spec = DiskSpec::of(&parsed).map_err(|error| wrong(error.message, error.help))?;
    let mut plan = Disk::new(spec.clone());
    plan.check()?;
    let mut hot = Hot::open(&arguments.domain)?;
    hot.attach(&mut plan, arguments.stop_at)?;
    kept_devices::add_disk(hot.domid(), hot.uuid(), &spec, hot.state())
}

/// Runs `block-detach`.
pub fn detach(arguments: &BlockDetachArgs) -> Result<(), CommandError> {
    let mut hot = Hot::open(&arguments.domain)?;
    let missing = || CommandError::NoDevice {
        domid: hot.domid().0,
        what: format!("disk {}", crate::printable::line(&arguments.disk)),
    };
    let devid = vdev::number(&arguments.disk).ok_or_else(missing)?;
    let missing = missing();
    let address = hot.find(Kind::Vbd, devid)?.ok_or(missing)?;
    hot.detach(&address, arguments.force)?;
    kept_devices::remove_disk(hot.domid(), hot.uuid(), devid, hot.state())
}

/// Runs `block-list`.
pub fn list(arguments: &DeviceListArgs) -> Result<(), CommandError> {
    device_list::run(arguments, disks, table)
}

fn disks(domid: Domid, store: &mut Client) -> Result<Vec<DiskRow>, CommandError> {
    let devices = devices_of(Kind::Vbd, domid, store)?;
    let nodes = ["params", "mode", "dev"];
    let rows = frontends(&devices, &nodes, store)?;
    Ok(devices
        .iter()
        .zip(rows)
        .map(|(address, frontend)| {
            let Frontend { state, event_channel, ring_ref, mut own } = frontend;
            let vdev = own.pop().flatten().unwrap_or_else(|| vdev::name(address.devid));
            let read_only = own.pop().flatten().is_some_and(|mode| !mode.contains('w'));
            DiskRow {
                domid: domid.0,
                vdev,
                devid: address.devid,
                backend_domid: address.backend.0,
                target: own.pop().flatten(),
                read_only,
                state,
                event_channel,
                ring_ref,
                backend_path: address.backend_path(),
            }
        })
        .collect())
}
