//! Who a domain is, and how it is taken down with everything that is kept of it.
//!
//! In: a domain, under its lock. Out: nothing of it, or a record for the next command. Never touches a
//! domain that is not the one that was meant.

use super::build::{finish, forget};
use super::devices::take_down;
use super::error::CommandError;
use crate::device::{DeviceError, list};
use crate::state::State;
use crate::state::record::{Phase, Record};
use domain_builder::undo::{self, DestroyError, Identity, Leftover, Seen};
use libxc_safe::{DomainInfo, Xen};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Forgets what is kept of domains that are gone.
pub fn prune(xen: &Xen, state: &State) -> Result<(), CommandError> {
    state.prune(|| -> Result<_, CommandError> {
        let domains = xen.domains()?;
        Ok(domains.iter().map(|info| (info.domid.0, Uuid::from_bytes(info.uuid))).collect())
    })
}

/// Who a domain is, with its creation where xlr made it.
pub fn identify(store: &mut Client, info: &DomainInfo) -> Result<(Identity, bool), CommandError> {
    let seen = Seen::of(store, info.domid)?;
    let generation = seen.generation;
    Ok((Identity { domid: info.domid, uuid: info.uuid, generation }, seen.ours))
}

/// Destroys a domain and removes everything that is kept of it. It is recorded first: what cannot be
/// removed, and what a command that is killed leaves, is for the next one.
pub fn remove(
    xen: &Xen,
    store: &mut Client,
    state: &State,
    identity: &Identity,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    let (what, has_devices) = undo::destroyable(xen, store, identity)?;
    if has_devices {
        // Some may be of a kind that only xl can take down: told before anything is done.
        list::devices(domid, store)?.all(domid)?;
    }
    let held = state.record(removal(identity, what.console_domid))?;
    // Where that fails all stays, and so does the record.
    let devices = if has_devices { take_down(identity, xen, store)? } else { Vec::new() };
    let left = undo::remove(xen, store, &what);
    forget(state, domid.0, Uuid::from_bytes(identity.uuid));
    let devices_left = devices.first().copied();
    finish(held, devices, &left);
    match devices_left {
        _ if !left.is_empty() => Err(DestroyError::Left { domid, left }.into()),
        Some(device) => Err(DeviceError::Remains { device }.into()),
        None => Ok(()),
    }
}

/// The record of a removal.
pub fn removal(identity: &Identity, console_domid: u16) -> Record {
    Record {
        phase: Phase::Removing,
        name: String::new(),
        uuid: Uuid::from_bytes(identity.uuid),
        generation: identity.generation,
        domid: Some(identity.domid.0),
        console_domid,
        brought: Vec::new(),
        aside: None,
        devices: Vec::new(),
        detach: None,
        description: None,
        functions: Vec::new(),
    }
}

/// What a record says there may be.
pub fn leftover(record: &Record, domid: Domid) -> Leftover {
    Leftover {
        domid,
        uuid: record.uuid.into_bytes(),
        console_domid: record.console_domid,
        brought: record.brought.clone(),
    }
}

/// The UUID of the domain that has this number now.
pub fn domain_uuid(xen: &Xen, domid: Domid) -> Result<Option<[u8; 16]>, CommandError> {
    Ok(xen.domain_info(domid)?.map(|info| info.uuid))
}
