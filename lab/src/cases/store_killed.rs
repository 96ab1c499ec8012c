//! `xlr xenstored` is killed, at chosen steps and at any time, while a guest and a program of dom0 count
//! through it: the next one takes up the store, and neither of them notices.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, run};
use crate::dom0::init;
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xenstore::client::{Client, DEVICE, Nodes as _};
use xenstore::saved::load;

pub(super) const PID_FILE: &str = "/run/xen/xenstored.pid";

const fn ours(name: &'static str, limit_seconds: u64, ci: bool, run: fn() -> Verdict) -> Case {
    let case = Case::new(name, Group::Store, run);
    // The server of the case is not the one that dom0's init started.
    Case { xenstored: Xenstored::Xlr, wrecks: true, limit_seconds, ci, ..case }
}

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store-killed/steps", 200, true, || killed(&steps(&[1, 2, 3, 20, 100]))),
    ours("store-killed/any-time", 200, true, || killed(&[End::Random; 30])),
    ours("store-killed/every-step", 900, false, || killed(&steps(&(1..40).collect::<Vec<_>>()))),
    ours("store-killed/500-times", 1800, false, || killed(&[End::Random; 500])),
    ours("store-killed/no-server-for-long", 200, false, || killed(&[End::Late])),
    ours("store-killed/damaged", 100, true, damaged),
    ours("store-killed/storage-full", 100, true, storage_full),
];

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// By itself, at a step that comes for the so many-th time.
    Step(&'static str, u32),
    /// At some time.
    Random,
    /// And the next one comes seconds later.
    Late,
}

fn steps(times: &[u32]) -> Vec<End> {
    let again = ["commit", "committed", "copied", "indexed", "notify"];
    let once = [End::Step("image", 1), End::Step("kept", 1)];
    once.into_iter().chain(steps_of(&again, times)).collect()
}

/// Each of these steps, each of these times.
pub(super) fn steps_of(steps: &[&'static str], times: &[u32]) -> Vec<End> {
    let of = |&step| times.iter().map(move |&n| End::Step(step, n));
    steps.iter().flat_map(of).collect()
}

/// A server of which the case is the parent.
pub fn server(end: Option<(&str, u32)>) -> Result<Child, Stop> {
    let mut command = init::command("/bin/xlr");
    command.args(["xenstored", "--foreground", "--pid-file", PID_FILE]);
    if let Some((step, times)) = end {
        command.args(["--end-at", &format!("{step}:{times}")]);
    }
    Ok(command.stdin(Stdio::null()).spawn()?)
}

/// Ends the server that dom0's init started.
pub fn end_first() -> Verdict {
    end_by(Signal::KILL)
}

/// Ends the server that the process file names.
pub(super) fn end_by(signal: Signal) -> Verdict {
    let pid: i32 = std::fs::read_to_string(PID_FILE)?.trim().parse().unwrap_or(0);
    let Some(pid) = Pid::from_raw(pid) else { fail!("{PID_FILE} names no process") };
    kill_process(pid, signal).map_err(std::io::Error::from)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while test_kill_process(pid).is_ok() {
        ensure!(Instant::now() < deadline, "xenstored survived {signal:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Counts through the kernel's ring, which is what programs use that must outlive a xenstored.
struct Counter {
    ends: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<Result<(), String>>,
}

impl Counter {
    fn start() -> Result<Counter, Stop> {
        let (ends, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let mut store = Client::connect_to(DEVICE).map_err(|e| Stop::Failed(e.to_string()))?;
        let (stop, count) = (Arc::clone(&ends), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let failed = |error: xenstore::client::Error| error.to_string();
            store.watch("/lab/sequence", "count").map_err(failed)?;
            let first = store.next_event(Some(Duration::from_secs(60))).map_err(failed)?;
            first.ok_or("no event of the watch")?;
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed).to_string();
                store.write("/lab/sequence", &number).map_err(failed)?;
                let event = store.next_event(Some(Duration::from_secs(60))).map_err(failed)?;
                let event = event.ok_or_else(|| format!("no event of write {number}"))?;
                if event.path.as_str() != "/lab/sequence" {
                    return Err(format!("an event of {} after write {number}", event.path));
                }
                let found = store.read_text("/lab/sequence").map_err(failed)?;
                if found != number {
                    return Err(format!("{found} was read after {number} was written"));
                }
            }
            match store.events_waiting() {
                0 => Ok(()),
                more => Err(format!("{more} events too many")),
            }
        });
        Ok(Counter { ends, rounds, thread })
    }

    fn end(self) -> Result<u32, Stop> {
        self.ends.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(Ok(())) => Ok(self.rounds.load(Ordering::Relaxed)),
            Ok(Err(why)) => fail!("the program of dom0: {why}"),
            Err(_) => fail!("the program of dom0 panicked"),
        }
    }
}

/// Servers end in these ways, one after the other, under load.
fn killed(ends: &[End]) -> Verdict {
    let text = "name = \"counts\"\ntype = \"pv\"\nkernel = \"/guest/xtf/store-sequence\"\n\
                memory = 8\nvcpus = 1\n";
    let config = config("counts", text)?;
    let mut log = console("counts")?;
    argv(&["/bin/xlr", "create", &config])?.success()?;
    await_text(&mut log, "xtf: counts", 60)?;
    let before = run("xenstore-ls -p /local/domain/0")?.success()?.out;
    let counter = Counter::start()?;
    end_first()?;
    let mut seed = 0x9e37_79b9_u64;
    let mut longest = Duration::ZERO;
    for (number, end) in ends.iter().enumerate() {
        let start = Instant::now();
        let rounds = counter.rounds.load(Ordering::Relaxed);
        let mut server = match *end {
            End::Step(step, times) => server(Some((step, times)))?,
            End::Random | End::Late => server(None)?,
        };
        if let End::Random | End::Late = end {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_millis((seed >> 33) % 400));
            server.kill()?;
        }
        let status = loop {
            if let Some(status) = server.try_wait()? {
                break status;
            }
            ensure!(start.elapsed() < Duration::from_secs(60), "{end:?} does not come");
            std::thread::sleep(Duration::from_millis(1));
        };
        ensure!(status.code().is_none(), "end {number}, {end:?}: it ended by itself: {status}");
        let more = counter.rounds.load(Ordering::Relaxed) - rounds;
        longest = longest.max(start.elapsed());
        eprintln!("end {number}, {end:?}: {:?}, {more} rounds", start.elapsed());
        if counter.thread.is_finished() {
            counter.end()?;
            fail!("the program of dom0 ended early");
        }
        if let End::Late = end {
            std::thread::sleep(Duration::from_secs(5));
        }
    }
    let mut last = server(None)?;
    let (start, before_last) = (Instant::now(), counter.rounds.load(Ordering::Relaxed));
    while counter.rounds.load(Ordering::Relaxed) < before_last + 20 && !counter.thread.is_finished()
    {
        ensure!(start.elapsed() < Duration::from_secs(60), "the last server serves nobody");
        std::thread::sleep(Duration::from_millis(1));
    }
    let rounds = counter.end()?;
    // The last one is as good as the first.
    argv(&["xenstore-write", "/lab/done", "yes"])?.success()?;
    let domid = crate::dom0::host::domid("counts")?;
    let Some(domid) = domid else { fail!("the guest is gone") };
    argv(&["xenstore-write", &format!("/local/domain/{domid}/data/end"), "1"])?.success()?;
    let heard = await_text(&mut log, "Test result: ", 60);
    let text = String::from_utf8_lossy(&log.text).into_owned();
    heard?;
    ensure!(!text.contains("FAILURE"), "the guest: {text}");
    eprintln!("{} ends, {rounds} rounds of dom0; {text}", ends.len());
    ensure!(rounds > 20, "only {rounds} rounds in {} lives", ends.len());
    let after = run("xenstore-ls -p /local/domain/0")?.success()?.out;
    ensure!(before == after, "dom0's nodes were\n{before}\nand are\n{after}");
    argv(&["/xen/bin/xenstore-control", "check"])?.success()?;
    argv(&["/bin/xlr", "destroy", "counts"])?.success()?;
    last.kill()?;
    Ok(())
}

/// A file that somebody wrote into is refused, and the message says what to do.
fn damaged() -> Verdict {
    end_first()?;
    let path = "/run/xlr/xenstored/state";
    let bytes = std::fs::read(path)?;
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(path, &damaged)?;
    let said = argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.failure()?;
    ensure!(said.err.contains(path) && said.err.contains("remove"), "{}", said.err);
    std::fs::write(path, &bytes)?;
    argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.success()?;
    argv(&["xenstore-write", "/lab/after", "damage"])?.success()?;
    // Another version may take up what an ordinary end leaves: there is no request to do again.
    end_by(Signal::TERM)?;
    let bytes = std::fs::read(path)?;
    let left = load(&bytes).map_err(|error| Stop::Failed(error.to_string()))?;
    ensure!(left.frames.is_empty(), "{} frames after SIGTERM", left.frames.len());
    argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.success()?;
    let said = argv(&["xenstore-read", "/lab/after"])?.success()?;
    ensure!(said.out == "damage\n", "after SIGTERM: {}", said.out);
    let mode = std::fs::metadata(PID_FILE)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{PID_FILE} has mode {mode:o}");
    Ok(())
}

/// A storage without room costs the promise and not the service; when there is room, the promise is back.
fn storage_full() -> Verdict {
    end_first()?;
    let folder = "/tmp/full";
    std::fs::create_dir_all(folder)?;
    argv(&["/bin/busybox", "mount", "-t", "tmpfs", "-o", "size=256k", "full", folder])?
        .success()?;
    let start = ["/bin/xlr", "xenstored", "--pid-file", PID_FILE, "--state-directory", folder];
    argv(&start)?.success()?;
    argv(&["xenstore-write", "/lab/full", "one"])?.success()?;
    ensure!(!std::path::Path::new("/tmp/full/state").exists(), "a state without room for commits");
    argv(&["/bin/busybox", "mount", "-o", "remount,size=16m", folder])?.success()?;
    let mut store = Client::connect().map_err(|error| Stop::Failed(error.to_string()))?;
    for number in 0..600 {
        let written = store.write("/lab/full", number.to_string());
        written.map_err(|error| Stop::Failed(error.to_string()))?;
    }
    ensure!(std::path::Path::new("/tmp/full/state").exists(), "the state is not saved again");
    end_first()?;
    argv(&start)?.success()?;
    let said = argv(&["xenstore-read", "/lab/full"])?.success()?;
    ensure!(said.out == "599\n", "after the kill: {}", said.out);
    Ok(())
}
