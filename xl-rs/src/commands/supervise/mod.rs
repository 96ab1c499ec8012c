//! `supervise`: does at every domain's end what its configuration says, one process for all domains.
//!
//! In: xenstored's word that a domain came or went, locks that other commands let go, and time where
//! a domain ends too often. Out: domains that are removed, kept or started again. The hypervisor's
//! list alone says who is there and who has ended: it is read anew after every event, so that none
//! can be missed. Acts only on domains that carry xlr's marker and whose end no other command cares
//! for. What is known is in [`book`], what is done in [`work`]; killed at any moment it is simply
//! started again.

mod book;
mod crew;
pub mod pace;
mod work;

use super::announce::{SUPERVISE, announce, withdraw};
use super::build::Halts;
use super::end::{actions, decide, restarts};
use super::error::{CommandError, chain};
use super::notify::tell_manager;
use super::signals::Signals;
use super::sweep::sweep_quietly;
use super::{domain, end, print, warn};
use crate::cli::SuperviseArgs;
use crate::descriptors;
use crate::state::State;
use crate::state::arrivals::Arrivals;
use crate::state::lock::{Lock, Subject};
use book::{Book, Key, Sight, Task};
use crew::Crew;
use domain_builder::undo::Identity;
use libxc_safe::{ShutdownReason, Xen};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, RETURN_PATIENCE};

/// How long a sweep that could not finish all waits for the next; twice as long each time, but no
/// longer than at last.
const SWEEP_AGAIN: Duration = Duration::from_secs(1);
const SWEEP_AT_LAST: Duration = Duration::from_secs(64);

/// Runs the command.
pub fn run(arguments: &SuperviseArgs) -> Result<(), CommandError> {
    let halts = Halts { stop_in_restart: arguments.stop_in_restart, ..Halts::default() };
    let mut supervisor = Supervisor::start(halts)?;
    supervisor.look()?;
    announce(&mut supervisor.store, SUPERVISE)?;
    print(format!("supervise: ready, {} domains\n", supervisor.book.count()).as_bytes())?;
    if let Err(error) = tell_manager() {
        warn(format_args!("the service manager at $NOTIFY_SOCKET is not told: {error}"));
    }
    let done = supervisor.run();
    // What was begun comes to its end, whatever became of the rest.
    supervisor.finish();
    done
}

struct Supervisor {
    _only: Lock,
    xen: Xen,
    store: Client,
    state: State,
    signals: Signals,
    /// What other commands have in hand: each comes to its end when they let go of it.
    elsewhere: BTreeMap<Task, UnixStream>,
    /// Commands whose domains are to go with them, by their records.
    leases: BTreeMap<String, UnixStream>,
    /// Where there are domains of commands that have ended, when they are swept again: another command
    /// kept the sweep from them, or it came before their end.
    left: Option<Duration>,
    /// Tells of another record, and so of a lease before its domain is introduced.
    arrivals: Arrivals,
    /// Whether what killed commands have left is removed before the next look.
    sweeps: bool,
    crew: Crew,
    book: Book,
    begun: Instant,
}

fn failed(source: io::Error) -> CommandError {
    CommandError::Supervise { source }
}

impl Supervisor {
    fn start(halts: Halts) -> Result<Self, CommandError> {
        let xen = Xen::open()?;
        let mut store = Client::connect()?;
        store.outlive_store(RETURN_PATIENCE);
        descriptors::as_many_as_allowed();
        let state = State::open()?;
        let only = state.lock_if_free(Subject::Supervisor)?.ok_or(CommandError::Supervised)?;
        let signals = Signals::take()?;
        signals.hold();
        for (path, token) in [("@introduceDomain", "xlr-new"), ("@releaseDomain", "xlr-end")] {
            store.watch(path, token)?;
        }
        let arrivals = state.arrivals()?;
        let crew = Crew::new(halts).map_err(failed)?;
        let (book, begun, elsewhere) = (Book::default(), Instant::now(), BTreeMap::new());
        Ok(Self {
            _only: only,
            xen,
            store,
            state,
            signals,
            elsewhere,
            leases: BTreeMap::new(),
            left: None,
            arrivals,
            sweeps: true,
            crew,
            book,
            begun,
        })
    }

    /// Works until a signal comes.
    fn run(&mut self) -> Result<(), CommandError> {
        while !self.signals.seen() {
            self.wait()?;
            for (task, answer) in self.crew.answers().map_err(failed)? {
                self.book.done(task, answer, self.begun.elapsed());
            }
            self.look()?;
        }
        Ok(())
    }

    /// Waits until what was begun is done.
    fn finish(mut self) {
        self.crew.finish();
        // Without a store there is nobody who could read it.
        let _ = withdraw(&mut self.store, SUPERVISE);
    }

    /// Reads the hypervisor's list and takes on what is to be done.
    fn look(&mut self) -> Result<(), CommandError> {
        let mut sights = Vec::new();
        if std::mem::take(&mut self.sweeps) {
            sweep_quietly(&self.state);
        }
        let leases = self.state.leases()?;
        let again = self.left.map_or(SWEEP_AGAIN, |before| (before * 2).min(SWEEP_AT_LAST));
        self.left = leases.left.then_some(again);
        for name in leases.held {
            if let Entry::Vacant(vacant) = self.leases.entry(name) {
                let released = self.state.record_released(vacant.key())?;
                vacant.insert(released);
            }
        }
        // Those of an earlier start of the host are for people.
        let restarting = self.state.restarting_now()?;
        let mut cut_short = Vec::new();
        for &uuid in &restarting {
            if !self.has_other(Task::Restart(uuid)) {
                cut_short.push(uuid);
            }
        }
        for info in self.xen.domains()? {
            if info.domid.0 == 0 || info.dying || info.xenstore_domain {
                continue;
            }
            let uuid = Uuid::from_bytes(info.uuid);
            cut_short.retain(|cut| *cut != uuid);
            // Whoever saves it goes on from there.
            let ended = info.shutdown.is_some_and(|reason| reason != ShutdownReason::Suspend);
            let key = Key { domid: info.domid.0, uuid };
            let cared_for = ended && self.has_other(Task::End(key));
            sights.push(Sight { key, ended, cared_for });
        }
        let (xen, state) = (&self.xen, &self.state);
        let restarts = |key| will_restart(xen, state, key);
        let tasks =
            self.book.look(self.begun.elapsed(), &sights, &restarting, &cut_short, restarts);
        tasks.into_iter().try_for_each(|task| self.crew.take(task)).map_err(failed)
    }

    /// Whether another command has a task in hand, or one of this one's threads. When it lets go
    /// there is reason to look again.
    fn has_other(&mut self, task: Task) -> bool {
        let subject = match task {
            Task::End(key) => Subject::End(key.domid),
            Task::Restart(uuid) => Subject::Uuid(uuid),
        };
        let looked = self.state.is_locked(subject).and_then(|locked| {
            if let (true, Entry::Vacant(vacant)) = (locked, self.elsewhere.entry(task)) {
                vacant.insert(self.state.released(subject)?);
            }
            Ok(locked)
        });
        looked.unwrap_or_else(|error| {
            // The others are looked after all the same.
            warn(chain(&error));
            true
        })
    }

    /// Waits for an event.
    fn wait(&mut self) -> Result<(), CommandError> {
        // A little later: time that is cut short to milliseconds would wake it too early.
        let turn = self.book.next_turn();
        let until = turn.map(|turn| self.begun + turn + Duration::from_millis(1));
        // Who works on what is left is not known here, and so it is tried again.
        let again = self.left.map(|left| Instant::now() + left);
        let until = until.into_iter().chain(again).min();
        let own = [self.crew.came().as_fd(), self.signals.came().as_fd(), self.arrivals.as_fd()];
        let locks = self.elsewhere.values().chain(self.leases.values());
        let others: Vec<_> = own.into_iter().chain(locks.map(AsFd::as_fd)).collect();
        let readable = domain::wait_for_any(&mut self.store, &others, until)?;
        self.sweeps |= self.left.is_some();
        let Some(readable) = readable else { return Ok(()) };
        self.arrivals.take();
        let mut ended = readable.into_iter().skip(own.len());
        let before = self.elsewhere.len() + self.leases.len();
        self.elsewhere.retain(|_, _| !ended.next().unwrap_or(false));
        self.leases.retain(|_, _| !ended.next().unwrap_or(false));
        // Whoever let go of it may have been killed, and have left something half done.
        self.sweeps |= self.elsewhere.len() + self.leases.len() < before;
        Ok(())
    }
}

/// Whether a domain that has ended will be started again. What cannot be read is told by who acts.
fn will_restart(xen: &Xen, state: &State, key: Key) -> bool {
    let domid = Domid(key.domid);
    let identity = Identity { domid, uuid: key.uuid.into_bytes(), generation: None };
    let reason = xen.domain_info(domid).ok().flatten().and_then(|info| info.shutdown);
    let (Some(reason), Ok(actions)) = (reason, actions(state, &identity)) else { return false };
    let restarts = decide(end::Wish::AsConfigured, reason, &actions).is_some_and(restarts);
    if restarts {
        super::tell(format_args!(
            "Domain {domid} ends too soon and too often: it is started again after a while"
        ));
    }
    restarts
}
