//! InfiniBand, at its worst: guests that lie and die, and a daemon that is killed.

use super::rdma::{Daemon, RAMDISK, Rxe, shell};
use crate::case::{Case, Group};
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, run};
use crate::ensure;
use std::time::{Duration, Instant};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case { ci: false, ..case("rdma/hostile", hostile) },
    Case { ci: false, limit_seconds: 900, ..case("rdma/killed", killed) },
];

const fn case(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { rdma: true, limit_seconds: 400, ..Case::new(name, Group::Device, run) }
}

/// Quotas and policy that the attacks in the guest know of.
const DEVICE: &str =
    "rdma = [ \"backend-device=rxe0, pages=64, mrs=4, gids=1, destinations=10.9.0.0/24\" ]\n";
/// How often the daemon is killed.
const KILLS: u32 = 50;
const LIMIT: Duration = Duration::from_secs(60);

/// What the daemon says that guests have.
fn used(what: &str) -> Result<u64, Stop> {
    let text = run("/bin/xlr rdma stats --json")?.success()?.out;
    let rows: serde_json::Value = serde_json::from_str(&text)?;
    let rows = rows.as_array().cloned().unwrap_or_default();
    Ok(rows.iter().filter_map(|row| row[what].as_u64()).sum())
}

/// Waits until guests have so many.
fn await_used(what: &str, count: u64) -> Verdict {
    let begun = Instant::now();
    loop {
        let now = used(what)?;
        if now == count {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "guests still have {now} {what}, not {count}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How often the kernel has warned of page tables that were broken, or of anything else.
fn warnings() -> Result<usize, Stop> {
    let log = run("dmesg")?.success()?.out;
    let bad = ["Bad page", "WARNING:", "BUG:", "Oops", "grant still in use"];
    Ok(log.lines().filter(|line| bad.iter().any(|word| line.contains(word))).count())
}

/// Lets a process of the guest register memory, and keeps it.
fn hold(guest: &mut Guest) -> Verdict {
    guest.sh("lab attack hold 32 >/run/hold 2>&1 & echo $! >/run/holder; \
         until grep -q holds /run/hold; do sleep 0.1; done")?;
    await_used("mrs", 1)
}

/// A guest that breaks every rule loses its own context, keeps to its quotas and policy, and leaves
/// nothing when its process or itself ends with memory registered. A second guest notices nothing.
fn hostile() -> Verdict {
    let _rxe = Rxe::new()?;
    let before = warnings()?;
    let daemon = Daemon::start(&[])?;
    let mut evil = Guest::create("evil", &format!("{RAMDISK}{DEVICE}"))?;
    let mut good = Guest::create("good", &format!("{RAMDISK}{DEVICE}"))?;
    hold(&mut good)?;
    evil.begin("lab attack all")?;
    let (code, said) = evil.end_within(240)?;
    ensure!(code == 0, "an attack did not end as it has to: {said}");
    ensure!(said.contains("attack: policy good"), "not all attacks were made: {said}");
    await_used("contexts", 1)?;
    ensure!(used("mrs")? == 1, "the good guest has lost its region");
    good.sh("grep -q holds /run/hold && kill -0 $(cat /run/holder)")?;
    // A process that is killed with memory registered.
    evil.sh("lab attack hold 32 >/run/hold 2>&1 & until grep -q holds /run/hold; do sleep 0.1; done; kill -9 $!")?;
    await_used("mrs", 1)?;
    // A domain that is destroyed with memory registered.
    good.sh("kill $(cat /run/holder)")?;
    await_used("mrs", 0)?;
    hold(&mut evil)?;
    evil.destroy()?;
    good.destroy()?;
    await_used("pages", 0)?;
    drop(daemon);
    ensure!(warnings()? == before, "the kernel warns: {}", shell("dmesg | tail -40")?);
    Ok(())
}

/// The daemon is killed fifty times with memory registered: each time the guest hears of it, dom0's
/// kernel does not mind, and the next daemon serves the next registration.
fn killed() -> Verdict {
    let _rxe = Rxe::new()?;
    let before = warnings()?;
    let mut daemon = Daemon::start(&[])?;
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    guest.sh(&format!("lab attack survive {KILLS} >/run/survive 2>&1 &"))?;
    for round in 0..KILLS {
        await_used("mrs", 1)?;
        daemon.kill()?;
        // The guardian ends when it has let go.
        shell("while pidof xlr-ibd || pidof ibd-guardian; do sleep 0.05; done")?;
        ensure!(warnings()? == before, "the kernel warns: {}", shell("dmesg | tail -40")?);
        eprintln!("killed {} times", round + 1);
        daemon = Daemon::start(&[])?;
    }
    let said = guest.sh(
        "until grep -q 'survived\\|lab:' /run/survive; do sleep 0.1; done; tail -1 /run/survive",
    )?;
    ensure!(said.contains(&format!("survived {KILLS}")), "the guest has lost: {said}");
    guest.destroy()?;
    drop(daemon);
    ensure!(warnings()? == before, "the kernel warns: {}", shell("dmesg | tail -40")?);
    Ok(())
}
