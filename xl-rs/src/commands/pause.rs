//! `pause` and `unpause`.

use super::error::CommandError;
use super::{domain, tell};
use crate::cli::DomainArg;
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::Xen;
use uuid::Uuid;
use xenstore::client::Client;

/// Stops the domain's vcpus.
pub fn pause(arguments: &DomainArg) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let info = domain::find(&xen, &mut Client::connect()?, &arguments.domain)?;
    if info.domid.0 == 0 {
        return Err(CommandError::Dom0 { hint: "" });
    }
    Ok(xen.pause(info.domid)?)
}

/// Lets the domain's vcpus run.
pub fn unpause(arguments: &DomainArg) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    // Whoever makes it may still have its pages mapped, of which it can then make no page tables.
    let state = State::open()?;
    let _uuid = state.lock(Subject::Uuid(Uuid::from_bytes(info.uuid)), |text| tell(text))?;
    let domid = info.domid.0;
    let info = domain::again(&xen, &info)?.ok_or(CommandError::NoSuchDomid { domid })?;
    if !info.paused {
        return Err(CommandError::NotPaused { domid });
    }
    Ok(xen.unpause(info.domid)?)
}
