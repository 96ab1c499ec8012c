//! `rename`: give a domain another name.
//!
//! A name belongs to one domain: which domains there are, what they are called and that this one is
//! still the one that was meant is read in the transaction that writes the name, so that of two
//! renames, or a rename and a create, one fails, whichever tool they come from. Other commands for
//! the domain, or for the new name, are waited for.

use super::domain;
use super::error::CommandError;
use super::tell;
use crate::cli::{RenameArgs, program};
use crate::config::lower::{name_problem, name_warning};
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::nodes::uuid_text;
use libxc_safe::Xen;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &RenameArgs) -> Result<(), CommandError> {
    let new = arguments.new_name.as_str();
    if let Some(problem) = name_problem(new) {
        return Err(CommandError::BadName { name: new.to_owned(), problem });
    }
    if let Some(warning) = name_warning(new) {
        tell(format_args!("{}: warning: {new}: {warning}", program::name()));
    }
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    let state = State::open()?;
    // The domain first, then the name, as in a reboot: neither waits for the other.
    let _domain = state.lock(Subject::Domain(info.domid.0), |text| tell(text))?;
    let _name = state.lock(Subject::Name(new), |text| tell(text))?;
    if domain::again(&xen, &info)?.is_none() {
        return Err(CommandError::NoSuchDomid { domid: info.domid.0 });
    }
    let own = domain::name_path(info.domid);
    let vm = format!("/vm/{}", uuid_text(&info.uuid));
    store.transaction(|transaction| {
        // Without this a domain that has just gone would leave its name behind, or one that took
        // its number since would get the name.
        let of = transaction.read_optional(format!("/local/domain/{}/vm", info.domid))?;
        let another = of.is_some_and(|path| !path.eq_ignore_ascii_case(vm.as_bytes()));
        if another || transaction.read_optional(&own)?.is_none() {
            return Err(CommandError::NoSuchDomid { domid: info.domid.0 });
        }
        for other in transaction.directory("/local/domain")? {
            let Some(domid) = domid(&other).filter(|domid| *domid != info.domid) else { continue };
            let held = transaction.read_optional(domain::name_path(domid))?;
            // A node that outlived its domain takes no name.
            if held.as_deref() == Some(new.as_bytes()) && xen.domain_info(domid)?.is_some() {
                return Err(CommandError::NameTaken { name: new.to_owned(), domid: domid.0 });
            }
        }
        transaction.write(&own, new)?;
        let of_vm = format!("{vm}/name");
        if transaction.read_optional(&of_vm)?.is_some() {
            transaction.write(&of_vm, new)?;
        }
        Ok(())
    })
}

/// The domid that a directory below `/local/domain` is called by.
fn domid(name: &str) -> Option<Domid> {
    name.parse().ok().map(Domid)
}
