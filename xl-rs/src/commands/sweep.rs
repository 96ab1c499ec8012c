//! Finishes what commands that were killed, or could not reach xenstored, have left.
//!
//! In: the records that nobody holds. Out: no domain, no node and no file of theirs, and no record.
//! A domain that runs is left alone, unless its record says that it is to go: its create was
//! complete. So is one whose marker names another creation.

use super::build;
use super::end::leftover;
use super::error::{CommandError, chain};
use super::tell;
use crate::cli::program;
use crate::state::record::{Held, Phase};
use crate::state::{State, userdata};
use domain_builder::undo::{self, Identity, Seen};
use libxc_safe::{DomainInfo, Xen};
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Finishes what can be finished. Never fails the command that comes after: what is left stays
/// recorded, and is told.
pub fn sweep() {
    let swept = match State::existing() {
        Ok(Some(state)) => sweep_state(&state),
        Ok(None) => return,
        // Not root: the command itself will say so where it matters.
        Err(error) if error.is_denied() => return,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = swept {
        tell(format_args!("{}: warning: {}", program::name(), chain(&error)));
    }
}

fn sweep_state(state: &State) -> Result<(), CommandError> {
    state.sweep_locks()?;
    for path in state.cut_short()? {
        build::tell_kept(&path);
    }
    let abandoned = state.abandoned()?;
    if abandoned.is_empty() {
        return Ok(());
    }
    let xen = Xen::open()?;
    let mut store = Client::connect();
    let mut result = Ok(());
    for held in abandoned {
        let swept = match &mut store {
            Ok(store) => finish(state, held, &xen, store),
            Err(_) => without_store(held, &xen),
        };
        result = result.and(swept);
    }
    result
}

fn finish(state: &State, held: Held, xen: &Xen, store: &mut Client) -> Result<(), CommandError> {
    let there = find(&held, xen)?;
    let known = held.record.domid.map(Domid);
    let Some(domid) = there.as_ref().map(|info| info.domid).or(known) else {
        // Killed before the domain was there.
        return Ok(held.finish()?);
    };
    let seen = Seen::of(store, domid)?;
    let same = held.record.generation.is_none_or(|own| seen.may_be(own));
    let settled = there.as_ref().is_some_and(|info| stands(&held, info));
    if !same || settled {
        return Ok(held.finish()?);
    }
    let left = undo::remove(xen, store, &leftover(&held.record, domid));
    if left.is_empty() {
        let name = &held.record.name;
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        tell(format_args!("Removed what was left of domain {domid}{name}"));
    }
    build::forget(state, domid.0, held.record.uuid);
    build::finish(held, &left);
    Ok(())
}

/// The domain of a record, if it exists.
fn find(held: &Held, xen: &Xen) -> Result<Option<DomainInfo>, CommandError> {
    let uuid = held.record.uuid.into_bytes();
    Ok(match held.record.domid {
        Some(domid) => xen.domain_info(Domid(domid))?.filter(|info| info.uuid == uuid),
        None => xen.domains()?.into_iter().find(|info| info.uuid == uuid),
    })
}

/// Whether the domain has been let run, and so its create was complete.
fn stands(held: &Held, info: &DomainInfo) -> bool {
    let began = !info.paused || info.cpu_time_ns > 0;
    held.record.phase == Phase::Making && began && !info.dying
}

/// Frees at least the memory. The nodes stay, and so does the record.
fn without_store(mut held: Held, xen: &Xen) -> Result<(), CommandError> {
    let Some(info) = find(&held, xen)? else { return Ok(()) };
    // Without a domid its marker would have to tell that it is the one.
    if held.record.domid.is_none() || stands(&held, &info) {
        return Ok(());
    }
    held.update(|record| record.phase = Phase::Removing)?;
    let identity = Identity { domid: info.domid, uuid: info.uuid, generation: None };
    undo::destroy_without_store(xen, &identity)?;
    Ok(userdata::remove_all(info.domid.0, held.record.uuid)?)
}
