//! `shutdown` and `reboot`: ask domains to end, wait for it, and do what is to be done then.
//!
//! The wish goes through xenstore (`control/shutdown`), the guest carries it out. Domains that xlr
//! did not make are asked if they are named, and left to their own toolstack after that.

use super::begin::begin;
use super::build::Halts;
use super::end::{self, Meant, Outcome, Wish};
use super::error::{CommandError, chain};
use super::remove::identify;
use super::signals::Signals;
use super::{domain, tell};
use crate::cli::{RebootArgs, ShutdownArgs, program};
use crate::descriptors;
use crate::state::State;
use crate::state::lock::{Lock, Subject};
use domain_builder::undo::Identity;
use libxc_safe::{DomainInfo, Xen};
use uuid::Uuid;
use xenstore::client::{Client, Nodes, RETURN_PATIENCE};

/// A domain that was asked.
struct Asked {
    info: DomainInfo,
    identity: Identity,
    /// Whether xlr made it.
    ours: bool,
    /// Its end is this command's to deal with. None if another command has that in hand.
    end: Option<Lock>,
}

/// Runs `shutdown`.
pub fn shutdown(arguments: &ShutdownArgs) -> Result<(), CommandError> {
    let until = match arguments.wait {
        0 => None,
        1 => Some(Until::Ended),
        _ => Some(Until::Gone),
    };
    let doing = Doing { wish: Wish::Poweroff, until, halts: Halts::default() };
    run(doing, arguments.ending.domain.as_deref())
}

/// Runs `reboot`.
pub fn reboot(arguments: &RebootArgs) -> Result<(), CommandError> {
    let until = (arguments.wait > 0).then_some(Until::Ended);
    let halts = Halts { stop_in_restart: arguments.stop_in_restart, ..Halts::default() };
    run(Doing { wish: Wish::Reboot, until, halts }, arguments.ending.domain.as_deref())
}

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until the domain has ended.
    Ended,
    /// Until it is gone, removed by somebody else.
    Gone,
}

/// What is to be done, with whichever domains.
#[derive(Clone, Copy)]
struct Doing {
    wish: Wish,
    until: Option<Until>,
    halts: Halts,
}

fn run(doing: Doing, given: Option<&str>) -> Result<(), CommandError> {
    let Doing { wish, until, .. } = doing;
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    store.outlive_store(RETURN_PATIENCE);
    let state = State::open()?;
    let mut targets = targets(&xen, &mut store, given)?;
    // A lock for each domain.
    descriptors::as_many_as_allowed();
    // Whoever waits for somebody else to remove it leaves its end to them.
    if until == Some(Until::Ended) || wish == Wish::Reboot {
        for target in targets.iter_mut().filter(|target| target.ours) {
            target.end = state.lock_if_free(Subject::End(target.info.domid.0))?;
        }
    }
    // Before the wish is sent, so that no end is missed.
    store.watch("@releaseDomain", "xlr-end")?;
    let total = targets.len();
    let mut asked = Vec::new();
    for target in targets {
        let domid = target.info.domid;
        let words = if wish == Wish::Reboot { "Rebooting" } else { "Shutting down" };
        tell(format_args!("{words} domain {domid}"));
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
        failed += wait(&xen, &mut store, &state, asked, doing)?;
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
        let (identity, ours) = identify(store, &info)?;
        return Ok(vec![Asked { info, identity, ours, end: None }]);
    }
    let mut targets = Vec::new();
    let mut others = Vec::new();
    for info in xen.domains()? {
        if info.domid.0 == 0 || info.dying || info.xenstore_domain {
            continue;
        }
        let (identity, ours) = identify(store, &info)?;
        match ours {
            true => targets.push(Asked { info, identity, ours, end: None }),
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
    doing: Doing,
) -> Result<usize, CommandError> {
    let signals = Signals::take()?;
    let mut failed = 0;
    // Whose end is somebody else's to deal with; waited for once all others are done with.
    let mut others = Vec::new();
    loop {
        let mut still = Vec::with_capacity(waiting.len());
        for target in waiting {
            let domid = target.info.domid;
            let now = match domain::again(xen, &target.info) {
                Ok(Some(now)) => now,
                Ok(None) => {
                    end::gone(domid);
                    others.extend(Some(target.identity).filter(|_| target.ours));
                    continue;
                }
                // The others are waited for all the same.
                Err(error) => {
                    tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)));
                    failed += 1;
                    continue;
                }
            };
            let Some(reason) = now.shutdown.filter(|_| doing.until != Some(Until::Gone)) else {
                still.push(target);
                continue;
            };
            let code = reason.code();
            tell(format_args!("Domain {domid} has been shut down, reason code {code}"));
            if !target.ours {
                continue;
            }
            if target.end.is_none() && state.is_locked(Subject::End(domid.0))? {
                tell(format_args!(
                    "Domain {domid} is looked after by another command, which does what its \
                     configuration says"
                ));
                others.push(target.identity);
                continue;
            }
            let Doing { wish, halts, .. } = doing;
            let meant = Meant { identity: &target.identity, reason, wish, halts };
            match ended(&meant, xen, store, state, &signals) {
                Ok(Done::Here) => {}
                Ok(Done::Elsewhere) => others.push(target.identity),
                // Whoever sent it waits for nothing more.
                Err(error) if signals.release() => return Err(error),
                Err(error) => {
                    tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)));
                    failed += 1;
                }
            }
        }
        if still.is_empty() {
            break;
        }
        waiting = still;
        domain::wait_for_event(store, None)?;
    }
    for identity in others {
        if let Err(error) = await_other(xen, state, &identity, doing.wish) {
            let domid = identity.domid;
            tell(format_args!("{}: domain {domid}: {}", program::name(), chain(&error)));
            failed += 1;
        }
    }
    Ok(failed)
}

/// Waits until another command, mostly a `create -F`, has done what is to be done at a domain's end.
fn await_other(
    xen: &Xen,
    state: &State,
    identity: &Identity,
    wish: Wish,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    state.await_end(Subject::End(domid.0), |text| tell(text))?;
    if wish != Wish::Reboot {
        return Ok(());
    }
    // Held from before the one was removed until the next one stands.
    state.await_end(Subject::Uuid(Uuid::from_bytes(identity.uuid)), |text| tell(text))?;
    let domains = xen.domains()?;
    let next = domains.iter().find(|info| {
        info.uuid == identity.uuid && info.domid != domid && !info.dying && info.shutdown.is_none()
    });
    match next {
        Some(next) => {
            tell(format_args!("Domain {domid} has been started again as domain {}", next.domid));
            Ok(())
        }
        None => Err(CommandError::NoSuccessor { domid: domid.0 }),
    }
}

/// By whom it was done.
enum Done {
    Here,
    Elsewhere,
}

/// Does what is to be done at a domain's end.
fn ended(
    meant: &Meant<'_>,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<Done, CommandError> {
    let domid = meant.identity.domid;
    let done = end::carry_out(meant, xen, store, state, signals);
    if done.is_err() && meant.wish == Wish::Reboot {
        // Whoever wanted a domain shall not see this one destroyed, as its configuration may say for
        // this end. Where nothing is kept of it any more there is nothing to be noted.
        let _ = end::settle(state, meant.identity);
    }
    match done? {
        Outcome::Kept if meant.wish == Wish::Reboot => {
            Err(CommandError::NotRestarted { domid: domid.0 })
        }
        Outcome::Gone => Ok(Done::Elsewhere),
        Outcome::Removed | Outcome::Kept => Ok(Done::Here),
        Outcome::Restarted(made) => {
            let created = begin(*made, false, xen, store, state, signals)?;
            tell(format_args!("Domain {domid} has been started again as domain {}", created.domid));
            Ok(Done::Here)
        }
    }
}
