//! The common part of `block-list` and `network-list`: the devices of one kind, of several domains.

use super::error::{CommandError, chain};
use super::{domain, print, print_json, tell};
use crate::cli::DeviceListArgs;
use libxc_safe::Xen;
use serde::Serialize;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Lists what `devices` finds in each domain. One that is not there fails the command, and the others are
/// listed all the same, as by xl.
pub fn run<R: Serialize>(
    arguments: &DeviceListArgs,
    devices: impl Fn(Domid, &mut Client) -> Result<Vec<R>, CommandError>,
    table: impl Fn(&[R]) -> String,
) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let mut rows = Vec::new();
    let mut failed = None;
    for given in &arguments.domains {
        match domain::find(&xen, &mut store, given) {
            Ok(info) => rows.extend(devices(info.domid, &mut store)?),
            Err(error) => {
                if let Some(error) = failed.replace(error) {
                    tell(chain(&error));
                }
            }
        }
    }
    match arguments.json {
        true => print_json(&serde_json::to_value(&rows).unwrap_or_default())?,
        false => print(table(&rows).as_bytes())?,
    }
    failed.map_or(Ok(()), Err)
}
