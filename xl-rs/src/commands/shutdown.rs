//! `shutdown`: ask domains to shut down, and wait for it if told to.
//!
//! The wish goes through xenstore (`control/shutdown`), the guest carries it out. Waiting is by
//! xenstore's `@releaseDomain`, and each time it fires the hypervisor is asked what has happened.

use super::error::{CommandError, chain};
use super::{destroy, domain, tell};
use crate::cli::ShutdownArgs;
use domain_builder::nodes::MARKER;
use libxc_safe::{DomainInfo, Xen};
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &ShutdownArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let targets = match &arguments.domain {
        Some(given) => vec![domain::find(&xen, &mut store, given)?],
        None => guests(&xen)?,
    };
    if arguments.domain.is_some() && targets.iter().any(|info| info.domid.0 == 0) {
        return Err(CommandError::Dom0 { hint: "; shut the host down in the usual way" });
    }
    // Before the wish is sent, so that no end is missed.
    if arguments.wait > 0 {
        store.watch("@releaseDomain", "xlr")?;
    }
    let total = targets.len();
    let mut waiting = Vec::new();
    for info in targets {
        tell(format_args!("Shutting down domain {}", info.domid));
        match ask(&mut store, &info) {
            Ok(()) => waiting.push(info),
            Err(error) => tell(format_args!("xlr: domain {}: {}", info.domid, chain(&error))),
        }
    }
    let failed = total - waiting.len();
    if arguments.wait > 0 && !waiting.is_empty() {
        tell(format_args!("Waiting for {} domains", waiting.len()));
        wait(&xen, &mut store, waiting, arguments.wait > 1)?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::Some { failed, total, done: "asked to shut down" }),
    }
}

/// Every domain but domain 0, leaving out what is on its way down already.
fn guests(xen: &Xen) -> Result<Vec<DomainInfo>, CommandError> {
    let mut domains = xen.domains()?;
    domains.retain(|info| info.domid.0 != 0 && !info.dying && !info.xenstore_domain);
    Ok(domains)
}

fn ask(store: &mut Client, info: &DomainInfo) -> Result<(), CommandError> {
    Ok(store.write(format!("/local/domain/{}/control/shutdown", info.domid), "poweroff")?)
}

/// Waits until every domain has ended. Domains that xlr made are then removed, unless `until_gone`
/// leaves that to others; those of another toolstack are always left to it.
fn wait(
    xen: &Xen,
    store: &mut Client,
    mut waiting: Vec<DomainInfo>,
    until_gone: bool,
) -> Result<(), CommandError> {
    loop {
        let mut still = Vec::with_capacity(waiting.len());
        for known in waiting {
            let domid = known.domid;
            match domain::again(xen, &known)? {
                None => tell(format_args!("Domain {domid} has been destroyed")),
                Some(now) => match now.shutdown {
                    Some(reason) if !until_gone => {
                        tell(format_args!(
                            "Domain {domid} has been shut down, reason code {}",
                            reason.code()
                        ));
                        if is_ours(store, &now)? {
                            destroy::remove(xen, store, &now)?;
                        }
                    }
                    _ => still.push(known),
                },
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        waiting = still;
        domain::wait_for_event(store, None)?;
    }
}

/// Whether this program made the domain.
fn is_ours(store: &mut Client, info: &DomainInfo) -> Result<bool, CommandError> {
    Ok(store.exists(format!("/libxl/{}/{MARKER}", info.domid))?)
}
