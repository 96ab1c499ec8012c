//! `devices`: how long it takes until a device is attached to a running guest, and until it is gone; and
//! how fast the guest uses it meanwhile.
//!
//! `xlr` and `xl` take turns in one boot on one guest, with the same media and the same bridge. A sample is
//! the command, from its start to its end; the guest's own part (its driver closes the device) is in a
//! detach of either. Rows are named `attach/file` and so on. Rates are those of `dd` in the guest to and from
//! the disk, and to dom0: the kernels do that work, so who attached the device makes no difference.

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

/// What is timed, in this order.
const PHASES: [&str; 2] = ["attach", "detach"];
/// The unit of times.
const UNIT: &str = "ms";
/// The unit of rates.
const RATE: &str = "MB/s";
/// Who is measured: ours first.
const BY: [&str; 2] = ["xlr", "xl"];
/// How many times as fast ours shall be.
const TARGET: f64 = 5.0;
/// How much a guest moves: all of a medium.
const USED_BYTES: u64 = 32 << 20;
/// The least share of the rate under xl that is still the same.
const SAME: f64 = 0.95;
/// Limit for one boot.
const LIMIT: Duration = Duration::from_secs(3600);

/// A device.
struct Case {
    /// Name of the case.
    name: &'static str,
    /// The verbs of either tool, and what they are told.
    attach: &'static str,
    detach: &'static str,
    description: &'static str,
    /// Where its backend is, and what the guest has when its driver has the device.
    kind: &'static str,
    devid: &'static str,
    file: &'static str,
    /// What the guest does with it: names, and lines for its shell that move [`USED_BYTES`].
    uses: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 3] = [
    Case {
        description: "/tmp/bench-file.img,raw,xvda,rw",
        uses: &[
            ("read", "dd if=/dev/xvda of=/dev/null bs=64k"),
            ("write", "dd if=/dev/zero of=/dev/xvda bs=64k count=512 conv=fsync"),
        ],
        ..disk("file")
    },
    Case { description: "/dev/loop7,raw,xvda,rw", ..disk("block-device") },
    Case {
        name: "interface",
        attach: "network-attach",
        detach: "network-detach",
        description: "mac=00:16:3e:00:00:05",
        kind: "vif",
        devid: "0",
        file: "/sys/class/net/eth0",
        uses: &[(
            "send",
            "ip addr add 10.1.0.2/24 dev eth0; ip link set eth0 up; \
             dd if=/dev/zero bs=64k count=512 | nc -w 60 10.1.0.1 5000",
        )],
    },
];

const fn disk(name: &'static str) -> Case {
    Case {
        name,
        attach: "block-attach",
        detach: "block-detach",
        description: "",
        kind: "vbd",
        devid: "51712",
        file: "/dev/xvda",
        uses: &[],
    }
}

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
                rows.push(row(&records, (phase, case.name), (UNIT, Better::Less), *clock)?);
            }
            for (phase, _) in case.uses {
                rows.push(row(&records, (phase, case.name), (RATE, Better::More), *clock)?);
            }
        }
    }
    Ok(Measured { records, rows, curves: Vec::new() })
}

/// One comparison.
fn row(
    records: &[Record],
    (phase, case): (&str, &str),
    (unit, better): (&str, Better),
    clock: Clock,
) -> Result<Row> {
    let name = clock_name(clock);
    let of = |by| select(records, (phase, case), by, (unit, name)).map_err(Error::Failed);
    let (ours, theirs) = (of(BY[0])?, of(BY[1])?);
    let target = match better {
        Better::Less => TARGET,
        Better::More => SAME,
    };
    let target = (clock == Clock::Instructions).then_some(target);
    let reference = Reference { name: BY[1], samples: &theirs, target };
    let unit = format!("{unit} ({name})");
    Row::new((NAME, &format!("{phase}/{case}")), (&unit, better), &ours, Some(reference))
        .map_err(Error::Failed)
}
