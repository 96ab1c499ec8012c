//! What happens when a domain ends: for `supervise`, `create -F`, `reboot` and `shutdown -w`.
//!
//! In: a domain, and what its configuration says of its end (`on_poweroff` and its kin). Out: the
//! domain is removed, kept, or built again under its name ([`super::restart`]), after its core was
//! written where that is wanted. Never touches a
//! domain without making sure, under its lock, that it is still the one that was meant.

use super::build::{Halts, Made, configuration};
use super::dump_core::dump_at_end;
use super::error::{CommandError, chain};
use super::remove::remove;
use super::restart::restart;
use super::signals::Signals;
use super::tell;
use crate::cli::program;
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::spec::{EndAction, EndActions};
use domain_builder::undo::{self, DestroyError, Identity};
use libxc_safe::{ShutdownReason, Xen};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// What the configuration of a domain says of its end.
pub fn actions(state: &State, identity: &Identity) -> Result<EndActions, CommandError> {
    let saved = state.saved(identity.domid.0, Uuid::from_bytes(identity.uuid))?;
    let (_, config) = configuration(saved.sources(), true)?;
    Ok(config.on_end)
}

/// What whoever acts on a domain's end wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What the configuration says.
    AsConfigured,
    /// No domain.
    Poweroff,
    /// A domain that runs.
    Reboot,
}

/// What is to be done for this reason; none if the domain has not ended for good.
#[must_use]
pub fn decide(wish: Wish, reason: ShutdownReason, actions: &EndActions) -> Option<EndAction> {
    let action = match reason {
        ShutdownReason::Poweroff => actions.poweroff,
        ShutdownReason::Reboot => actions.reboot,
        ShutdownReason::Suspend => return None,
        ShutdownReason::Crash => actions.crash,
        ShutdownReason::Watchdog => actions.watchdog,
        ShutdownReason::SoftReset => actions.soft_reset,
        // As xl: what is not known is no reason to keep it.
        ShutdownReason::Other(_) => EndAction::Destroy,
    };
    Some(match action {
        // A guest that was dead already, or answers in another way, is wanted back all the same.
        EndAction::Destroy if wish == Wish::Reboot && reason != ShutdownReason::Reboot => {
            EndAction::Restart
        }
        EndAction::CoredumpDestroy if wish == Wish::Reboot && reason != ShutdownReason::Reboot => {
            EndAction::CoredumpRestart
        }
        action => action,
    })
}

/// Whether a domain is started again.
#[must_use]
pub fn restarts(action: EndAction) -> bool {
    matches!(action, EndAction::Restart | EndAction::RenameRestart | EndAction::CoredumpRestart)
}

/// What has become of a domain that ended.
pub enum Outcome {
    /// It is gone.
    Removed,
    /// Somebody else has removed it.
    Gone,
    /// It is still there.
    Kept,
    /// Another one has its name, and is still paused.
    Restarted(Box<Made>),
}

/// A domain's end, and what is wanted then.
pub struct Meant<'a> {
    /// The domain.
    pub identity: &'a Identity,
    /// Why it has ended.
    pub reason: ShutdownReason,
    /// What is wanted.
    pub wish: Wish,
    /// For tests of what is left by a restart that ends half-way.
    pub halts: Halts,
}

/// Does what is to be done at a domain's end: the one place for it. Another command may have done it
/// while the domain's lock was waited for; then nothing is left to be done.
pub fn carry_out(
    meant: &Meant<'_>,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<Outcome, CommandError> {
    let domid = meant.identity.domid;
    let _lock = state.lock(Subject::Domain(domid.0), |text| tell(text))?;
    // Being taken down is as good as gone.
    let info = xen.domain_info(domid)?.filter(|info| !info.dying);
    match undo::destroyable(xen, store, meant.identity) {
        _ if info.is_none() => return Ok(gone(domid)),
        Err(DestroyError::Gone { .. } | DestroyError::Another { .. }) => return Ok(gone(domid)),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let actions = actions(state, meant.identity)?;
    let Some(action) = decide(meant.wish, meant.reason, &actions) else {
        // Whoever saves it goes on from here.
        tell(format_args!("Domain {domid} has suspended and is kept"));
        return Ok(Outcome::Kept);
    };
    if meant.wish == Wish::Poweroff && restarts(action) {
        settle(state, meant.identity)?;
        tell(format_args!(
            "Domain {domid} is to be started again, and is kept: xlr reboot {domid} does that, xlr \
             destroy {domid} removes it"
        ));
        return Ok(Outcome::Kept);
    }
    if let (EndAction::CoredumpDestroy | EndAction::CoredumpRestart, Some(info)) = (action, &info)
        && let Err(error) = dump_at_end(info, xen, store, signals)
    {
        // It ends all the same, as under xl: a disk that is full must not keep it.
        tell(format_args!("{}: {}", program::name(), chain(&error)));
    }
    let done = match action {
        EndAction::Preserve => {
            settle(state, meant.identity)?;
            tell(format_args!("Domain {domid} is preserved; xlr destroy {domid} removes it"));
            return Ok(Outcome::Kept);
        }
        EndAction::SoftReset => {
            settle(state, meant.identity)?;
            let words = "wants to be reset in place, which this version cannot do: it is preserved";
            tell(format_args!("Domain {domid} {words}"));
            return Ok(Outcome::Kept);
        }
        EndAction::Destroy | EndAction::CoredumpDestroy => {
            signals.hold();
            remove(xen, store, state, meant.identity).map(|()| Outcome::Removed)
        }
        EndAction::Restart | EndAction::CoredumpRestart | EndAction::RenameRestart => {
            restart(action, meant.identity, xen, store, state, signals, meant.halts)
                .map(|made| Outcome::Restarted(Box::new(made)))
        }
    };
    // Who has a new domain in hand holds them until it runs.
    if !matches!(done, Ok(Outcome::Restarted(_))) {
        signals.release();
    }
    if matches!(done, Ok(Outcome::Restarted(_))) {
        // Only statistics: the domain stands.
        let _ = state.count_restart();
    }
    match done {
        Err(CommandError::Destroy(DestroyError::Gone { .. } | DestroyError::Another { .. })) => {
            Ok(gone(domid))
        }
        done => done,
    }
}

/// Writes down that a domain which has ended is kept: nothing more is to be done at its end.
pub fn settle(state: &State, identity: &Identity) -> Result<(), CommandError> {
    let domid = identity.domid.0;
    let saved = state.saved(domid, Uuid::from_bytes(identity.uuid))?;
    Ok(state.save(domid, &saved.settled())?)
}

/// It has been ended by somebody else.
pub fn gone(domid: Domid) -> Outcome {
    tell(format_args!("Domain {domid} has been destroyed"));
    Outcome::Gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_reboot_gets_a_domain() {
        use EndAction::{CoredumpDestroy, CoredumpRestart, Destroy, Preserve, Restart};
        let actions = EndActions { watchdog: CoredumpDestroy, ..EndActions::default() };
        let check = |wish, reason, action: Option<EndAction>| {
            assert_eq!(decide(wish, reason, &actions), action, "{wish:?}, {reason:?}");
        };
        for wish in [Wish::AsConfigured, Wish::Poweroff] {
            check(wish, ShutdownReason::Poweroff, Some(Destroy));
            check(wish, ShutdownReason::Reboot, Some(Restart));
            check(wish, ShutdownReason::Crash, Some(Destroy));
            check(wish, ShutdownReason::Watchdog, Some(CoredumpDestroy));
            check(wish, ShutdownReason::Other(9), Some(Destroy));
            check(wish, ShutdownReason::Suspend, None);
        }
        check(Wish::Reboot, ShutdownReason::Poweroff, Some(Restart));
        check(Wish::Reboot, ShutdownReason::Reboot, Some(Restart));
        check(Wish::Reboot, ShutdownReason::Crash, Some(Restart));
        check(Wish::Reboot, ShutdownReason::Watchdog, Some(CoredumpRestart));
        check(Wish::Reboot, ShutdownReason::Other(9), Some(Restart));
        check(Wish::Reboot, ShutdownReason::Suspend, None);
        let own = EndActions { reboot: Destroy, crash: Preserve, ..EndActions::default() };
        // What was chosen for just this is done.
        assert_eq!(decide(Wish::Reboot, ShutdownReason::Reboot, &own), Some(Destroy));
        assert_eq!(decide(Wish::Reboot, ShutdownReason::Crash, &own), Some(Preserve));
    }
}
