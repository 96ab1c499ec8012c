//! `domid`: the domid of a name.

use super::error::CommandError;
use super::{domain, print};
use crate::cli::DomidArgs;
use libxc_safe::Xen;
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &DomidArgs) -> Result<(), CommandError> {
    let found = domain::by_name(&Xen::open()?, &mut Client::connect()?, &arguments.name)?;
    let info = found.ok_or_else(|| CommandError::NoDomid { name: arguments.name.clone() })?;
    print(format!("{}\n", info.domid).as_bytes())
}
