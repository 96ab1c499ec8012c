//! The half that runs in dom0: starts the backend and a guest, has both sides work in turns, prints records.

use super::Work;
use super::cases::{
    BANDWIDTH, COUNT, Case, DEREGISTER, DEREGISTER_CACHED, GUEST, IN_DOM0, IN_GUEST, Kind, LATENCY,
    NATIVE, RATE, REGISTER, REGISTER_CACHED, TIME, TOTAL,
};
use crate::bench::record::Record;
use crate::cases::rdma::{Daemon, RAMDISK, Rxe, shell};
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, run};
use crate::fail;
use libxc_safe::{Domid, Xen};
use std::io;

/// The program, in dom0 and in guests.
const PROGRAM: &str = "verbs-perf";
/// Lets the program keep what it registered mapped.
const CACHE: &str = "XLR_IB_CACHE_PAGES=2048";
/// How long a latency or a rate is looked at: by the clock that counts instructions, and by the host's.
const LOOK_MS: [u32; 2] = [40, 250];
/// Operations that are run before those that count.
const BEFORE: u32 = 256;
/// Registrations that a median is made of.
const REGISTRATIONS: usize = 5;

/// `lab bench-dom0 rdma WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    measure(&work).map_err(|stop| io::Error::other(format!("{stop:?}")))
}

fn measure(work: &Work) -> Result<(), Stop> {
    let _rxe = Rxe::new()?;
    // With one CPU for all nobody polls; else the backend does, as the guest does.
    let _daemon = Daemon::start(&["--spin-us", if work.polls { "1000000" } else { "0" }])?;
    let mut more =
        format!("{RAMDISK}memory = 160\nrdma = [ \"backend-device=rxe0, pages=4096\" ]\n");
    if work.polls {
        run("/bin/xlr vcpu-pin Domain-0 0 0")?.success()?;
        more.push_str("cpus = \"1\"\n");
    }
    let mut guest = Guest::create("bench", &more)?;
    guest.sh("echo 65536 >/sys/module/xen_gntalloc/parameters/limit")?;
    let rounds = work.cases().map(|case| work.rounds(case)).max().unwrap_or(0);
    // Round 0 warms up.
    for round in 0..=rounds {
        let mut order = [GUEST, NATIVE];
        if round % 2 == 1 {
            order.reverse();
        }
        for case in work.cases().filter(|case| round <= work.rounds(case)) {
            for by in order {
                sample(case, by, round, &mut guest)?;
            }
        }
    }
    guest.destroy()
}

fn sample(case: &Case, by: &str, round: u32, guest: &mut Guest) -> Result<(), Stop> {
    let say = |phase: &str, unit: &str, value: f64| {
        let record = Record {
            phase: phase.into(),
            case: case.name.into(),
            by: by.into(),
            round,
            unit: unit.into(),
            value,
            clock: String::new(),
        };
        record.print()
    };
    match case.kind {
        Kind::Work { batch, bytes, more } => {
            let [few, many] = [BEFORE, BEFORE + more]
                .map(|count| ran(guest, by, &format!("work events {count} {batch} {bytes}")));
            let (few, many) = (few?, many?);
            let each = |part: usize| (many[part] - few[part]) / f64::from(more);
            say(TOTAL, COUNT, each(0) + each(1))?;
            say(IN_DOM0, COUNT, each(0))?;
            say(IN_GUEST, COUNT, each(1))?;
        }
        Kind::Latency { polls, bytes } => {
            let mode = if polls { "polling" } else { "events" };
            let look_ms = LOOK_MS[usize::from(polls)];
            let said = perf(guest, by, &format!("latency {mode} {bytes} {look_ms}"))?;
            say(LATENCY, TIME, median(&said, "latency ")? / 1e3)?;
        }
        Kind::Bandwidth { bytes } => {
            let said = perf(guest, by, &format!("bandwidth polling {bytes} {}", LOOK_MS[1]))?;
            say(BANDWIDTH, RATE, median(&said, "bandwidth ")?)?;
        }
        Kind::Register { bytes } => {
            let what = format!("register {bytes} {REGISTRATIONS}");
            let said = perf(guest, by, &what)?;
            say(REGISTER, TIME, median(&said, "register ")?)?;
            say(DEREGISTER, TIME, median(&said, "deregister ")?)?;
            // The first one fills the cache. dom0 has none, and is what it is compared with all the same.
            let said = match by {
                GUEST => guest.sh(&format!("{CACHE} {PROGRAM} xrdma0 {what}"))?,
                _ => said,
            };
            say(REGISTER_CACHED, TIME, median(&said, "register ")?)?;
            say(DEREGISTER_CACHED, TIME, median(&said, "deregister ")?)?;
        }
    }
    Ok(())
}

/// Runs the program, in the guest or in dom0; what it said.
fn perf(guest: &mut Guest, by: &str, what: &str) -> Result<String, Stop> {
    if by == GUEST {
        return guest.sh(&format!("{PROGRAM} xrdma0 {what}"));
    }
    shell(&format!("{PROGRAM} rxe0 {what}"))
}

/// Runs the program; nanoseconds that dom0 and the guest ran meanwhile.
fn ran(guest: &mut Guest, by: &str, what: &str) -> Result<[f64; 2], Stop> {
    let failed = |error: libxc_safe::Error| Stop::Failed(error.to_string());
    let xen = Xen::open().map_err(failed)?;
    let domid = u16::try_from(guest.domid).map_err(|_| Stop::Failed("no domid".into()))?;
    let read = || -> Result<[f64; 2], Stop> {
        let of = |domid| xen.existing_domain_info(domid).map_err(failed);
        Ok([of(Domid(0))?, of(Domid(domid))?].map(|info| info.cpu_time_ns as f64))
    };
    let before = read()?;
    perf(guest, by, what)?;
    let after = read()?;
    Ok([after[0] - before[0], after[1] - before[1]])
}

/// The median of the numbers that stand behind a word at the beginning of lines.
fn median(said: &str, word: &str) -> Result<f64, Stop> {
    let numbers = said.lines().filter_map(|line| line.trim().strip_prefix(word));
    let mut numbers: Vec<f64> = numbers.filter_map(|text| text.trim().parse().ok()).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    match numbers.get(numbers.len() / 2) {
        Some(number) => Ok(*number),
        None => fail!("{PROGRAM} says no {word}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_what_was_said_counts() {
        let said = "register 3.0\nderegister 9\nregister 1\n\rregister 2.5\r\n";
        assert_eq!(median(said, "register "), Ok(2.5));
        assert_eq!(median(said, "deregister "), Ok(9.0));
        assert!(median(said, "latency ").is_err());
    }
}
