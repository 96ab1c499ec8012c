//! What is measured once, apart from the timed samples, because looking costs time: requests to
//! xenstored, page faults, peak memory, the time of each step of xlr's plan, and where the time of a create goes.
//!
//! Requests are counted in xenstored's own trace, so that both toolstacks are counted by the same
//! measure; memory is the peak of a cgroup that holds the command and whatever it leaves running,
//! page tables and other kernel memory included; steps are what `XLR_LOG=debug` says, parts what
//! `XLR_LOG=xlr::parts=debug` says at the end of an otherwise undisturbed create.

use super::cases::{By, Case, DOMAIN, Phase};
use super::sample::{configuration, say};
use super::{PART, STEP};
use crate::bench::quiet;
use crate::dom0::init;
use rustix::mount::{MountFlags, mount};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

/// Where xenstored is told to write its trace.
const TRACE: &str = "/run/bench-xenstored.log";
/// Where the cgroup file system is mounted.
const CGROUPS: &str = "/run/bench-cgroup";
/// What `xlr` logs.
const LOG: &str = "/run/bench-xlr.log";

/// Measures all of it for one toolstack.
pub fn measure(case: &Case, by: By) -> io::Result<()> {
    requests(case, by)?;
    memory(case, by)?;
    if by == By::Xlr {
        steps(case)?;
        parts(case)?;
    }
    Ok(())
}

/// A command that creates the guest, paused.
fn create(case: &Case, by: By) -> io::Result<Command> {
    let mut command = init::command(by.program());
    command.args(["create", "-p", &configuration(case, by)?]);
    Ok(command)
}

fn run(command: &mut Command) -> io::Result<()> {
    let out = command.output();
    let out = out.map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(io::Error::other(format!("{command:?}: {} {}", out.status, said.trim())))
}

fn destroy(by: By) -> io::Result<()> {
    quiet::wait()?;
    run(init::command(by.program()).args(["destroy", DOMAIN]))
}

fn requests(case: &Case, by: By) -> io::Result<()> {
    remove(TRACE)?;
    let control = |words: &[&str]| run(init::command("/xen/bin/xenstore-control").args(words));
    // Naming the file also begins the trace.
    control(&["logfile", TRACE])?;
    let before = faults_of_children()?;
    run(&mut quietly(create(case, by)?)?)?;
    let faults = faults_of_children()?.saturating_sub(before);
    say(case, by, "faults", 1, ("faults", faults as f64))?;
    quiet::wait()?;
    control(&["log", "off"])?;
    let trace = fs::read(TRACE)?;
    let count = count_requests(&String::from_utf8_lossy(&trace));
    say(case, by, "requests", 1, ("requests", count as f64))?;
    destroy(by)
}

/// Page faults of all programs that this one has waited for.
fn faults_of_children() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    child_faults(&stat).ok_or_else(|| io::Error::other(format!("{stat}?")))
}

/// The field `cminflt` of proc(5). The second field is a name in parentheses, which may hold blanks.
fn child_faults(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(8)?.parse().ok()
}

/// Requests on connections that were opened within the trace: those of the toolstack, not those of
/// the daemons that answer a domain's appearance.
fn count_requests(trace: &str) -> u64 {
    let mut own = BTreeSet::new();
    let mut count = 0;
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("CREATE"), Some("connection")) => own.extend(words.next()),
            (Some("IN"), Some(connection)) if own.contains(connection) => {
                // Date, time, type. What switches the trace off is not the toolstack's.
                count += u64::from(words.nth(2) != Some("CONTROL"));
            }
            _ => {}
        }
    }
    count
}

fn memory(case: &Case, by: By) -> io::Result<()> {
    let root = Path::new(CGROUPS);
    if !root.exists() {
        fs::create_dir(root)?;
        mount("cgroup2", root, "cgroup2", MountFlags::empty(), None)?;
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
    }
    let group = root.join("create");
    fs::create_dir(&group)?;
    let enter = format!("echo 0 > {}/cgroup.procs && exec \"$@\"", group.display());
    let mut command = init::command("/bin/sh");
    let path = configuration(case, by)?;
    command.args(["-c", &enter, "sh", by.program(), "create", "-p", &path]);
    run(&mut quietly(command)?)?;
    let peak = fs::read_to_string(group.join("memory.peak")).map_err(|error| {
        io::Error::other(format!("memory.peak of {}: {error}", group.display()))
    })?;
    let bytes: u64 = peak.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    say(case, by, "peak-memory", 1, ("KiB", bytes as f64 / 1024.0))?;
    destroy(by)?;
    // Its last process, xl's own for the domain, ends while destroy is answered or soon after.
    quiet::wait()?;
    fs::remove_dir(&group)
}

/// The command with its output in a file: a process that stays holds it open.
fn quietly(mut command: Command) -> io::Result<Command> {
    let said = File::create("/run/bench.said")?;
    command.stdout(said.try_clone()?).stderr(said);
    Ok(command)
}

fn steps(case: &Case) -> io::Result<()> {
    quiet::wait()?;
    let log = File::create(LOG)?;
    let mut command = create(case, By::Xlr)?;
    run(command.env("XLR_LOG", "debug").stderr(log))?;
    let log = fs::read_to_string(LOG)?;
    let steps = step_times(&log);
    if steps.is_empty() {
        return Err(io::Error::other("XLR_LOG=debug tells of no step"));
    }
    let trips = round_trips(&log)
        .ok_or_else(|| io::Error::other("XLR_LOG=debug tells of no round trips to xenstored"))?;
    say(case, By::Xlr, "round-trips", 1, ("round trips", trips))?;
    for (step, milliseconds) in steps {
        let phase = format!("{STEP}{step}");
        say(case, By::Xlr, &phase, 1, (Phase::UNIT, milliseconds))?;
    }
    destroy(By::Xlr)
}

/// Where the time goes: what xlr says of itself, and what comes before and after that.
fn parts(case: &Case) -> io::Result<()> {
    quiet::wait()?;
    let mut command = create(case, By::Xlr)?;
    command.env("XLR_LOG", "xlr::parts=debug").stdout(File::create("/run/bench.said")?);
    command.stderr(File::create(LOG)?);
    let start = monotonic_nanoseconds();
    let status = command.status()?;
    let end = monotonic_nanoseconds();
    let log = fs::read_to_string(LOG)?;
    let parts = part_times(&log, start, end).filter(|_| status.success());
    let parts = parts.ok_or_else(|| {
        io::Error::other(format!("xlr does not say where the time goes ({status}): {log}"))
    })?;
    for (part, milliseconds) in parts {
        let phase = format!("{PART}{part}");
        say(case, By::Xlr, &phase, 1, (Phase::UNIT, milliseconds))?;
    }
    destroy(By::Xlr)
}

fn monotonic_nanoseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Names and milliseconds of the parts: lines that end in `part="NAME" took=1.5ms`, and a last one
/// that ends in `began=N ended=N telling=N`, nanoseconds of the clock that `start` and `end` are of.
fn part_times(log: &str, start: i64, end: i64) -> Option<Vec<(String, f64)>> {
    let one = |line: &str| {
        let (head, took) = line.rsplit_once(" took=")?;
        let (_, name) = head.rsplit_once(" part=\"")?;
        Some((name.trim_end_matches('"').to_owned(), milliseconds(took.trim())?))
    };
    let inside: Vec<_> = log.lines().filter_map(one).collect();
    let number = |key: &str| -> Option<i64> {
        let (_, rest) = log.rsplit_once(key)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let (began, ended, telling) = (number(" began=")?, number(" ended=")?, number(" telling=")?);
    // The last line is not among those that were timed, and costs what each of the others does.
    let lines = i64::try_from(inside.len()).ok().filter(|&lines| lines > 0)?;
    let exit = end - ended - telling - telling / lines;
    let outside = |nanoseconds: i64| nanoseconds as f64 / 1e6;
    let mut all = vec![("start".to_owned(), outside(began - start))];
    all.extend(inside);
    all.push(("exit".to_owned(), outside(exit)));
    Some(all)
}

/// Names and milliseconds of the steps: lines that end in `step=N took=1.5ms`, the name being the
/// first word of the message.
fn step_times(log: &str) -> Vec<(String, f64)> {
    let one = |line: &str| {
        let (head, took) = line.rsplit_once(" took=")?;
        let (head, _) = head.rsplit_once(" step=")?;
        let (_, message) = head.split_once(": ")?;
        let name = message.split_whitespace().next()?;
        Some((name.to_owned(), milliseconds(took.trim())?))
    };
    log.lines().filter_map(one).collect()
}

/// How often xlr waited for xenstored: a field of one line.
fn round_trips(log: &str) -> Option<f64> {
    let (_, rest) = log.rsplit_once(" round_trips=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A duration as Rust prints it for debugging.
fn milliseconds(text: &str) -> Option<f64> {
    // The longer units first: every one of them ends like the last.
    let units = [("ns", 1e-6), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * factor)
    })
}

fn remove(path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_of_new_connections_count() {
        let trace = "OUT 0xa0 20260101 00:00:01 CONTROL (OK )\n\
            DESTROY connection 0xa0\n\
            CREATE connection 0xb0\n\
            IN 0xb0 20260101 00:00:01 READ (/local/domain/0/name )\n\
            OUT 0xb0 20260101 00:00:01 READ (Domain-0)\n\
            IN 0xc0 20260101 00:00:01 DIRECTORY (backend/console )\n\
            IN 0xb0 20260101 00:00:01 INTRODUCE (2 509243 1 )\n\
            CREATE watch 0xd0\n\
            DESTROY connection 0xb0\n\
            CREATE connection 0xb0\n\
            IN 0xb0 20260101 00:00:02 CONTROL (log off )\n";
        assert_eq!(count_requests(trace), 2);
        assert_eq!(count_requests("\n*** \n"), 0);
    }

    #[test]
    fn faults_of_children_stand_in_the_eleventh_field() {
        assert_eq!(child_faults("5 (a) b) S 1 5 5 0 -1 4194560 100 1234 0 0 1 2"), Some(1234));
        assert_eq!(child_faults("5 (a) S"), None);
    }

    #[test]
    fn steps_are_read_from_the_log() {
        let log = "2026-01-01T00:00:00.1Z  INFO xl_rs::commands::create: kernel read took=0ns\n\
            2026-01-01T00:00:00.2Z DEBUG xl_rs::commands::create: check-name       no other \
            domain is called \"a: b\" step=0 took=34.5ms\n\
            2026-01-01T00:00:00.3Z DEBUG xl_rs::commands::create: shared-info step=1 took=250µs\n";
        assert_eq!(
            step_times(log),
            [("check-name".to_owned(), 34.5), ("shared-info".to_owned(), 0.25)]
        );
    }

    #[test]
    fn parts_and_what_lies_around_them_are_read_from_the_log() {
        let log = "2026-01-01T00:00:00.1Z DEBUG xlr::parts: part=\"arguments\" took=1.5ms\n\
            2026-01-01T00:00:00.1Z DEBUG xlr::parts: part=\"state\" took=250µs\n\
            2026-01-01T00:00:00.1Z DEBUG xlr::parts: by the monotonic clock began=3000000 \
            ended=6000000 telling=200000\n";
        let own = |name: &str, milliseconds: f64| (name.to_owned(), milliseconds);
        let parts = part_times(log, 1_000_000, 8_000_000).unwrap();
        let wanted =
            [own("start", 2.0), own("arguments", 1.5), own("state", 0.25), own("exit", 1.7)];
        assert_eq!(parts, wanted);
        assert_eq!(part_times("", 0, 1), None);
    }

    #[test]
    fn round_trips_are_read_from_the_log() {
        let log = "a: xenstored asked requests=71 round_trips=5\nb: domain created domid=1\n";
        assert_eq!(round_trips(log), Some(5.0));
        assert_eq!(round_trips("a: b\n"), None);
    }

    #[test]
    fn durations_of_every_size() {
        for (text, expected) in [
            ("12ns", Some(0.000_012)),
            ("1.5µs", Some(0.0015)),
            ("34.561414ms", Some(34.561_414)),
            ("2.5s", Some(2500.0)),
            ("5", None),
            ("ms", None),
        ] {
            match (milliseconds(text), expected) {
                (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-9, "{text}"),
                (found, expected) => assert_eq!(found, expected, "{text}"),
            }
        }
    }
}
