//! `shutdown` and `reboot`: ask domains to end, wait for it, and do what is to be done then.
//!
//! The wish goes through xenstore (`control/shutdown`), the guest carries it out. Domains that xlr
//! did not make are asked if they are named, and left to their own toolstack after that.

use super::end::{self, Meant, Outcome, Wish};
use super::error::{CommandError, chain};
use super::signals::Signals;
use super::{create, domain, tell};
use crate::cli::{RebootArgs, ShutdownArgs, program};
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::undo::Identity;
use libxc_safe::{DomainInfo, ShutdownReason, Xen};
use xenstore::client::{Client, Nodes};

/// A domain that was asked.
struct Asked {
    info: DomainInfo,
    identity: Identity,
    /// Whether xlr made it.
    ours: bool,
}

/// Runs `shutdown`.
pub fn shutdown(arguments: &ShutdownArgs) -> Result<(), CommandError> {
    let until = match arguments.wait {
        0 => None,
        1 => Some(Until::Ended),
        _ => Some(Until::Gone),
    };
    run(Wish::Poweroff, arguments.ending.domain.as_deref(), until)
}

/// Runs `reboot`.
pub fn reboot(arguments: &RebootArgs) -> Result<(), CommandError> {
    let until = (arguments.wait > 0).then_some(Until::Ended);
    run(Wish::Reboot, arguments.ending.domain.as_deref(), until)
}

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until the domain has ended.
    Ended,
    /// Until it is gone, removed by somebody else.
    Gone,
}

fn run(wish: Wish, given: Option<&str>, until: Option<Until>) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let state = State::open()?;
    let targets = targets(&xen, &mut store, given)?;
    // Before the wish is sent, so that no end is missed.
    store.watch("@releaseDomain", "xlr-end")?;
    let total = targets.len();
    let mut asked = Vec::new();
    for target in targets {
        let domid = target.info.domid;
        let doing = if wish == Wish::Reboot { "Rebooting" } else { "Shutting down" };
        tell(format_args!("{doing} domain {domid}"));
        match ask(&mut store, &target.info, wish) {
            Ok(()) => asked.push(target),
            Err(error) => {
                tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)))
            }
        }
    }
    let mut failed = total - asked.len();
    // Nobody else builds a domain of ours again; others have who does.
    asked.retain(|target| until.is_some() || (wish == Wish::Reboot && target.ours));
    if !asked.is_empty() {
        tell(format_args!("Waiting for {} domains", asked.len()));
        failed += wait(&xen, &mut store, &state, asked, wish, until)?;
    }
    let done = if wish == Wish::Reboot { "rebooted" } else { "shut down" };
    if failed == 0 { Ok(()) } else { Err(CommandError::Some { failed, total, done }) }
}

/// The domain that was named; else every domain that xlr made.
fn targets(xen: &Xen, store: &mut Client, given: Option<&str>) -> Result<Vec<Asked>, CommandError> {
    if let Some(given) = given {
        let info = domain::find(xen, store, given)?;
        if info.domid.0 == 0 {
            return Err(CommandError::Dom0 { hint: "; shut the host down in the usual way" });
        }
        let (identity, ours) = end::identify(store, &info)?;
        return Ok(vec![Asked { info, identity, ours }]);
    }
    let mut targets = Vec::new();
    let mut others = Vec::new();
    for info in xen.domains()? {
        if info.domid.0 == 0 || info.dying || info.xenstore_domain {
            continue;
        }
        let (identity, ours) = end::identify(store, &info)?;
        match ours {
            true => targets.push(Asked { info, identity, ours }),
            false => others.push(info.domid.to_string()),
        }
    }
    if !others.is_empty() {
        tell(format_args!(
            "Left alone, as xlr did not make them: {}; name them to include them",
            others.join(", ")
        ));
    }
    Ok(targets)
}

fn ask(store: &mut Client, info: &DomainInfo, wish: Wish) -> Result<(), CommandError> {
    let word = if wish == Wish::Reboot { "reboot" } else { "poweroff" };
    if info.shutdown.is_some() {
        // It has ended already, and reads no wishes.
        return Ok(());
    }
    Ok(store.write(format!("/local/domain/{}/control/shutdown", info.domid), word)?)
}

/// Waits until every domain has ended, and does what is to be done; gives how many that failed for.
fn wait(
    xen: &Xen,
    store: &mut Client,
    state: &State,
    mut waiting: Vec<Asked>,
    wish: Wish,
    until: Option<Until>,
) -> Result<usize, CommandError> {
    let signals = Signals::take()?;
    let mut failed = 0;
    loop {
        let mut still = Vec::with_capacity(waiting.len());
        for target in waiting {
            let domid = target.info.domid;
            let now = match domain::again(xen, &target.info) {
                Ok(Some(now)) => now,
                Ok(None) => {
                    end::gone(domid);
                    continue;
                }
                // The others are waited for all the same.
                Err(error) => {
                    tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)));
                    failed += 1;
                    continue;
                }
            };
            let Some(reason) = now.shutdown.filter(|_| until != Some(Until::Gone)) else {
                still.push(target);
                continue;
            };
            let code = reason.code();
            tell(format_args!("Domain {domid} has been shut down, reason code {code}"));
            if target.ours
                && let Err(error) =
                    ended(xen, store, state, &target.identity, reason, wish, &signals)
            {
                if signals.release() {
                    // Whoever sent it waits for nothing more.
                    return Err(error);
                }
                tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)));
                failed += 1;
            }
        }
        if still.is_empty() {
            return Ok(failed);
        }
        waiting = still;
        domain::wait_for_event(store, None)?;
    }
}

/// Does what is to be done at a domain's end, unless somebody stays for that.
fn ended(
    xen: &Xen,
    store: &mut Client,
    state: &State,
    identity: &Identity,
    reason: ShutdownReason,
    wish: Wish,
    signals: &Signals,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    if state.is_locked(Subject::End(domid.0))? {
        tell(format_args!(
            "Domain {domid} is looked after by a create -F, which does what its configuration says"
        ));
        return Ok(());
    }
    let meant = Meant { identity, reason, wish };
    match end::carry_out(&meant, xen, store, state, signals)? {
        Outcome::Kept if wish == Wish::Reboot => Err(CommandError::NotRestarted { domid: domid.0 }),
        Outcome::Removed | Outcome::Kept => Ok(()),
        Outcome::Restarted(made) => {
            let created = create::begin(*made, false, xen, store, state, signals)?;
            tell(format_args!("Domain {domid} has been started again as domain {}", created.domid));
            Ok(())
        }
    }
}
