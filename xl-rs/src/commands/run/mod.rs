//! `run`: guests to their end, and how they fared.
//!
//! ```text
//!   command line or suite ──▶ Guest ──attempt──▶ Attempt ──report──▶ text, JSON, JUnit, exit code
//!                                        │
//!                 console, exit code, end and time ──judge──▶ Verdict
//! ```
//!
//! In: configurations, and what their guests are to show. Out: verdicts. [`judge`] decides and is pure,
//! as are [`queue`] and [`report`]; [`attempt`] makes, watches and removes. Never leaves a domain.

mod attempt;
mod echo;
pub mod error;
pub mod judge;
mod junit;
mod lines;
mod log;
mod patterns;
mod pool;
mod progress;
mod queue;
mod report;
mod scratch;
mod suite;

use super::error::{CommandError, chain};
use super::signals::Signals;
use super::{create, print, print_json, tell};
use crate::cli::{RunArgs, program};
use crate::descriptors;
use crate::exit::Exit;
use attempt::{Came, Guest, Manner, attempt};
use error::RunError;
use jiff::Timestamp;
use pool::Pool;
use report::{Report, Summary};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the command. What keeps guests from being run is one exit code, whatever it is.
pub fn run(arguments: &RunArgs) -> Result<(), CommandError> {
    run_all(arguments).map_err(|error| match error {
        CommandError::Judged { .. } | CommandError::Write { .. } => error,
        _ if matches!(error.exit(), Exit::Usage | Exit::Interrupted) => error,
        _ => {
            tell(format_args!("{}: {}", program::name(), chain(&error)));
            CommandError::Judged { exit: Exit::Configuration }
        }
    })
}

fn run_all(arguments: &RunArgs) -> Result<(), CommandError> {
    if arguments.log.is_none() && arguments.scratch.is_some() {
        return Err(RunError::Nowhere.into());
    }
    let (stamp, begun) = (Timestamp::now(), Instant::now());
    let (name, reports, is_suite) = match suite(arguments) {
        Some(path) => {
            let name = stem(Some(&path.display().to_string()));
            (name, run_suite(&path, arguments)?, true)
        }
        None => {
            let report = run_one(arguments)?;
            (report.name.clone(), vec![report], false)
        }
    };
    let begun_text = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let summary = Summary { name, begun: begun_text, took: begun.elapsed(), reports };
    if let Some(path) = &arguments.junit {
        let host = rustix::system::uname();
        let document = junit::document(&summary, &host.nodename().to_string_lossy());
        let written = document.and_then(|document| std::fs::write(path, document));
        written.map_err(RunError::write(path.as_path()))?;
    }
    match (arguments.json, is_suite) {
        (true, _) => print_json(&summary.to_json())?,
        (false, true) => print(summary.to_text().as_bytes())?,
        (false, false) => {
            print(summary.reports.iter().map(Report::line).collect::<String>().as_bytes())?;
        }
    }
    match summary.exit() {
        Exit::Success => Ok(()),
        exit => Err(CommandError::Judged { exit }),
    }
}

/// The suite that is meant, if one is.
fn suite(arguments: &RunArgs) -> Option<PathBuf> {
    match arguments.arguments.as_slice() {
        [only] if Path::new(only).extension() == Some(OsStr::new("toml")) => Some(only.into()),
        _ => None,
    }
}

fn run_suite(path: &Path, arguments: &RunArgs) -> Result<Vec<Report>, CommandError> {
    let guests = suite::guests(path, arguments)?;
    if arguments.log.is_none() && guests.iter().any(|guest| guest.scratch_bytes.is_some()) {
        return Err(RunError::Nowhere.into());
    }
    // Each guest takes a dozen of them.
    descriptors::as_many_as_allowed();
    let signals = Signals::take()?;
    signals.hold();
    let pool = Pool {
        guests: &guests,
        jobs: arguments.jobs,
        folder: arguments.log.as_deref(),
        quiet: arguments.quiet,
        signals: &signals,
    };
    pool.run()
}

fn run_one(arguments: &RunArgs) -> Result<Report, CommandError> {
    let (file, assignments) = match arguments.arguments.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(first.as_str()), rest),
        _ => (None, arguments.arguments.as_slice()),
    };
    let guest = suite::alone(stem(file), arguments)?;
    let guest = Guest { sources: create::texts(file, assignments)?, ..guest };
    let signals = Signals::take()?;
    signals.hold();
    let streams = !arguments.json && !arguments.quiet;
    let mut report = Report { name: guest.name.clone(), attempts: Vec::new() };
    loop {
        let folder = arguments.log.as_ref().map(|folder| match report.attempts.len() {
            0 => folder.clone(),
            retry => folder.join(format!("retry-{retry}")),
        });
        let (folder, quiet) = (folder.as_deref(), arguments.quiet);
        let manner = Manner { signals: &signals, folder, streams, quiet, made: None };
        let attempt = attempt(&guest, manner);
        report.name = attempt.name.clone().unwrap_or(report.name);
        if let Came::Broken(why) = &attempt.came {
            tell(format_args!("{}: {why}", program::name()));
        }
        let passed = attempt.came.is_pass() || signals.seen();
        report.attempts.push(attempt);
        if passed || report.retries() >= guest.retries as usize {
            return Ok(report);
        }
        if !arguments.quiet {
            tell(format_args!("{}It is run again.", report.line()));
        }
    }
}

/// What a file is called, without its folder and its ending.
fn stem(file: Option<&str>) -> String {
    let stem = file.and_then(|file| Path::new(file).file_stem()).unwrap_or(OsStr::new("guest"));
    stem.to_string_lossy().into_owned()
}
