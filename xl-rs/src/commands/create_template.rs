//! `create` of a template: one domain, or several of which all are made or none.
//!
//! In: the configurations that the template makes. Out: domains. They are made one after the other and
//! stay paused until the last one stands; what fails takes all of them back.

use super::begin::begin_all;
use super::build::{self, Halts, Job};
use super::error::CommandError;
use super::remove::prune;
use super::signals::Signals;
use super::{create, tell, template};
use crate::cli::{CreateArgs, PlanFormat};
use crate::config::lower::DomainConfig;
use crate::config::source::Sources;
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::Xen;
use uuid::Uuid;
use xenstore::client::Client;

/// Runs the command with a template.
pub fn run(arguments: &CreateArgs, file: &str, assignments: &[String]) -> Result<(), CommandError> {
    let made = template::configurations(file, &arguments.template, arguments.quiet)?;
    let mut all = made.iter().map(|one| template::sources(one, file, assignments));
    if let (1, Some(only)) = (made.len(), all.next()) {
        return create::one(arguments, only);
    }
    let refused = match arguments {
        CreateArgs { console: true, .. } => Some("-c"),
        CreateArgs { foreground: true, .. } => Some("-F"),
        CreateArgs { dry_run: Some(PlanFormat::Json), .. } => Some("--dry-run=json"),
        _ => None,
    };
    if let Some(what) = refused {
        return Err(CommandError::SeveralDomains { count: made.len(), what });
    }
    // All are read before the first one is made.
    let all = made
        .iter()
        .map(|one| build::definition(template::sources(one, file, assignments), arguments.quiet));
    several(arguments, all.collect::<Result<_, _>>()?)
}

fn several(arguments: &CreateArgs, all: Vec<(Sources, DomainConfig)>) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let quiet = arguments.quiet;
    if let Some(format) = arguments.dry_run {
        for (sources, config) in all {
            let job = Job::prepare(sources, config, Uuid::new_v4(), &xen, &mut store, quiet)?;
            create::show_plan(&job, format, quiet, &xen, &mut store)?;
        }
        return Ok(());
    }
    let state = State::open()?;
    prune(&xen, &state)?;
    let alone = !quiet && !state.is_locked(Subject::Supervisor)?;
    let halts = Halts {
        fail_before: arguments.fail_before_step,
        stop_before: arguments.stop_before_step,
        stop_in_restart: None,
    };
    let signals = Signals::take()?;
    let mut made = Vec::new();
    let count = all.len();
    for (sources, config) in all {
        // What fails or stops at a step does so in the last domain, when there is most to take back.
        let is_last = made.len() + 1 == count;
        let halts = if is_last { halts } else { Halts::default() };
        let next = Job::prepare(sources, config, Uuid::new_v4(), &xen, &mut store, quiet).and_then(
            |job| {
                if !quiet {
                    job.tell_unserved(&state)?;
                }
                let locks = job.lock(&state)?;
                job.make(locks, &xen, &mut store, &state, &signals, halts)
            },
        );
        match next {
            Ok(next) => made.push(next),
            Err(error) => {
                made.into_iter().rev().for_each(|made| made.undo(&xen, &mut store, &state));
                return Err(error);
            }
        }
    }
    if alone {
        tell(format_args!(
            "Nothing waits for the ends of these {} domains; supervise does, for all domains",
            made.len()
        ));
    }
    begin_all(made, arguments.paused, &xen, &mut store, &state, &signals)
}
