//! `xenstore`: what a xenstored takes for a request. `xlr xenstored` against the C daemon and the OCaml
//! one.
//!
//! A host has one store, so each gets a boot of its own, on the same machine by the same clock, and
//! the same client asks the same. Two numbers per case: what passed from the first request to the
//! last answer, clients included, and what the server alone took, as the kernel counts the time of
//! its process (on a machine that counts instructions: its instructions, with those that the kernel
//! and the hypervisor run for it).

mod at_once;
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
use cases::{DOMAINS, SMALL, TESTS, target, test_name};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "xenstore";

/// From the first request to the last answer.
const ALL: &str = "all";
/// In the server alone.
const SERVER: &str = "server";
/// Memory of the server, full.
const MEMORY: &str = "memory";
/// From the start of a server, after the one before was killed, to its first answer.
const RESTART: &str = "restart";
/// The case of [`MEMORY`] and [`RESTART`].
const FULL: &str = "domains-many";
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
        wanted(self.filter.as_deref(), case)
    }
}

/// The names of all cases, of those with domains once for few and once for many.
fn names() -> impl Iterator<Item = String> {
    let domains = |much: &'static str| {
        DOMAINS.iter().map(move |case| format!("domains-{much}/{}", case.name))
    };
    let small = SMALL.iter().map(|case| case.name.to_owned());
    let tests = TESTS.iter().map(|test| test_name(test));
    small.chain(tests).chain(domains("few")).chain(domains("many"))
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
    let wants = |case: &str| wanted(options.filter.as_deref(), case);
    for clock in clocks.iter().map(|clock| clock_name(*clock)) {
        for other in [Xenstored::C, Xenstored::Ocaml] {
            for case in names().filter(|case| wants(case)) {
                for phase in [ALL, SERVER] {
                    let target = (other == Xenstored::C).then(|| target(phase, &case));
                    rows.push(row(&records, (phase, &case), UNIT, clock, other, target)?);
                }
            }
            if wants(FULL) {
                rows.push(row(&records, (MEMORY, FULL), "KiB", clock, other, None)?);
            }
        }
        for case in DOMAINS.iter().map(|case| case.name) {
            rows.extend(flat(&records, case, clock, &wants)?);
        }
        if wants(FULL) {
            rows.push(alone(&records, (RESTART, FULL), clock)?);
        }
    }
    Ok(Measured { records, rows, curves: Vec::new() })
}

fn wanted(filter: Option<&str>, case: &str) -> bool {
    filter.is_none_or(|part| case.contains(part))
}

fn one_boot(
    paths: &Paths,
    options: &Options,
    xlr: &Path,
    (clock, xenstored): (Clock, Xenstored),
) -> Result<Vec<Record>> {
    let machine = Machine { xen: options.xen.clone(), clock, xenstored, ..Machine::default() };
    let log_name = format!("bench-xenstore-{xenstored}-{}", clock_name(clock));
    let boot = Boot { paths, machine, xlr: Some(xlr.to_owned()), limit: LIMIT, log_name };
    let mut session = Session::boot(&mut Artefacts::open(paths)?, &boot)?;
    let work = Work {
        by: xenstored.to_string(),
        samples: options.samples,
        domains: 1000,
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

/// Ours with many domains against ours with few: a tenth more is flat.
fn flat(
    records: &[Record],
    case: &str,
    clock: &str,
    wants: &impl Fn(&str) -> bool,
) -> Result<Option<Row>> {
    let (few, many) = (format!("domains-few/{case}"), format!("domains-many/{case}"));
    if !wants(&few) || !wants(&many) {
        return Ok(None);
    }
    let by = Xenstored::Xlr.to_string();
    let of =
        |case: &str| select(records, (SERVER, case), &by, (UNIT, clock)).map_err(Error::Failed);
    let (ours, theirs) = (of(&many)?, of(&few)?);
    let target = (clock == clock_name(Clock::Instructions)).then_some(0.9);
    let reference = Reference { name: "few", samples: &theirs, target };
    let shown = format!("{UNIT} ({clock})");
    Row::new((NAME, &format!("flat/{case}")), (&shown, Better::Less), &ours, Some(reference))
        .map(Some)
        .map_err(Error::Failed)
}

/// What no other xenstored does.
fn alone(records: &[Record], (phase, case): (&str, &str), clock: &str) -> Result<Row> {
    let by = Xenstored::Xlr.to_string();
    let ours = select(records, (phase, case), &by, ("ms", clock)).map_err(Error::Failed)?;
    let shown = format!("ms ({clock})");
    Row::new((NAME, &format!("{phase}/{case}")), (&shown, Better::Less), &ours, None)
        .map_err(Error::Failed)
}
