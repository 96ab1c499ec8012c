//! The half that runs in dom0: asks, and prints records.

use super::cases::{Case, Clients, DOMAINS, FEW, SMALL, TESTS, fill, test_name, watch};
use super::{ALL, FULL, MEMORY, RESTART, SERVER, UNIT, Work};
use crate::bench::record::Record;
use crate::dom0::init;
use crate::xenstored::Xenstored;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::io;
use std::time::{Duration, Instant};
use xenstore::client::{Client, Error, Nodes as _};

/// `lab bench-dom0 xenstore WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    let pid = server()?;
    let mut clients = Clients::connect()?;
    prepare(&mut clients).map_err(io::Error::other)?;
    for case in SMALL.iter().filter(|case| work.wants(case.name)) {
        measure(&work, case.name, case, pid, &mut clients)?;
    }
    for test in TESTS.iter().filter(|test| work.wants(&test_name(test))) {
        measure_test(&work, test, pid)?;
    }
    // Held open, so that their watches stay.
    let mut watchers = Vec::new();
    let mut there = 0;
    for (much, domains) in [("few", FEW), ("many", work.domains)] {
        let named = DOMAINS.iter().map(|case| (format!("domains-{much}/{}", case.name), case));
        let wanted: Vec<_> = named.filter(|(name, _)| work.wants(name)).collect();
        if wanted.is_empty() {
            continue;
        }
        fill_to(&mut there, domains, &mut clients[0], &mut watchers).map_err(io::Error::other)?;
        for (name, case) in wanted {
            measure(&work, &name, case, pid, &mut clients)?;
        }
    }
    if work.wants(FULL) {
        fill_to(&mut there, work.domains, &mut clients[0], &mut watchers)
            .map_err(io::Error::other)?;
        say(&work, MEMORY, FULL, 1, ("KiB", resident_kib(pid)?))?;
        if work.by == Xenstored::Xlr.to_string() {
            restart(&work)?;
        }
    }
    clients[0].rm("/bench").map_err(io::Error::other)
}

fn fill_to(
    there: &mut u32,
    domains: u32,
    client: &mut Client,
    watchers: &mut Vec<Client>,
) -> Result<(), Error> {
    for number in *there..domains {
        fill(client, number)?;
        if number % 100 == 0 {
            watchers.push(Client::connect()?);
        }
        if let Some(watcher) = watchers.last_mut() {
            watch(watcher, number)?;
        }
    }
    *there = domains.max(*there);
    Ok(())
}

/// Kills the server, and starts the next one, which says when it serves.
fn restart(work: &Work) -> io::Result<()> {
    for round in 0..=work.samples {
        let pid = i32::try_from(server()?).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no xenstored"))?;
        kill_process(pid, Signal::KILL)?;
        while test_kill_process(pid).is_ok() {
            std::thread::yield_now();
        }
        let (program, arguments) = Xenstored::Xlr.command();
        let start = Instant::now();
        let status = init::command(program).args(arguments).status()?;
        let mut client = Client::connect().map_err(io::Error::other)?;
        client.read("/bench/a").map_err(io::Error::other)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            return Err(io::Error::other(format!("xenstored: {status}")));
        }
        say(work, RESTART, FULL, round, ("ms", took))?;
    }
    Ok(())
}

/// How often test-xenstore does each of its cases.
const TIMES: u32 = 200;

/// One case of test-xenstore: the average that it prints, and what the server took meanwhile.
fn measure_test(work: &Work, test: &str, pid: u32) -> io::Result<()> {
    for round in 0..=work.samples {
        let used = cpu_time(pid)?;
        let times = TIMES.to_string();
        let ran =
            init::command("/xen/bin/test-xenstore").args(["-i", &times, "-t", test]).output()?;
        let used = cpu_time(pid)?.saturating_sub(used).as_secs_f64() * 1e6 / f64::from(TIMES);
        let text = String::from_utf8_lossy(&ran.stdout);
        let average = text.split("avg: ").nth(1).and_then(|rest| rest.split(' ').next());
        let average: Option<f64> = average.and_then(|nanoseconds| nanoseconds.parse().ok());
        let Some(average) = average.filter(|_| ran.status.success()) else {
            return Err(io::Error::other(format!("test-xenstore {test}: {}, {text}", ran.status)));
        };
        let name = test_name(test);
        say(work, ALL, &name, round, (UNIT, average / 1e3))?;
        say(work, SERVER, &name, round, (UNIT, used))?;
    }
    Ok(())
}

fn prepare(clients: &mut [Client]) -> Result<(), Error> {
    clients[0].write("/bench/a", "value")?;
    for node in 0..10 {
        clients[0].write(format!("/bench/n{node}"), "value")?;
    }
    clients[1].watch("/bench/watched", "token")?;
    clients[1].next_event(None).map(drop)
}

fn measure(
    work: &Work,
    name: &str,
    case: &Case,
    pid: u32,
    clients: &mut Clients,
) -> io::Result<()> {
    for round in 0..=work.samples {
        let (used, start) = (cpu_time(pid)?, Instant::now());
        for time in 0..case.times {
            (case.work)(clients, time)
                .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        }
        let took = start.elapsed();
        let used = cpu_time(pid)?.saturating_sub(used);
        let requests = f64::from(case.times * case.requests);
        for (phase, time) in [(ALL, took), (SERVER, used)] {
            let each = time.as_secs_f64() * 1e6 / requests;
            say(work, phase, name, round, (UNIT, each))?;
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
