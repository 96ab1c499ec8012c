//! `domid`: the domid of a name.

use super::error::CommandError;
use super::{domain, print, print_json};
use crate::cli::DomidArgs;
use libxc_safe::Xen;
use serde_json::json;
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &DomidArgs) -> Result<(), CommandError> {
    let found = domain::by_name(&Xen::open()?, &mut Client::connect()?, &arguments.name)?;
    let info = found.ok_or_else(|| CommandError::NoSuchName { given: arguments.name.clone() })?;
    if arguments.json {
        return print_json(&json!({ "name": arguments.name, "domid": info.domid.0 }));
    }
    print(format!("{}\n", info.domid).as_bytes())
}
