//! `wait`: until a domain runs, has shut down, has crashed or is gone.
//!
//! In: a domain, and what is waited for. Out: success when it is so, an error when it cannot be so any
//! more or the time is over. Woken by xenstored, by a restart that comes to its end, and by time; the
//! hypervisor's list says what is so.

use super::domain;
use super::error::CommandError;
use crate::cli::number::digits;
use crate::cli::{Until, WaitArgs};
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::{DomainInfo, ShutdownReason, Xen};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use uuid::Uuid;
use xenstore::client::{Client, RETURN_PATIENCE};

/// How often a paused domain is looked at: nobody tells that one is let run.
const AGAIN: Duration = Duration::from_millis(250);

/// Runs the command.
pub fn run(arguments: &WaitArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    store.outlive_store(RETURN_PATIENCE);
    let state = State::open()?;
    for (path, token) in [("@introduceDomain", "xlr-new"), ("@releaseDomain", "xlr-end")] {
        store.watch(path, token)?;
    }
    if arguments.until == Until::Running {
        // Its name comes last.
        store.watch("/local/domain", "xlr-node")?;
    }
    let given = arguments.domain.as_str();
    // Nothing is as long as no limit at all.
    let deadline = arguments
        .timeout
        .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut meant = None;
    let mut released: Option<UnixStream> = None;
    loop {
        if meant.is_none() {
            meant = find(&xen, &mut store, given)?;
        }
        let now = match &meant {
            Some(info) => current(&xen, info)?,
            None => None,
        };
        let follows = match &meant {
            Some(info) => state.is_locked(Subject::Uuid(Uuid::from_bytes(info.uuid)))?,
            None => false,
        };
        match judge(arguments.until, meant.is_some(), now, follows) {
            Verdict::Reached => return Ok(()),
            Verdict::Never if meant.is_none() => return Err(no_such(given)),
            Verdict::Never => {
                return Err(CommandError::NeverReached { given: given.to_owned() });
            }
            Verdict::Waits => {}
        }
        if let (Some(info), true, None) = (&meant, follows && now.is_none(), &released) {
            released = Some(state.released(Subject::Uuid(Uuid::from_bytes(info.uuid)))?);
        }
        let now_and_then = now.is_some_and(|now| !now.ran && arguments.until == Until::Running);
        let soon = now_and_then.then(|| Instant::now() + AGAIN);
        let until = deadline.into_iter().chain(soon).min();
        if !wait(&mut store, &mut released, until)?
            && deadline.is_some_and(|it| it <= Instant::now())
        {
            return Err(CommandError::TimeOver { given: given.to_owned() });
        }
    }
}

fn no_such(given: &str) -> CommandError {
    match digits(given) {
        Some(domid) => CommandError::NoSuchDomid { domid },
        None => CommandError::NoSuchName { given: given.to_owned() },
    }
}

fn find(xen: &Xen, store: &mut Client, given: &str) -> Result<Option<DomainInfo>, CommandError> {
    match domain::find(xen, store, given) {
        Ok(info) => Ok(Some(info).filter(|info| !info.dying)),
        Err(CommandError::NoSuchDomid { .. } | CommandError::NoSuchName { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The domain that has the UUID now: one that is started again keeps it.
fn current(xen: &Xen, meant: &DomainInfo) -> Result<Option<Now>, CommandError> {
    let domains = xen.domains()?;
    let found = domains.into_iter().find(|info| info.uuid == meant.uuid && !info.dying);
    let now = |info: DomainInfo| Now {
        ran: !info.paused || info.cpu_time_ns > 0,
        follows: info.domid != meant.domid,
        shutdown: info.shutdown,
    };
    Ok(found.map(now))
}

/// A domain that is there.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// It has been let run.
    ran: bool,
    /// It was started in place of the one that was meant.
    follows: bool,
    /// Why it has shut down.
    shutdown: Option<ShutdownReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Reached,
    Waits,
    Never,
}

/// What is to be said of a domain. `found`: it was there; `now`: it still is; `follows`: a command is
/// about to make it or to start it again.
fn judge(until: Until, found: bool, now: Option<Now>, follows: bool) -> Verdict {
    use Verdict::{Never, Reached, Waits};
    let Some(now) = now else {
        return match until {
            // It may still be made.
            Until::Running if !found || follows => Waits,
            Until::Running => Never,
            _ if follows => Waits,
            Until::Gone => Reached,
            Until::Shutdown if found => Reached,
            Until::Shutdown | Until::Crashed => Never,
        };
    };
    match (until, now.shutdown) {
        (Until::Running, None) if now.ran => Reached,
        (Until::Shutdown, _) if now.follows => Reached,
        (Until::Shutdown, Some(reason)) if reason != ShutdownReason::Suspend => Reached,
        (Until::Crashed, Some(ShutdownReason::Crash | ShutdownReason::Watchdog)) => Reached,
        _ => Waits,
    }
}

/// Waits for a reason to look again; tells whether there is one before the time.
fn wait(
    store: &mut Client,
    released: &mut Option<UnixStream>,
    until: Option<Instant>,
) -> Result<bool, CommandError> {
    let others: Vec<_> = released.iter().map(AsFd::as_fd).collect();
    let readable = domain::wait_for_any(store, &others, until)?;
    if readable.as_ref().is_some_and(|readable| readable.contains(&true)) {
        *released = None;
    }
    Ok(readable.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_and_what_cannot_be() {
        use Until::{Crashed, Gone, Running, Shutdown};
        use Verdict::{Never, Reached, Waits};
        let info = |ran, shutdown| Now { ran, follows: false, shutdown };
        let runs = info(true, None);
        let check = |until, found, now, follows, verdict| {
            assert_eq!(judge(until, found, now, follows), verdict, "{until:?} {found} {now:?}");
        };
        for until in [Shutdown, Crashed] {
            check(until, false, None, false, Never);
            check(until, true, Some(runs), false, Waits);
            check(until, true, None, true, Waits);
        }
        check(Running, false, None, false, Waits);
        check(Running, true, None, false, Never);
        check(Running, true, None, true, Waits);
        check(Running, true, Some(info(false, None)), false, Waits);
        check(Running, true, Some(runs), false, Reached);
        check(Gone, false, None, false, Reached);
        check(Gone, true, None, true, Waits);
        check(Gone, true, Some(runs), false, Waits);
        check(Shutdown, true, None, false, Reached);
        check(Shutdown, true, Some(Now { follows: true, ..runs }), false, Reached);
        check(Crashed, true, Some(Now { follows: true, ..runs }), false, Waits);
        check(Crashed, true, None, false, Never);
        for (reason, shut, crashed) in [
            (ShutdownReason::Poweroff, Reached, Waits),
            (ShutdownReason::Reboot, Reached, Waits),
            (ShutdownReason::Suspend, Waits, Waits),
            (ShutdownReason::Crash, Reached, Reached),
            (ShutdownReason::Watchdog, Reached, Reached),
        ] {
            check(Shutdown, true, Some(info(true, Some(reason))), false, shut);
            check(Crashed, true, Some(info(true, Some(reason))), false, crashed);
            check(Gone, true, Some(info(true, Some(reason))), false, Waits);
        }
    }
}
