//! `create`: from a configuration to a running domain.
//!
//! Reads and checks everything before the hypervisor is asked for anything; what the builder makes
//! is undone if it fails, and so is a domain whose console could not be attached.

use super::console::Console;
use super::error::{CommandError, chain};
use super::{list, print, print_json, tell};
use crate::cli::{CreateArgs, PlanFormat};
use crate::config::diagnostic::{Problem, Severity, render};
use crate::config::parse::MAX_LENGTH;
use crate::config::resolve::Host;
use crate::config::source::Sources;
use crate::config::{Loaded, load};
use domain_builder::apply::{ApplyOptions, Created, Progress, apply};
use domain_builder::image::{self, CacheOptions, KernelImage, Origin};
use domain_builder::plan::facts::HostFacts;
use domain_builder::plan::{Plan, plan};
use domain_builder::spec::DomainSpec;
use domain_builder::undo;
use libxc_safe::Xen;
use rustix::fs::OFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tz::TimeZone;
use uuid::Uuid;
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &CreateArgs) -> Result<(), CommandError> {
    let loaded = load(sources(arguments)?);
    show(&loaded.problems, &loaded.sources, arguments.quiet);
    let Loaded { sources, config, problems } = loaded;
    let config = config.ok_or_else(|| refused(&problems))?;

    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let pools = match config.pool {
        Some(_) => list::pool_names(&xen, &mut store)?,
        None => Vec::new(),
    };
    let utc_offset_seconds = if config.local_time { utc_offset_seconds()? } else { 0 };
    let host = Host { node_of_cpu: node_of_cpu(&xen)?, pools, utc_offset_seconds };
    let spec = config.resolve(&host, Uuid::new_v4()).map_err(|problems| {
        show(&problems, &sources, arguments.quiet);
        refused(&problems)
    })?;

    let job = Job::prepare(&spec, &xen, &mut store, arguments.quiet)?;
    match arguments.dry_run {
        Some(PlanFormat::Text) => return print(job.plan.to_string().as_bytes()),
        Some(PlanFormat::Json) => {
            return print_json(&serde_json::to_value(&job.plan).unwrap_or_default());
        }
        None => {}
    }
    let signals = Signals::hold()?;
    let created = job.build(&xen, &mut store, arguments.fail_before_step, &signals)?;
    tracing::info!(domid = created.domid.0, name = spec.name, "domain created");
    let begun = begin(arguments, &xen, &mut store, &created, &signals);
    if begun.is_ok() && !arguments.quiet && !arguments.console {
        tell(format_args!(
            "Nothing waits for the end of domain {}: once it has shut down it stays in the list until \
             xlr shutdown -w or xlr destroy removes it.",
            created.domid
        ));
    }
    match begun {
        Ok(None) => Ok(()),
        Ok(Some(mut console)) => console.copy(None, !arguments.quiet).map(|_| ()),
        Err(error) => {
            // It never ran: an unusable domain would only hold memory.
            if let Err(left) = undo::destroy(&xen, &mut store, &created.identity()) {
                tell(format_args!("xlr: {}", chain(&left)));
            }
            Err(error)
        }
    }
}

/// How far the host's time zone is ahead of UTC at this moment.
fn utc_offset_seconds() -> Result<i32, CommandError> {
    let zone = TimeZone::local().map_err(CommandError::TimeZone)?;
    let now = zone.find_current_local_time_type();
    let now = now.map_err(|error| CommandError::TimeZone(error.into()))?;
    Ok(now.ut_offset())
}

/// The NUMA node of every CPU that is there; one whose node Xen does not know counts to the first.
fn node_of_cpu(xen: &Xen) -> Result<Vec<Option<u32>>, CommandError> {
    let places = xen.cpu_topology()?;
    Ok(places.iter().map(|place| place.map(|place| place.node.unwrap_or(0))).collect())
}

/// Attaches the console if it is wanted, then lets the domain run, in this order so that its first
/// words are seen.
fn begin<'a>(
    arguments: &CreateArgs,
    xen: &'a Xen,
    store: &'a mut Client,
    created: &Created,
    signals: &Signals,
) -> Result<Option<Console<'a>>, CommandError> {
    let console = match arguments.console {
        true => {
            let info = xen.existing_domain_info(created.domid)?;
            Some(Console::attach(xen, store, &info)?)
        }
        false => None,
    };
    if signals.seen.load(Ordering::Relaxed) {
        return Err(CommandError::Interrupted);
    }
    if !arguments.paused {
        xen.unpause(created.domid)?;
    }
    Ok(console)
}

/// Everything a create needs, read and checked.
struct Job {
    plan: Plan,
    kernel: KernelImage,
    ramdisk: Option<File>,
}

impl Job {
    fn prepare(
        spec: &DomainSpec,
        xen: &Xen,
        store: &mut Client,
        quiet: bool,
    ) -> Result<Self, CommandError> {
        let kernel = image::load(&spec.kernel, &CacheOptions::default())?;
        tell_origin(&kernel, quiet);
        let ramdisk = spec.ramdisk.as_deref().map(open_ramdisk).transpose()?;
        let (ramdisk, length) = match ramdisk {
            Some((file, length)) => (Some(file), Some(length)),
            None => (None, None),
        };
        let plan = plan(spec, &kernel, length, &HostFacts::read(xen, store, spec)?)?;
        Ok(Self { plan, kernel, ramdisk })
    }

    /// Carries out the plan. Ctrl-C and its kin are honoured between steps while it runs.
    fn build(
        &self,
        xen: &Xen,
        store: &mut Client,
        fail_before_step: Option<usize>,
        signals: &Signals,
    ) -> Result<Created, CommandError> {
        let mut begun = Instant::now();
        let mut observer = |progress: Progress<'_>| match progress {
            Progress::Begin { index, step } => {
                begun = Instant::now();
                tracing::trace!(step = index, text = %step, "begin");
            }
            Progress::End { index, step, .. } => {
                let text = step.to_string();
                let line = text.lines().next().unwrap_or_default().trim_end();
                tracing::debug!(step = index, took = ?begun.elapsed(), "{line}");
            }
        };
        let options = ApplyOptions {
            fail_before_step,
            interrupted: Some(&signals.seen),
            observer: Some(&mut observer),
        };
        Ok(apply(&self.plan, &self.kernel, self.ramdisk.as_ref(), xen, store, options)?)
    }
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
                tell(format_args!("xlr: warning: {}", chain(error)));
            }
            "unavailable"
        }
    };
    let (compression, took) = (kernel.compression, kernel.decode_time);
    tracing::info!(path = %kernel.path.display(), compression, cache, ?took, "kernel read");
}

/// While this lives, signals that would end the process only set a flag.
struct Signals {
    seen: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl Signals {
    fn hold() -> Result<Self, CommandError> {
        let seen = Arc::new(AtomicBool::new(false));
        let released = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&released))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&seen)))
                .map_err(|source| CommandError::Signals { source })?;
        }
        Ok(Self { seen, released })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

fn open_ramdisk(path: &Path) -> Result<(File, u64), CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    // Without O_NONBLOCK, opening a pipe waits for a writer that never comes.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut open = OpenOptions::new();
    let file = open.read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        // Its length would say nothing of what can be read from it.
        return Err(failed(io::Error::other("the ramdisk is not a regular file")));
    }
    Ok((file, metadata.len()))
}

/// The texts of the configuration: the file, then each assignment of the command line.
fn sources(arguments: &CreateArgs) -> Result<Sources, CommandError> {
    let (file, assignments) = arguments.file_and_assignments();
    let mut sources = Sources::default();
    match file {
        Some("-") => {
            let text = read_bounded(io::stdin().lock(), Path::new("standard input"))?;
            sources.add("standard input", text);
        }
        Some(path) => {
            let failed = |source| CommandError::Read { path: path.into(), source };
            let text = read_bounded(File::open(path).map_err(failed)?, Path::new(path))?;
            sources.add(path, text);
        }
        None if assignments.is_empty() => return Err(CommandError::NoConfiguration),
        None => {}
    }
    for assignment in assignments {
        sources.add("command line", assignment.as_str());
    }
    Ok(sources)
}

/// Reads a text; one that is too long is cut where its length shows.
fn read_bounded(reader: impl Read, path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    reader
        .take(MAX_LENGTH as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    Ok(text)
}

/// Shows problems on standard error, in colour on a terminal.
fn show(problems: &[Problem], sources: &Sources, quiet: bool) {
    let shown: Vec<Problem> = problems
        .iter()
        .filter(|problem| !quiet || problem.severity == Severity::Error)
        .cloned()
        .collect();
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", render(&shown, sources, colour));
}

fn refused(problems: &[Problem]) -> CommandError {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    CommandError::Configuration { errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramdisk_is_a_regular_file() {
        let own = std::env::current_exe().unwrap();
        assert!(open_ramdisk(&own).is_ok_and(|(_, length)| length > 0));
        for path in ["/dev/null", "/"] {
            let error = open_ramdisk(Path::new(path)).unwrap_err();
            assert!(chain(&error).contains("not a regular file"), "{}", chain(&error));
        }
    }
}
