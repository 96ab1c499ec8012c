//! `xlr xenstored` is killed under programs that are connected to its unix sockets: its keeper holds
//! them, and the programs do not notice. Without a keeper they close, and are opened anew.

use super::store_lives::{
    End, Loads, PID_FILE, Round, counter, end_by, failed, lives, server, steps_of,
};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, run};
use crate::dom0::init;
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use xenstore::client::{Client, Nodes as _, SOCKETS};
use xenstore::wire::Request;

const fn ours(name: &'static str, limit_seconds: u64, ci: bool, run: fn() -> Verdict) -> Case {
    let case = Case::new(name, Group::Store, run);
    Case { xenstored: Xenstored::Xlr, wrecks: true, limit_seconds, ci, ..case }
}

/// Steps that concern sockets, and the journal between them.
const STEPS: [&str; 8] =
    ["came", "commit", "committed", "receive", "received", "staged", "sent", "replaced"];

/// The cases of this topic.
pub const CASES: &[Case] = &[
    ours("store-killed/socket-steps", 300, true, || under_load(&ends(&[1, 2, 15]))),
    ours("store-killed/socket-any-time", 300, true, || under_load(&[End::Random; 30])),
    ours("store-killed/socket-500-times", 1800, false, || under_load(&[End::Random; 500])),
    ours("store-killed/socket-every-step", 1200, false, || {
        under_load(&ends(&(1..25).collect::<Vec<_>>()))
    }),
    ours("store-killed/xl-create", 300, true, xl_create),
    ours("store-killed/keeper", 200, true, keeper_killed),
    ours("store-killed/upgrade", 200, true, upgrade),
    ours("store-killed/no-keeper", 200, true, no_keeper),
];

fn ends(times: &[u32]) -> Vec<End> {
    let joined = [End::Step("joined", 1), End::Step("image", 1), End::Step("kept", 1)];
    joined.into_iter().chain(steps_of(&STEPS, times)).collect()
}

fn connect() -> Result<Client, String> {
    Client::connect_to(SOCKETS[0]).map_err(failed)
}

/// Transactions that add to a number that nobody else changes: a commit that was lost or done twice
/// shows.
fn transactions() -> Result<Round, String> {
    let mut store = connect()?;
    let path = "/lab/socket-sum";
    store.write(path, "0").map_err(failed)?;
    Ok(Box::new(move |number| {
        let end = store.transaction(|tx| {
            let sum = tx.read_text(path)?;
            tx.write(path, (sum.parse::<u32>().unwrap_or(u32::MAX) + 1).to_string())?;
            tx.read_text(path)
        });
        let sum = end.map_err(failed)?;
        let wanted = (number + 1).to_string();
        if sum == wanted { Ok(()) } else { Err(format!("the sum is {sum}, not {wanted}")) }
    }))
}

/// Bursts with long replies: more than a socket holds at once.
fn bursts() -> Result<Round, String> {
    let mut store = connect()?;
    let path = |n: usize| format!("/lab/burst/{n}");
    Ok(Box::new(move |number| {
        let mut requests = Vec::new();
        for n in 0..60 {
            let value = format!("{number:08}").repeat(300);
            requests.push(Request::write(path(n), value).map_err(failed)?);
            requests.push(Request::read(path(n)).map_err(failed)?);
        }
        let wanted = format!("{number:08}").repeat(300);
        let replies = store.batch_all(&requests).map_err(failed)?;
        let right = replies.iter().filter(|reply| {
            matches!(reply, xenstore::wire::Reply::Value(read) if *read == wanted.as_bytes())
        });
        let right = right.count();
        if right == 60 { Ok(()) } else { Err(format!("burst {number}: {right} right values")) }
    }))
}

/// Programs that come and go.
fn visitors() -> Result<Round, String> {
    Ok(Box::new(|number| {
        let mut store = connect().map_err(|why| format!("visitor {number} at the door: {why}"))?;
        let path = format!("/lab/visitor/{}", number % 10);
        store.write(&path, number.to_string()).map_err(|e| format!("visitor {number}: {e}"))?;
        let found = store.read_text(&path).map_err(|e| format!("visitor {number}: {e}"))?;
        if found == number.to_string() { Ok(()) } else { Err(format!("{found}, not {number}")) }
    }))
}

/// Debian's xenstore-watch, and a program that gives it something to say.
struct Watched {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watched {
    fn start() -> Result<Watched, Stop> {
        let mut watch = init::command("/usr/bin/xenstore-watch");
        let mut child = watch.arg("/lab/w").stdout(Stdio::piped()).spawn()?;
        let Some(out) = child.stdout.take() else { fail!("xenstore-watch has no output") };
        let mut lines = BufReader::new(out).lines();
        let first = lines.next().transpose()?;
        ensure!(first.as_deref() == Some("/lab/w"), "xenstore-watch began with {first:?}");
        Ok(Watched { child, lines })
    }

    /// Writes, each heard of before the next one: with the time that it takes a kill may lie anywhere.
    fn round(mut self) -> Result<Round, String> {
        let mut store = connect()?;
        Ok(Box::new(move |number| {
            let path = format!("/lab/w/{number}");
            store.write(&path, "").map_err(failed)?;
            store.rm(&path).map_err(failed)?;
            for what in ["written", "removed"] {
                let line = self.lines.next().transpose().map_err(|error| error.to_string())?;
                if line.as_deref() != Some(&path) {
                    let state = self.child.try_wait();
                    return Err(format!("{path} {what}: xenstore-watch says {line:?}, {state:?}"));
                }
            }
            Ok(())
        }))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All programs at once.
fn all_loads() -> Result<Loads, Stop> {
    let mut loads = Loads::default();
    let watched = Watched::start()?;
    loads.start("counter", || counter(connect()?, "/lab/socket-sequence"))?;
    loads.start("transactions", transactions)?;
    loads.start("bursts", bursts)?;
    loads.start("visitors", visitors)?;
    loads.start("xenstore-watch", || watched.round())?;
    Ok(loads)
}

/// The process that holds the sockets.
pub(super) fn keeper() -> Result<Pid, Stop> {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && line.split(|&byte| byte == 0).any(|word| word == b"--keeper")
        {
            return Ok(pid);
        }
    }
    fail!("there is no keeper")
}

fn descriptors(pid: Pid) -> Result<usize, Stop> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count())
}

/// It is small, and holds what there is to hold.
fn look_at_keeper(pid: Pid, descriptors_before: usize) -> Verdict {
    // Programs that have just gone are noticed in their turn.
    let deadline = Instant::now() + Duration::from_secs(10);
    while descriptors(pid)? > descriptors_before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let now = descriptors(pid)?;
    ensure!(now <= descriptors_before, "{now} descriptors, {descriptors_before} before");
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u32>().ok()
    };
    let (own_kib, threads) = (number("RssAnon:"), number("Threads:"));
    eprintln!("the keeper: {now} descriptors, {own_kib:?} KiB of its own, {threads:?} threads");
    ensure!(own_kib.is_some_and(|kib| kib <= 512), "its own memory is {own_kib:?} KiB");
    ensure!(threads == Some(1), "{threads:?} threads");
    Ok(())
}

/// Debian's xenconsoled hears of a new guest by a watch on its socket, and logs what it prints.
fn consoled_carries_on() -> Verdict {
    let text = "name = \"heard\"\ntype = \"pv\"\nkernel = \"/guest/xtf/hello\"\nmemory = 8\n\
                vcpus = 1\n";
    let config = config("heard", text)?;
    let mut log = console("heard")?;
    argv(&["/bin/xlr", "create", &config])?.success()?;
    await_text(&mut log, "xtf: hello domid=", 60)?;
    argv(&["/bin/xlr", "destroy", "heard"])?.success()?;
    Ok(())
}

fn under_load(ends: &[End]) -> Verdict {
    let keeper = keeper()?;
    argv(&["xenstore-write", "/lab", ""])?.success()?;
    let before = descriptors(keeper)?;
    let mut loads = all_loads()?;
    // One that is gone by the time that a server comes again.
    let gone = UnixStream::connect(SOCKETS[0])?;
    let mut gone = Some(gone);
    let last = lives(ends, || {
        gone.take();
        loads.all_go()
    });
    let mut last = loads.end_unless(last)?;
    let after = loads.go_on(2);
    loads.end()?;
    after?;
    consoled_carries_on()?;
    argv(&["/xen/bin/xenstore-control", "check"])?.success()?;
    look_at_keeper(keeper, before)?;
    last.kill()?;
    Ok(())
}

/// xl makes a domain while one server after the other is killed.
fn xl_create() -> Verdict {
    let text = "name = \"born\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n\
                vcpus = 1\n";
    let config = config("born", text)?;
    let (ends, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let (stop, made) = (Arc::clone(&ends), Arc::clone(&count));
    let thread = std::thread::spawn(move || -> Verdict {
        while !stop.load(Ordering::Relaxed) {
            argv(&["/xen/bin/xl", "create", "-q", &config])?.success()?;
            argv(&["/xen/bin/xl", "list", "born"])?.success()?;
            argv(&["/xen/bin/xl", "destroy", "born"])?.success()?;
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let steps = [
        End::Step("committed", 60),
        End::Step("sent", 100),
        End::Step("staged", 31),
        End::Step("receive", 20),
        End::Step("came", 2),
    ];
    let ends_of_servers: Vec<_> = steps.into_iter().chain([End::Random; 12]).collect();
    let last = lives(&ends_of_servers, || {
        ensure!(!thread.is_finished(), "xl failed");
        Ok(())
    });
    ends.store(true, Ordering::Relaxed);
    let ended = thread.join().map_err(|_| Stop::Failed("a thread panicked".to_owned()))?;
    let mut last = last?;
    ended?;
    let made = count.load(Ordering::Relaxed);
    eprintln!("xl made {made} domains over {} ends", ends_of_servers.len());
    ensure!(made > 1, "xl made {made} domains");
    last.kill()?;
    Ok(())
}

/// The keeper ends: another one has everything, so that the server may end as well.
fn keeper_killed() -> Verdict {
    let first = keeper()?;
    let mut loads = all_loads()?;
    let rounds = || -> Verdict {
        loads.go_on(2)?;
        let last = keeper()?;
        kill_process(last, Signal::KILL).map_err(std::io::Error::from)?;
        loads.go_on(2)?;
        let next = keeper()?;
        ensure!(next != last, "the keeper is {last:?} still");
        let mut first_server = lives(&[End::Random, End::Step("sent", 9)], || loads.all_go())?;
        loads.go_on(2)?;
        ensure!(keeper()? == next, "there is another keeper");
        // Again, with a server that has found its keeper rather than started it.
        kill_process(next, Signal::KILL).map_err(std::io::Error::from)?;
        loads.go_on(2)?;
        first_server.kill()?;
        first_server.wait()?;
        let mut last = server(None)?;
        loads.go_on(2)?;
        ensure!(keeper()? != first, "there is no other keeper");
        last.kill()?;
        last.wait()?;
        argv(&["/bin/xlr", "xenstored", "--pid-file", PID_FILE])?.success()?;
        Ok(())
    };
    let went = rounds();
    loads.end()?;
    went
}

/// Another build takes the place of the one that serves.
fn upgrade() -> Verdict {
    let newer = "/tmp/newer-xlr";
    std::fs::copy("/bin/xlr", newer)?;
    let mut loads = all_loads()?;
    let keeper_before = keeper()?;
    let goes = || -> Verdict {
        loads.go_on(2)?;
        end_by(Signal::TERM)?;
        argv(&[newer, "xenstored", "--pid-file", PID_FILE])?.success()?;
        loads.go_on(2)?;
        let pid = std::fs::read_to_string(PID_FILE)?;
        let program = std::fs::read_link(format!("/proc/{}/exe", pid.trim()))?;
        ensure!(program.as_os_str() == newer, "{} serves", program.display());
        ensure!(keeper()? == keeper_before, "there is another keeper");
        Ok(())
    };
    let went = goes();
    loads.end()?;
    went?;
    consoled_carries_on()?;
    std::fs::remove_file(newer)?;
    run("xenstore-ls /local")?.success()?;
    Ok(())
}

/// A server that leaves sockets to nobody, after the one that the process file names or `last` was
/// killed.
pub(super) fn alone(last: Option<Child>) -> Result<Child, Stop> {
    match last {
        Some(mut last) => {
            last.kill()?;
            last.wait()?;
        }
        None => end_by(Signal::KILL)?,
    }
    let mut command = init::command("/bin/xlr");
    command.args(["xenstored", "--foreground", "--no-keeper", "--pid-file", PID_FILE]);
    Ok(command.stdin(Stdio::null()).spawn()?)
}

/// Sockets close with the server: our client connects anew, and so do the commands that wait.
fn no_keeper() -> Verdict {
    // Commands that wait for the end of a domain.
    let text = "name = \"waits\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\n\
                vcpus = 1\nextra = \"on=ignore\"\n";
    let config = config("waits", text)?;
    let mut log = console("waits")?;
    let follower = init::command("/bin/xlr").args(["create", "-F", &config]).spawn()?;
    await_text(&mut log, "xtf: idle", 60)?;
    let shutdown = init::command("/bin/xlr").args(["shutdown", "-w", "waits"]).spawn()?;
    // By then it has said what it waits for.
    await_text(&mut log, "xtf: asked to end", 60)?;

    let first_keeper = keeper()?;
    let mut server = alone(None)?;
    let patience = Duration::from_secs(60);
    // Until it is collected, not only until it has no command line any more: its listener goes between.
    let deadline = Instant::now() + patience;
    while test_kill_process(first_keeper).is_ok() {
        ensure!(Instant::now() < deadline, "there is a keeper");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut store = Client::connect_within(patience).map_err(failed)?;
    store.outlive_store(patience);
    store.write("/lab/alone", "0").map_err(failed)?;
    store.watch("/lab/alone", "alone").map_err(failed)?;
    let event = |store: &mut Client| {
        let event = store.next_event(Some(patience)).map_err(failed)?;
        ensure!(event.is_some_and(|it| it.path.as_str() == "/lab/alone"), "another event, or none");
        Ok(())
    };
    event(&mut store)?;

    for number in 1..=3 {
        server = alone(Some(server))?;
        // The watch was set again.
        event(&mut store)?;
        let text = number.to_string();
        store.write("/lab/alone", &text).map_err(failed)?;
        event(&mut store)?;
        let read = store.read_text("/lab/alone").map_err(failed)?;
        ensure!(read == text, "{read} instead of {text}");
    }
    // A transaction that was open: its end is not lost, and it is not done twice.
    let mut runs = 0;
    let mut held = Some(server);
    let sum = store.transaction(|tx| {
        runs += 1;
        let sum: u32 = tx.read_text("/lab/alone").map_err(failed)?.parse().unwrap_or(0);
        tx.write("/lab/alone", (sum + 1).to_string()).map_err(failed)?;
        if runs == 1 {
            held = Some(alone(held.take()).map_err(|why| format!("{why:?}"))?);
            tx.read("/lab/alone").map_err(failed)?;
        }
        Ok::<_, Tried>(sum + 1)
    });
    ensure!(runs == 2 && sum.as_ref().is_ok_and(|&sum| sum == 4), "{runs} runs: {sum:?}");
    let now = store.read_text("/lab/alone").map_err(failed)?;
    ensure!(now == "4", "it is {now}");

    argv(&["/bin/xlr", "destroy", "waits"])?.success()?;
    for (name, mut child) in [("create -F", follower), ("shutdown -w", shutdown)] {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "{name} does not hear of the end");
            std::thread::sleep(Duration::from_millis(5));
        };
        eprintln!("{name}: {status}");
        ensure!(status.code().is_some(), "{name} ended with {status}");
    }
    if let Some(mut server) = held {
        server.kill()?;
    }
    Ok(())
}

/// What the body of a transaction says.
#[derive(Debug)]
struct Tried(#[expect(dead_code, reason = "shown")] String);

impl From<String> for Tried {
    fn from(why: String) -> Tried {
        Tried(why)
    }
}

impl From<xenstore::client::Error> for Tried {
    fn from(error: xenstore::client::Error) -> Tried {
        Tried(error.to_string())
    }
}
