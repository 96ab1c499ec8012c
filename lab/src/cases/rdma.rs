//! InfiniBand: a device in software in dom0, guests that use it.

use super::vif::Bridge;
use crate::case::{Case, Group};
use crate::dom0::guest::Guest;
use crate::dom0::host::{Stop, Verdict, argv, run};
use crate::dom0::init;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    case("rdma/native", native),
    case("rdma/no-daemon", no_daemon),
    Case { ci: true, ..case("rdma/attach", attach) },
    case("rdma/pingpong", pingpong),
    Case { ci: true, ..case("rdma/operations", operations) },
    case("rdma/quiet", quiet),
    case("rdma/cache", cache),
    case("rdma/workers", workers),
];

pub(super) const fn case(name: &'static str, run: fn() -> Verdict) -> Case {
    Case { rdma: true, ci: false, limit_seconds: 400, ..Case::new(name, Group::Device, run) }
}

/// The network below the device.
const NETWORK: &str = "10.9.0.1";

/// An InfiniBand device in software on an interface that leads nowhere; both go with this value.
pub struct Rxe;

impl Rxe {
    /// Makes both.
    pub fn new() -> Result<Rxe, Stop> {
        // Without the first one a device cannot be made, and nothing loads it.
        for module in ["crc32_generic", "ib_uverbs", "rdma_rxe"] {
            argv(&["/bin/modprobe", module])?.success()?;
        }
        argv(&["/bin/modprobe", "dummy", "numdummies=0"])?.success()?;
        let rxe = Rxe;
        shell(&format!(
            "ip link add d0 type dummy && ip link set d0 mtu 4200 up && \
             ip addr add {NETWORK}/24 dev d0 && rdma link add rxe0 type rxe netdev d0"
        ))?;
        Ok(rxe)
    }
}

impl Drop for Rxe {
    fn drop(&mut self) {
        // What cannot be removed is a leftover, which the runner tells.
        let _ = shell("rdma link delete rxe0; ip link delete d0");
    }
}

/// Runs a line in dom0's shell.
pub fn shell(line: &str) -> Result<String, Stop> {
    Ok(argv(&["/bin/sh", "-c", line])?.success()?.out)
}

/// The device works in dom0 itself, from process to process: what guests are compared with.
fn native() -> Verdict {
    let _rxe = Rxe::new()?;
    let devices = shell("ibv_devices")?;
    ensure!(devices.contains("rxe0"), "no rxe0 in {devices}");
    let information = shell("ibv_devinfo -d rxe0")?;
    ensure!(information.contains("PORT_ACTIVE"), "the port is not active: {information}");
    ensure!(information.contains("4096 (5)"), "the MTU is not 4096: {information}");
    for how in ["", "-e"] {
        // The server listens before the client looks for it.
        let said = shell(&format!(
            "ibv_rc_pingpong -d rxe0 -g 1 -n 200 {how} >/tmp/server & \
             until grep -q ':4853 0*:0000 0A' /proc/net/tcp*; do :; done; \
             ibv_rc_pingpong -d rxe0 -g 1 -n 200 {how} {NETWORK} && wait && cat /tmp/server"
        ))?;
        let ends = said.matches("200 iters in").count();
        ensure!(ends == 2, "{ends} of 2 ends came to their end: {said}");
    }
    Ok(())
}

/// The daemon in dom0, which ends with this value.
pub struct Daemon(Child);

impl Daemon {
    /// Starts it, and waits until it serves.
    pub fn start(arguments: &[&str]) -> Result<Daemon, Stop> {
        let mut command = init::command("/bin/xlr-ibd");
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn()?;
        let Some(said) = child.stderr.take() else { fail!("no pipe from the daemon") };
        let mut lines = BufReader::new(said).lines();
        let daemon = Daemon(child);
        match lines.next().transpose()? {
            Some(line) if line.contains("serves") => eprintln!("{line}"),
            other => fail!("the daemon did not begin: {other:?}"),
        }
        // Whatever it says later belongs to the case, too.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("xlr-ibd: {line}");
            }
        });
        Ok(daemon)
    }
}

impl Daemon {
    /// Kills it, and waits for its end.
    pub fn kill(mut self) -> Verdict {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that was waited for has no number any more: that may be somebody else's.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// The key that gives a guest the device.
pub(super) const DEVICE: &str = "rdma = [ \"backend-device=rxe0, pages=1024\" ]\n";
/// The initramfs that has rdma-core's programs.
pub const RAMDISK: &str = "ramdisk = \"/guest/initramfs-rdma.gz\"\nmemory = 128\n";

/// A guest with the device and an interface on the bridge.
pub(super) fn start(name: &str, address: &str) -> Result<Guest, Stop> {
    let more = format!("{RAMDISK}{DEVICE}vif = [ \"bridge=xenbr0\" ]\n");
    let mut guest = Guest::create(name, &more)?;
    guest.sh(&format!("ip addr add {address}/24 dev eth0 && ip link set eth0 up"))?;
    Ok(guest)
}

/// Without the daemon a guest with a device is refused before anything is made, and told why.
fn no_daemon() -> Verdict {
    let _rxe = Rxe::new()?;
    let path = crate::dom0::guest::configuration("g", &format!("{RAMDISK}{DEVICE}"))?;
    let said = argv(&["/bin/xlr", "create", &path])?.failure()?;
    ensure!(
        said.err.contains("xlr-ibd, which does not run"),
        "no word of the daemon: {}",
        said.err
    );
    let said = run("/bin/xlr rdma stats")?.failure()?;
    ensure!(said.err.contains("xlr-ibd"), "no word of the daemon: {}", said.err);
    Ok(())
}

/// A device is listed, goes and comes back, and stays over the end of the daemon as a name only.
fn attach() -> Verdict {
    let _rxe = Rxe::new()?;
    let daemon = Daemon::start(&[])?;
    let path = crate::dom0::guest::configuration(
        "g",
        &format!("{RAMDISK}rdma = [ \"backend-device=none0\" ]\n"),
    )?;
    let said = argv(&["/bin/xlr", "create", &path])?.failure()?;
    ensure!(said.err.contains("there is rxe0"), "no word of the device: {}", said.err);
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    let listed = run("/bin/xlr rdma list g --json")?.success()?.out;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    let row = &listed[0];
    ensure!(
        row["device"] == "rxe0" && row["pages"] == 1024 && row["devid"] == 0,
        "another device: {listed}"
    );
    let information = guest.sh("ibv_devices && ibv_devinfo -d xrdma0")?;
    ensure!(information.contains("PORT_ACTIVE"), "the port is not active: {information}");
    ensure!(information.contains("4096 (5)"), "the MTU is not dom0's: {information}");
    // A system without the library gets it from the one file.
    let (code, _) = guest.try_sh("rm /usr/lib/x86_64-linux-gnu/libibverbs.so.1; ibv_devices")?;
    ensure!(code != 0, "ibv_devices needs no library");
    guest.sh("xlr-ib-install && ibv_devices | grep xrdma0")?;
    let stats = run("/bin/xlr rdma stats g --json")?.success()?.out;
    let stats: serde_json::Value = serde_json::from_str(&stats)?;
    ensure!(stats[0]["device"] == "rxe0" && stats[0]["contexts"] == 0, "other numbers: {stats}");
    run("/bin/xlr rdma detach g 0")?.success()?;
    let (code, said) = guest.try_sh("ibv_devinfo")?;
    ensure!(code != 0 && said.contains("No IB devices"), "it is still there: {said}");
    run("/bin/xlr rdma attach g backend-device=rxe0 pages=64 qps=2")?.success()?;
    let table = run("/bin/xlr rdma list")?.success()?.out;
    ensure!(table.contains("rxe0") && table.contains("64"), "not in the table: {table}");
    guest.sh("ibv_devinfo -d xrdma0")?;
    // Nobody waits for one that was killed.
    daemon.kill()?;
    guest.destroy()
}

/// Begins a server in a guest, which listens when this returns. What it says is read by [`finish`].
fn serve(guest: &mut Guest, how: &str) -> Verdict {
    guest.sh(&format!(
        "rm -f /run/code; (ibv_rc_pingpong -g 1 {how} >/run/server 2>&1; echo $? >/run/code) & \
         until grep -q ':4853 0*:0000 0A' /proc/net/tcp* || [ -e /run/code ]; do sleep 0.1; done"
    ))?;
    Ok(())
}

/// The end of a server in a guest.
fn finish(guest: &mut Guest) -> Result<String, Stop> {
    guest.sh("until [ -e /run/code ]; do sleep 0.1; done; cat /run/server; exit $(cat /run/code)")
}

/// Unmodified programs talk: from guest to guest and between guest and dom0, polling and by events.
fn pingpong() -> Verdict {
    let _rxe = Rxe::new()?;
    let _bridge = Bridge::new("xenbr0", "10.8.0.1/24")?;
    let _daemon = Daemon::start(&[])?;
    let (mut a, mut b) = (start("a", "10.8.0.2")?, start("b", "10.8.0.3")?);
    let ended = |said: String, who: &str| {
        ensure!(said.contains("50 iters in"), "{who} did not come to its end: {said}");
        Verdict::Ok(())
    };
    for how in ["-n 50", "-n 50 -e"] {
        serve(&mut a, how)?;
        ended(b.sh(&format!("ibv_rc_pingpong -g 1 {how} 10.8.0.2"))?, "b")?;
        ended(finish(&mut a)?, "a")?;
    }
    let dom0 = "ibv_rc_pingpong -d rxe0 -g 1 -n 50";
    serve(&mut a, "-n 50 -e")?;
    ended(shell(&format!("{dom0} -e 10.8.0.2"))?, "dom0")?;
    ended(finish(&mut a)?, "a")?;
    let mut server = init::command("/bin/sh")
        .args(["-c", &format!("{dom0} -e")])
        .stdout(Stdio::piped())
        .spawn()?;
    shell("until grep -q ':4853 0*:0000 0A' /proc/net/tcp*; do :; done")?;
    ended(b.sh("ibv_rc_pingpong -g 1 -n 50 -e 10.8.0.1")?, "b")?;
    ensure!(server.wait()?.success(), "dom0's server failed");
    let stats = run("/bin/xlr rdma stats --json")?.success()?.out;
    let stats: serde_json::Value = serde_json::from_str(&stats)?;
    for row in stats.as_array().unwrap_or(&Vec::new()) {
        ensure!(row["operations"].as_u64() >= Some(150), "too few operations: {stats}");
        ensure!(
            row["qps"] == 0 && row["mrs"] == 0 && row["pages"] == 0,
            "not all is gone: {stats}"
        );
    }
    a.destroy()?;
    b.destroy()
}

/// What a program of our own says of every operation, in dom0 over rdma-core and in a guest over our
/// library: word for word the same.
fn operations() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let native = shell("verbs-test rxe0 operations")?;
    ensure!(native.ends_with("all is well\n"), "dom0's own: {native}");
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    let said = guest.sh("verbs-test xrdma0 operations")?;
    // The end of the prompt's line may come with it.
    let said = said.trim_start();
    ensure!(said == native, "the guest sees\n{said}\nand dom0\n{native}");
    // What a region was is ordinary memory again, and can be registered as often as one likes.
    guest.sh("verbs-test xrdma0 register 3")?;
    guest.destroy()
}

/// While the backend is awake, a guest that polls makes no system call, and nobody sends an event.
fn quiet() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&["--spin-us", "5000000"])?;
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    let said = guest.sh("verbs-test xrdma0 quiet 10000")?;
    ensure!(said.contains("counted 0\n"), "system calls within 10,000 operations: {said}");
    // Nor does the backend: the events before are the replies to requests.
    let before = said.split("events 0 of ").nth(1).and_then(|rest| rest.split_whitespace().next());
    ensure!(
        before.and_then(|count| count.parse::<u64>().ok()) > Some(0),
        "events within 10,000 operations, or none counted at all: {said}"
    );
    // The counter counts: rxe itself is told of each request by a system call.
    let native = shell("verbs-test rxe0 quiet 320 | tail -n 2")?;
    ensure!(!native.contains("counted 0\n"), "rxe makes none either: {native}");
    // Nothing in the program depends on how long a payload is: post and poll of 64 bytes, of 64 KiB.
    let said = guest.sh("verbs-test xrdma0 steps")?;
    let counted = said.lines().filter_map(|line| line.strip_prefix("counted "));
    let counted: Vec<f64> = counted.filter_map(|count| count.trim().parse().ok()).collect();
    let [post, poll, long_post, long_poll] = counted[..] else { fail!("no four counts: {said}") };
    for (short, long) in [(post, long_post), (poll, long_poll)] {
        ensure!((long - short).abs() < short * 0.05, "{short} instructions, and {long}: {said}");
    }
    guest.destroy()
}

/// Memory that was deregistered, and what programs do with it before they register it again: the same with
/// and without a cache of what is mapped, and as in dom0. The cache holds what it may, and no more.
fn cache() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let native = shell("verbs-test rxe0 cache")?;
    ensure!(native.ends_with("all is well\n"), "dom0's own: {native}");
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    for how in ["", "XLR_IB_CACHE_PAGES=64 ", "XLR_IB_CACHE_PAGES=6 ", "XLR_IB_CACHE_PAGES=3 "] {
        let said = guest.sh(&format!("{how}verbs-test xrdma0 cache"))?;
        let said = said.trim_start();
        ensure!(said == native, "{how}: the guest sees\n{said}\nand dom0\n{native}");
    }
    let pages = || -> Result<u64, Stop> {
        let stats = run("/bin/xlr rdma stats --json")?.success()?.out;
        let stats: serde_json::Value = serde_json::from_str(&stats)?;
        Ok(stats[0]["pages"].as_u64().unwrap_or(u64::MAX))
    };
    ensure!(pages()? == 0, "{} pages are left", pages()?);
    // What is mapped beside the cache: two buffers and the rings. Of 40 buffers of 16 pages 4 stay.
    let mut mapped = Vec::new();
    for limit in [0, 64] {
        guest.sh(&format!(
            "rm -f /run/go; XLR_IB_CACHE_PAGES={limit} verbs-test xrdma0 many 40 >/run/many 2>&1 & \
             until grep -q 'many\\|failed' /run/many; do sleep 0.1; done; grep many /run/many"
        ))?;
        mapped.push(pages()?);
        guest.sh("touch /run/go; until grep -q 'well\\|failed' /run/many; do sleep 0.1; done; \
             grep well /run/many")?;
        ensure!(pages()? == 0, "{} pages are left", pages()?);
    }
    ensure!(mapped[1] == mapped[0] + 64, "pages mapped without and with a cache of 64: {mapped:?}");
    // What is idle is in nobody's way: as many pages as the guest may have, with threads and without.
    for how in ["alone", "threads", "children"] {
        for limit in [0, 64, 1024] {
            let said =
                guest.sh(&format!("XLR_IB_CACHE_PAGES={limit} verbs-test xrdma0 full {how}"))?;
            ensure!(said.contains("all is well"), "{how}, a cache of {limit}: {said}");
        }
    }
    guest.destroy()
}

/// Processes end without closing the device, more of them than the guest may have contexts: each is let go of,
/// although its parent opened the device before it and lives on, and although its child does.
fn workers() -> Verdict {
    let _rxe = Rxe::new()?;
    let _daemon = Daemon::start(&[])?;
    let mut guest = Guest::create("g", &format!("{RAMDISK}{DEVICE}"))?;
    let said = guest.sh("rm -f /run/go; verbs-test xrdma0 workers 20 >/run/workers 2>&1 & \
         until grep -q 'workers\\|failed' /run/workers; do sleep 0.1; done; cat /run/workers")?;
    ensure!(said.contains("workers") && !said.contains("failed"), "not all of them could: {said}");
    shell(
        "until /bin/xlr rdma stats --json | tr -d ' \n' | grep -q '\"contexts\":0'; do sleep 0.1; done",
    )?;
    let said = guest
        .sh("touch /run/go; until grep -q 'well\\|failed' /run/workers; do sleep 0.1; done; \
         cat /run/workers")?;
    ensure!(said.contains("all is well"), "the parent itself: {said}");
    guest.destroy()
}
