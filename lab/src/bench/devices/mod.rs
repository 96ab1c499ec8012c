//! `devices`: how long it takes until a device is attached to a running guest, and until it is gone.
//!
//! `xlr` and `xl` take turns in one boot on one guest, with the same media. A sample is the command, from
//! its start to its end; the guest's own part (its driver closes the device) is in a detach of either. Rows
//! are named `attach/file` and so on.

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
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "devices";

/// What is done, in this order.
const PHASES: [&str; 2] = ["attach", "detach"];
/// The unit of times.
const UNIT: &str = "ms";
/// Who is measured: ours first.
const BY: [&str; 2] = ["xlr", "xl"];
/// How many times as fast ours shall be.
const TARGET: f64 = 5.0;
/// Limit for one boot.
const LIMIT: Duration = Duration::from_secs(3600);

/// A device: name of the case, and its description for the verbs of either tool.
struct Case {
    name: &'static str,
    attach: &'static str,
    detach: &'static str,
    description: &'static str,
    devid: &'static str,
}

const CASES: [Case; 2] = [
    Case {
        name: "file",
        attach: "block-attach",
        detach: "block-detach",
        description: "/tmp/bench-file.img,raw,xvda,rw",
        devid: "51712",
    },
    Case {
        name: "block-device",
        attach: "block-attach",
        detach: "block-detach",
        description: "/dev/loop7,raw,xvda,rw",
        devid: "51712",
    },
];

/// What the half in dom0 is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Rounds that count; one more warms up.
    samples: u32,
    /// Part of the names of the cases that are wanted.
    filter: Option<String>,
}

impl Work {
    fn wants(&self, case: &Case) -> bool {
        self.filter.as_deref().is_none_or(|part| case.name.contains(part))
    }
}

/// Boots, measures, compares.
pub fn measure(paths: &Paths, options: &Options) -> Result<Measured> {
    let clocks: &[Clock] =
        if options.wall { &[Clock::Instructions, Clock::Wall] } else { &[Clock::Instructions] };
    let work = Work { samples: options.samples, filter: options.filter.clone() };
    let (mut records, mut rows) = (Vec::new(), Vec::new());
    for clock in clocks {
        let machine = Machine { xen: options.xen.clone(), clock: *clock, ..Machine::default() };
        let xlr = Some(program::xlr(paths, "release")?);
        let log_name = format!("bench-devices-{}", clock_name(*clock));
        let boot = Boot { paths, machine, xlr, limit: LIMIT, log_name };
        let mut session = Session::boot(&mut Artefacts::open(paths)?, &boot)?;
        records.extend(run_inside(&mut session, NAME, &work, *clock)?);
        session.power_off()?;
        for case in CASES.iter().filter(|case| work.wants(case)) {
            for phase in PHASES {
                rows.push(row(&records, (phase, case.name), *clock)?);
            }
        }
    }
    Ok(Measured { records, rows, curves: Vec::new() })
}

/// One comparison.
fn row(records: &[Record], (phase, case): (&str, &str), clock: Clock) -> Result<Row> {
    let name = clock_name(clock);
    let of = |by| select(records, (phase, case), by, (UNIT, name)).map_err(Error::Failed);
    let (ours, theirs) = (of(BY[0])?, of(BY[1])?);
    let target = (clock == Clock::Instructions).then_some(TARGET);
    let reference = Reference { name: BY[1], samples: &theirs, target };
    let unit = format!("{UNIT} ({name})");
    Row::new((NAME, &format!("{phase}/{case}")), (&unit, Better::Less), &ours, Some(reference))
        .map_err(Error::Failed)
}
