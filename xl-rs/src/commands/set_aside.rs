//! A dead domain is kept under another name and UUID, so that a new one can have its own.
//!
//! In: a domain that has ended, under its lock. Out: the same with a name that tells when it ended, in
//! the hypervisor, in xenstore and in what is kept of it, and without its devices, which the new one
//! gets. A command that is killed on the way leaves a record, and the next one goes on from there.

use super::build::Halts;
use super::devices::take_down;
use super::error::CommandError;
use super::remove::{domain_uuid, removal};
use super::{domain, tell};
use crate::device::{DeviceError, list};
use crate::state::record::{Held, Phase, Record};
use crate::state::{State, StateError, userdata};
use domain_builder::undo::{DestroyError, Identity, Seen};
use jiff::Timestamp;
use libxc_safe::Xen;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};
use xenstore::{Access, Permissions};

/// Gives a dead domain another name and UUID, so that a new one can have its own. It is recorded
/// first: what a command that is killed leaves half done is for the next one.
pub fn set_aside(
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    halts: Halts,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    if domain_uuid(xen, domid)? != Some(identity.uuid) {
        return Err(DestroyError::Another { domid }.into());
    }
    let name = store.read_text_optional(domain::name_path(domid))?.unwrap_or_default();
    let new = Uuid::new_v4();
    // Some may be of a kind that only xl can take down: told before anything is done.
    list::devices(domid, store)?.all(domid)?;
    let held = state.record(Record {
        phase: Phase::SettingAside,
        name: format!("{name}{}", suffix(Timestamp::now(), domid)),
        aside: Some(new),
        ..removal(identity, 0)
    })?;
    if let Err(error) = give_uuid(identity, new, xen, store, state, halts) {
        // The record stays if that fails, and the next command does it.
        let _ = state.forget(domid.0, new).and_then(|()| held.finish());
        return Err(error);
    }
    halts.stop_restart(1);
    name_aside(&held.record, new, store, state)?;
    Ok(held.finish()?)
}

/// Takes the devices away and gives the UUID: until it has that the domain is not set aside.
fn give_uuid(
    identity: &Identity,
    new: Uuid,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    halts: Halts,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    // Before the domain has the UUID, for who is killed in between.
    state.save(domid.0, &state.saved(domid.0, Uuid::from_bytes(identity.uuid))?.of_uuid(new))?;
    halts.stop_restart(3);
    // The new domain gets its disks, which only one can write to.
    if let Some(&device) = take_down(identity, xen, store)?.first() {
        return Err(DeviceError::Remains { device }.into());
    }
    Ok(xen.set_uuid(domid, new.into_bytes())?)
}

/// Finishes what a command was killed at that set a domain aside. One that still has its old UUID
/// stays what it was, a domain that has ended, but without devices: some may have been taken away.
pub fn finish_aside(
    state: &State,
    held: Held,
    xen: &Xen,
    store: &mut Client,
) -> Result<(), CommandError> {
    let record = &held.record;
    if let (Some(domid), Some(new)) = (record.domid.map(Domid), record.aside) {
        let marked = Seen::of(store, domid)?.generation == record.generation;
        let uuid = domain_uuid(xen, domid)?.filter(|_| marked).map(Uuid::from_bytes);
        if uuid == Some(new) {
            name_aside(record, new, store, state)?;
        } else {
            let (own, generation) = (record.uuid.into_bytes(), record.generation);
            let identity = Identity { domid, uuid: own, generation };
            if uuid == Some(record.uuid)
                && let Some(&device) = take_down(&identity, xen, store)?.first()
            {
                return Err(DeviceError::Remains { device }.into());
            }
            state.forget(domid.0, new)?;
        }
    }
    Ok(held.finish()?)
}

/// Nodes and files of a domain that has another UUID already. May be done again.
fn name_aside(
    record: &Record,
    new: Uuid,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let (old, name) = (record.uuid, record.name.as_str());
    let domid = Domid(record.domid.unwrap_or_default());
    let root = format!("/local/domain/{domid}");
    let vm = format!("/vm/{new}");
    let old_vm = format!("/vm/{old}");
    let access = Permissions::private(Domid::DOM0).grant(domid, Access::Read);
    store.transaction(|transaction| {
        transaction.write(&vm, "")?;
        transaction.set_perms(&vm, &access)?;
        transaction.write(format!("{vm}/uuid"), new.to_string())?;
        transaction.write(format!("{vm}/name"), name)?;
        transaction.write(format!("{root}/vm"), vm.as_str())?;
        transaction.write(format!("{root}/name"), name)?;
        // Whoever has the UUID next writes this anew.
        match transaction.rm(&old_vm) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    })?;
    // As long as the domain had its old UUID this belonged to none, and may have been taken away.
    match state.saved(domid.0, old) {
        Ok(saved) => state.save(domid.0, &saved.of_uuid(new))?,
        Err(StateError::NotSaved { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    tell(format_args!("Domain {domid} is preserved as {name}; xlr destroy {domid} removes it"));
    userdata::rename(domid.0, old, new)?;
    Ok(state.forget(domid.0, old)?)
}

/// What a preserved domain has behind its name: the time, as xl writes it, and its number, which
/// tells it from all others of the same minute.
fn suffix(now: Timestamp, domid: Domid) -> String {
    format!("{}-{domid}", now.strftime("-%Y%m%dT%H%MZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_have_one_suffix() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        assert_eq!(suffix(now, Domid(8)), "-20260304T0506Z-8");
        assert_ne!(suffix(now, Domid(8)), suffix(now, Domid(9)));
    }
}
