//! One `xlr xenstored` after the other, and programs that must not notice: what the cases that kill it share.

use crate::dom0::host::{Stop, Verdict};
use crate::dom0::init;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xenstore::client::{Client, Nodes as _};

/// The process file of every server.
pub const PID_FILE: &str = "/run/xen/xenstored.pid";

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// By itself, at a step that comes for the so many-th time.
    Step(&'static str, u32),
    /// At some time.
    Random,
    /// And the next one comes seconds later.
    Late,
}

/// Each of these steps, each of these times.
pub fn steps_of(steps: &[&'static str], times: &[u32]) -> Vec<End> {
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
pub fn end_by(signal: Signal) -> Verdict {
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

/// Servers end in these ways, one after the other; `look` is asked after each.
pub fn lives(ends: &[End], mut look: impl FnMut() -> Verdict) -> Result<Child, Stop> {
    end_by(Signal::KILL)?;
    let mut seed = 0x1234_5678_u64;
    for (number, end) in ends.iter().enumerate() {
        let start = Instant::now();
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
            look()?;
            ensure!(start.elapsed() < Duration::from_secs(60), "{end:?} does not come");
            std::thread::sleep(Duration::from_millis(1));
        };
        ensure!(status.code().is_none(), "end {number}, {end:?}: it ended by itself: {status}");
        eprintln!("end {number}, {end:?}: {:?}", start.elapsed());
        look()?;
        if let End::Late = end {
            std::thread::sleep(Duration::from_secs(5));
        }
    }
    server(None)
}

/// A program under load. It says how often it went round, or what it missed.
struct Load {
    name: &'static str,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<Result<(), String>>,
}

/// What a program does again and again, told how often it has; or what it missed.
pub type Round = Box<dyn FnMut(u32) -> Result<(), String> + Send>;

/// Programs under load, all at once.
#[derive(Default)]
pub struct Loads {
    ends: Arc<AtomicBool>,
    loads: Vec<Load>,
}

impl Loads {
    /// Starts one more.
    pub fn start(
        &mut self,
        name: &'static str,
        make: impl FnOnce() -> Result<Round, String>,
    ) -> Verdict {
        let mut round = make()?;
        let (stop, rounds) = (Arc::clone(&self.ends), Arc::<AtomicU32>::default());
        let count = Arc::clone(&rounds);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                round(count.load(Ordering::Relaxed))?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        self.loads.push(Load { name, rounds, thread });
        Ok(())
    }

    /// How often each went round.
    pub fn rounds(&self) -> Vec<u32> {
        self.loads.iter().map(|load| load.rounds.load(Ordering::Relaxed)).collect()
    }

    fn ended_early(&self) -> bool {
        self.loads.iter().any(|load| load.thread.is_finished())
    }

    /// Fails if one has ended.
    pub fn all_go(&self) -> Verdict {
        ensure!(!self.ended_early(), "a program ended early");
        Ok(())
    }

    /// Waits until each has gone round so many more times.
    pub fn go_on(&self, more: u32) -> Verdict {
        let before = self.rounds();
        let start = Instant::now();
        while self.rounds().iter().zip(&before).any(|(now, before)| now < &(before + more)) {
            let stuck = self.ended_early() || start.elapsed() > Duration::from_secs(60);
            ensure!(!stuck, "not all go on: {before:?}, {:?}", self.rounds());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends them; fails for what one of them missed.
    pub fn end(&mut self) -> Verdict {
        self.ends.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for Load { name, rounds, thread } in self.loads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => eprintln!("{name}: {} rounds", rounds.load(Ordering::Relaxed)),
                Ok(Err(why)) => wrong.push(format!("{name}: {why}")),
                Err(_) => wrong.push(format!("{name} panicked")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }

    /// After a failure ends them: what they say tells more than that one ended early.
    pub fn end_unless<T>(&mut self, result: Result<T, Stop>) -> Result<T, Stop> {
        if result.is_err() {
            self.end()?;
        }
        result
    }
}

/// An error as text.
pub fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A write, its event, a read: each once.
pub fn counter(mut store: Client, path: &'static str) -> Result<Round, String> {
    let patience = Some(Duration::from_secs(60));
    store.watch(path, "count").map_err(failed)?;
    store.next_event(patience).map_err(failed)?.ok_or("no event of the watch")?;
    Ok(Box::new(move |number| {
        let number = number.to_string();
        store.write(path, &number).map_err(failed)?;
        let event = store.next_event(patience).map_err(failed)?;
        let event = event.ok_or_else(|| format!("no event of write {number}"))?;
        let found = store.read_text(path).map_err(failed)?;
        if event.path.as_str() != path || found != number || store.events_waiting() > 0 {
            let more = store.events_waiting();
            return Err(format!("write {number}: {}, {found}, {more} events", event.path));
        }
        Ok(())
    }))
}
