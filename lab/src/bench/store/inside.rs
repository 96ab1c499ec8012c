//! The half that runs in dom0: asks, and prints records.

use super::cases::{CASES, CLIENTS, Case, fill, watch};
use super::{ALL, MEMORY, SERVER, UNIT, Work};
use crate::bench::record::Record;
use std::fs;
use std::io;
use std::time::{Duration, Instant};
use xenstore::client::{Client, Error, Nodes as _};

/// `lab bench-dom0 store WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    let pid = server()?;
    let mut clients = connect().map_err(io::Error::other)?;
    prepare(&mut clients).map_err(io::Error::other)?;
    for case in CASES.iter().filter(|case| !case.large && work.wants(case.name)) {
        measure(&work, case, pid, &mut clients)?;
    }
    // Held open, so that their watches stay.
    let mut watchers = Vec::new();
    for number in 0..work.domains {
        fill(&mut clients[0], number).map_err(io::Error::other)?;
        if number % 100 == 0 {
            watchers.push(Client::connect().map_err(io::Error::other)?);
        }
        if let Some(watcher) = watchers.last_mut() {
            watch(watcher, number).map_err(io::Error::other)?;
        }
    }
    for case in CASES.iter().filter(|case| case.large && work.wants(case.name)) {
        measure(&work, case, pid, &mut clients)?;
    }
    say(&work, MEMORY, "large", 1, ("KiB", resident_kib(pid)?))?;
    clients[0].rm("/bench").map_err(io::Error::other)
}

fn connect() -> Result<Vec<Client>, Error> {
    (0..CLIENTS).map(|_| Client::connect()).collect()
}

fn prepare(clients: &mut [Client]) -> Result<(), Error> {
    clients[0].write("/bench/a", "value")?;
    for node in 0..10 {
        clients[0].write(format!("/bench/n{node}"), "value")?;
    }
    clients[1].watch("/bench/watched", "token")?;
    clients[1].next_event(None).map(drop)
}

fn measure(work: &Work, case: &Case, pid: u32, clients: &mut [Client]) -> io::Result<()> {
    for round in 0..=work.samples {
        let (used, start) = (cpu_time(pid)?, Instant::now());
        for time in 0..case.times {
            (case.work)(clients, time)
                .map_err(|error| io::Error::other(format!("{}: {error}", case.name)))?;
        }
        let took = start.elapsed();
        let used = cpu_time(pid)?.saturating_sub(used);
        let requests = f64::from(case.times * case.requests);
        for (phase, time) in [(ALL, took), (SERVER, used)] {
            let each = time.as_secs_f64() * 1e6 / requests;
            say(work, phase, case.name, round, (UNIT, each))?;
        }
    }
    Ok(())
}

/// The process that serves.
fn server() -> io::Result<u32> {
    for file in ["/run/xen/xenstored.pid", "/run/xenstored.pid", "/var/run/xenstored.pid"] {
        if let Ok(text) = fs::read_to_string(file)
            && let Ok(pid) = text.trim().parse()
        {
            return Ok(pid);
        }
    }
    Err(io::Error::other("no xenstored says which process it is"))
}

/// What a process has run so far.
fn cpu_time(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    let unknown = || io::Error::other(format!("schedstat says {text:?}"));
    nanoseconds.map(Duration::from_nanos).ok_or_else(unknown)
}

fn resident_kib(pid: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.ok_or_else(|| io::Error::other("the server's memory is not told"))
}

fn say(
    work: &Work,
    phase: &str,
    case: &str,
    round: u32,
    (unit, value): (&str, f64),
) -> io::Result<()> {
    let record = Record {
        phase: phase.into(),
        case: case.into(),
        by: work.by.clone(),
        round,
        unit: unit.into(),
        value,
        clock: String::new(),
    };
    record.print()
}
