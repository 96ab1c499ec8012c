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
use queue::Need;
use report::{Report, Summary};
use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the command. What keeps guests from being run is one exit code, whatever it is.
pub fn run(arguments: &RunArgs) -> Result<(), CommandError> {
    run_all(arguments).map_err(|error| match error {
        CommandError::Judged { .. } => error,
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
    // All of a suite is read, and held to the site's policy, before a file is written.
    let suite = match suite(arguments)? {
        Some(path) => Some((guests(&path, arguments)?, stem(Some(&path.display().to_string())))),
        None => None,
    };
    // Before the first guest: that it cannot be written is nothing to learn after half an hour.
    let junit = match &arguments.junit {
        Some(path) => Some((junit::fresh(path).map_err(RunError::write(path.as_path()))?, path)),
        None => None,
    };
    let ran = match suite {
        Some((guests, name)) => run_suite(guests, arguments).map(|reports| (name, reports, true)),
        None => run_one(arguments).map(|report| (report.name.clone(), vec![report], false)),
    };
    if let (Err(_), Some((_, path))) = (&ran, &junit) {
        // Nothing was run, and an empty file is no result.
        let _ = std::fs::remove_file(path);
    }
    let (name, reports, is_suite) = ran?;
    let begun_text = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let summary = Summary { name, begun: begun_text, took: begun.elapsed(), reports };
    let printed = match (arguments.json, is_suite) {
        (true, _) => print_json(&summary.to_json()),
        (false, true) => print(summary.to_text().as_bytes()),
        (false, false) => {
            print(summary.reports.iter().map(Report::line).collect::<String>().as_bytes())
        }
    };
    let written = junit.map_or(Ok(()), |(mut file, path)| {
        let host = rustix::system::uname();
        let document = junit::document(&summary, &host.nodename().to_string_lossy());
        let written = document.and_then(|document| file.write_all(&document));
        Ok(written.map_err(RunError::write(path.as_path()))?)
    });
    conclude(summary.exit(), printed, written)
}

/// The exit code, whatever became of what was to be told: what failed stays a failure, and a reader
/// that has gone has seen enough.
fn conclude(
    exit: Exit,
    printed: Result<(), CommandError>,
    written: Result<(), CommandError>,
) -> Result<(), CommandError> {
    let printed = match printed {
        Err(CommandError::Write { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    };
    let told = written.and(printed);
    match (exit, told) {
        (Exit::Success, told) => told,
        (exit, Ok(())) => Err(CommandError::Judged { exit }),
        (exit, Err(error)) => {
            tell(format_args!("{}: {}", program::name(), chain(&error)));
            Err(CommandError::Judged { exit })
        }
    }
}

/// The suite that is meant, if one is.
fn suite(arguments: &RunArgs) -> Result<Option<PathBuf>, RunError> {
    match arguments.arguments.split_first() {
        Some((first, rest)) if Path::new(first).extension() == Some(OsStr::new("toml")) => {
            match rest.is_empty() {
                true => Ok(Some(first.into())),
                false => Err(RunError::Beside { suite: first.clone() }),
            }
        }
        _ => Ok(None),
    }
}

/// The guests of a suite, and what each needs.
fn guests(path: &Path, arguments: &RunArgs) -> Result<Vec<(Guest, Need)>, RunError> {
    let guests = suite::guests(path, arguments)?;
    if arguments.log.is_none() && guests.iter().any(|guest| guest.scratch_bytes.is_some()) {
        return Err(RunError::Nowhere);
    }
    let with_need = |guest: Guest| match pool::need(&guest) {
        Ok(need) => Ok((guest, need)),
        Err(error) => Err(RunError::Config { name: guest.name, source: Box::new(error) }),
    };
    guests.into_iter().map(with_need).collect()
}

fn run_suite(guests: Vec<(Guest, Need)>, arguments: &RunArgs) -> Result<Vec<Report>, CommandError> {
    let (guests, needs): (Vec<Guest>, Vec<Need>) = guests.into_iter().unzip();
    // Each guest takes a dozen of them.
    descriptors::as_many_as_allowed();
    let signals = Signals::take()?;
    signals.hold();
    let pool = Pool {
        guests: &guests,
        needs,
        jobs: arguments.jobs as usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_does_not_hang_on_who_reads_it() {
        let lost = |kind: ErrorKind| {
            let what = String::from("standard output");
            Err(CommandError::Write { what, source: kind.into() })
        };
        let check = |exit, printed, written, code: Option<Exit>| {
            // As `run` has it: any other error is that it could not be judged.
            let found = match conclude(exit, printed, written) {
                Ok(()) => Some(Exit::Success),
                Err(CommandError::Judged { exit }) => Some(exit),
                Err(_) => None,
            };
            assert_eq!(found, code);
        };
        let (gone, full) = (ErrorKind::BrokenPipe, ErrorKind::StorageFull);
        check(Exit::Success, lost(gone), Ok(()), Some(Exit::Success));
        check(Exit::TimeOver, lost(gone), Ok(()), Some(Exit::TimeOver));
        check(Exit::Success, lost(full), Ok(()), None);
        check(Exit::Failure, lost(full), Ok(()), Some(Exit::Failure));
        check(Exit::Success, Ok(()), Err(RunError::Nowhere.into()), None);
        check(Exit::Failure, Ok(()), Err(RunError::Nowhere.into()), Some(Exit::Failure));
    }

    #[test]
    fn a_suite_stands_alone() {
        let check = |all: &[&str], is_suite: Option<bool>| {
            let arguments = all.iter().map(|&text| text.to_owned()).collect();
            let found = suite(&RunArgs { arguments, ..RunArgs::default() });
            assert_eq!(found.ok().map(|path| path.is_some()), is_suite, "{all:?}");
        };
        check(&["a.toml"], Some(true));
        check(&["a.cfg", "memory=8"], Some(false));
        check(&["a.toml", "memory=8"], None);
        check(&["a.toml", "b.toml"], None);
    }
}
