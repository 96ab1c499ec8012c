//! `rename`: give a domain another name.
//!
//! A name belongs to one domain: that the new one is free is read in the transaction that writes it,
//! so that of two renames, or a rename and a create, one fails. Other commands for the domain, or for
//! the new name, are waited for.

use super::domain;
use super::error::CommandError;
use super::tell;
use crate::cli::{RenameArgs, program};
use crate::config::lower::{name_problem, name_warning};
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::nodes::uuid_text;
use libxc_safe::Xen;
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
    let others: Vec<_> = xen.domains()?.into_iter().filter(|i| i.domid != info.domid).collect();
    let own = domain::name_path(info.domid);
    let vm = format!("/vm/{}/name", uuid_text(&info.uuid));
    store.transaction(|transaction| {
        for other in &others {
            let held = transaction.read_optional(domain::name_path(other.domid))?;
            if held.as_deref() == Some(new.as_bytes()) {
                let (name, domid) = (new.to_owned(), other.domid.0);
                return Err(CommandError::NameTaken { name, domid });
            }
        }
        // Without this a domain that has just gone would leave its name behind.
        if transaction.read_optional(&own)?.is_none() {
            return Err(CommandError::NoSuchDomid { domid: info.domid.0 });
        }
        transaction.write(&own, new)?;
        if transaction.read_optional(&vm)?.is_some() {
            transaction.write(&vm, new)?;
        }
        Ok(())
    })
}
