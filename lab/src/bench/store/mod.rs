//! `store`: what a xenstored takes for a request. `xlr xenstored` against the C daemon and the OCaml
//! one.
//!
//! A host has one store, so each gets a boot of its own, on the same machine by the same clock, and
//! the same client asks the same. Two numbers per case: what passed from the first request to the
//! last answer, clients included, and what the server alone took, as the kernel counts the time of
//! its process (on a machine that counts instructions: its instructions, with those that the kernel
//! and the hypervisor run for it).

mod cases;
pub mod inside;

use super::create::run_inside;
use super::record::{Record, clock_name, select};
use super::row::{Better, Reference, Row};
use super::{Measured, Options};
use crate::artefact::Artefacts;
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::program;
use crate::qemu::{Clock, Machine};
use crate::session::{Boot, Session};
use crate::xenstored::Xenstored;
use cases::CASES;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "store";

/// From the first request to the last answer.
const ALL: &str = "all";
/// In the server alone.
const SERVER: &str = "server";
/// Memory of the server, full.
const MEMORY: &str = "memory";
/// The unit of times.
const UNIT: &str = "us/request";

/// Limit for one boot.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the half in dom0 is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Who is measured.
    by: String,
    /// Rounds that count; one more warms up.
    samples: u32,
    /// Domains' worth of nodes and watches in the large store.
    domains: u32,
    /// Part of the names of the cases that are wanted.
    filter: Option<String>,
}

impl Work {
    fn wants(&self, case: &str) -> bool {
        self.filter.as_deref().is_none_or(|part| case.contains(part))
    }
}

/// Boots with each, measures, compares.
pub fn measure(paths: &Paths, options: &Options) -> Result<Measured> {
    let clocks: &[Clock] =
        if options.wall { &[Clock::Instructions, Clock::Wall] } else { &[Clock::Instructions] };
    let xlr = program::xlr(paths, "release")?;
    let mut records = Vec::new();
    for clock in clocks {
        for xenstored in [Xenstored::Xlr, Xenstored::C, Xenstored::Ocaml] {
            records.extend(one_boot(paths, options, &xlr, (*clock, xenstored))?);
        }
    }
    let mut rows = Vec::new();
    for clock in clocks.iter().map(|clock| clock_name(*clock)) {
        for other in [Xenstored::C, Xenstored::Ocaml] {
            for case in CASES.iter().filter(|case| wanted(options, case.name)) {
                for phase in [ALL, SERVER] {
                    let target = (other == Xenstored::C).then(|| case.target(phase)).flatten();
                    rows.push(row(&records, (phase, case.name), UNIT, clock, other, target)?);
                }
            }
            rows.push(row(&records, (MEMORY, "large"), "KiB", clock, other, None)?);
        }
    }
    Ok(Measured { records, rows, curves: Vec::new() })
}

fn wanted(options: &Options, case: &str) -> bool {
    options.filter.as_deref().is_none_or(|part| case.contains(part))
}

fn one_boot(
    paths: &Paths,
    options: &Options,
    xlr: &Path,
    (clock, xenstored): (Clock, Xenstored),
) -> Result<Vec<Record>> {
    let machine = Machine { xen: options.xen.clone(), clock, xenstored, ..Machine::default() };
    let log_name = format!("bench-store-{xenstored}-{}", clock_name(clock));
    let boot = Boot { paths, machine, xlr: Some(xlr.to_owned()), limit: LIMIT, log_name };
    let mut session = Session::boot(&mut Artefacts::open(paths)?, &boot)?;
    let work = Work {
        by: xenstored.to_string(),
        samples: options.samples,
        domains: if options.full { 1000 } else { 200 },
        filter: options.filter.clone(),
    };
    let records = run_inside(&mut session, NAME, &work, clock)?;
    session.power_off()?;
    Ok(records)
}

/// One comparison.
fn row(
    records: &[Record],
    (phase, case): (&str, &str),
    unit: &str,
    clock: &str,
    other: Xenstored,
    target: Option<f64>,
) -> Result<Row> {
    let of = |by: Xenstored| {
        select(records, (phase, case), &by.to_string(), (unit, clock)).map_err(Error::Failed)
    };
    let (ours, theirs) = (of(Xenstored::Xlr)?, of(other)?);
    let name = other.to_string();
    let judged = target.filter(|_| clock == clock_name(Clock::Instructions));
    let reference = Reference { name: &name, samples: &theirs, target: judged };
    let shown = if phase == MEMORY { unit.to_owned() } else { format!("{unit} ({clock})") };
    Row::new((NAME, &format!("{phase}/{case}")), (&shown, Better::Less), &ours, Some(reference))
        .map_err(Error::Failed)
}
