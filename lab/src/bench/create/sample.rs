//! What every measurement inside dom0 needs: the guest's configuration, and the record it prints.

use super::cases::{By, Case};
use crate::bench::record::Record;
use std::fs;
use std::io;

/// Writes the configuration file.
pub fn configuration(case: &Case, by: By) -> io::Result<String> {
    let path = format!("/run/bench-{}.cfg", by.name());
    fs::write(&path, case.configuration(by))?;
    Ok(path)
}

/// Prints a record.
pub fn say(
    case: &Case,
    by: By,
    phase: &str,
    round: u32,
    (unit, value): (&str, f64),
) -> io::Result<()> {
    let record = Record {
        phase: phase.into(),
        case: case.name(),
        by: by.name().into(),
        round,
        unit: unit.into(),
        value,
        clock: String::new(),
    };
    record.print()
}
