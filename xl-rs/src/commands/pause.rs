//! `pause` and `unpause`.

use super::domain;
use super::error::CommandError;
use crate::cli::DomainArg;
use libxc_safe::Xen;
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
    let info = domain::find(&xen, &mut Client::connect()?, &arguments.domain)?;
    if !info.paused {
        return Err(CommandError::NotPaused { domid: info.domid.0 });
    }
    Ok(xen.unpause(info.domid)?)
}
