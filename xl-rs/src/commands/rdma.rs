//! `rdma list`, `rdma attach`, `rdma detach`, `rdma stats`: the InfiniBand devices of domains.

use super::error::CommandError;
use super::hot::Hot;
use super::{domain, kept_devices, print, print_json};
use crate::cli::{RdmaArgs, RdmaAttachArgs, RdmaDetachArgs, RdmaListArgs, RdmaVerb};
use crate::config::device::rdma::{Rdma, parse};
use crate::device::list::{devices_of, texts};
use crate::device::rdma::{adapters, stats as served};
use crate::device::{DeviceError, Kind};
use crate::output::rdma::{RdmaRow, stats_table, table};
use libxc_safe::Xen;
use serde::Serialize;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Runs `rdma`.
pub fn run(arguments: &RdmaArgs) -> Result<(), CommandError> {
    match &arguments.verb {
        RdmaVerb::List(arguments) => list(arguments),
        RdmaVerb::Attach(arguments) => attach(arguments),
        RdmaVerb::Detach(arguments) => detach(arguments),
        RdmaVerb::Stats(arguments) => stats(arguments),
    }
}

fn attach(arguments: &RdmaAttachArgs) -> Result<(), CommandError> {
    let text = arguments.description.join(",");
    let wanted = parse(&text).map_err(|error| CommandError::BadDevice {
        what: format!("rdma {text:?}: {}", error.message),
        help: error.help.to_owned(),
    })?;
    let mut hot = Hot::open(&arguments.domain)?;
    let domid = hot.domid();
    let devid = match wanted.devid {
        Some(devid) => devid,
        None => free(domid, &mut hot.store)?,
    };
    let wanted = Rdma { devid: Some(devid), ..wanted };
    for mut adapter in adapters(std::slice::from_ref(&wanted)) {
        hot.attach(&mut adapter, arguments.stop_at)?;
    }
    Ok(kept_devices::add_rdma(domid, hot.uuid(), &wanted, hot.state())?)
}

/// The number after the largest that there is.
fn free(domid: Domid, store: &mut Client) -> Result<u32, DeviceError> {
    let addresses = devices_of(Kind::Rdma, domid, store)?;
    let largest = addresses.iter().map(|address| address.devid).max();
    Ok(largest.map_or(0, |devid| devid.saturating_add(1)))
}

fn detach(arguments: &RdmaDetachArgs) -> Result<(), CommandError> {
    let mut hot = Hot::open(&arguments.domain)?;
    let (domid, devid) = (hot.domid(), arguments.devid);
    let address = hot.find(Kind::Rdma, devid)?.ok_or_else(|| CommandError::NoDevice {
        domid: domid.0,
        what: format!("InfiniBand device {devid}"),
    })?;
    hot.detach(&address, arguments.force)?;
    Ok(kept_devices::remove_rdma(domid, hot.uuid(), devid, hot.state())?)
}

fn list(arguments: &RdmaListArgs) -> Result<(), CommandError> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let mut rows = Vec::new();
    for domid in meant(&arguments.domains, &xen, &mut store)? {
        rows.extend(devices(domid, &mut store)?);
    }
    show(&rows, arguments.json, table)
}

fn stats(arguments: &RdmaListArgs) -> Result<(), CommandError> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let domids = meant(&arguments.domains, &xen, &mut store)?;
    let mut rows = served().map_err(DeviceError::from)?;
    rows.retain(|row| domids.contains(&Domid(row.domid)));
    rows.sort_by_key(|row| (row.domid, row.devid));
    show(&rows, arguments.json, stats_table)
}

fn show<R: Serialize>(
    rows: &[R],
    json: bool,
    table: impl Fn(&[R]) -> String,
) -> Result<(), CommandError> {
    match json {
        true => print_json(&serde_json::to_value(rows).unwrap_or_default()),
        false => print(table(rows).as_bytes()),
    }
}

/// The domains that are named, or all guests.
fn meant(given: &[String], xen: &Xen, store: &mut Client) -> Result<Vec<Domid>, CommandError> {
    if given.is_empty() {
        let domains = xen.domains()?.into_iter().map(|info| info.domid);
        return Ok(domains.filter(|domid| *domid != Domid::DOM0).collect());
    }
    given.iter().map(|given| Ok(domain::find(xen, store, given)?.domid)).collect()
}

/// What the toolstack's own copy says of a domain's devices, and how far the backend is.
fn devices(domid: Domid, store: &mut Client) -> Result<Vec<RdmaRow>, CommandError> {
    const OWN: [&str; 5] = ["backend-device", "pages", "qps", "cqs", "mrs"];
    let addresses = devices_of(Kind::Rdma, domid, store)?;
    let mut paths = Vec::new();
    for address in &addresses {
        paths.extend(OWN.map(|node| format!("{}/{node}", address.libxl_path())));
        paths.push(format!("{}/state", address.backend_path()));
    }
    let values = texts(paths, store)?;
    let row = |(address, values): (&crate::device::Address, &[Option<String>])| {
        let text = |at: usize| values.get(at).cloned().flatten();
        let number = |at: usize| text(at).and_then(|text| text.parse().ok());
        RdmaRow {
            domid: domid.0,
            devid: address.devid,
            backend_domid: address.backend.0,
            device: text(0),
            pages: number(1),
            qps: number(2),
            cqs: number(3),
            mrs: number(4),
            backend_state: text(5).and_then(|text| text.parse().ok()),
            backend_path: address.backend_path(),
        }
    };
    Ok(addresses.iter().zip(values.chunks(OWN.len() + 1)).map(row).collect())
}
