//! From the texts of a configuration to a paused domain, for `create` and for every rebuilding.
//!
//! ```text
//!   prepare ──▶ Job ──▶ make ──▶ Made ──▶ settle     the domain stands
//!                                     └─▶ undo       nothing of it is left
//! ```
//!
//! [`Job::prepare`] reads and checks everything before the hypervisor is asked for anything.
//! [`Job::make`] locks the name, records what it is about to do, builds, and writes what others keep
//! of a domain. Until [`Made::settle`] a command that is killed leaves no more than one paused
//! domain and its record, which the next command takes away.

use super::devices::{attach_all, take_down};
use super::error::{CommandError, chain};
use super::signals::Signals;
use super::{list, pci_device, policy, tell};
use crate::cli::program;
use crate::colour;
use crate::config::devices::Devices;
use crate::config::diagnostic::{Problem, Severity, render};
use crate::config::lower::{Affinity, DomainConfig};
use crate::config::resolve::Host;
use crate::config::source::Sources;
use crate::config::{Loaded, load};
use crate::device::Address;
use crate::device::attach::Point;
use crate::parts::{self, Part};
use crate::state::history::Recent;
use crate::state::lock::{Lock, Subject};
use crate::state::record::{Held, Phase, Record};
use crate::state::saved::Saved;
use crate::state::userdata::{self, Kind};
use crate::state::xl_lock::XlLock;
use crate::state::{State, StateError, history};
use domain_builder::apply::{ApplyError, ApplyOptions, Created, Progress, StepError, apply, look};
use domain_builder::image::{self, CacheOptions, KernelImage, Origin, Ramdisk};
use domain_builder::plan::facts::HostFacts;
use domain_builder::plan::steps::Step;
use domain_builder::plan::{Plan, plan};
use domain_builder::spec::{Channel, Connection, DomainSpec};
use domain_builder::undo::{self, Identity, UndoError};
use jiff::Zoned;
use libxc_safe::Xen;
use rustix::process::{Signal, getpid, kill_process};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// For tests of what is left by a create that ends half-way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Halts {
    /// Fail before this step.
    pub fail_before: Option<usize>,
    /// Stop before this step until SIGCONT comes. Beyond the last step: 0 before what others keep
    /// of the domain is written, 1 after it, 2 once the domain runs, 3 once it stands, and from 4 on
    /// the points of the attaching of its devices, one device after the other.
    pub stop_before: Option<usize>,
    /// Stop a restart until SIGCONT comes: 0 before the old domain is touched, 1 while it is set aside
    /// and has its new UUID but not its new name, 2 before the new one is made, 3 once it is recorded that
    /// it is set aside, before its devices go.
    pub stop_in_restart: Option<usize>,
}

impl Halts {
    /// Stops here if that was asked for.
    pub fn stop(self, at: usize) {
        if self.stop_before == Some(at) {
            stop();
        }
    }

    /// The same within a restart.
    pub fn stop_restart(self, at: usize) {
        if self.stop_in_restart == Some(at) {
            stop();
        }
    }
}

fn stop() {
    // A process can always signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// Reads the texts, and shows what is wrong with them.
pub fn configuration(
    sources: Sources,
    quiet: bool,
) -> Result<(Sources, DomainConfig), CommandError> {
    let Loaded { sources, config, problems, .. } = load(sources);
    show(&problems, &sources, quiet);
    let config = config.ok_or_else(|| refused(&problems))?;
    Ok((sources, config))
}

/// The same under the site's policy, for all that makes a domain anew: with the texts comes one more
/// where the policy overrides them, so that a rebuilding finds the merged definition.
pub fn definition(sources: Sources, quiet: bool) -> Result<(Sources, DomainConfig), CommandError> {
    match policy::site()? {
        None => configuration(sources, quiet),
        Some(site) => site.definition(sources, quiet),
    }
}

/// Everything that a domain is made from, read and checked.
pub struct Job {
    /// What the domain shall be.
    pub spec: DomainSpec,
    /// How it is made.
    pub plan: Plan,
    sources: Sources,
    kernel: KernelImage,
    ramdisk: Option<Ramdisk>,
    devices: Devices,
    /// Whether xl would leave the choice of NUMA nodes alone.
    placed: bool,
    /// Where its configuration is kept meanwhile, if an earlier domain is taken down for it.
    pub restart: Option<PathBuf>,
    /// Whether the domain belongs to this command, and is to go with it. Others then leave its end alone.
    pub leased: bool,
}

impl Job {
    /// Reads and checks. `uuid` is for a domain that names none.
    pub fn prepare(
        sources: Sources,
        mut config: DomainConfig,
        uuid: Uuid,
        xen: &Xen,
        store: &mut Client,
        quiet: bool,
    ) -> Result<Self, CommandError> {
        let pools = match config.pool {
            Some(_) => list::pool_names(xen, store)?,
            None => Vec::new(),
        };
        let utc_offset_seconds = if config.local_time { utc_offset_seconds() } else { 0 };
        let host = Host { node_of_cpu: node_of_cpu(xen)?, pools, utc_offset_seconds };
        parts::done(Part::Hypercalls);
        let placed = matches!(config.hard_affinity, Affinity::Each(_))
            || config.soft_affinity != Affinity::Anywhere;
        let devices = std::mem::take(&mut config.devices);
        let spec = config.resolve(&host, uuid).map_err(|problems| {
            show(&problems, &sources, quiet);
            refused(&problems)
        })?;
        spec.channels.iter().try_for_each(socket_can_be)?;
        parts::done(Part::Configuration);
        devices.check(spec.uuid, xen, store)?;
        let kernel = image::load(&spec.kernel, &CacheOptions::default())?;
        tell_origin(&kernel, quiet);
        let ramdisk = spec.ramdisk.as_deref().map(Ramdisk::open).transpose()?;
        let bytes = ramdisk.as_ref().map(Ramdisk::bytes);
        parts::done(Part::Files);
        let facts = HostFacts::read(xen, store, &spec)?;
        parts::done(Part::Hypercalls);
        parts::move_time(Part::Hypercalls, Part::Waiting, store.counters().waited);
        let plan = plan(&spec, &kernel, bytes, &facts)?;
        parts::done(Part::Configuration);
        Ok(Self {
            spec,
            plan,
            sources,
            kernel,
            ramdisk,
            devices,
            placed,
            restart: None,
            leased: false,
        })
    }

    /// Whether it could be made now: for who does not make it.
    /// What other domains have that it needs may be free later, and is given.
    pub fn look(&self, xen: &Xen, store: &mut Client) -> Result<Vec<StepError>, StepError> {
        look(&self.plan, &self.kernel, xen, store)
    }

    /// Whether its devices could be had once `own` has gone.
    pub fn check_devices(
        &self,
        own: Domid,
        store: &mut Client,
        signals: &Signals,
    ) -> Result<(), CommandError> {
        self.devices.check_free(own, store, signals)
    }

    /// Waits until nobody else works on name or UUID, nor xl on the host's memory. Whoever locks a
    /// domain as well does that first.
    pub fn lock(&self, state: &State) -> Result<Locks, CommandError> {
        take_locks(&self.spec.name, Uuid::from_bytes(self.spec.uuid), state)
    }

    /// The same for another thread.
    pub fn locks(
        &self,
        state: &State,
    ) -> impl FnOnce() -> Result<Locks, CommandError> + Send + use<> {
        let (name, uuid) = (self.spec.name.clone(), Uuid::from_bytes(self.spec.uuid));
        let state = state.clone();
        move || take_locks(&name, uuid, &state)
    }

    /// Says it if the domain is to have channels and nobody serves them.
    pub fn tell_unserved(&self, state: &State) -> Result<(), CommandError> {
        if !self.spec.channels.is_empty() && !state.is_locked(Subject::Consoles)? {
            tell(format_args!(
                "{0}: warning: nobody serves channels on this host; they wait until you start {0} \
                 consoled, which serves all domains and stays",
                program::name()
            ));
        }
        Ok(())
    }

    /// The configuration as one text, from which `create` makes the same domain.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.sources.joined();
        let uuid = Uuid::from_bytes(self.spec.uuid);
        text.extend_from_slice(format!("uuid = \"{uuid}\"\n").as_bytes());
        text
    }

    /// Makes the domain. It holds the signals, which end it between steps.
    pub fn make(
        &self,
        locks: Locks,
        xen: &Xen,
        store: &mut Client,
        state: &State,
        signals: &Signals,
        halts: Halts,
    ) -> Result<Made, CommandError> {
        let Locks { own, xl } = locks;
        signals.hold();
        let generation = new_generation();
        let waited = store.counters().waited;
        let mut held = None;
        let built = self.apply(xen, store, state, signals, halts, generation, &mut held);
        drop(xl);
        let created = match built {
            Ok(created) => created,
            Err(error) => {
                abandon(held, &error);
                if let Some(path) = &self.restart {
                    tell_kept(path);
                }
                return Err(error.into());
            }
        };
        tracing::info!(domid = created.domid.0, name = self.spec.name, "domain created");
        let asked = store.counters();
        let (requests, round_trips) = (asked.requests, asked.round_trips);
        tracing::debug!(requests, round_trips, "xenstored asked");
        parts::move_time(Part::Requests, Part::Waiting, asked.waited.saturating_sub(waited));
        let Some(held) = held else {
            // Every plan makes a domain, and its record comes before it.
            return Err(CommandError::State(StateError::NotSaved { domid: created.domid.0 }));
        };
        let (restart, end) = (self.restart.clone(), self.plan.steps.len());
        let has_devices = !self.devices.is_empty();
        let made = Made { created, held, restart, has_devices, _locks: own, end, halts };
        halts.stop(made.end);
        match self.complete(&made, xen, store, state, signals) {
            Ok(()) => Ok(made),
            Err(error) => {
                made.undo(xen, store, state);
                Err(error)
            }
        }
    }

    /// What a domain needs once it is built, and before it runs.
    fn complete(
        &self,
        made: &Made,
        xen: &Xen,
        store: &mut Client,
        state: &State,
        signals: &Signals,
    ) -> Result<(), CommandError> {
        self.keep(&made.created, state)?;
        made.halts.stop(made.end + 1);
        if self.devices.is_empty() {
            return Ok(());
        }
        let first = made.end + 4;
        let domid = made.created.domid;
        let who = (domid, Uuid::from_bytes(made.created.uuid));
        attach_all(&self.devices, who, store, signals, |index, point| {
            made.halts.stop(first + index * Point::ALL.len() + point as usize);
        })?;
        if self.devices.pci.is_empty() {
            return Ok(());
        }
        let others = self.devices.disks.len() + self.devices.vifs.len();
        let stop_at = made
            .halts
            .stop_before
            .and_then(|stop| stop.checked_sub(first + others * Point::ALL.len()));
        let given = pci_device::Configured { wanted: &self.devices.pci, who, stop_at };
        pci_device::give_configured(&given, xen, store, state, signals)
    }

    #[expect(clippy::too_many_arguments, reason = "one call, from one place")]
    fn apply(
        &self,
        xen: &Xen,
        store: &mut Client,
        state: &State,
        signals: &Signals,
        halts: Halts,
        generation: u64,
        held: &mut Option<Held>,
    ) -> Result<Created, ApplyError> {
        let mut begun = Instant::now();
        let mut observer = |progress: Progress<'_>| {
            match progress {
                Progress::Begin { index, step, absent } => {
                    begun = Instant::now();
                    tracing::trace!(step = index, text = %step, "begin");
                    if matches!(step, Step::CreateDomain(_)) {
                        *held = Some(state.record(self.record(generation, absent))?);
                        parts::done(Part::State);
                    }
                    halts.stop(index);
                }
                Progress::End { index, step, domid } => {
                    parts::done(part_of(step));
                    if let (Step::CreateDomain(_), Some(held)) = (step, held.as_mut()) {
                        held.update(|record| record.domid = domid.map(|domid| domid.0))?;
                    }
                    // A step's text lists every node: not made where nobody reads it.
                    if tracing::enabled!(tracing::Level::DEBUG) {
                        let text = step.to_string();
                        let line = text.lines().next().unwrap_or_default().trim_end();
                        tracing::debug!(step = index, took = ?begun.elapsed(), "{line}");
                    }
                }
            }
            Ok(())
        };
        let recent = Recent::read();
        let recent = |domid: Domid| recent.contains(domid.0);
        let options = ApplyOptions {
            fail_before_step: halts.fail_before,
            interrupted: Some(signals.seen_flag()),
            observer: Some(&mut observer),
            recent: Some(&recent),
            generation,
        };
        apply(&self.plan, &self.kernel, self.ramdisk.as_ref(), xen, store, options)
    }

    fn record(&self, generation: u64, absent: &[&str]) -> Record {
        Record {
            phase: if self.leased { Phase::Leased } else { Phase::Making },
            name: self.spec.name.clone(),
            uuid: Uuid::from_bytes(self.spec.uuid),
            generation: Some(generation),
            domid: None,
            console_domid: self.plan.console_domid,
            brought: absent.iter().map(ToString::to_string).collect(),
            aside: None,
            devices: Vec::new(),
            detach: None,
            description: None,
            functions: Vec::new(),
        }
    }

    /// Writes what is kept of a domain while it lives: by us, and by libxl.
    fn keep(&self, created: &Created, state: &State) -> Result<(), StateError> {
        let (domid, uuid) = (created.domid.0, Uuid::from_bytes(created.uuid));
        // Of a domain of the same number and UUID that an earlier start of the host had.
        userdata::unlink(domid, uuid, Kind::Text)?;
        let saved = Saved::of(&self.sources, uuid, created.generation);
        state.save(domid, &if self.leased { saved.settled() } else { saved })?;
        let json = userdata::libxl_json(&self.spec, self.placed, &self.devices);
        userdata::write(domid, uuid, Kind::Json, &json)
    }
}

/// What the time of a step is spent on.
fn part_of(step: &Step) -> Part {
    match step {
        step if step.is_for_the_store() => Part::Requests,
        Step::LoadKernel { .. }
        | Step::LoadRamdisk { .. }
        | Step::SharedInfo
        | Step::WriteP2m { .. }
        | Step::WriteBootPages { .. }
        | Step::SeedGrants { .. } => Part::Memory,
        _ => Part::Hypercalls,
    }
}

/// Whether a channel's socket can be where it shall be, as far as that can be seen beforehand.
fn socket_can_be(channel: &Channel) -> Result<(), CommandError> {
    let Connection::Socket(path) = &channel.connection else { return Ok(()) };
    let refused =
        |problem| CommandError::Channel { name: channel.name.clone(), path: path.clone(), problem };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(refused("is there and is no socket")),
        Ok(_) => Ok(()),
        Err(_) if path.parent().is_some_and(Path::is_dir) => Ok(()),
        Err(_) => Err(refused("lies in no directory")),
    }
}

fn take_locks(name: &str, uuid: Uuid, state: &State) -> Result<Locks, CommandError> {
    let own = [
        state.lock(Subject::Name(name), |text| tell(text))?,
        state.lock(Subject::Uuid(uuid), |text| tell(text))?,
    ];
    Ok(Locks { own, xl: XlLock::share(|text| tell(text))? })
}

/// What nobody else may have while a domain is made.
pub struct Locks {
    own: [Lock; 2],
    xl: XlLock,
}

/// A domain that was made and is still paused, and everything that guards it until it stands.
pub struct Made {
    /// The domain.
    pub created: Created,
    held: Held,
    restart: Option<PathBuf>,
    /// Whether devices are attached, or were to be.
    has_devices: bool,
    /// On its name and on its UUID.
    _locks: [Lock; 2],
    /// Number of the plan's steps.
    end: usize,
    halts: Halts,
}

impl Made {
    /// Lets the domain run. Killed after that, it stands.
    pub fn unpause(&mut self, xen: &Xen) -> Result<(), CommandError> {
        if self.held.record.phase != Phase::Leased {
            self.held.update(|record| record.phase = Phase::Whole)?;
        }
        xen.unpause(self.created.domid)?;
        self.halts.stop(self.end + 2);
        Ok(())
    }

    /// The domain stands: its record goes, and so does what was kept of it while there was none.
    pub fn settle(self, state: &State) -> Result<Created, CommandError> {
        tell_failure(state.end_restart(Uuid::from_bytes(self.created.uuid)));
        self.held.finish()?;
        self.halts.stop(self.end + 3);
        Ok(self.created)
    }

    /// The domain runs, and stays recorded: killed from here on, this command leaves it to the next one.
    pub fn lease(self) -> (Created, Held) {
        (self.created, self.held)
    }

    /// Takes everything back.
    pub fn undo(mut self, xen: &Xen, store: &mut Client, state: &State) {
        let (domid, uuid) = (self.created.domid.0, Uuid::from_bytes(self.created.uuid));
        // From here on it is to go even if it runs already, and even if this is killed.
        let noted = self.held.update(|record| record.phase = Phase::Removing);
        let generation = Some(self.created.generation);
        let identity = Identity { domid: self.created.domid, uuid: self.created.uuid, generation };
        let devices = match self.has_devices {
            true => take_down(&identity, xen, store),
            false => Ok(Vec::new()),
        };
        let devices = match devices {
            Ok(devices) => devices,
            Err(error) => {
                // What its devices hold is known by its nodes alone: all stays, and so does the record.
                tell_failure(noted);
                tell(format_args!(
                    "{}: domain {domid} is left, and recorded: the next create, destroy or the like \
                     removes it if it can: {}",
                    program::name(),
                    chain(&error)
                ));
                return;
            }
        };
        let left = undo::remove(xen, store, &self.created.leftover());
        forget(state, domid, uuid);
        tell_failure(noted);
        finish(self.held, devices, &left);
        if let Some(path) = &self.restart {
            tell_kept(path);
        }
    }
}

/// A domain was taken down and there is none in its place: what can be done.
pub fn tell_kept(path: &Path) {
    let (name, path) = (program::name(), path.display());
    tell(format_args!(
        "{name}: a domain was to be started again and was not; {name} create {path} starts it, rm \
         {path} forgets it"
    ));
}

/// Removes what is kept of a domain that has ended, and lets its number rest. What fails is told: it
/// is no reason to leave anything else undone.
pub fn forget(state: &State, domid: u16, uuid: Uuid) {
    tell_failure(history::mark(domid, |text| tell(text)));
    tell_failure(userdata::remove_all(domid, uuid));
    tell_failure(state.forget(domid, uuid));
}

fn tell_failure(done: Result<(), StateError>) {
    if let Err(error) = done {
        tell(format_args!("{}: warning: {}", program::name(), chain(&error)));
    }
}

/// What is to be done about the record of a create that failed.
fn abandon(held: Option<Held>, error: &ApplyError) {
    if let Some(domid) = error.domid {
        tell_failure(history::mark(domid.0, |text| tell(text)));
    }
    if let Some(mut held) = held {
        held.record.domid = error.domid.map(|domid| domid.0).or(held.record.domid);
        finish(held, Vec::new(), &error.left);
    }
}

/// Removes a record if nothing is left of its domain and of its devices; otherwise it stays, for the
/// next command.
pub fn finish(mut held: Held, devices: Vec<Address>, left: &[UndoError]) {
    let done = if left.is_empty() && devices.is_empty() {
        held.finish()
    } else {
        let devices_left = devices.iter().map(|device| format!("something of {device} is left"));
        let left = left.iter().map(|left| chain(left));
        let words = devices_left.chain(left).collect::<Vec<_>>().join("; ");
        tell(format_args!(
            "{}: {words}; recorded: the next create, destroy or the like removes it if it can",
            program::name()
        ));
        held.update(|record| (record.phase, record.devices) = (Phase::Removing, devices))
    };
    if let Err(error) = done {
        tell(format_args!("{}: {}", program::name(), chain(&error)));
    }
}

/// No two creations have the same: two creates of one name or one UUID never run at once, and a
/// domain takes longer to make than the clock takes to move.
fn new_generation() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock that was never set may be before its epoch; how far tells creations apart as well.
    let since = since.unwrap_or_else(|error| error.duration());
    // Nanoseconds of 500 years fit.
    since.as_nanos() as u64
}

/// How far the host's time zone is ahead of UTC at this moment; without one it is UTC.
fn utc_offset_seconds() -> i32 {
    Zoned::now().offset().seconds()
}

/// The NUMA node of every CPU that is there; one whose node Xen does not know counts to the first.
fn node_of_cpu(xen: &Xen) -> Result<Vec<Option<u32>>, CommandError> {
    let places = xen.cpu_topology()?;
    Ok(places.iter().map(|place| place.map(|place| place.node.unwrap_or(0))).collect())
}

/// Says where the decoded kernel came from; a cache that cannot be used costs time at every create.
fn tell_origin(kernel: &KernelImage, quiet: bool) {
    let cache = match &kernel.origin {
        Origin::Direct => "not needed",
        Origin::CacheHit => "hit",
        Origin::CacheStored => "stored",
        Origin::CacheOff => "off",
        Origin::CacheUnavailable(error) => {
            if !quiet {
                tell(format_args!("{}: warning: {}", program::name(), chain(error)));
            }
            "unavailable"
        }
    };
    let (compression, took) = (kernel.compression, kernel.decode_time);
    tracing::info!(path = %kernel.path.display(), compression, cache, ?took, "kernel read");
}

/// Shows problems on standard error, in colour on a terminal.
pub fn show(problems: &[Problem], sources: &Sources, quiet: bool) {
    let shown: Vec<Problem> = problems
        .iter()
        .filter(|problem| !quiet || problem.severity == Severity::Error)
        .cloned()
        .collect();
    if !shown.is_empty() {
        tell(render(&shown, sources, colour::on_stderr()).trim_end_matches('\n'));
    }
}

/// What a configuration with errors ends with.
pub fn refused(problems: &[Problem]) -> CommandError {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    CommandError::Configuration { errors }
}
