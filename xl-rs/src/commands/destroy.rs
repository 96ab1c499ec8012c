//! `destroy`: end a domain at once.

use super::error::CommandError;
use super::signals::Signals;
use super::{domain, remove, tell};
use crate::cli::DestroyArgs;
use crate::cli::number::digits;
use crate::config::load;
use crate::state::lock::Subject;
use crate::state::{State, StateError};
use domain_builder::undo::{self, Identity};
use libxc_safe::{DomainInfo, Xen};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &DestroyArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = match Client::connect() {
        Ok(store) => store,
        Err(error) => return without_store(&xen, &arguments.domain, error),
    };
    spare_dom0(&domain::find(&xen, &mut store, &arguments.domain)?)?;
    let state = State::open()?;
    let (info, _lock) = domain::find_and_lock(&xen, &mut store, &state, &arguments.domain)?;
    spare_dom0(&info)?;
    // What a create under way has mapped keeps a destroyed domain's memory from being freed.
    state.await_end(Subject::Uuid(Uuid::from_bytes(info.uuid)), |text| tell(text))?;
    let (identity, _) = remove::identify(&mut store, &info)?;
    // What is begun is finished; what a SIGKILL leaves is recorded.
    let signals = Signals::take()?;
    signals.hold();
    remove::remove(&xen, &mut store, &state, &identity)?;
    remove::prune(&xen, &state)
}

// Xen would refuse it as well: -f changes nothing, and is taken because xl's scripts pass it.
fn spare_dom0(info: &DomainInfo) -> Result<(), CommandError> {
    match info.domid {
        Domid::DOM0 => Err(CommandError::Dom0 { hint: "; shut the host down in the usual way" }),
        _ => Ok(()),
    }
}

/// Where xenstored cannot be reached: a domain that xlr made can be destroyed, if its number is given;
/// its nodes, which say what its devices hold, are removed later, and so is that.
fn without_store(
    xen: &Xen,
    given: &str,
    unreachable: xenstore::client::Error,
) -> Result<(), CommandError> {
    let Some(domid) = digits(given) else { return Err(unreachable.into()) };
    let info = xen.domain_info(Domid(domid))?.ok_or(CommandError::NoSuchDomid { domid })?;
    spare_dom0(&info)?;
    let state = State::open()?;
    let _lock = state.lock(Subject::Domain(domid), |text| tell(text))?;
    let uuid = Uuid::from_bytes(info.uuid);
    let saved = match state.saved(domid, uuid) {
        Ok(saved) => saved,
        Err(StateError::NotSaved { .. }) => return Err(unreachable.into()),
        Err(error) => return Err(error.into()),
    };
    let generation = Some(saved.generation);
    // Where the configuration cannot be read any more, nothing is promised.
    let config = load(saved.sources()).config;
    let has_devices = config.is_none_or(|config| !config.devices.is_empty());
    let identity = Identity { domid: info.domid, uuid: info.uuid, generation };
    // Noted first: killed in between, the next command destroys it.
    let held = state.record(remove::removal(&identity, 0))?;
    if let Err(error) = undo::destroy_without_store(xen, &identity) {
        held.finish()?;
        return Err(error.into());
    }
    super::build::forget(&state, domid, uuid);
    let devices = match has_devices {
        true => ", and what its devices need is still held (loop devices, interfaces, PCI devices)",
        false => "",
    };
    tell(format_args!(
        "Domain {domid} is destroyed. Its nodes are still in xenstore, which cannot be reached\
         {devices}; recorded: the next create, destroy or the like that reaches it removes them"
    ));
    Ok(())
}
