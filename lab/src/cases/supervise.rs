//! One supervisor does what is to be done at the end of every domain, exactly once, however often it
//! is killed.

use super::console::Kill;
use super::events::samples;
use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::follow::Follow;
use crate::dom0::host::{
    Stop, Verdict, argv, await_text, config, console, console_log, domid, run,
};
use crate::dom0::init;
use crate::dom0::pending::settled;
use crate::dom0::stopped::stopped;
use crate::{ensure, fail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("supervise/ends", Group::Toolstack, ends),
    Case::new("supervise/others", Group::Toolstack, others),
    Case::new("supervise/killed-at-each-step", Group::Toolstack, killed_at_each_step),
    Case { ci: false, ..Case::new("supervise/too-often", Group::Toolstack, too_often) },
    Case {
        ci: false,
        limit_seconds: 600,
        ..Case::new("supervise/killed-any-time", Group::Toolstack, || killed_any_time(30))
    },
    Case::new("supervise/init-script", Group::Toolstack, init_script),
    Case::new("supervise/wait", Group::Toolstack, wait),
];

const MEDIUM: &str = "/tmp/supervised.img";
const UUID: &str = "11111111-2222-3333-4444-777777777777";

/// A microkernel that does what it is told through xenstore.
fn guest(name: &str, lines: &str) -> Result<String, Stop> {
    let text = format!(
        "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\nmemory = 8\nvcpus = 1\n\
         extra = \"on=obey\"\n{lines}\n"
    );
    config(name, &text)
}

/// The supervisor, killed with this value.
pub struct Supervisor {
    child: Kill,
    said: BufReader<std::process::ChildStderr>,
}

impl Supervisor {
    /// Starts it, and waits until it says that it is ready.
    pub fn start() -> Result<Supervisor, Stop> {
        let mut command = init::command("/bin/xlr");
        command.arg("supervise").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Kill(command.spawn()?);
        let (Some(out), Some(err)) = (child.0.stdout.take(), child.0.stderr.take()) else {
            fail!("no pipes to the supervisor");
        };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.starts_with("supervise: ready"), "supervise says {line:?}");
        Ok(Supervisor { child, said: BufReader::new(err) })
    }

    /// Waits until it says this.
    pub fn says(&mut self, words: &str) -> Verdict {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            eprint!("supervise: {line}");
            if line.contains(words) {
                return Ok(());
            }
            line.clear();
        }
        fail!("the supervisor ended without «{words}»")
    }

    fn kill(mut self) -> Verdict {
        self.child.0.kill()?;
        self.child.0.wait()?;
        Ok(())
    }

    /// Asks it to end; gives what it had still to say.
    pub fn end(mut self) -> Result<String, Stop> {
        let pid = Pid::from_child(&self.child.0);
        kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        let code = self.child.0.wait()?.code();
        ensure!(code == Some(0), "the supervisor ended with {code:?}: {said}");
        Ok(said)
    }
}

fn create(name: &str, lines: &str) -> Result<(u32, Follow), Stop> {
    let path = guest(name, lines)?;
    let mut log = console(name)?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    ready(&mut log)?;
    Ok((there(name)?, log))
}

fn ready(log: &mut Follow) -> Verdict {
    await_text(log, "xtf: idle", 60)?;
    log.text.clear();
    Ok(())
}

fn there(name: &str) -> Result<u32, Stop> {
    domid(name)?.ok_or_else(|| Stop::Failed(format!("there is no {name}")))
}

/// Asks the guest for its end.
fn ask(domid: u32, word: &str) -> Verdict {
    let node = format!("/local/domain/{domid}/control/shutdown");
    argv(&["/usr/bin/xenstore-write", &node, word])?.success()?;
    Ok(())
}

fn gone(name: &str) -> Verdict {
    run(&format!("/bin/xlr wait --until gone --timeout 30 {name}"))?.success()?;
    Ok(())
}

const SUPERVISE_UP: &str = "xlr_daemon_up{daemon=\"supervise\"}";

/// What Prometheus is told.
fn metric(name: &str) -> Result<f64, Stop> {
    let found = samples(&run("/bin/xlr metrics")?.success()?.out);
    found.get(name).copied().ok_or_else(|| Stop::Failed(format!("there is no {name}")))
}

/// Each action, for domains that end at the same time.
fn ends() -> Verdict {
    let before = dump::take()?;
    let alone = run(&format!("/bin/xlr create {}", guest("alone", "")?))?.success()?;
    ensure!(alone.err.contains("supervise"), "nothing is said of its end: {}", alone.err);
    run("/bin/xlr destroy alone")?.success()?;
    let counted = metric("xlr_restarts_total")?;
    ensure!(metric(SUPERVISE_UP)? == 0.0, "nobody supervises");
    let mut supervisor = Supervisor::start()?;
    ensure!(metric(SUPERVISE_UP)? == 1.0, "somebody supervises");
    let said = run(&format!("/bin/xlr create {}", guest("alone", "")?))?.success()?;
    ensure!(!said.err.contains("Nothing waits"), "with a supervisor: {}", said.err);
    run("/bin/xlr destroy alone")?.success()?;
    let second = run("/bin/xlr supervise")?.failure()?;
    ensure!(second.err.contains("another supervisor"), "{}", second.err);

    let (off, _) = create("off", "")?;
    // Its backend is waited for at each start.
    std::fs::File::create(MEDIUM)?.set_len(1 << 20)?;
    let disk = format!("uuid = \"{UUID}\"\ndisk = [\"{MEDIUM},raw,xvda,rw\"]");
    let (again, mut log) = create("again", &disk)?;
    let (kept, _) = create("kept", "on_crash = \"preserve\"")?;
    let (renamed, mut renamed_log) = create("renamed", "on_crash = \"rename-restart\"")?;
    create("killed", "")?;
    for (domid, word) in [(off, "poweroff"), (again, "reboot"), (kept, "crash"), (renamed, "crash")]
    {
        ask(domid, word)?;
    }
    run("/bin/xlr destroy killed")?.success()?;
    ready(&mut log)?;
    ready(&mut renamed_log)?;
    gone("off")?;
    run("/bin/xlr wait --until crashed --timeout 30 kept")?.success()?;
    settled()?;
    let counted = metric("xlr_restarts_total")? - counted;
    ensure!(counted == 2.0, "{counted} restarts are counted");
    ensure!(metric("xlr_restarts_unfinished")? == 0.0, "one is not finished");
    let next = there("again")?;
    let vm = argv(&["/usr/bin/xenstore-read", &format!("/local/domain/{next}/vm")])?.out;
    ensure!(next != again && vm.trim() == format!("/vm/{UUID}"), "{again}, {next}: {vm}");
    let backend = format!("xenstore-read /local/domain/0/backend/vbd/{next}/51712/params");
    let params = run(&backend)?.success()?.out;
    ensure!(params.trim() == MEDIUM, "its disk is {params}");
    let name = argv(&["/xen/bin/xl", "domname", &renamed.to_string()])?.success()?.out;
    ensure!(name.starts_with("renamed-20"), "{renamed} is called {name}");
    ensure!(there("renamed")? != renamed && there("kept")? == kept, "not as configured");

    // One that comes after it leaves what is settled alone.
    supervisor.says(&format!("Domain {kept} is preserved"))?;
    supervisor.end()?;
    let supervisor = Supervisor::start()?;
    for name in ["again", "renamed"] {
        ask(there(name)?, "poweroff")?;
        gone(name)?;
    }
    let said = supervisor.end()?;
    ensure!(!said.contains(&format!("Domain {kept} ")), "it acted once more: {said}");
    run(&format!("/bin/xlr destroy {kept}"))?.success()?;
    run(&format!("/bin/xlr destroy {renamed}"))?.success()?;
    std::fs::remove_file(MEDIUM)?;
    dump::unchanged(&before, "the ends of five domains")
}

/// Domains of xl, and those that another command cares for, are left alone until it lets go.
fn others() -> Verdict {
    let before = dump::take()?;
    let mut supervisor = Supervisor::start()?;
    let path = guest("theirs", "")?;
    let mut log = console("theirs")?;
    run(&format!("/xen/bin/xl create -e {path}"))?.success()?;
    ready(&mut log)?;
    let theirs = there("theirs")?;
    ask(theirs, "poweroff")?;

    // A reboot and a shutdown that waits do it themselves.
    let (first, mut log) = create("ours", "")?;
    let said = run("/bin/xlr reboot ours")?.success()?;
    ready(&mut log)?;
    ensure!(said.err.contains("started again as"), "{}", said.err);
    let second = there("ours")?;
    ensure!(second == first + 1, "{first} is followed by {second}");
    let said = run("/bin/xlr shutdown -w ours")?.success()?;
    ensure!(said.err.contains("has been shut down"), "{}", said.err);
    gone("ours")?;

    // A restart of another command that is killed goes on; who waits for a removal is no hindrance.
    let (first, mut log) = create("ours", "")?;
    stopped(&["reboot", "--stop-in-restart", "2", "ours"])?.kill()?;
    ready(&mut log)?;
    settled()?;
    let second = there("ours")?;
    ensure!(second == first + 1, "{first}, whose reboot was killed, is followed by {second}");
    run("/bin/xlr shutdown -ww ours")?.success()?;
    ensure!(domid("ours")?.is_none(), "it is still there");

    // Who follows a domain and is killed leaves its end to the supervisor.
    let path = guest("followed", "")?;
    let mut log = console("followed")?;
    let mut command = init::command("/bin/xlr");
    let follower: Child = command.args(["create", "-F", &path]).stderr(Stdio::null()).spawn()?;
    let mut follower = Kill(follower);
    ready(&mut log)?;
    let followed = there("followed")?;
    let pid = Pid::from_child(&follower.0);
    kill_process(pid, Signal::STOP).map_err(std::io::Error::from)?;
    ask(followed, "poweroff")?;
    run(&format!("/bin/xlr wait --until shutdown --timeout 30 {followed}"))?.success()?;
    ensure!(there("followed")? == followed, "its follower stands still, and yet it is gone");
    follower.0.kill()?;
    follower.0.wait()?;
    supervisor.says(&format!("Domain {followed} has shut down"))?;
    gone("followed")?;
    ensure!(there("theirs")? == theirs, "xl's domain is gone");
    let said = supervisor.end()?;
    ensure!(!said.contains(&format!("omain {theirs} ")), "{said}");
    run("/xen/bin/xl destroy theirs")?.success()?;

    // What was cut short before the host's last start is not started by itself.
    create("old", &format!("uuid = \"{UUID}\""))?;
    stopped(&["reboot", "--stop-in-restart", "2", "old"])?.kill()?;
    std::fs::remove_dir_all("/run/xlr/restarts")?;
    Supervisor::start()?.end()?;
    ensure!(domid("old")?.is_none(), "a restart of an earlier start of the host was finished");
    std::fs::remove_file(format!("/var/lib/xlr/restarts/{UUID}.cfg"))?;
    dump::unchanged(&before, "domains of others")
}

/// A domain that ends at once is started at once twice, and then after a while.
fn too_often() -> Verdict {
    let before = dump::take()?;
    let mut supervisor = Supervisor::start()?;
    let (mut domid, mut log) = create("often", "")?;
    for _ in 0..3 {
        ask(domid, "reboot")?;
        ready(&mut log)?;
        domid = there("often")?;
    }
    supervisor.says("too soon and too often")?;
    ask(domid, "poweroff")?;
    gone("often")?;
    supervisor.end()?;
    dump::unchanged(&before, "restarts too often")
}

/// Killed at each point of a restart: the next one finishes it, and starts nothing twice.
fn killed_at_each_step() -> Verdict {
    let before = dump::take()?;
    for (point, line) in [("0", ""), ("2", ""), ("1", "rename"), ("2", "rename"), ("3", "rename")] {
        let renames = line == "rename";
        let line = if renames { "on_reboot = \"rename-restart\"\n" } else { "" };
        let (first, mut log) = create("cut", &format!("{line}uuid = \"{UUID}\""))?;
        ask(first, "reboot")?;
        run(&format!("/bin/xlr wait --until shutdown --timeout 30 {first}"))?.success()?;
        stopped(&["supervise", "--stop-in-restart", point])?.kill()?;
        let supervisor = Supervisor::start()?;
        ready(&mut log)?;
        settled()?;
        let second = there("cut")?;
        ensure!(second == first + 1, "at {point}: {first} is followed by {second}");
        ask(second, "poweroff")?;
        gone("cut")?;
        supervisor.end()?;
        if renames {
            run(&format!("/bin/xlr destroy {first}"))?.success()?;
        }
        dump::unchanged(&before, &format!("a kill at {point} {line}"))?;
    }
    Ok(())
}

/// Killed at random moments while domains end in every way: each end has had its action once.
fn killed_any_time(kills: usize) -> Verdict {
    let before = dump::take()?;
    let mut seed = 42_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut rebooted, mut log) = create("rebooted", &format!("uuid = \"{UUID}\""))?;
    for kill in 0..kills {
        let (off, _) = create("off", "")?;
        let (crashed, _) = create("crashed", "on_crash = \"destroy\"")?;
        let supervisor = Supervisor::start()?;
        for (domid, word) in [(rebooted, "reboot"), (off, "poweroff"), (crashed, "crash")] {
            ask(domid, word)?;
        }
        // The moment of the kill is what is tried here; no event stands for it.
        std::thread::sleep(std::time::Duration::from_millis(random(400)));
        supervisor.kill()?;
        let supervisor = Supervisor::start()?;
        ready(&mut log)?;
        gone("off")?;
        gone("crashed")?;
        settled()?;
        let next = there("rebooted")?;
        ensure!(next != rebooted, "kill {kill}: it was not started again");
        // One that was half made when the kill came never ran: the guest's own word counts.
        let starts = std::fs::read_to_string(console_log("rebooted"))?.matches("xtf: idle").count();
        ensure!(starts == kill + 2, "kill {kill}: it was started {starts} times");
        rebooted = next;
        supervisor.end()?;
    }
    run("/bin/xlr destroy rebooted")?.success()?;
    dump::unchanged(&before, "kills at random")
}

/// What is waited for comes, cannot come, or does not come in time.
fn wait() -> Verdict {
    let before = dump::take()?;
    run("/bin/xlr wait --until gone nobody")?.success()?;
    let said = run("/bin/xlr wait nobody")?.failure()?;
    ensure!(said.err.contains("no domain is called"), "{}", said.err);
    let said = run("/bin/xlr wait --until running --timeout 1 nobody")?;
    ensure!(said.code == 124, "exit code {}: {}", said.code, said.err);

    let mut command = init::command("/bin/xlr");
    let waiter =
        command.args(["wait", "--until", "running", "--timeout", "60", "waited"]).spawn()?;
    let mut waiter = Kill(waiter);
    let path = guest("waited", "")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    ensure!(waiter.0.try_wait()?.is_none(), "a paused domain runs");
    run("/xen/bin/xl unpause waited")?.success()?;
    let code = waiter.0.wait()?.code();
    ensure!(code == Some(0), "a wait for a domain that runs: {code:?}");
    let said = run("/bin/xlr wait --timeout 1 waited")?;
    ensure!(said.code == 124, "exit code {}: {}", said.code, said.err);
    ask(there("waited")?, "crash")?;
    for until in ["shutdown", "crashed"] {
        run(&format!("/bin/xlr wait --until {until} --timeout 30 waited"))?.success()?;
    }
    let mut command = init::command("/bin/xlr");
    let mut waiter = Kill(command.args(["wait", "-u", "gone", "-t", "60", "waited"]).spawn()?);
    run("/bin/xlr destroy waited")?.success()?;
    let code = waiter.0.wait()?.code();
    ensure!(code == Some(0), "a wait for its end: {code:?}");
    dump::unchanged(&before, "waiting")
}

/// The plain init script: it starts, finds and ends the daemons.
fn init_script() -> Verdict {
    let before = dump::take()?;
    let script = "/bin/sh /configs/init.d/xlr";
    std::fs::create_dir_all("/etc/default")?;
    std::fs::write("/etc/default/xlr", "XLR=/bin/xlr\n")?;
    let status = |code: i32| -> Verdict {
        let said = run(&format!("{script} status"))?;
        ensure!(said.code == code, "status ended with {}: {}", said.code, said.out);
        Ok(())
    };
    status(3)?;
    for _ in 0..2 {
        run(&format!("{script} start"))?.success()?;
        status(0)?;
    }
    let (id, _) = create("off", "")?;
    ask(id, "poweroff")?;
    gone("off")?;
    run(&format!("{script} restart"))?.success()?;
    run("/bin/xlr supervise")?.failure()?;
    run(&format!("{script} stop"))?.success()?;
    status(3)?;
    // One that does not start is an error, and is waited for no longer than it lives.
    std::fs::write("/etc/default/xlr", "XLR=/bin/xlr\nDAEMONS=nothing\n")?;
    run(&format!("{script} start"))?.failure()?;
    std::fs::remove_file("/etc/default/xlr")?;
    dump::unchanged(&before, "daemons by the init script")
}
