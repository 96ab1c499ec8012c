//! Where the time of a create goes, beside what of it the floor cannot do without.
//!
//! In: what xlr says of its parts, and the floor's steps. Out: a row per part, in the order in which
//! they come. The parts make up the whole of one create, from before its start to after its end.

use super::cases::{By, Case};
use super::{NAME, PART, STEP};
use crate::bench::record::{Record, select};
use crate::bench::row::{Better, Reference, Row};
use crate::bench::samples::Samples;
use crate::error::{Error, Result};

/// Steps whose time goes into guest memory, mapping it and copying into it; the floor's other steps
/// are calls to the hypervisor and nothing else.
const MEMORY_STEPS: [&str; 6] =
    ["load-kernel", "load-ramdisk", "shared-info", "write-p2m", "write-boot-pages", "seed-grants"];

/// The rows of one case by one clock.
pub fn rows(records: &[Record], case: &Case, clock: &str) -> Result<Vec<Row>> {
    let name = case.name();
    let of_case = || records.iter().filter(|r| r.case == name && r.clock == clock && r.round > 0);
    let mut rows = Vec::new();
    for record in of_case().filter(|r| r.by == By::Xlr.name() && r.phase.starts_with(PART)) {
        let kind = (record.phase.as_str(), name.as_str());
        let ours = select(records, kind, By::Xlr.name(), (&record.unit, clock));
        let floor = match record.phase.strip_prefix(PART) {
            Some("memory") => Some(true),
            Some("hypercalls") => Some(false),
            _ => None,
        };
        let steps = of_case().filter(|r| r.by == By::Floor.name());
        let floor = floor.map(|memory| floor_of(steps, memory)).transpose()?;
        let reference = floor.as_ref().map(|samples| Reference {
            name: By::Floor.name(),
            samples,
            target: None,
        });
        let (shown, unit) = (format!("{}/{name}", record.phase), format!("ms ({clock})"));
        let better = (unit.as_str(), Better::Less);
        let row = Row::new((NAME, &shown), better, &ours.map_err(Error::Failed)?, reference);
        rows.push(row.map_err(Error::Failed)?);
    }
    Ok(rows)
}

/// What the floor's steps of one kind take together, round by round.
fn floor_of<'a>(records: impl Iterator<Item = &'a Record>, memory: bool) -> Result<Samples> {
    let is_kind = |step: &str| MEMORY_STEPS.contains(&step) == memory;
    let mut sums = std::collections::BTreeMap::new();
    for record in records.filter(|r| r.phase.strip_prefix(STEP).is_some_and(is_kind)) {
        *sums.entry(record.round).or_insert(0.0) += record.value;
    }
    let mut samples = Samples::default();
    for sum in sums.into_values() {
        samples.push(sum).map_err(Error::Failed)?;
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    #[test]
    fn parts_stand_beside_the_steps_of_the_floor() {
        let case = &CASES[0];
        let record = |by: By, round, phase: &str, value| Record {
            phase: phase.into(),
            case: case.name(),
            by: by.name().into(),
            round,
            unit: "ms".into(),
            value,
            clock: "instructions".into(),
        };
        let records = [
            record(By::Floor, 0, "step-load-kernel", 99.0),
            record(By::Floor, 1, "step-load-kernel", 1.0),
            record(By::Floor, 1, "step-shared-info", 0.5),
            record(By::Floor, 1, "step-create-domain", 2.0),
            record(By::Xlr, 1, "part-start", 3.0),
            record(By::Xlr, 1, "part-memory", 6.0),
            record(By::Xlr, 1, "part-hypercalls", 4.0),
            record(By::Xlr, 1, "step-load-kernel", 7.0),
        ];
        let rows = rows(&records, case, "instructions").unwrap();
        let shown: Vec<_> =
            rows.iter().map(|row| (row.case.as_str(), row.ours, row.reference)).collect();
        assert_eq!(
            shown,
            [
                ("part-start/micro/8MiB/warm", 3.0, None),
                ("part-memory/micro/8MiB/warm", 6.0, Some(1.5)),
                ("part-hypercalls/micro/8MiB/warm", 4.0, Some(2.0)),
            ]
        );
    }
}
