//! `create -F`: stays until a domain is gone, and does what is to be done at its end, for it and for
//! every domain that follows it.
//!
//! In: a domain that was made, and the signals. Out: how the last one ended. Other commands leave the
//! domain's end to this one, as long as it holds the lock on it. A domain that ends soon after its
//! start is started again only after a while. Waiting is by events: xenstore's, signals, the console's
//! thread. Never loses a domain for the sake of its console.

use super::begin::begin;
use super::build::{Halts, Made};
use super::console::{Console, ConsoleError, Ended};
use super::end::{self, Outcome, Wish, carry_out, decide};
use super::error::{CommandError, chain};
use super::signals::Signals;
use super::supervise::pace::Pace;
use super::{domain, tell};
use crate::cli::{CreateArgs, program};
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::apply::Created;
use domain_builder::undo::Identity;
use libxc_safe::{DomainInfo, ShutdownReason, Xen};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xen_sys::types::Domid;
use xenstore::client::{Client, RETURN_PATIENCE};

/// The command and what it works with.
pub struct Foreground<'a> {
    /// The command line.
    pub arguments: &'a CreateArgs,
    /// The hypervisor.
    pub xen: &'a Xen,
    /// The store.
    pub store: &'a mut Client,
    /// The state.
    pub state: &'a State,
}

/// A console's thread.
type Thread = JoinHandle<Result<Ended, CommandError>>;

/// What ended a waiting.
#[derive(Debug)]
enum Woken {
    Event,
    Signal,
    Time,
}

impl Foreground<'_> {
    /// Lets the domain run, and every one that follows it.
    pub fn run(mut self, first: Made, signals: Signals) -> Result<(), CommandError> {
        if let Err(error) = self.store.watch("@releaseDomain", "xlr-end") {
            first.undo(self.xen, self.store, self.state);
            return Err(error.into());
        }
        let (mut made, mut paused, mut restarted) = (first, self.arguments.paused, false);
        let mut wants_console = self.arguments.console;
        let mut pace = Pace::default();
        loop {
            let domid = made.created.domid;
            let end = Subject::End(domid.0);
            let _end = match self.state.lock(end, |text| tell(text)) {
                Ok(lock) => lock,
                Err(error) => {
                    made.undo(self.xen, self.store, self.state);
                    return Err(error.into());
                }
            };
            let console = match self.console(wants_console, domid, &signals) {
                Ok(console) => console,
                // Without its console a domain that was started again still lives.
                Err(error) if restarted && !signals.seen() => {
                    tell(format_args!("{}: {}", program::name(), chain(&error)));
                    None
                }
                Err(error) => {
                    made.undo(self.xen, self.store, self.state);
                    return Err(error.before_it_ran());
                }
            };
            signals.heard_by_console(console.is_some());
            let created = begin(made, paused, self.xen, self.store, self.state, &signals)?;
            paused = false;
            let outcome = self.follow(&created, &signals, &mut pace);
            // It ends with its domain, or by the signal that ended the following.
            wants_console = console.is_some_and(|console| match join(console) {
                Ok(ended) => ended == Ended::DomainGone,
                Err(CommandError::Console(ConsoleError::Signal { .. })) => false,
                Err(error) => {
                    tell(format_args!("{}: {}", program::name(), chain(&error)));
                    false
                }
            });
            match outcome? {
                Outcome::Restarted(next) => (made, restarted) = (*next, true),
                Outcome::Removed | Outcome::Gone | Outcome::Kept => return Ok(()),
            }
        }
    }

    /// Waits for the domain's end, and acts.
    fn follow(
        &mut self,
        created: &Created,
        signals: &Signals,
        pace: &mut Pace,
    ) -> Result<Outcome, CommandError> {
        let domid = created.domid;
        let identity = created.identity();
        let begun = Instant::now();
        let Some(mut known) = self.xen.domain_info(domid)? else { return Ok(end::gone(domid)) };
        known.uuid = created.uuid;
        let reason = loop {
            match domain::again(self.xen, &known)? {
                None => return Ok(end::gone(domid)),
                Some(now) => {
                    if let Some(reason) = now.shutdown {
                        break reason;
                    }
                }
            }
            if matches!(self.wait(signals, None)?, Woken::Signal) {
                return Err(ConsoleError::Signal { domid }.into());
            }
        };
        let code = reason.code();
        tell(format_args!("Domain {domid} has shut down, reason code {code}"));
        if !self.pause(&known, &identity, reason, signals, pace.next(begun.elapsed()))? {
            return Ok(end::gone(domid));
        }
        let (wish, halts) = (Wish::AsConfigured, Halts::default());
        let meant = end::Meant { identity: &identity, reason, wish, halts };
        carry_out(&meant, self.xen, self.store, self.state, signals)
    }

    /// Lets some time pass before a domain is started again; tells whether it is still there.
    fn pause(
        &mut self,
        known: &DomainInfo,
        identity: &Identity,
        reason: ShutdownReason,
        signals: &Signals,
        time: Duration,
    ) -> Result<bool, CommandError> {
        if time.is_zero() {
            return Ok(true);
        }
        let domid = known.domid;
        // What cannot be read is told when it is needed.
        let restarts = end::actions(self.state, identity)
            .ok()
            .and_then(|actions| decide(Wish::AsConfigured, reason, &actions))
            .is_some_and(end::restarts);
        if !restarts {
            return Ok(true);
        }
        let seconds = time.as_secs();
        tell(format_args!(
            "Domain {domid} ends too soon and too often: it is started again in {seconds} s"
        ));
        let until = Instant::now() + time;
        loop {
            match self.wait(signals, Some(until))? {
                Woken::Time => return Ok(true),
                Woken::Signal => return Err(CommandError::Stopped { domid: domid.0 }),
                Woken::Event if domain::again(self.xen, known)?.is_none() => return Ok(false),
                Woken::Event => {}
            }
        }
    }

    /// Waits for an event of the store's, a signal, or the time.
    fn wait(&mut self, signals: &Signals, until: Option<Instant>) -> Result<Woken, CommandError> {
        let signal = [signals.came().as_fd()];
        Ok(match domain::wait_for_any(self.store, &signal, until)?.as_deref() {
            None => Woken::Time,
            Some([true]) => Woken::Signal,
            Some(_) => Woken::Event,
        })
    }

    /// Attaches the console, if it is wanted, in a thread of its own.
    fn console(
        &self,
        wanted: bool,
        domid: Domid,
        signals: &Signals,
    ) -> Result<Option<Thread>, CommandError> {
        if !wanted {
            return Ok(None);
        }
        let hint = !self.arguments.quiet;
        let (attached, ready) = mpsc::channel();
        let seen = signals.seen_handle();
        let thread = std::thread::spawn(move || {
            let xen = Xen::open()?;
            let mut store = Client::connect()?;
            store.outlive_store(RETURN_PATIENCE);
            let info = xen.existing_domain_info(domid)?;
            let mut console =
                Console::attach(&xen, &mut store, &info, Some(&seen))?.until_shutdown();
            // Nobody listens any more if the other side has given up.
            let _ = attached.send(());
            console.copy(None, hint)
        });
        match ready.recv() {
            Ok(()) => Ok(Some(thread)),
            // The thread has ended without a word: it has an error to tell.
            Err(_) => join(thread).map(|_| None),
        }
    }
}

fn join(console: Thread) -> Result<Ended, CommandError> {
    match console.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
