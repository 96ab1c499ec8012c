//! One measurement as it is kept: what was done, by whom, and what it took.
//!
//! Written by the half of a benchmark that runs in dom0, one JSON object per line; the host reads
//! them back, keeps them, and makes rows of them.

use super::samples::Samples;
use crate::error::{Context as _, Error};
use crate::qemu::Clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was done: `create-paused`, `destroy`, …
    pub phase: String,
    /// On what: `small/256MiB/warm`.
    pub case: String,
    /// By whom: `xlr`, `xl`, `floor`, …
    pub by: String,
    /// Number of the round, from 0. Round 0 only warms up and is no part of any row.
    pub round: u32,
    /// Unit of `value`, without the clock: `ms`, `requests`, …
    pub unit: String,
    /// What was measured.
    pub value: f64,
    /// The machine's clock; filled in by the host.
    #[serde(default)]
    pub clock: String,
}

impl Record {
    /// Prints it in dom0, for the host to read.
    ///
    /// # Errors
    /// A host that reads no more.
    pub fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        out.flush()
    }
}

/// The measurements that were kept in a file.
///
/// # Errors
/// What cannot be read, or is no measurement.
pub fn read(file: &Path) -> Result<Vec<Record>, Error> {
    let text = std::fs::read_to_string(file).on("read", file)?;
    let form = |error: serde_json::Error| Error::Form { path: file.into(), why: error.to_string() };
    text.lines().map(|line| serde_json::from_str(line).map_err(form)).collect()
}

/// What a clock is called in records and units.
#[must_use]
pub const fn clock_name(clock: Clock) -> &'static str {
    match clock {
        Clock::Instructions => "instructions",
        Clock::Wall => "wall",
    }
}

/// All measurements of one kind, without those that only warmed up.
///
/// # Errors
/// A value that is no number.
pub fn select(
    records: &[Record],
    (phase, case): (&str, &str),
    by: &str,
    (unit, clock): (&str, &str),
) -> Result<Samples, String> {
    let mut samples = Samples::default();
    let wanted = |record: &&Record| {
        record.round > 0
            && record.phase == phase
            && record.case == case
            && record.by == by
            && record.unit == unit
            && record.clock == clock
    };
    for record in records.iter().filter(wanted) {
        samples.push(record.value)?;
    }
    Ok(samples)
}

/// The kind of measurement whose values lie farthest apart, and how far as a share of their median.
#[must_use]
pub fn widest(records: &[Record]) -> Option<(String, f64)> {
    let mut kinds: BTreeMap<String, Samples> = BTreeMap::new();
    for record in records.iter().filter(|record| record.round > 0) {
        let Record { phase, case, by, unit, clock, .. } = record;
        let samples = kinds.entry(format!("{phase}/{case} by {by} in {unit} ({clock})"));
        // What is no number is refused where rows are made.
        let _ = samples.or_default().push(record.value);
    }
    let spreads = kinds.into_iter().filter_map(|(kind, samples)| Some((kind, samples.spread()?)));
    spreads.max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_warm_up_and_other_kinds_are_left_out() {
        let record = |by: &str, round, value| Record {
            phase: "destroy".into(),
            case: "small".into(),
            by: by.into(),
            round,
            unit: "ms".into(),
            value,
            clock: "wall".into(),
        };
        let records = [
            record("xl", 0, 9.0),
            record("xl", 1, 1.0),
            record("xlr", 1, 2.0),
            record("xl", 2, 3.0),
        ];
        let of = |by, clock| select(&records, ("destroy", "small"), by, ("ms", clock)).unwrap();
        assert_eq!(of("xl", "wall").all(), [1.0, 3.0]);
        assert_eq!(of("xlr", "wall").all(), [2.0]);
        assert_eq!(of("xl", "instructions").all(), [] as [f64; 0]);
        let other = select(&records, ("create", "small"), "xl", ("ms", "wall")).unwrap();
        assert_eq!(other.median(), None);
        assert_eq!(widest(&records), Some(("destroy/small by xl in ms (wall)".into(), 1.0)));
        assert_eq!(widest(&records[..1]), None, "only a round that warms up");
    }
}
