//! Records to rows and curves.
//!
//! A single create is uneven, so that what is said of a count is the median of the creates about it;
//! memory per guest is what has been added since there was none, divided by their number.

use super::gauge::Role;
use super::together::PHASES;
use super::{By, GUEST_MIB, NAME};
use crate::bench::Curves;
use crate::bench::record::{Record, clock_name};
use crate::bench::row::{Better, Reference, Row};
use crate::bench::samples::Samples;
use crate::error::{Error, Result};
use crate::qemu::Clock;
use crate::xenstored::Xenstored;
use std::collections::{BTreeMap, BTreeSet};

/// How many creates on either side of a count are about it.
const ABOUT: u32 = 4;
/// The create that the last one is held against.
const TENTH: u32 = 10;
/// How far above it the last may be.
const FLAT: f64 = 1.2;
/// How much less memory per guest than with xl.
const MEMORY: f64 = 10.0;
/// How much more processor time than as many floors.
const FLOORS: f64 = 2.0;
/// The axis of every curve.
const AXIS: &str = "guests";

type Series = BTreeMap<u32, f64>;

/// What was measured by one clock.
pub struct Measurements<'a> {
    clock: &'a str,
    series: BTreeMap<(String, String), Series>,
}

impl<'a> Measurements<'a> {
    /// Sorts the records.
    ///
    /// # Errors
    /// A case that is no number of guests.
    pub fn new(records: &[Record], clock: &'a str) -> Result<Self> {
        let mut series: BTreeMap<_, Series> = BTreeMap::new();
        for record in records.iter().filter(|record| record.clock == clock) {
            let count = record.case.parse().map_err(|_| {
                Error::Failed(format!("{} of {} guests", record.phase, record.case))
            })?;
            let key = (record.by.clone(), record.phase.clone());
            series.entry(key).or_default().insert(count, record.value);
        }
        Ok(Self { clock, series })
    }

    fn series(&self, by: By, phase: &str) -> Result<&Series> {
        let missing = || Error::Failed(format!("{phase} by {} was not measured", by.name()));
        self.series.get(&(by.name().to_owned(), phase.to_owned())).ok_or_else(missing)
    }

    /// The last count.
    fn last(&self, by: By) -> Result<u32> {
        Ok(self.series(by, "create")?.last_key_value().map_or(0, |(count, _)| *count))
    }

    /// The creates about this count: all of it, or what of it a daemon ran.
    fn about(&self, by: By, phase: &str, count: u32) -> Result<Samples> {
        let series = self.series(by, phase)?;
        let last = series.last_key_value().map_or(count, |(last, _)| *last);
        // The last has none above it.
        let middle = count.min(last.saturating_sub(ABOUT));
        let about = series.range(middle.saturating_sub(ABOUT)..=middle + ABOUT);
        samples(about.map(|(_, value)| *value))
    }

    fn median(&self, by: By, phase: &str, count: u32) -> Result<f64> {
        let median = self.about(by, phase, count)?.median();
        median.ok_or_else(|| Error::Failed(format!("no {phase} about {count} guests")))
    }

    /// What the C daemons ran of a create about this count.
    fn daemons(&self, by: By, store: Xenstored, count: u32) -> Result<f64> {
        let mut sum = 0.0;
        for role in c_daemons(by, store) {
            sum += self.median(by, role.name(), count)?;
        }
        Ok(sum)
    }

    /// What has been added for each guest.
    fn per_guest(&self, by: By, phase: &str, count: u32) -> Result<f64> {
        let series = self.series(by, phase)?;
        let at = |count: u32| {
            let missing = || Error::Failed(format!("no {phase} at {count} guests"));
            series.get(&count).copied().ok_or_else(missing)
        };
        let own = if phase == "heap" { (GUEST_MIB * 1024) as f64 } else { 0.0 };
        Ok((at(count)? - at(0)?) / f64::from(count) - own)
    }

    /// All comparisons.
    pub fn rows(&self, store: Xenstored) -> Result<Vec<Row>> {
        let mut rows = self.times(store)?;
        if self.clock == clock_name(Clock::Instructions) {
            rows.extend(self.memory()?);
            rows.extend(self.at_rest(store)?);
            rows.extend(self.together()?);
        }
        Ok(rows)
    }

    fn unit(&self) -> String {
        format!("ms ({})", self.clock)
    }

    fn times(&self, store: Xenstored) -> Result<Vec<Row>> {
        let (last, common) = (self.last(By::Xlr)?, self.last(By::Xlr)?.min(self.last(By::Xl)?));
        let mut rows = Vec::new();
        for count in BTreeSet::from([TENTH, common, last]) {
            let both = count <= common;
            let ours = self.about(By::Xlr, "create", count)?;
            let theirs = both.then(|| self.about(By::Xl, "create", count)).transpose()?;
            let reference = theirs.as_ref().map(|theirs| ("xl", theirs, None));
            rows.push(row(&format!("create/{count}"), &self.unit(), &ours, reference)?);
            let ours = samples([self.daemons(By::Xlr, store, count)?])?;
            let theirs = both
                .then(|| self.daemons(By::Xl, Xenstored::C, count).and_then(|ran| samples([ran])));
            let theirs = theirs.transpose()?;
            let reference = theirs.as_ref().map(|theirs| ("xl", theirs, None));
            rows.push(row(&format!("c-daemons/{count}"), &self.unit(), &ours, reference)?);
        }
        let supervisor = self.about(By::Xlr, Role::Supervisor.name(), last)?;
        rows.push(row(&format!("supervisor/{last}"), &self.unit(), &supervisor, None)?);
        rows.push(self.flat(store, last)?);
        Ok(rows)
    }

    /// The last create against the tenth, without what the C daemons' part of it has grown.
    fn flat(&self, store: Xenstored, last: u32) -> Result<Row> {
        let daemons = |count| self.daemons(By::Xlr, store, count);
        let grown = daemons(last)? - daemons(TENTH)?;
        let ours = samples([self.median(By::Xlr, "create", last)? - grown])?;
        let tenth = samples([self.median(By::Xlr, "create", TENTH)?])?;
        let target = (self.clock == clock_name(Clock::Instructions)).then_some(1.0 / FLAT);
        row(&format!("flat/{last}"), &self.unit(), &ours, Some(("10th", &tenth, target)))
    }

    fn memory(&self) -> Result<Vec<Row>> {
        let common = self.last(By::Xlr)?.min(self.last(By::Xl)?);
        let mut rows = Vec::new();
        for (phase, target) in [
            ("pss", Some(MEMORY)),
            ("pss-toolstack", None),
            ("charged", Some(MEMORY)),
            ("dom0", Some(MEMORY)),
            ("heap", None),
        ] {
            let ours = samples([self.per_guest(By::Xlr, phase, common)?])?;
            let theirs = samples([self.per_guest(By::Xl, phase, common)?])?;
            let case = format!("memory-{phase}/{common}");
            rows.push(row(&case, "KiB per guest", &ours, Some(("xl", &theirs, target)))?);
        }
        Ok(rows)
    }

    fn at_rest(&self, store: Xenstored) -> Result<Vec<Row>> {
        let (last, common) = (self.last(By::Xlr)?, self.last(By::Xlr)?.min(self.last(By::Xl)?));
        let ours = samples([self.per_guest(By::Xlr, "processes", last)?])?;
        let theirs = samples([self.per_guest(By::Xl, "processes", common)?])?;
        let case = format!("processes/{last}");
        let mut rows =
            vec![row(&case, "per guest", &ours, Some(("xl", &theirs, None)))?.at_most(0.0)];
        let c_daemons = c_daemons(By::Xlr, store);
        for role in [Role::Supervisor, Role::Toolstack, Role::Store, Role::Consoles] {
            let phase = format!("wakeups-{}", role.name());
            let (ours, theirs) = (self.series(By::Xlr, &phase)?, self.series(By::Xl, &phase)?);
            // The last count at which both were looked at.
            let both = ours.keys().rev().find(|count| theirs.contains_key(count)).copied();
            for count in BTreeSet::from_iter(both.into_iter().chain([last])) {
                let at = |series: &Series| samples(series.get(&count).copied());
                let theirs = (Some(count) == both).then(|| at(theirs)).transpose()?;
                let reference = theirs.as_ref().map(|theirs| ("xl", theirs, None));
                let row = row(&format!("{phase}/{count}"), "per second", &at(ours)?, reference)?;
                rows.push(if c_daemons.contains(&role) { row } else { row.at_most(0.0) });
            }
        }
        Ok(rows)
    }

    fn together(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (guest, ours, floors) in PHASES {
            let of = |phase: &str| samples(self.series(By::Xlr, phase)?.values().copied());
            let (ours, floors) = (of(ours)?, of(floors)?);
            let reference = Some(("floors", &floors, Some(1.0 / FLOORS)));
            rows.push(row(&format!("ten-at-once/{guest}"), &self.unit(), &ours, reference)?);
        }
        Ok(rows)
    }

    /// What `--plot` draws.
    pub fn curves(&self, store: Xenstored) -> Result<Vec<Curves>> {
        let instructions = self.clock == clock_name(Clock::Instructions);
        let mut times = Vec::new();
        for (case, own) in [("all", false), ("without C daemons", true)] {
            let at = |by: By, count: u32| {
                let its = if by == By::Xl { Xenstored::C } else { store };
                let off = if own { self.daemons(by, its, count)? } else { 0.0 };
                Ok(self.median(by, "create", count)? - off)
            };
            times.extend(self.points(case, &self.unit(), "create", at)?);
        }
        let mut all = vec![Curves::new(
            if instructions { "create" } else { "create-wall" },
            "Create of a paused guest of 8 MiB, by how many there are",
            times,
        )];
        if !instructions {
            return Ok(all);
        }
        let mut memory = Vec::new();
        for (case, phase) in [("PSS", "pss"), ("all of it", "dom0")] {
            let at = |by: By, count: u32| self.per_guest(by, phase, count);
            memory.extend(self.points(case, "KiB per guest", "dom0", at)?);
        }
        all.push(Curves::new("memory", "Memory of dom0 for each guest", memory));
        let at = |by: By, count: u32| self.per_guest(by, "processes", count);
        let processes = self.points("", "processes per guest", "processes", at)?;
        all.push(Curves::new("processes", "Processes in dom0 for each guest", processes));
        let at = |by: By, count: u32| {
            let mut sum = 0.0;
            for role in [Role::Supervisor, Role::Toolstack, Role::Store, Role::Consoles] {
                let series = self.series(by, &format!("wakeups-{}", role.name()))?;
                sum += series.get(&count).copied().unwrap_or_default();
            }
            Ok(sum)
        };
        let wakeups = self.points("", "wake-ups per second", "wakeups-store", at)?;
        all.push(Curves::new(
            "wakeups",
            "Wake-ups of daemons and toolstack, all guests idle",
            wakeups,
        ));
        Ok(all)
    }

    /// A row for every count at which `phase` is known of ours, and for the creates of every tenth.
    fn points(
        &self,
        case: &str,
        unit: &str,
        phase: &str,
        at: impl Fn(By, u32) -> Result<f64>,
    ) -> Result<Vec<Row>> {
        let shown = |by: By| -> Result<Vec<u32>> {
            let counts = self.series(by, phase)?.keys().copied();
            Ok(counts
                .filter(|count| *count > 0 && (phase != "create" || count % TENTH == 0))
                .collect())
        };
        let theirs = shown(By::Xl)?;
        let mut rows = Vec::new();
        for count in shown(By::Xlr)? {
            let ours = samples([at(By::Xlr, count)?])?;
            let other =
                theirs.contains(&count).then(|| samples([at(By::Xl, count)?])).transpose()?;
            let reference = other.as_ref().map(|other| ("xl", other, None));
            rows.push(row(case, unit, &ours, reference)?.at(AXIS, f64::from(count)));
        }
        Ok(rows)
    }
}

/// Who serves and is none of ours.
fn c_daemons(by: By, store: Xenstored) -> &'static [Role] {
    if by == By::Xlr && store == Xenstored::Xlr {
        &[Role::Consoles]
    } else {
        &[Role::Store, Role::Consoles]
    }
}

fn samples(values: impl IntoIterator<Item = f64>) -> Result<Samples> {
    let mut samples = Samples::default();
    for value in values {
        samples.push(value).map_err(Error::Failed)?;
    }
    Ok(samples)
}

fn row(
    case: &str,
    unit: &str,
    ours: &Samples,
    reference: Option<(&str, &Samples, Option<f64>)>,
) -> Result<Row> {
    let reference = reference.map(|(name, samples, target)| Reference { name, samples, target });
    Row::new((NAME, case), (unit, Better::Less), ours, reference).map_err(Error::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u32 = 30;

    fn record(by: By, phase: &str, count: u32, value: f64) -> Record {
        Record {
            phase: phase.into(),
            case: count.to_string(),
            by: by.name().into(),
            round: 1,
            unit: String::new(),
            value,
            clock: "instructions".into(),
        }
    }

    /// Creates of `fixed` ms beside the daemons, whose part grows by 1 ms with each guest.
    fn records(fixed: fn(u32) -> f64) -> Vec<Record> {
        let mut records = Vec::new();
        for by in [By::Xlr, By::Xl] {
            for count in 0..=LAST {
                let store = f64::from(count);
                if count > 0 {
                    records.push(record(by, "create", count, fixed(count) + store));
                    records.push(record(by, "store", count, store));
                    records.push(record(by, "consoles", count, 0.0));
                    records.push(record(by, "supervisor", count, 0.5));
                }
                if count % 10 > 0 {
                    continue;
                }
                let each = if by == By::Xlr { 50.0 } else { 800.0 } * f64::from(count);
                for phase in ["pss", "pss-toolstack", "charged", "dom0"] {
                    records.push(record(by, phase, count, 1000.0 + each));
                }
                records.push(record(by, "heap", count, f64::from(count) * 8200.0));
                let processes = if by == By::Xl { count } else { 0 };
                records.push(record(by, "processes", count, processes.into()));
                for role in ["store", "consoles", "supervisor", "toolstack"] {
                    records.push(record(by, &format!("wakeups-{role}"), count, 0.0));
                }
            }
        }
        for (_, ours, floors) in PHASES {
            records.push(record(By::Xlr, ours, 10, 30.0));
            records.push(record(By::Xlr, floors, 10, 10.0));
        }
        records
    }

    fn rows(records: &[Record], store: Xenstored) -> BTreeMap<String, Row> {
        let rows = Measurements::new(records, "instructions").unwrap().rows(store).unwrap();
        rows.into_iter().map(|row| (row.case.clone(), row)).collect()
    }

    #[test]
    fn the_last_is_held_against_the_tenth_without_what_c_daemons_grew() {
        for (fixed, store, missed) in [
            ((|_| 10.0) as fn(u32) -> f64, Xenstored::C, false),
            (|_| 10.0, Xenstored::Xlr, true),
            (|count| 10.0 + f64::from(count) / 2.0, Xenstored::C, true),
        ] {
            let records = records(fixed);
            let row = &rows(&records, store)["flat/30"];
            assert_eq!(row.misses_target(), missed, "{row:?}");
            assert_eq!(row.reference_name.as_deref(), Some("10th"));
        }
    }

    #[test]
    fn each_guest_is_charged_what_was_added_since_there_was_none() {
        let records = records(|_| 10.0);
        let rows = rows(&records, Xenstored::C);
        let values =
            |case: &str| (rows[case].ours, rows[case].reference, rows[case].misses_target());
        assert_eq!(values("memory-pss/30"), (50.0, Some(800.0), false));
        assert_eq!(values("memory-heap/30"), (8.0, Some(8.0), false));
        assert_eq!(values("processes/30"), (0.0, Some(1.0), false));
        assert_eq!(values("ten-at-once/micro/8MiB"), (30.0, Some(10.0), true));
        assert_eq!(values("wakeups-supervisor/30"), (0.0, Some(0.0), false));
    }

    #[test]
    fn wake_ups_are_held_against_as_many_guests_of_xls() {
        let mut records = records(|_| 10.0);
        // xl's boot ended with 20 guests.
        records.retain(|record| record.by == "xlr" || record.case.parse::<u32>().unwrap() <= 20);
        let rows = rows(&records, Xenstored::C);
        let references = |case: &str| rows.get(case).map(|row| row.reference);
        assert_eq!(references("wakeups-consoles/20"), Some(Some(0.0)));
        assert_eq!(references("wakeups-consoles/30"), Some(None));
    }

    #[test]
    fn whoever_wakes_up_or_stays_behind_misses_a_target() {
        for (phase, case) in
            [("processes", "processes/30"), ("wakeups-supervisor", "wakeups-supervisor/30")]
        {
            let mut records = records(|_| 10.0);
            records.push(record(By::Xlr, phase, LAST, 1.0));
            assert!(rows(&records, Xenstored::C)[case].misses_target(), "{case}");
        }
        let mut records = records(|_| 10.0);
        records.push(record(By::Xlr, "wakeups-store", LAST, 1.0));
        assert!(!rows(&records, Xenstored::C)["wakeups-store/30"].misses_target(), "C's own");
        assert!(rows(&records, Xenstored::Xlr)["wakeups-store/30"].misses_target());
    }

    #[test]
    fn there_is_a_plot_for_each_thing_and_a_point_for_each_tenth_guest() {
        let records = records(|_| 10.0);
        let measured = Measurements::new(&records, "instructions").unwrap();
        let curves = measured.curves(Xenstored::C).unwrap();
        let found: Vec<_> = curves.iter().map(|curve| (curve.name, curve.rows.len())).collect();
        assert_eq!(found, [("create", 6), ("memory", 6), ("processes", 3), ("wakeups", 3)]);
        assert!(Measurements::new(&records[..0], "wall").unwrap().rows(Xenstored::C).is_err());
    }
}
