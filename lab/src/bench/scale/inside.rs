//! The half that runs in dom0: creates, one after the other, and prints records.
//!
//! A record's case is the number of guests that it belongs to. A create is timed as in the benchmark
//! of creates, from before its process starts to after its end; what the daemons ran meanwhile stands
//! beside it. Each begins when they have come to rest from the one before.

use super::gauge::{self, Reading, Role};
use super::{By, GUEST_MIB, IDLE, KERNEL, STEP, Work, together};
use crate::bench::create::inside::timed;
use crate::bench::quiet;
use crate::bench::record::Record;
use crate::dom0::init;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// How often the daemons are looked at until they rest.
const LOOKS: u32 = 500;

/// `lab bench-dom0 scale WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    gauge::charge()?;
    // Whatever the first of all creates of a boot does once is done. Memory is counted from here, after one
    // guest with either toolstack: what has served more has room that the next ones cost nothing of.
    create(&work, "warm-up")?;
    destroy(&work, "warm-up")?;
    look(&work, 0)?;
    // It stands in for the processes that xl leaves behind, so that it counts as they do.
    let supervisor = if work.by == By::Xlr { Some(supervisor()?) } else { None };
    quiet::wait()?;
    let serving = gauge::processes()?;
    for count in 1..=work.guests {
        rest(&serving)?;
        let before = gauge::processor_time(&serving)?;
        let took = create(&work, &format!("scale-{count}"))?;
        let after = gauge::processor_time(&serving)?;
        say(&work, "create", count, ("ms", took.as_secs_f64() * 1e3))?;
        for (role, time) in after {
            let ran = time.saturating_sub(before.get(&role).copied().unwrap_or_default());
            say(&work, role.name(), count, ("ms", ran.as_secs_f64() * 1e3))?;
        }
        if count.is_multiple_of(STEP) || count == work.guests {
            rest(&serving)?;
            look(&work, count)?;
        }
    }
    if work.by == By::Xlr && work.all {
        alone(&work, supervisor)?;
        together::measure(&work)?;
    }
    Ok(())
}

/// Ends the supervisor and all guests.
fn alone(work: &Work, supervisor: Option<Child>) -> io::Result<()> {
    if let Some(mut supervisor) = supervisor {
        kill_process(Pid::from_child(&supervisor), Signal::TERM)?;
        supervisor.wait()?;
    }
    for count in 1..=work.guests {
        timed(work.by.program(), &["destroy", &format!("scale-{count}")])?;
    }
    quiet::wait()
}

fn supervisor() -> io::Result<Child> {
    let mut child = init::command("/bin/xlr").arg("supervise").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line)?;
    }
    if line.starts_with("supervise: ready") {
        return Ok(child);
    }
    Err(io::Error::other(format!("xlr supervise says {line:?}")))
}

/// Creates a guest, paused.
fn create(work: &Work, name: &str) -> io::Result<Duration> {
    let path = configuration(name, KERNEL, "", GUEST_MIB)?;
    let took = timed(work.by.program(), &["create", "-p", &path])?;
    // dom0's memory is what is measured.
    fs::remove_file(path)?;
    Ok(took)
}

/// Writes the configuration of a guest.
pub fn configuration(
    name: &str,
    kernel: &str,
    ramdisk: &str,
    memory_mib: u64,
) -> io::Result<String> {
    let path = format!("/run/{name}.cfg");
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"{kernel}\"\n{ramdisk}memory = {memory_mib}\n\
         vcpus = 1\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// Destroys a guest, and waits until its memory is clean.
pub fn destroy(work: &Work, name: &str) -> io::Result<()> {
    timed(work.by.program(), &["destroy", name])?;
    quiet::wait()
}

/// Returns when nobody who serves has run for a while.
fn rest(serving: &[(u32, Role)]) -> io::Result<()> {
    let mut before = gauge::processor_time(serving)?;
    for _ in 0..LOOKS {
        std::thread::sleep(quiet::PAUSE);
        let now = gauge::processor_time(serving)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    Err(io::Error::other("the daemons do not come to rest"))
}

/// What dom0 has for so many guests, and what wakes up while nothing happens.
fn look(work: &Work, count: u32) -> io::Result<()> {
    let Reading { processes, pss, pss_toolstack, charged, dom0, heap } = gauge::reading()?;
    for (phase, unit, value) in [
        ("processes", "processes", processes),
        ("pss", "KiB", pss),
        ("pss-toolstack", "KiB", pss_toolstack),
        ("charged", "KiB", charged),
        ("dom0", "KiB", dom0),
        ("heap", "KiB", heap),
    ] {
        say(work, phase, count, (unit, value as f64))?;
    }
    let wanted = count == work.guests || matches!(count, 0 | 10 | 50) || count.is_multiple_of(100);
    if wanted && work.all { idle(work, count) } else { Ok(()) }
}

fn idle(work: &Work, count: u32) -> io::Result<()> {
    let before = gauge::switches()?;
    std::thread::sleep(IDLE);
    let after = gauge::switches()?;
    for role in [Role::Store, Role::Consoles, Role::Supervisor, Role::Toolstack] {
        let woken: u64 = after
            .iter()
            .filter(|(_, (its, _))| *its == role)
            .map(|(id, (_, now))| now - before.get(id).map_or(0, |(_, then)| *then))
            .sum();
        let phase = format!("wakeups-{}", role.name());
        say(work, &phase, count, ("per second", woken as f64 / IDLE.as_secs_f64()))?;
    }
    Ok(())
}

/// Prints a record.
pub fn say(work: &Work, phase: &str, count: u32, (unit, value): (&str, f64)) -> io::Result<()> {
    let record = Record {
        phase: phase.into(),
        case: count.to_string(),
        by: work.by.name().into(),
        round: 1,
        unit: unit.into(),
        value,
        clock: String::new(),
    };
    record.print()
}
