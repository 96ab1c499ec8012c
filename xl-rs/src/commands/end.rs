//! What happens when a domain ends, as long as no supervisor does it: for `create -F`, `reboot` and
//! `shutdown -w`.
//!
//! In: a domain, and what its configuration says of its end (`on_poweroff` and its kin). Out: the
//! domain is removed, kept, or built again under its name. Waiting is by xenstore's
//! `@releaseDomain`; each time it fires the hypervisor is asked what has happened. Never touches a
//! domain without making sure that it is still the one that was meant.

use super::build::{Halts, Job, Made, configuration, finish, forget};
use super::console::{Console, ConsoleError};
use super::create::begin;
use super::error::{CommandError, chain};
use super::signals::Signals;
use super::{domain, tell};
use crate::cli::{CreateArgs, program};
use crate::config::source::Sources;
use crate::exit::Exit;
use crate::state::State;
use crate::state::lock::Subject;
use crate::state::record::{Phase, Record};
use crate::state::userdata::{self, Kind};
use domain_builder::apply::Created;
use domain_builder::spec::{EndAction, EndActions};
use domain_builder::undo::{self, DestroyError, Identity, Leftover, Seen};
use jiff::Timestamp;
use libxc_safe::{DomainInfo, ShutdownReason, Xen};
use std::sync::mpsc;
use std::thread::JoinHandle;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};
use xenstore::{Access, Permissions};

/// Forgets what is kept of domains that are gone.
pub fn prune(xen: &Xen, state: &State) -> Result<(), CommandError> {
    state.prune(|| -> Result<_, CommandError> {
        let domains = xen.domains()?;
        Ok(domains.iter().map(|info| (info.domid.0, Uuid::from_bytes(info.uuid))).collect())
    })
}

/// Who a domain is, with its creation where xlr made it.
pub fn identify(store: &mut Client, info: &DomainInfo) -> Result<(Identity, bool), CommandError> {
    let seen = Seen::of(store, info.domid)?;
    let generation = seen.generation;
    Ok((Identity { domid: info.domid, uuid: info.uuid, generation }, seen.ours))
}

/// Destroys a domain and removes everything that is kept of it. One that is gone already needs
/// nothing more. It is recorded first: what cannot be removed, and what a command that is killed
/// leaves, is for the next one.
pub fn remove(
    xen: &Xen,
    store: &mut Client,
    state: &State,
    identity: &Identity,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    let what = match undo::destroyable(xen, store, identity) {
        Ok(what) => what,
        Err(DestroyError::Gone { .. } | DestroyError::Another { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let held = state.record(removal(identity, what.console_domid))?;
    let left = undo::remove(xen, store, &what);
    forget(state, domid.0, Uuid::from_bytes(identity.uuid));
    finish(held, &left);
    if left.is_empty() { Ok(()) } else { Err(DestroyError::Left { domid, left }.into()) }
}

/// The record of a removal.
pub fn removal(identity: &Identity, console_domid: u16) -> Record {
    Record {
        phase: Phase::Removing,
        name: String::new(),
        uuid: Uuid::from_bytes(identity.uuid),
        generation: identity.generation,
        domid: Some(identity.domid.0),
        console_domid,
        brought: Vec::new(),
    }
}

/// What a record says there may be.
pub fn leftover(record: &Record, domid: Domid) -> Leftover {
    Leftover {
        domid,
        uuid: record.uuid.into_bytes(),
        console_domid: record.console_domid,
        brought: record.brought.clone(),
    }
}

/// What the configuration of a domain says of its end.
pub fn actions(state: &State, identity: &Identity) -> Result<EndActions, CommandError> {
    let saved = state.saved(identity.domid.0, Uuid::from_bytes(identity.uuid))?;
    let (_, config) = configuration(saved.sources(), true)?;
    Ok(config.on_end)
}

/// What is to be done for this reason; none if the domain has not ended for good.
#[must_use]
pub fn action(reason: ShutdownReason, actions: &EndActions) -> Option<EndAction> {
    match reason {
        ShutdownReason::Poweroff => Some(actions.poweroff),
        ShutdownReason::Reboot => Some(actions.reboot),
        ShutdownReason::Suspend => None,
        ShutdownReason::Crash => Some(actions.crash),
        ShutdownReason::Watchdog => Some(actions.watchdog),
        ShutdownReason::SoftReset => Some(actions.soft_reset),
        // As xl: what is not known is no reason to keep it.
        ShutdownReason::Other(_) => Some(EndAction::Destroy),
    }
}

/// Waits until the domain has ended; none if it is gone. `@releaseDomain` must be watched already.
pub fn wait(
    xen: &Xen,
    store: &mut Client,
    known: &DomainInfo,
) -> Result<Option<DomainInfo>, CommandError> {
    loop {
        match domain::again(xen, known)? {
            None => return Ok(None),
            Some(now) if now.shutdown.is_some() => return Ok(Some(now)),
            Some(_) => domain::wait_for_event(store, None)?,
        };
    }
}

/// What has become of a domain that ended.
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It is still there.
    Kept,
    /// Another one has its name, and is still paused.
    Restarted(Box<Made>),
}

/// Carries out an action. A new domain is prepared before the old one goes, so that a kernel that
/// is missing now costs nothing.
pub fn carry_out(
    action: EndAction,
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: Option<&Signals>,
) -> Result<Outcome, CommandError> {
    let domid = identity.domid;
    let lock = state.lock(Subject::Domain(domid.0), |text| tell(text))?;
    if matches!(action, EndAction::CoredumpDestroy | EndAction::CoredumpRestart) {
        tell(format_args!("No core of domain {domid} is written: this version cannot do that yet"));
    }
    match action {
        EndAction::Preserve => {
            tell(format_args!("Domain {domid} is preserved; xlr destroy {domid} removes it"));
            Ok(Outcome::Kept)
        }
        EndAction::SoftReset => {
            let words = "wants to be reset in place, which this version cannot do: it is preserved";
            tell(format_args!("Domain {domid} {words}"));
            Ok(Outcome::Kept)
        }
        EndAction::Destroy | EndAction::CoredumpDestroy => {
            remove(xen, store, state, identity)?;
            Ok(Outcome::Removed)
        }
        EndAction::Restart | EndAction::CoredumpRestart | EndAction::RenameRestart => {
            let job = rebuild(identity, xen, store, state)?;
            if action == EndAction::RenameRestart {
                set_aside(identity, xen, store, state)?;
            } else {
                remove(xen, store, state, identity)?;
            }
            drop(lock);
            let made = job.make(xen, store, state, signals, Halts::default())?;
            Ok(Outcome::Restarted(Box::new(made)))
        }
    }
}

/// The domain once more: from what `config-update` left, else from its own configuration. It keeps
/// its UUID.
fn rebuild(
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
) -> Result<Job, CommandError> {
    let (domid, uuid) = (identity.domid.0, Uuid::from_bytes(identity.uuid));
    let sources = match userdata::load(domid, uuid, Kind::Text)? {
        Some(text) => {
            let mut sources = Sources::default();
            sources.add("updated configuration", text);
            sources
        }
        None => state.saved(domid, uuid)?.sources(),
    };
    let (sources, config) = configuration(sources, true)?;
    Job::prepare(sources, config, uuid, xen, store, true)
}

/// Gives a dead domain another name and UUID, so that a new one can have its own.
fn set_aside(
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let domid = identity.domid;
    if domain_uuid(xen, domid)? != Some(identity.uuid) {
        return Err(DestroyError::Another { domid }.into());
    }
    let old = Uuid::from_bytes(identity.uuid);
    let new = Uuid::new_v4();
    let root = format!("/local/domain/{domid}");
    let name = store.read_text_optional(format!("{root}/name"))?.unwrap_or_default();
    let name = format!("{name}{}", suffix());
    let vm = format!("/vm/{new}");
    let access = Permissions::private(Domid::DOM0).grant(domid, Access::Read);
    store.transaction(|transaction| {
        transaction.write(&vm, "")?;
        transaction.set_perms(&vm, &access)?;
        transaction.write(format!("{vm}/uuid"), new.to_string())?;
        transaction.write(format!("{vm}/name"), name.as_str())?;
        transaction.write(format!("{root}/vm"), vm.as_str())?;
        transaction.write(format!("{root}/name"), name.as_str())
    })?;
    xen.set_uuid(domid, new.into_bytes())?;
    tell(format_args!("Domain {domid} is preserved as {name}; xlr destroy {domid} removes it"));
    userdata::rename(domid.0, old, new)?;
    Ok(state.rename(domid.0, old, new)?)
}

fn domain_uuid(xen: &Xen, domid: Domid) -> Result<Option<[u8; 16]>, CommandError> {
    Ok(xen.domain_info(domid)?.map(|info| info.uuid))
}

/// What a preserved domain has behind its name: the time, as xl writes it.
fn suffix() -> String {
    Timestamp::now().strftime("-%Y%m%dT%H%MZ").to_string()
}

/// `create -F`: stays until the domain is gone, and does what is to be done at its end.
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

impl Foreground<'_> {
    /// Lets the domain run, and every one that follows it.
    pub fn run(mut self, first: Made, signals: Signals) -> Result<(), CommandError> {
        if let Err(error) = self.store.watch("@releaseDomain", "xlr-end") {
            first.undo(self.xen, self.store, self.state);
            return Err(error.into());
        }
        let (mut made, mut paused, mut restarted) = (first, self.arguments.paused, false);
        loop {
            let console = match self.console(&made.created, &signals) {
                Ok(console) => console,
                // Without its console a domain that was started again still lives.
                Err(error) if restarted => {
                    tell(format_args!("{}: {}", program::name(), chain(&error)));
                    None
                }
                Err(error) => {
                    made.undo(self.xen, self.store, self.state);
                    return Err(error.before_it_ran());
                }
            };
            let created = begin(made, paused, self.xen, self.store, self.state, Some(&signals))?;
            paused = false;
            if console.is_some() {
                // The console hears them itself, and puts the terminal back.
                signals.hold();
            }
            let outcome = self.follow(&created, &signals);
            if let Some(console) = console
                && let Err(error) = join(console)
            {
                tell(format_args!("{}: {}", program::name(), chain(&error)));
            }
            match outcome? {
                Outcome::Restarted(next) => (made, restarted) = (*next, true),
                Outcome::Removed | Outcome::Kept => return Ok(()),
            }
        }
    }

    /// Waits for the domain's end, and acts.
    fn follow(&mut self, created: &Created, signals: &Signals) -> Result<Outcome, CommandError> {
        let domid = created.domid;
        let identity = created.identity();
        let actions = actions(self.state, &identity)?;
        let Some(mut known) = self.xen.domain_info(domid)? else { return Ok(gone(domid)) };
        known.uuid = created.uuid;
        loop {
            let Some(now) = wait(self.xen, self.store, &known)? else { return Ok(gone(domid)) };
            let Some(reason) = now.shutdown else { continue };
            match action(reason, &actions) {
                Some(action) => {
                    let code = reason.code();
                    tell(format_args!("Domain {domid} has shut down, reason code {code}"));
                    return carry_out(
                        action,
                        &identity,
                        self.xen,
                        self.store,
                        self.state,
                        Some(signals),
                    );
                }
                // Suspended: whoever saves it goes on from here.
                None => {
                    tell(format_args!("Domain {domid} has suspended"));
                    return Ok(Outcome::Kept);
                }
            }
        }
    }

    /// Attaches the console, if it is wanted, in a thread of its own.
    fn console(
        &self,
        created: &Created,
        signals: &Signals,
    ) -> Result<Option<JoinHandle<Result<(), CommandError>>>, CommandError> {
        if !self.arguments.console {
            return Ok(None);
        }
        let (domid, hint) = (created.domid, !self.arguments.quiet);
        let (attached, ready) = mpsc::channel();
        let seen = signals.seen_handle();
        let thread = std::thread::spawn(move || {
            let xen = Xen::open()?;
            let mut store = Client::connect()?;
            let info = xen.existing_domain_info(domid)?;
            let mut console =
                Console::attach(&xen, &mut store, &info, Some(&seen))?.until_shutdown();
            // Nobody listens any more if the other side has given up.
            let _ = attached.send(());
            match console.copy(None, hint) {
                Err(CommandError::Console(error @ ConsoleError::Signal { .. })) => {
                    // The terminal is as it was. The other thread waits for the domain's end, which
                    // is not what was wished for, and the domain goes on without it.
                    tell(format_args!("{}: {error}", program::name()));
                    std::process::exit(Exit::Interrupted as i32);
                }
                ended => ended.map(|_| ()),
            }
        });
        match ready.recv() {
            Ok(()) => Ok(Some(thread)),
            // The thread has ended without a word: it has an error to tell.
            Err(_) => join(thread).map(|()| None),
        }
    }
}

fn gone(domid: Domid) -> Outcome {
    tell(format_args!("Domain {domid} has been destroyed"));
    Outcome::Removed
}

fn join(console: JoinHandle<Result<(), CommandError>>) -> Result<(), CommandError> {
    match console.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
