//! `sysrq`: send a system request to a domain's kernel, which takes it from xenstore.

use super::domain;
use super::error::CommandError;
use crate::cli::SysrqArgs;
use libxc_safe::Xen;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &SysrqArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    if info.domid.0 == 0 {
        return Err(CommandError::Dom0 { hint: "; write to /proc/sysrq-trigger for its kernel" });
    }
    // A node that is not there belongs to a domain that is being made or taken down.
    let node = format!("/local/domain/{}/control/sysrq", info.domid);
    if !store.exists(&node)? {
        return Err(CommandError::NoSuchDomid { domid: info.domid.0 });
    }
    Ok(store.write(node, &arguments.letter)?)
}
