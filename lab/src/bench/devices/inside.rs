//! The half that runs in dom0: attaches, times, has the guest use the device, detaches, prints records.

use super::{BY, CASES, Case, RATE, UNIT, USED_BYTES, Work};
use crate::bench::record::Record;
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, argv, await_node_is, run};
use crate::dom0::init;
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Instant;

/// Everything that a timed command says; a file, so that nobody waits for its end.
const SAID: &str = "/run/bench.said";

/// `lab bench-dom0 devices WORK`: prints one record per line.
pub fn main(work: &str) -> io::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    measure(&work).map_err(|stop| io::Error::other(format!("{stop:?}")))
}

fn measure(work: &Work) -> Result<(), Stop> {
    for name in ["file", "block"] {
        File::create(format!("/tmp/bench-{name}.img"))?.set_len(USED_BYTES)?;
    }
    run("/bin/losetup /dev/loop7 /tmp/bench-block.img")?.success()?;
    for module in ["xen-netback", "bridge"] {
        argv(&["/bin/modprobe", module])?.success()?;
    }
    shell("brctl addbr xenbr0 && ip addr add 10.1.0.1/24 dev xenbr0 && ip link set xenbr0 up")?;
    let mut guest = Guest::create("bench", "")?;
    for case in CASES.iter().filter(|case| work.wants(case)) {
        // Round 0 warms up.
        for round in 0..=work.samples {
            let mut order = BY;
            if round % 2 == 1 {
                order.reverse();
            }
            for by in order {
                sample(case, by, round, &mut guest)?;
            }
        }
    }
    guest.destroy()
}

fn sample(case: &Case, by: &str, round: u32, guest: &mut Guest) -> Result<(), Stop> {
    let program = if by == "xl" { "/xen/bin/xl" } else { "/bin/xlr" };
    let took = timed(&[program, case.attach, &guest.name, case.description])?;
    say(("attach", case), by, round, (UNIT, took))?;
    let backend =
        format!("/local/domain/0/backend/{}/{}/{}/state", case.kind, guest.domid, case.devid);
    await_node_is(&backend, "4")?;
    // Its driver has done with it what it does with a new device.
    guest.await_file(case.file)?;
    for (phase, line) in case.uses {
        let rate = used(line, guest)?;
        say((phase, case), by, round, (RATE, rate))?;
    }
    guest.sh("sync")?;
    let took = timed(&[program, case.detach, &guest.name, case.devid])?;
    say(("detach", case), by, round, (UNIT, took))?;
    guest.await_gone(&format!("{}-{}", case.kind, case.devid))
}

/// How fast the guest uses the device; dom0 listens meanwhile.
fn used(line: &str, guest: &mut Guest) -> Result<f64, Stop> {
    let listener = "exec 9<>/run/bench.in; (nc -l -p 5000 <&9 >/dev/null) & \
        until grep -q ':1388 0*:0000 0A' /proc/net/tcp*; do :; done";
    let listens = line.contains("nc ");
    if listens {
        shell(&format!("rm -f /run/bench.in; mkfifo /run/bench.in; ({listener}) >/dev/null 2>&1"))?;
    }
    // The guest's clock is too coarse, and what its console takes is little beside the work.
    let start = Instant::now();
    guest.sh(line)?;
    Ok(USED_BYTES as f64 / start.elapsed().as_secs_f64() / 1e6)
}

fn shell(line: &str) -> Result<(), Stop> {
    argv(&["/bin/sh", "-c", line])?.success().map(drop)
}

/// Milliseconds from before the command's start to after its end.
fn timed(words: &[&str]) -> Result<f64, Stop> {
    let said = File::create(SAID)?;
    let mut command = init::command(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    let start = Instant::now();
    let status = command.status();
    let took = start.elapsed();
    if status?.success() {
        return Ok(took.as_secs_f64() * 1e3);
    }
    let said = std::fs::read_to_string(SAID).unwrap_or_default();
    Err(Stop::Failed(format!("{} failed: {}", words.join(" "), said.trim())))
}

fn say(
    (phase, case): (&str, &Case),
    by: &str,
    round: u32,
    (unit, value): (&str, f64),
) -> Result<(), Stop> {
    let record = Record {
        phase: phase.into(),
        case: case.name.into(),
        by: by.into(),
        round,
        unit: unit.into(),
        value,
        clock: String::new(),
    };
    Ok(record.print()?)
}
