//! `create`: how long it takes until a guest is there, paused; until it speaks; until it is gone.
//!
//! `xlr` and `xl` take turns in one boot, on the same configurations, each sample from clean free
//! memory. `xl` is given the decoded kernel (row `xl`); given the compressed one it is reported
//! apart (`xl-xz`). `floor` is what no toolstack can go below by being written differently: the
//! hypercalls of xlr's plan without files, parsing and store. Rows are named
//! `phase/kernel/memory/cache`.

mod apart;
pub mod cases;
pub mod inside;
mod parts;
mod sample;

use super::record::{Record, clock_name, select};
use super::row::{Better, Reference, Row};
use super::samples::Samples;
use super::{Curves, Measured, Options};
use crate::artefact::Artefacts;
use crate::error::{Error, Result};
use crate::frame::{Kind, Order};
use crate::paths::Paths;
use crate::qemu::{Clock, Machine};
use crate::session::{Boot, Session};
use crate::{command, console, dom0_tests, image, kernel, program, report};
use cases::{By, CASES, Cache, Case, FLOOR, Kernel, Phase, SMALL_ELF, STOCK_ELF, chosen};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The benchmark's name.
pub const NAME: &str = "create";

/// What a step's phase begins with.
const STEP: &str = "step-";

/// What the phase of a part of the time begins with.
const PART: &str = "part-";

/// Limit for one boot with all its samples; the emulated xz of `xl` alone takes minutes.
const LIMIT: Duration = Duration::from_secs(5400);

/// What the half in dom0 is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Rounds that count; one more warms up.
    pub samples: u32,
    /// Whether the long cases are wanted.
    pub full: bool,
    /// Part of the names of the cases that are wanted.
    pub filter: Option<String>,
}

/// Boots, measures, compares.
pub fn measure(paths: &Paths, options: &Options) -> Result<Measured> {
    let cases = chosen(options.full, options.filter.as_deref());
    if cases.is_empty() {
        let names: Vec<String> = CASES.iter().map(Case::name).collect();
        return Err(Error::Missing(format!("no such case; there are: {}", names.join(", "))));
    }
    let small = paths.lab.join("kernel/vmlinux");
    if cases.iter().any(|case| case.kernel == Kernel::Small) && !small.exists() {
        kernel::build(paths)?;
    }
    if cases.iter().any(|case| case.kernel == Kernel::Micro) {
        build_microkernels(paths)?;
    }
    let xlr = program::xlr(paths, "release")?;
    let floor = dom0_tests::example(paths, "lab", "create-floor", "release")?;
    let clocks: &[Clock] =
        if options.wall { &[Clock::Instructions, Clock::Wall] } else { &[Clock::Instructions] };
    let programs = Programs { xlr, floor, small };
    let mut records = Vec::new();
    for clock in clocks {
        records.extend(one_boot(paths, options, *clock, &programs)?);
    }
    let mut rows = Vec::new();
    for case in &cases {
        for clock in clocks {
            let clock = clock_name(*clock);
            rows.extend(rows_of(&records, case, clock)?);
            if case.cache == Cache::Warm {
                rows.extend(rows_apart(&records, case, clock, options.steps)?);
                rows.extend(parts::rows(&records, case, clock)?);
            }
        }
    }
    let curve = rows.iter().filter_map(on_curve).collect();
    Ok(Measured {
        records,
        rows,
        curves: vec![Curves::new("memory", "Create of a paused guest, by its memory", curve)],
    })
}

/// Builds what `/guest/xtf` of dom0 holds.
pub fn build_microkernels(paths: &Paths) -> Result<()> {
    report::step("building the microkernel guests");
    command::output(Command::new("sh").arg(paths.workspace.join("tests/xtf/build.sh")))?;
    Ok(())
}

/// Files of the host that go into dom0.
struct Programs {
    xlr: PathBuf,
    floor: PathBuf,
    small: PathBuf,
}

/// All records of one boot.
fn one_boot(
    paths: &Paths,
    options: &Options,
    clock: Clock,
    programs: &Programs,
) -> Result<Vec<Record>> {
    let mut artefacts = Artefacts::open(paths)?;
    let stock = image::prepare(paths, &mut artefacts, &options.xen)?.kernel;
    let machine = Machine {
        xen: options.xen.clone(),
        // Kernels, decoded kernels and the cache all lie in dom0's memory.
        memory_mib: if options.full { 3584 } else { 2560 },
        dom0_memory_mib: 1024,
        clock,
        xenstored: options.xenstored,
        ..Machine::default()
    };
    let boot = Boot {
        paths,
        machine,
        xlr: Some(programs.xlr.clone()),
        limit: LIMIT,
        log_name: format!("bench-create-{}-{}", clock_name(clock), std::process::id()),
    };
    let mut session = Session::boot(&mut artefacts, &boot)?;
    let cases = chosen(options.full, options.filter.as_deref());
    session.put(&programs.floor, FLOOR)?;
    for (kernel, from, to) in
        [(Kernel::Small, &programs.small, SMALL_ELF), (Kernel::Stock, &stock, STOCK_ELF)]
    {
        if cases.iter().any(|case| case.kernel == kernel) {
            session.put(from, to)?;
        }
    }
    let booted = session.console().len();
    let work =
        Work { samples: options.samples, full: options.full, filter: options.filter.clone() };
    let records = run_inside(&mut session, NAME, &work, clock)?;
    let console = session.console();
    let trouble = unexpected(console.get(booted..).unwrap_or_default());
    session.power_off()?;
    if trouble.is_empty() {
        return Ok(records);
    }
    Err(Error::Failed(format!("the machine was in trouble meanwhile:\n{}", trouble.join("\n"))))
}

/// Lines of the console that tell of trouble, without Xen's answers to this benchmark's questions.
fn unexpected(console: &str) -> Vec<String> {
    let mut lines = console::trouble(console);
    lines.retain(|line| !line.contains("heap[node=") && !line.contains("unscrubbed pages"));
    lines
}

/// Carries out the half of a benchmark that runs in dom0, and reads its records.
pub(super) fn run_inside(
    session: &mut Session,
    name: &str,
    work: &impl Serialize,
    clock: Clock,
) -> Result<Vec<Record>> {
    let work = serde_json::to_string(work)
        .map_err(|error| Error::Machine(format!("the work cannot be written: {error}")))?;
    let argv = ["/bin/lab", "bench-dom0", name, &work].map(String::from).to_vec();
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    let mut told = 0;
    let order = Order { argv, ..Order::default() };
    let code = session.stream(&order, LIMIT, |kind, bytes| {
        if kind == Kind::Error {
            errors.extend_from_slice(bytes);
            return;
        }
        lines.extend_from_slice(bytes);
        while let Some(end) = lines[told..].iter().position(|byte| *byte == b'\n') {
            tell(&lines[told..told + end]);
            told += end + 1;
        }
    })?;
    if code != 0 {
        let said = String::from_utf8_lossy(&errors);
        return Err(Error::Failed(format!("the benchmark failed in dom0: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&lines);
    text.lines()
        .map(|line| {
            let record: Record = serde_json::from_str(line)
                .map_err(|error| Error::Machine(format!("«{line}» is no record: {error}")))?;
            Ok(Record { clock: clock_name(clock).into(), ..record })
        })
        .collect()
}

/// Shows that something happens.
fn tell(line: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Record>(line) {
        let Record { phase, case, by, round, unit, value, .. } = record;
        let warm_up = if round == 0 { " (warming up)" } else { "" };
        report::note(&format!("{phase}/{case} {by}: {value:.1} {unit}{warm_up}"));
    }
}

/// The comparisons of one case by one clock.
fn rows_of(records: &[Record], case: &Case, clock: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for phase in case.phases {
        for by in case.by.iter().filter(|by| **by != By::Xlr) {
            if *by == By::Floor && *phase != Phase::CreatePaused {
                continue;
            }
            rows.push(row(records, (*phase, case, case), *by, clock)?);
        }
    }
    // xl has no cache: what it takes for the compressed kernel stands beside the warm rows, too.
    if case.kernel == Kernel::Stock && case.cache == Cache::Warm {
        let cold = CASES.iter().find(|other| {
            other.kernel == case.kernel
                && other.memory_mib == case.memory_mib
                && other.by.contains(&By::XlXz)
                && records.iter().any(|record| record.case == other.name())
        });
        if let Some(cold) = cold {
            rows.push(row(records, (Phase::CreatePaused, case, cold), By::XlXz, clock)?);
        }
    }
    Ok(rows)
}

/// What was measured apart from the timed samples.
fn rows_apart(records: &[Record], case: &Case, clock: &str, steps: bool) -> Result<Vec<Row>> {
    let name = case.name();
    let of = |phase: &str, by: By, unit: &str| {
        select(records, (phase, &name), by.name(), (unit, clock)).map_err(Error::Failed)
    };
    let mut rows = Vec::new();
    let mut add = |phase: &str, unit: &str, shown: &str, by: Option<By>| -> Result<()> {
        let ours = of(phase, By::Xlr, unit)?;
        let theirs = by.map(|by| Ok((by, of(phase, by, unit)?))).transpose()?;
        let reference = theirs.as_ref().map(|(by, samples)| Reference {
            name: by.name(),
            samples,
            target: None,
        });
        let row =
            Row::new((NAME, &format!("{phase}/{name}")), (shown, Better::Less), &ours, reference);
        rows.push(row.map_err(Error::Failed)?);
        Ok(())
    };
    // Counts do not depend on the clock: once is enough.
    if clock == clock_name(Clock::Instructions) {
        add("requests", "requests", "requests", Some(By::Xl))?;
        // xl waits for every one of its requests.
        add("round-trips", "round trips", "round trips", None)?;
        add("faults", "faults", "faults", Some(By::Xl))?;
        add("peak-memory", "KiB", "KiB", Some(By::Xl))?;
    }
    if steps {
        let unit = format!("ms ({clock})");
        let mut inside = 0.0;
        let of_case = || records.iter().filter(|r| r.case == name && r.clock == clock);
        let of_step = |record: &&Record, by: By| {
            record.phase.starts_with(STEP) && record.by == by.name() && record.round > 0
        };
        for record in of_case().filter(|record| of_step(record, By::Xlr)) {
            let floor = |other: &&Record| of_step(other, By::Floor) && other.phase == record.phase;
            let by = of_case().any(|other| floor(&other)).then_some(By::Floor);
            add(&record.phase, &record.unit, &unit, by)?;
            inside += record.value;
        }
        rows.extend(outside_steps(records, case, clock, inside)?);
    }
    Ok(rows)
}

/// The part of a paused create that lies in no step: the program's start, files, questions to the
/// host, its end.
fn outside_steps(records: &[Record], case: &Case, clock: &str, inside: f64) -> Result<Option<Row>> {
    let name = case.name();
    let kind = (Phase::CreatePaused.name(), name.as_str());
    let whole =
        select(records, kind, By::Xlr.name(), (Phase::UNIT, clock)).map_err(Error::Failed)?;
    let Some(whole) = whole.median() else { return Ok(None) };
    let mut rest = Samples::default();
    rest.push(whole - inside).map_err(Error::Failed)?;
    let unit = format!("ms ({clock})");
    let row =
        Row::new((NAME, &format!("outside-steps/{name}")), (&unit, Better::Less), &rest, None);
    row.map(Some).map_err(Error::Failed)
}

/// One comparison: `xlr` in one case against `by` in another, which is mostly the same.
fn row(
    records: &[Record],
    (phase, ours, theirs): (Phase, &Case, &Case),
    by: By,
    clock: &str,
) -> Result<Row> {
    let of = |case: &Case, by: By| {
        select(records, (phase.name(), &case.name()), by.name(), ("ms", clock))
            .map_err(Error::Failed)
    };
    let (own, other) = (of(ours, By::Xlr)?, of(theirs, by)?);
    let judged = phase == Phase::CreatePaused && clock == clock_name(Clock::Instructions);
    let target = if judged { ours.target(by) } else { None };
    let reference = Reference { name: by.name(), samples: &other, target };
    let name = format!("{}/{}", phase.name(), ours.name());
    let unit = format!("ms ({clock})");
    Ok(Row::new((NAME, &name), (&unit, Better::Less), &own, Some(reference))
        .map_err(Error::Failed)?
        .at("memory in MiB", ours.memory_mib as f64))
}

/// The row as a point of its curve: paused creates of the small kernel by memory.
fn on_curve(row: &Row) -> Option<Row> {
    let memory = row.position.as_ref()?.at;
    let curve = row.case.replace(&format!("/{memory}MiB"), "");
    let wanted = curve == "create-paused/small/warm" && row.unit.contains("instructions");
    wanted.then(|| Row { case: curve, ..row.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(phase: Phase, case: &Case, by: By, value: f64) -> Record {
        Record {
            phase: phase.name().into(),
            case: case.name(),
            by: by.name().into(),
            round: 1,
            unit: "ms".into(),
            value,
            clock: "instructions".into(),
        }
    }

    fn case(name: &str) -> &'static Case {
        CASES.iter().find(|case| case.name() == name).expect(name)
    }

    /// One round of everything that is measured in a case.
    fn round(case: &Case, xlr: f64, xl: f64) -> Vec<Record> {
        let mut records = Vec::new();
        for phase in case.phases {
            records.push(record(*phase, case, By::Xlr, xlr));
            records.push(record(*phase, case, By::Xl, xl));
        }
        records.push(record(Phase::CreatePaused, case, By::Floor, 1.0));
        records
    }

    #[test]
    fn the_compressed_kernel_is_reported_apart_and_without_a_target() {
        let (warm, cold) = (case("stock/256MiB/warm"), case("stock/256MiB/cold"));
        let mut records = round(warm, 100.0, 600.0);
        let rows = rows_of(&records, warm, "instructions").unwrap();
        assert_eq!(rows.len(), 4, "nothing was measured with the compressed kernel");
        assert_eq!((rows[0].ratio, rows[0].target), (Some(6.0), Some(5.0)));
        assert_eq!(rows[1].reference_name.as_deref(), Some("floor"));
        assert!(rows[1..].iter().all(|row| row.target.is_none()), "only paused creates have one");

        records.push(record(Phase::CreatePaused, cold, By::XlXz, 5000.0));
        let rows = rows_of(&records, warm, "instructions").unwrap();
        let apart = rows.last().unwrap();
        assert_eq!(apart.reference_name.as_deref(), Some("xl-xz"));
        assert_eq!((apart.ratio, apart.target), (Some(50.0), None));
    }

    #[test]
    fn steps_and_what_lies_outside_of_them_make_up_the_whole() {
        let small = case("small/64MiB/warm");
        let mut records = round(small, 10.0, 50.0);
        let of = |by, phase: &str, unit: &str, value| Record {
            phase: phase.into(),
            unit: unit.into(),
            ..record(Phase::Destroy, small, by, value)
        };
        for by in [By::Xlr, By::Xl] {
            records.push(of(by, "requests", "requests", 80.0));
            records.push(of(by, "faults", "faults", 200.0));
            records.push(of(by, "peak-memory", "KiB", 512.0));
        }
        records.push(of(By::Xlr, "round-trips", "round trips", 5.0));
        records.push(of(By::Xlr, "step-create-domain", "ms", 3.0));
        records.push(of(By::Floor, "step-create-domain", "ms", 2.0));
        records.push(of(By::Xlr, "step-introduce", "ms", 4.0));
        let rows = rows_apart(&records, small, "instructions", true).unwrap();
        let found: Vec<(&str, f64, Option<f64>)> =
            rows.iter().map(|row| (row.case.as_str(), row.ours, row.reference)).collect();
        assert_eq!(
            found,
            [
                ("requests/small/64MiB/warm", 80.0, Some(80.0)),
                ("round-trips/small/64MiB/warm", 5.0, None),
                ("faults/small/64MiB/warm", 200.0, Some(200.0)),
                ("peak-memory/small/64MiB/warm", 512.0, Some(512.0)),
                ("step-create-domain/small/64MiB/warm", 3.0, Some(2.0)),
                ("step-introduce/small/64MiB/warm", 4.0, None),
                ("outside-steps/small/64MiB/warm", 3.0, None),
            ]
        );
        let plain = rows_apart(&records, small, "instructions", false).unwrap();
        assert_eq!(plain.len(), 4);
    }

    #[test]
    fn a_side_that_was_not_measured_is_an_error() {
        let small = case("small/64MiB/warm");
        let records = [record(Phase::CreatePaused, small, By::Xl, 1.0)];
        let error = rows_of(&records, small, "instructions").unwrap_err();
        assert_eq!(error.to_string(), "create/create-paused/small/64MiB/warm: ours has no sample");
    }

    #[test]
    fn paused_creates_of_the_small_kernel_form_a_curve() {
        let small = case("small/64MiB/warm");
        let rows = rows_of(&round(small, 1.0, 2.0), small, "instructions").unwrap();
        let points: Vec<Row> = rows.iter().filter_map(on_curve).collect();
        assert_eq!(points.len(), 2, "against xl and against the floor");
        assert_eq!(points[0].case, "create-paused/small/warm");
        assert_eq!(points[0].position.as_ref().unwrap().at, 64.0);
    }

    #[test]
    fn answers_about_free_memory_are_no_trouble() {
        let text = "(XEN) 'H' pressed -> dumping heap info (now = 1)\n\
                    (XEN) heap[node=0][zone=14] -> 16128 pages\n\
                    (XEN) Node 0 has 5 unscrubbed pages\n(XEN) mm.c:1: bad\n";
        assert_eq!(unexpected(text), ["(XEN) mm.c:1: bad"]);
    }
}
