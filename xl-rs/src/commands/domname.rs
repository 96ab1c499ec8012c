//! `domname`: the name of a domid.

use super::error::CommandError;
use super::{domain, print};
use crate::cli::DomnameArgs;
use libxc_safe::Xen;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &DomnameArgs) -> Result<(), CommandError> {
    let domid = arguments.domid;
    let missing = || CommandError::NoDomname { domid };
    Xen::open()?.domain_info(Domid(domid))?.ok_or_else(missing)?;
    let name = Client::connect()?.read_text_optional(domain::name_path(Domid(domid)))?;
    print(format!("{}\n", name.ok_or_else(missing)?).as_bytes())
}
