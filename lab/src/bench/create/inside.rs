//! The half that runs in dom0: creates, times, destroys, prints records.
//!
//! A sample is one child process between two readings of dom0's monotonic clock (the one that
//! `/proc/timer_list` prints as "now"; on a machine that counts instructions it counts them as
//! nanoseconds). Nothing is started before the first reading and nothing is left to do after the
//! second that the other side would have done before it.

use super::cases::{By, Cache, Case, DOMAIN, FLOOR, Phase, chosen};
use super::sample::{configuration, say};
use super::{STEP, Work, apart};
use crate::bench::quiet;
use crate::dom0::follow::Follow;
use crate::dom0::{host, init, snapshot};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where `xlr` keeps decoded kernels.
const KERNEL_CACHE: &str = "/var/cache/xlr/kernels";

/// Everything that a timed command says; a file, so that nobody waits for its end.
const SAID: &str = "/run/bench.said";

/// The plan that the floor carries out.
const PLAN: &str = "/run/bench-plan.json";

/// Longest wait for a guest's first line.
const OUTPUT_LIMIT: Duration = Duration::from_secs(120);

/// `lab bench-dom0 create WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    for case in chosen(work.full, work.filter.as_deref()) {
        // Round 0 warms up: the first xl in a boot is slower than those after it, and a warm cache
        // has to be filled by somebody. Where it is to be cold there is nothing to warm up.
        let first = u32::from(case.cache == Cache::Cold);
        for round in first..=work.samples {
            let mut order = case.by.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for by in order {
                for phase in case.phases {
                    match (by, phase) {
                        // Timed together with the create it undoes.
                        (_, Phase::Destroy) => {}
                        (By::Floor, Phase::CreatePaused) => floor(case, round)?,
                        (By::Floor, Phase::FirstOutput) => {}
                        _ => sample(case, by, *phase, round)?,
                    }
                }
            }
        }
        if case.cache == Cache::Warm {
            for by in case.by.iter().filter(|by| **by != By::Floor) {
                apart::measure(case, *by)?;
            }
        }
        left_behind()?;
    }
    Ok(())
}

/// Creates and destroys a guest once, with records of what was timed.
fn sample(case: &Case, by: By, phase: Phase, round: u32) -> io::Result<()> {
    let path = configuration(case, by)?;
    if case.cache == Cache::Cold && by == By::Xlr {
        remove_cache()?;
    }
    let say = |phase: Phase, took: Duration| say_time(case, by, phase, round, took);
    quiet::wait()?;
    if phase == Phase::FirstOutput {
        say(phase, first_output(by, &path)?)?;
    } else {
        say(phase, timed(by.program(), &["create", "-p", &path])?)?;
    }
    quiet::wait()?;
    let destroy = timed(by.program(), &["destroy", DOMAIN])?;
    if phase == Phase::CreatePaused && case.phases.contains(&Phase::Destroy) {
        say(Phase::Destroy, destroy)?;
    }
    Ok(())
}

/// The floor: xlr's own plan carried out without files, parsing and store, and timed by the program
/// itself, from the first hypercall to the end of the last, and step by step.
fn floor(case: &Case, round: u32) -> io::Result<()> {
    let path = configuration(case, By::Xlr)?;
    let (whole, steps) = run_floor(&path, case.kernel.path(By::Xlr), case.ramdisk())?;
    for (step, took) in steps {
        let value = (Phase::UNIT, took.as_secs_f64() * 1e3);
        say(case, By::Floor, &format!("{STEP}{step}"), round, value)?;
    }
    say_time(case, By::Floor, Phase::CreatePaused, round, whole)
}

/// What the floor took for a configuration: the whole, and each of its steps.
type FloorTook = (Duration, Vec<(String, Duration)>);

/// Builds a domain as the floor does, and destroys it.
pub fn run_floor(path: &str, kernel: &str, ramdisk: Option<&str>) -> io::Result<FloorTook> {
    let plan = File::create(PLAN)?;
    let mut dry = init::command(By::Xlr.program());
    if !dry.args(["create", "--dry-run=json", path]).stdout(plan).status()?.success() {
        return Err(io::Error::other(format!("xlr cannot plan {path}")));
    }
    quiet::wait()?;
    let mut command = init::command(FLOOR);
    command.args([PLAN, kernel]).args(ramdisk);
    let out = command.output()?;
    let printed = String::from_utf8_lossy(&out.stdout);
    floor_times(&printed).ok_or_else(|| {
        let said = String::from_utf8_lossy(&out.stderr);
        io::Error::other(format!("{FLOOR} {PLAN} {kernel} failed: {}", said.trim()))
    })
}

/// What the floor prints: the nanoseconds of the whole, then each step with its own.
fn floor_times(text: &str) -> Option<FloorTook> {
    let nanoseconds = |text: &str| text.parse().ok().map(Duration::from_nanos);
    let mut lines = text.lines();
    let whole = nanoseconds(lines.next()?)?;
    let pairs = lines.map(|line| {
        let (step, took) = line.split_once(' ')?;
        Some((step.to_owned(), nanoseconds(took)?))
    });
    Some((whole, pairs.collect::<Option<_>>()?))
}

fn say_time(case: &Case, by: By, phase: Phase, round: u32, took: Duration) -> io::Result<()> {
    say(case, by, phase.name(), round, (Phase::UNIT, took.as_secs_f64() * 1e3))
}

/// From before the command's start to after its end.
pub fn timed(program: &str, args: &[&str]) -> io::Result<Duration> {
    let said = File::create(SAID)?;
    let mut command = init::command(program);
    command.args(args).stdout(said.try_clone()?).stderr(said);
    let start = Instant::now();
    let status = command.status();
    let took = start.elapsed();
    if status?.success() {
        return Ok(took);
    }
    let said = fs::read_to_string(SAID).unwrap_or_default();
    Err(io::Error::other(format!("{program} {} failed: {}", args.join(" "), said.trim())))
}

/// From before the command's start to the guest's first line in xenconsoled's log.
fn first_output(by: By, path: &str) -> io::Result<Duration> {
    let log = host::console_log(DOMAIN);
    // An earlier guest of that name must not answer for this one.
    match fs::remove_file(&log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut follow = Follow::new(&log)?;
    let start = Instant::now();
    timed(by.program(), &["create", path])?;
    let found = follow.until("\n", OUTPUT_LIMIT, |_| {})?;
    let took = start.elapsed();
    if found {
        return Ok(took);
    }
    Err(io::Error::other(format!("a guest made by {} says nothing", by.name())))
}

fn remove_cache() -> io::Result<()> {
    let dir = Path::new(KERNEL_CACHE);
    if dir.exists() { fs::remove_dir_all(dir) } else { Ok(()) }
}

/// Refuses to go on when a domain or a toolstack's process outlived its destroy: it would take
/// part in every later sample.
fn left_behind() -> io::Result<()> {
    quiet::wait()?;
    let now = snapshot::take()?;
    let domains = now.domains.keys().filter(|domid| *domid != "0").map(|id| format!("domain {id}"));
    let programs = now.processes.into_keys().filter(|line| line.contains(" create "));
    let left: Vec<String> = domains.chain(programs).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("left behind: {}", left.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_tells_of_the_whole_and_of_each_step() {
        let nanos = Duration::from_nanos;
        let steps = [("create-domain", nanos(5)), ("pin-tables", nanos(70))];
        let steps = steps.map(|(step, took)| (step.to_owned(), took)).to_vec();
        let text = "100\ncreate-domain 5\npin-tables 70\n";
        assert_eq!(floor_times(text), Some((nanos(100), steps)));
        for text in ["", "no", "100\npin-tables\n", "100\npin-tables x\n"] {
            assert_eq!(floor_times(text), None, "{text:?}");
        }
    }
}
