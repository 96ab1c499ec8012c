//! `scale`: paused guests of 8 MiB, one after the other in one boot: what a create takes as they become
//! more, what dom0 has for each, and what it does when all are idle.
//!
//! xlr gets a boot, and so does xl, always with the C daemons. The last create is held against the
//! tenth, the memory against xl's at the same count, ten creates at once against ten floors. Rows are
//! named `what/COUNT`.

mod gauge;
pub mod inside;
mod rows;
mod together;

use super::create::cases::{FLOOR, SMALL_ELF};
use super::create::{build_microkernels, run_inside};
use super::record::{self, Record, clock_name};
use super::{Measured, Options};
use crate::artefact::Artefacts;
use crate::error::Result;
use crate::paths::Paths;
use crate::qemu::{Clock, Machine};
use crate::session::{Boot, Session};
use crate::xenstored::Xenstored;
use crate::{dom0_tests, kernel, program};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "scale";

/// Memory of a guest.
const GUEST_MIB: u64 = 8;
/// Its kernel in dom0.
const KERNEL: &str = "/guest/xtf/idle";
/// How many guests xlr creates, and xl when all is wanted.
const MOST: u32 = 400;
/// How many xl creates otherwise: each of its creates takes longer than the one before.
const MOST_OF_XL: u32 = 135;
/// How many guests there are between two looks at what dom0 has for them.
const STEP: u32 = 10;
/// How long dom0 is left alone to see what wakes up.
const IDLE: Duration = Duration::from_secs(60);
/// Limit for one boot.
const LIMIT: Duration = Duration::from_secs(5400);

/// Who creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// Ours.
    Xlr,
    /// The C toolstack.
    Xl,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Xlr => "xlr",
            Self::Xl => "xl",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Xlr => "/bin/xlr",
            Self::Xl => "/xen/bin/xl",
        }
    }
}

/// What the half in dom0 is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    by: By,
    /// How many guests.
    guests: u32,
    /// Whether dom0's idle time, and creates at once, are measured as well: what only one clock needs.
    all: bool,
}

/// Boots with each, measures, compares.
pub fn measure(paths: &Paths, options: &Options) -> Result<Measured> {
    let clocks: &[Clock] =
        if options.wall { &[Clock::Instructions, Clock::Wall] } else { &[Clock::Instructions] };
    let records = match &options.kept {
        Some(file) => record::read(file)?,
        None => boots(paths, options, clocks)?,
    };
    let (mut all, mut curves) = (Vec::new(), Vec::new());
    for clock in clocks {
        let measured = rows::Measurements::new(&records, clock_name(*clock))?;
        all.extend(measured.rows(options.xenstored)?);
        curves.extend(measured.curves(options.xenstored)?);
    }
    Ok(Measured { records, rows: all, curves })
}

/// The records of all boots.
fn boots(paths: &Paths, options: &Options, clocks: &[Clock]) -> Result<Vec<Record>> {
    build_microkernels(paths)?;
    let small = paths.lab.join("kernel/vmlinux");
    if !small.exists() {
        kernel::build(paths)?;
    }
    let xlr = program::xlr(paths, "release")?;
    let floor = dom0_tests::example(paths, "lab", "create-floor", "release")?;
    let programs = Programs { xlr, floor, small };
    let mut records = Vec::new();
    for clock in clocks {
        for by in [By::Xlr, By::Xl] {
            let most = if by == By::Xl && !options.full { MOST_OF_XL } else { MOST };
            let guests = options.guests.unwrap_or(most).min(most);
            let work = Work { by, guests, all: *clock == Clock::Instructions };
            records.extend(one_boot(paths, options, &programs, (*clock, &work))?);
        }
    }
    Ok(records)
}

/// Files of the host that go into dom0.
struct Programs {
    xlr: PathBuf,
    floor: PathBuf,
    small: PathBuf,
}

fn one_boot(
    paths: &Paths,
    options: &Options,
    programs: &Programs,
    (clock, work): (Clock, &Work),
) -> Result<Vec<Record>> {
    let xenstored = if work.by == By::Xlr { options.xenstored } else { Xenstored::C };
    let machine = Machine {
        xen: options.xen.clone(),
        memory_mib: 6144,
        dom0_memory_mib: 1024,
        clock,
        xenstored,
        ..Machine::default()
    };
    let log_name = format!("bench-scale-{}-{}", work.by.name(), clock_name(clock));
    let xlr = Some(programs.xlr.clone());
    let boot = Boot { paths, machine, xlr, limit: LIMIT, log_name };
    let mut session = Session::boot(&mut Artefacts::open(paths)?, &boot)?;
    if work.by == By::Xlr && work.all {
        session.put(&programs.floor, FLOOR)?;
        session.put(&programs.small, SMALL_ELF)?;
    }
    let records = run_inside(&mut session, NAME, work, clock)?;
    session.power_off()?;
    Ok(records)
}
