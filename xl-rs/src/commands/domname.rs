//! `domname`: the name of a domid.

use super::error::CommandError;
use super::{domain, print, print_json};
use crate::cli::DomnameArgs;
use crate::printable;
use libxc_safe::Xen;
use serde_json::json;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &DomnameArgs) -> Result<(), CommandError> {
    let domid = arguments.domid;
    let missing = || CommandError::NoDomname { domid };
    Xen::open()?.domain_info(Domid(domid))?.ok_or_else(missing)?;
    let name = Client::connect()?.read_text_optional(domain::name_path(Domid(domid)))?;
    let name = name.ok_or_else(missing)?;
    if arguments.json {
        return print_json(&json!({ "name": name, "domid": domid }));
    }
    print(format!("{}\n", printable::line(&name)).as_bytes())
}
