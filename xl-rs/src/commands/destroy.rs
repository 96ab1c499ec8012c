//! `destroy`: end a domain at once.

use super::domain;
use super::error::CommandError;
use crate::cli::DestroyArgs;
use domain_builder::undo::{self, DestroyError, Identity};
use libxc_safe::{DomainInfo, Xen};
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &DestroyArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    // Xen would refuse it as well: -f changes nothing, and is taken because xl's scripts pass it.
    if info.domid.0 == 0 {
        let hint = "; shut the host down in the usual way";
        return Err(CommandError::Dom0 { hint });
    }
    remove(&xen, &mut store, &info)
}

/// Destroys a domain and removes its nodes, after making sure that it is still the same domain.
/// One that is gone already needs nothing more.
pub fn remove(xen: &Xen, store: &mut Client, known: &DomainInfo) -> Result<(), CommandError> {
    let identity = Identity { domid: known.domid, uuid: known.uuid };
    match undo::destroy(xen, store, &identity) {
        Ok(()) | Err(DestroyError::Gone { .. } | DestroyError::Another { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
