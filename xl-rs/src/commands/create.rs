//! `create`: from a configuration to a running domain.
//!
//! What is made is undone if it fails, and so is a domain whose console could not be attached, or
//! that a signal came before. With `-F` the command then stays and does at the domain's end what the
//! configuration says.

use super::begin::begin;
use super::build::{self, Halts, Job};
use super::console::Console;
use super::error::CommandError;
use super::foreground::Foreground;
use super::remove::prune;
use super::signals::Signals;
use super::{create_template, print, print_json, tell, warn};
use crate::cli::{CreateArgs, PlanFormat};
use crate::config::parse::MAX_LENGTH;
use crate::config::source::Sources;
use crate::parts::{self, Part};
use crate::state::State;
use crate::state::lock::Subject;
use domain_builder::apply::Created;
use libxc_safe::Xen;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use uuid::Uuid;
use xenstore::client::{Client, RETURN_PATIENCE};

/// Runs the command.
pub fn run(arguments: &CreateArgs) -> Result<(), CommandError> {
    let (file, assignments) = arguments.file_and_assignments();
    match file {
        Some(file) if arguments.template.is_for(file) => {
            create_template::run(arguments, file, assignments)
        }
        _ => one(arguments, texts(file, assignments)?),
    }
}

/// Creates one domain.
pub fn one(arguments: &CreateArgs, sources: Sources) -> Result<(), CommandError> {
    let (sources, config) = build::definition(sources, arguments.quiet)?;
    parts::done(Part::Configuration);
    let xen = Xen::open()?;
    parts::done(Part::Hypercalls);
    let mut store = Client::connect()?;
    parts::done(Part::Requests);
    let job = Job::prepare(sources, config, Uuid::new_v4(), &xen, &mut store, arguments.quiet)?;
    if let Some(format) = arguments.dry_run {
        return show_plan(&job, format, arguments.quiet, &xen, &mut store);
    }
    let state = State::open()?;
    prune(&xen, &state)?;
    let halts = Halts {
        fail_before: arguments.fail_before_step,
        stop_before: arguments.stop_before_step,
        stop_in_restart: None,
    };
    let mut alone = false;
    if !arguments.quiet {
        job.tell_unserved(&state)?;
        alone = !arguments.console && !state.is_locked(Subject::Supervisor)?;
    }
    let signals = Signals::take()?;
    let locks = job.lock(&state)?;
    parts::done(Part::State);
    let made = job.make(locks, &xen, &mut store, &state, &signals, halts)?;
    if arguments.foreground {
        store.outlive_store(RETURN_PATIENCE);
        return Foreground { arguments, xen: &xen, store: &mut store, state: &state }
            .run(made, signals);
    }
    // A connection of its own: an undo must not meet the console's events.
    let mut console_store = None;
    let console = match arguments.console {
        true => attach(&xen, &mut console_store, &made.created, &signals).map(Some),
        false => Ok(None),
    };
    let console = match console {
        Ok(console) => console,
        Err(error) => {
            // It never ran: an unusable domain would only hold memory.
            made.undo(&xen, &mut store, &state);
            return Err(error.before_it_ran());
        }
    };
    if alone {
        // Said while the domain is guarded: whoever reads it may let us wait.
        tell(format_args!(
            "Nothing waits for the end of domain {}; create -F does, and supervise, for all domains",
            made.created.domid
        ));
    }
    signals.heard_by_console(console.is_some());
    begin(made, arguments.paused, &xen, &mut store, &state, &signals)?;
    parts::done(Part::State);
    match console {
        Some(mut console) => console.copy(None, !arguments.quiet).map(|_| ()),
        None => Ok(()),
    }
}

/// Attaches the console of a domain that has not run yet.
pub fn attach<'a>(
    xen: &'a Xen,
    store: &'a mut Option<Client>,
    created: &Created,
    signals: &Signals,
) -> Result<Console<'a>, CommandError> {
    let info = xen.existing_domain_info(created.domid)?;
    let store = store.insert(Client::connect()?);
    store.outlive_store(RETURN_PATIENCE);
    Console::attach(xen, store, &info, Some(signals.seen_flag()))
}

/// Shows how a domain would be made, and what would be in the way at this moment.
pub fn show_plan(
    job: &Job,
    format: PlanFormat,
    quiet: bool,
    xen: &Xen,
    store: &mut Client,
) -> Result<(), CommandError> {
    match format {
        PlanFormat::Text => print(job.plan.to_string().as_bytes())?,
        PlanFormat::Json => print_json(&serde_json::to_value(&job.plan).unwrap_or_default())?,
    }
    for passing in job.look(xen, store)? {
        if !quiet {
            warn(format_args!("now {passing}"));
        }
    }
    Ok(())
}

/// The texts of a file and of assignments.
pub fn texts(file: Option<&str>, assignments: &[String]) -> Result<Sources, CommandError> {
    texts_up_to(file, assignments, MAX_LENGTH)
}

/// The same of a file that may have so many bytes.
pub fn texts_up_to(
    file: Option<&str>,
    assignments: &[String],
    most: usize,
) -> Result<Sources, CommandError> {
    let mut sources = Sources::default();
    match file {
        Some("-") => {
            let text = read_bounded(io::stdin().lock(), Path::new("standard input"), most)?;
            sources.add("standard input", text);
        }
        Some(path) => {
            let failed = |source| CommandError::Read { path: path.into(), source };
            let text = read_bounded(File::open(path).map_err(failed)?, Path::new(path), most)?;
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
fn read_bounded(reader: impl Read, path: &Path, most: usize) -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    reader
        .take(most as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    Ok(text)
}
