//! `rdma`: what an operation of InfiniBand costs in a guest, against the same device in dom0 itself.
//!
//! One program (`ib-guest/tests/perf.c`) runs in dom0 over rdma-core's library and in a guest over ours, in
//! turns, on one device in software. Two machines:
//!
//! * one CPU, whose clock counts instructions: what the hypervisor says that both domains ran, for so many
//!   operations and for more, so that all but the operations cancels out. Nobody polls: what a poller burns
//!   while it waits is no operation's. Latency by events and registration are times of that clock, too.
//! * two CPUs by the host's clock, one for dom0 and one for the guest: latency and bandwidth while both poll.

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
use cases::{CASES, Case, GUEST};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "rdma";

/// Native and what is added are at most one and a half times native.
const TARGET: f64 = 1.0 / 1.5;
/// Times are medians of so many at least.
const TIMES: u32 = 7;
/// Limit for one boot.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the half in dom0 is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Rounds that count; one more warms up.
    samples: u32,
    /// Whether this is the machine with two CPUs.
    polls: bool,
    /// Part of the names of the cases that are wanted.
    filter: Option<String>,
}

impl Work {
    fn cases(&self) -> impl Iterator<Item = &'static Case> {
        let wanted = |case: &&Case| {
            let named = self.filter.as_deref().is_none_or(|part| case.name.contains(part));
            named && case.polls() == self.polls
        };
        CASES.iter().filter(wanted)
    }

    /// Rounds of a case that count.
    fn rounds(&self, case: &Case) -> u32 {
        if case.is_time() { self.samples.max(TIMES) } else { self.samples }
    }
}

/// Boots, measures, compares.
pub fn measure(paths: &Paths, options: &Options) -> Result<Measured> {
    // It only makes the guest, which is no part of what is measured.
    let xlr = program::xlr(paths, "small")?;
    let (mut records, mut rows) = (Vec::new(), Vec::new());
    for (polls, clock, cpus) in [(false, Clock::Instructions, 1), (true, Clock::Wall, 2)] {
        let work = Work { samples: options.samples, polls, filter: options.filter.clone() };
        if work.cases().next().is_none() {
            continue;
        }
        let machine = Machine {
            xen: options.xen.clone(),
            clock,
            numa_nodes: cpus,
            rdma: true,
            xenstored: options.xenstored,
            ..Machine::default()
        };
        let log_name = format!("bench-rdma-{}", clock_name(clock));
        let boot = Boot { paths, machine, xlr: Some(xlr.clone()), limit: LIMIT, log_name };
        let mut session = Session::boot(&mut Artefacts::open(paths)?, &boot)?;
        records.extend(run_inside(&mut session, NAME, &work, clock)?);
        session.power_off()?;
        for case in work.cases() {
            rows.extend(rows_of(&records, case, clock)?);
        }
    }
    if rows.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(Error::Missing(format!("no such case; there are: {}", names.join(", "))));
    }
    Ok(Measured { records, rows, curves: Vec::new() })
}

/// The comparisons of a case: one for each value that it has.
fn rows_of(records: &[Record], case: &Case, clock: Clock) -> Result<Vec<Row>> {
    let name = clock_name(clock);
    let mut rows = Vec::new();
    for value in case.values() {
        let (phase, unit) = (value.phase, value.unit);
        let of = |by| select(records, (phase, case.name), by, (unit, name)).map_err(Error::Failed);
        let ours = of(GUEST)?;
        let theirs = value.reference.map(|by| Ok::<_, Error>((by, of(by)?))).transpose()?;
        let reference = theirs.as_ref().map(|(name, samples)| Reference {
            name,
            samples,
            target: (value.phase == cases::TOTAL && case.is_judged()).then_some(TARGET),
        });
        let better = if unit == cases::RATE { Better::More } else { Better::Less };
        let shown = if unit == cases::COUNT { unit.to_owned() } else { format!("{unit} ({name})") };
        let row =
            Row::new((NAME, &format!("{phase}/{}", case.name)), (&shown, better), &ours, reference);
        rows.push(row.map_err(Error::Failed)?);
    }
    Ok(rows)
}
