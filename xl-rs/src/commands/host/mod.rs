//! `host`: the host that domains run on.

mod gather;

use super::error::CommandError;
use super::{print, print_json};
use crate::cli::{HostArgs, HostCheckArgs, HostVerb};
use crate::host::judge::{Status, judge};
use crate::output::findings;

/// Runs the command.
pub fn run(arguments: &HostArgs) -> Result<(), CommandError> {
    match &arguments.what {
        HostVerb::Check(arguments) => check(arguments),
    }
}

/// Works without root and without Xen: what it could not look at it says.
fn check(arguments: &HostCheckArgs) -> Result<(), CommandError> {
    let findings = judge(&gather::facts(), &arguments.features);
    if arguments.json {
        print_json(&findings::to_json(&findings))?;
    } else {
        print(findings::to_text(&findings).as_bytes())?;
    }
    match findings.iter().map(|finding| finding.status()).max() {
        None | Some(Status::Ok) => Ok(()),
        Some(status) => {
            let count = findings.iter().filter(|finding| finding.status() != Status::Ok).count();
            Err(CommandError::HostLacks { not_ok: count, of: findings.len(), status })
        }
    }
}
