//! `xlr console` and `create -c` on a terminal: what is shown, how it ends, what it leaves.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_node, config, console_log, domid, run};
use crate::dom0::init;
use crate::dom0::pending::settled;
use crate::dom0::snapshot;
use crate::{ensure, fail, leftovers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("console/first-line-and-detach", Group::Toolstack, first_line_and_detach),
    Case::new("console/typing", Group::Toolstack, typing),
    Case::new("console/key-and-signal", Group::Toolstack, key_and_signal),
    Case::new("console/ends-with-the-domain", Group::Toolstack, ends_with_the_domain),
    Case::new("console/guest-output-alone", Group::Toolstack, guest_output_alone),
    Case::new("console/create-attached", Group::Toolstack, create_attached),
    Case::new("console/xenconsoled-comes-back", Group::Toolstack, xenconsoled_comes_back),
    Case::new("console/full-pipe", Group::Toolstack, full_pipe),
    Case::new("console/signal-while-waiting", Group::Toolstack, signal_while_waiting),
    Case::new("console/foreground-left", Group::Toolstack, foreground_left),
    Case::new("console/create-without-xenconsoled", Group::Toolstack, without_xenconsoled),
    Case::new("console/colour", Group::Toolstack, colour),
];

/// Ctrl-], as the terminal sends it.
const DETACH: &[u8] = b"\x1d";
/// Limit of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(40);

/// A guest that says `xtf: idle`, and `xtf: asked to end` when it is asked to, which it ignores.
fn idle(name: &str) -> Result<String, Stop> {
    let _ = std::fs::remove_file(console_log(name));
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/idle\"\n\
             extra = \"on=ignore\"\nmemory = 8\nvcpus = 1\n"
        ),
    )
}

/// A paused guest's console is attached to, shows every byte from the first on, and Ctrl-] leaves
/// the guest running and the terminal as it was.
fn first_line_and_detach() -> Verdict {
    let path = idle("shown")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let mut terminal = Terminal::start(&["/bin/xlr", "console", "shown"])?;
    terminal.until("Ctrl-] leaves it.\r\n")?;
    terminal.forget();
    run("/bin/xlr unpause shown")?.success()?;
    terminal.until("xtf: idle")?;
    ensure!(terminal.is_raw()?, "the terminal is not raw while attached");
    terminal.until("\n")?;
    let logged = std::fs::read(console_log("shown"))?;
    ensure!(
        terminal.seen == logged && logged.starts_with(b"--- Xen Test Framework"),
        "shown {:?}, said {:?}",
        String::from_utf8_lossy(&terminal.seen),
        String::from_utf8_lossy(&logged)
    );
    terminal.detach()?;
    ensure!(domid("shown")?.is_some(), "the domain ended with its console");
    run("/bin/xlr destroy shown")?.success()?;
    Ok(())
}

/// What is typed reaches the guest's shell, control keys included.
fn typing() -> Verdict {
    let path = config(
        "typed",
        "name = \"typed\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
         ramdisk = \"/guest/initramfs.gz\"\nextra = \"console=hvc0\"\nmemory = 128\nvcpus = 1\n",
    )?;
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-c", &path])?;
    terminal.until("xlr-guest: ready")?;
    terminal.until("# ")?;
    terminal.type_in(b"echo $((6*7))-typed\r")?;
    terminal.until("42-typed")?;
    terminal.until("# ")?;
    // Ctrl-C and Ctrl-D are the guest's: neither ends the console.
    terminal.type_in(b"echo in$((3+4))to; cat\r")?;
    terminal.until("in7to")?;
    terminal.type_in(b"\x03")?;
    terminal.until("^C")?;
    terminal.type_in(b"\x04")?;
    terminal.until("# ")?;
    terminal.type_in(b"echo still-$((1+1))\r")?;
    terminal.until("still-2")?;
    terminal.detach()?;
    run("/bin/xlr destroy typed")?.success()?;
    Ok(())
}

/// Another key detaches if it is chosen, and then Ctrl-] is the guest's; a signal that asks the
/// command to end leaves the terminal as it was and the guest running.
fn key_and_signal() -> Verdict {
    let path = idle("signalled")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    let mut terminal = Terminal::start(&["/bin/xlr", "console", "-e", "^A", "signalled"])?;
    terminal.until("Ctrl-A leaves it.")?;
    terminal.until("\n")?;
    terminal.await_raw()?;
    terminal.type_in(DETACH)?;
    let id = domid("signalled")?.unwrap_or_default();
    run(&format!("/usr/bin/xenstore-write /local/domain/{id}/control/shutdown poweroff"))?
        .success()?;
    terminal.until("xtf: asked to end")?;
    terminal.type_in(b"\x01")?;
    let code = terminal.end()?;
    ensure!(code == 0, "exit code {code} after Ctrl-A: {}", terminal.text());
    terminal.is_restored()?;

    for (signal, words) in [
        (Signal::TERM, &["/bin/xlr", "console", "signalled"][..]),
        (Signal::HUP, &["/bin/xlr", "console", "signalled"]),
        (Signal::TERM, &["/bin/xlr", "create", "-c", &path, "name=\"second\""]),
    ] {
        let mut terminal = Terminal::start(words)?;
        terminal.until("Ctrl-] leaves it.")?;
        terminal.await_raw()?;
        let pid = Pid::from_child(&terminal.child.0);
        kill_process(pid, signal).map_err(std::io::Error::from)?;
        let code = terminal.end()?;
        ensure!(code == 130, "exit code {code} after {signal:?}: {}", terminal.text());
        ensure!(terminal.text().contains("runs on"), "{}", terminal.text());
        terminal.is_restored()?;
    }
    for name in ["signalled", "second"] {
        ensure!(domid(name)?.is_some(), "{name} ended with its console");
        argv(&["/bin/xlr", "destroy", name])?.success()?;
    }
    Ok(())
}

/// Types Ctrl-], and waits until the terminal is given back by a command that goes on.
fn leave(terminal: &mut Terminal) -> Verdict {
    terminal.type_in(DETACH)?;
    let deadline = Instant::now() + LIMIT;
    while terminal.is_raw()? {
        ensure!(Instant::now() < deadline, "Ctrl-] leaves nothing: {}", terminal.text());
        std::thread::yield_now();
    }
    Ok(())
}

/// Ctrl-] leaves the console of a `create -Fc` and not the domain: it is started again at its end,
/// and a signal still ends the command.
fn foreground_left() -> Verdict {
    let path = idle("left")?;
    let obey = "extra=\"on=obey\"";
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-Fc", &path, obey])?;
    terminal.until("xtf: idle")?;
    terminal.await_raw()?;
    leave(&mut terminal)?;
    let first = domid("left")?.unwrap_or_default();
    let mut log = crate::dom0::host::console("left")?;
    argv(&[
        "/usr/bin/xenstore-write",
        &format!("/local/domain/{first}/control/shutdown"),
        "reboot",
    ])?
    .success()?;
    crate::dom0::host::await_text(&mut log, "xtf: idle", 40)?;
    let second = domid("left")?;
    ensure!(second.is_some_and(|second| second != first), "{first} became {second:?}");
    ensure!(!terminal.is_raw()?, "the console came back to who had left it");
    // Before that a signal takes the domain back.
    settled()?;
    let pid = Pid::from_child(&terminal.child.0);
    kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
    let code = terminal.end()?;
    ensure!(code == 128 + 15 || code == 130, "exit code {code}: {}", terminal.text());
    ensure!(domid("left")? == second, "the signal ended the domain: {}", terminal.text());
    terminal.is_restored()?;
    run("/bin/xlr destroy left")?.success()?;

    // Before the domain ends, too.
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-Fc", &path])?;
    terminal.until("xtf: idle")?;
    terminal.await_raw()?;
    leave(&mut terminal)?;
    settled()?;
    kill_process(Pid::from_child(&terminal.child.0), Signal::TERM).map_err(std::io::Error::from)?;
    let code = terminal.end()?;
    ensure!(code == 130, "exit code {code}: {}", terminal.text());
    ensure!(domid("left")?.is_some(), "the signal ended the domain: {}", terminal.text());
    run("/bin/xlr destroy left")?.success()?;
    Ok(())
}

/// When the domain is destroyed the console ends by itself, successfully.
fn ends_with_the_domain() -> Verdict {
    let path = idle("doomed")?;
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-c", &path])?;
    terminal.until("xtf: idle")?;
    terminal.detach()?;
    let mut second = Terminal::start(&["/bin/xlr", "console", "doomed"])?;
    let id = domid("doomed")?.unwrap_or_default();
    run(&format!("/usr/bin/xenstore-write /local/domain/{id}/control/shutdown poweroff"))?
        .success()?;
    second.until("xtf: asked to end")?;
    run("/bin/xlr destroy doomed")?.success()?;
    let code = second.end()?;
    ensure!(code == 0, "exit code {code}: {}", second.text());
    second.is_restored()
}

/// Standard output holds what the guest said, and nothing else does.
fn guest_output_alone() -> Verdict {
    let path = idle("piped")?;
    run(&format!("/bin/xlr create -p {path}"))?.success()?;
    let mut command = init::command("/bin/xlr");
    command.args(["console", "piped"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Kill(command.spawn()?);
    let (Some(mut out), Some(mut err)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        fail!("no pipes to xlr console");
    };
    run("/bin/xlr unpause piped")?.success()?;
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"xtf: idle\n") && !said.ends_with(b"xtf: idle\r\n") {
        ensure!(out.read(&mut byte)? == 1, "ended after {:?}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&byte);
    }
    run("/bin/xlr destroy piped")?.success()?;
    out.read_to_end(&mut said)?;
    let mut other = String::new();
    err.read_to_string(&mut other)?;
    let code = child.0.wait()?.code();
    ensure!(code == Some(0), "exit code {code:?}: {other}");
    ensure!(other.is_empty(), "standard error: {other}");
    let logged = std::fs::read(console_log("piped"))?;
    ensure!(said == logged, "{:?} is not {:?}", String::from_utf8_lossy(&said), logged);
    Ok(())
}

/// `create -c` shows the guest from its first byte; after Ctrl-] it runs on.
fn create_attached() -> Verdict {
    // Without -q a notice of xlr's own would stand before the guest's first byte.
    let path = idle("attached")?;
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-q", "-c", &path])?;
    terminal.until("xtf: idle")?;
    terminal.until("\n")?;
    let logged = std::fs::read(console_log("attached"))?;
    ensure!(terminal.seen == logged, "shown {}, said {:?}", terminal.text(), logged);
    terminal.detach()?;
    let list = run("/xen/bin/xl list attached")?.success()?;
    ensure!(!list.out.contains("--p---"), "the domain is paused: {}", list.out);
    run("/bin/xlr destroy attached")?.success()?;
    Ok(())
}

/// A console outlives the xenconsoled that serves it: its successor's terminal is used.
fn xenconsoled_comes_back() -> Verdict {
    let path = idle("served")?;
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-c", &path])?;
    terminal.until("xtf: idle")?;
    stop_xenconsoled()?;
    start_xenconsoled()?;
    let id = domid("served")?.unwrap_or_default();
    run(&format!("/usr/bin/xenstore-write /local/domain/{id}/control/shutdown poweroff"))?
        .success()?;
    terminal.until("xtf: asked to end")?;
    terminal.detach()?;
    run("/bin/xlr destroy served")?.success()?;
    Ok(())
}

/// Without xenconsoled `create -c` says so, and leaves no domain that nobody sees.
fn without_xenconsoled() -> Verdict {
    let path = idle("unseen")?;
    stop_xenconsoled()?;
    let before = snapshot::take()?;
    let said = run(&format!("/bin/xlr create -c {path}"));
    let after = snapshot::take()?;
    start_xenconsoled()?;
    let said = said?.failure()?;
    ensure!(said.code == 1, "exit code {}", said.code);
    ensure!(said.err.contains("is xenconsoled running?"), "{}", said.err);
    let left = leftovers::compare(&before, &after);
    ensure!(left.is_empty(), "left: {}", left.join("; "));
    // The same works once it runs again.
    let mut terminal = Terminal::start(&["/bin/xlr", "create", "-c", &path])?;
    terminal.until("xtf: idle")?;
    terminal.detach()?;
    run("/bin/xlr destroy unseen")?.success()?;
    Ok(())
}

/// Where nobody reads what the guest says, a signal still ends the console.
fn full_pipe() -> Verdict {
    let path = idle("unread")?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    let id = domid("unread")?.unwrap_or_default();
    let tty = await_node(&format!("/local/domain/{id}/console/tty"), 20)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tty = rustix::fs::open(tty, flags, Mode::empty()).map_err(std::io::Error::from)?;
    for signal in [Signal::TERM, Signal::INT] {
        // What the guest says next waits in the terminal until the console takes it.
        run(&format!("/usr/bin/xenstore-write /local/domain/{id}/control/shutdown poweroff"))?
            .success()?;
        ensure!(readable(&tty, Instant::now() + LIMIT)?, "the guest says nothing");
        let (reader, writer) = full()?;
        let mut command = init::command("/bin/xlr");
        command.args(["console", "unread"]).stdin(Stdio::null()).stdout(writer);
        let mut child = Kill(command.spawn()?);
        let deadline = Instant::now() + LIMIT;
        while rustix::io::ioctl_fionread(&tty).map_err(std::io::Error::from)? > 0 {
            ensure!(Instant::now() < deadline, "the console takes nothing");
            std::thread::yield_now();
        }
        let process = pidfd_open(Pid::from_child(&child.0), PidfdFlags::empty())
            .map_err(std::io::Error::from)?;
        kill_process(Pid::from_child(&child.0), signal).map_err(std::io::Error::from)?;
        let ended = readable(&process, Instant::now() + LIMIT / 2)?;
        drop(reader);
        ensure!(ended, "{signal:?} does not end a console that nobody reads");
        let code = child.0.wait()?.code();
        ensure!(code == Some(130), "exit code {code:?} after {signal:?}");
    }
    run("/bin/xlr destroy unread")?.success()?;
    Ok(())
}

/// A pipe that takes nothing more.
fn full() -> Result<(PipeReader, PipeWriter), Stop> {
    let (reader, writer) = std::io::pipe()?;
    let set = |flags| rustix::fs::fcntl_setfl(&writer, flags).map_err(std::io::Error::from);
    set(OFlags::NONBLOCK)?;
    while (&writer).write(&[0; 4096]).is_ok() {}
    set(OFlags::empty())?;
    Ok((reader, writer))
}

/// A signal does not wait until the patience with xenconsoled is over, and leaves no domain.
fn signal_while_waiting() -> Verdict {
    let path = idle("waited")?;
    stop_xenconsoled()?;
    let before = snapshot::take()?;
    let interrupted = || -> Result<(Option<i32>, String), Stop> {
        let mut command = init::command("/bin/xlr");
        command.args(["-vvv", "create", "-c", &path]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = Kill(command.stderr(Stdio::piped()).spawn()?);
        let Some(pipe) = child.0.stderr.take() else { fail!("no pipe to xlr") };
        let mut said = String::new();
        for line in BufReader::new(pipe).lines() {
            let line = line?;
            if line.contains("domain created") {
                let pid = Pid::from_child(&child.0);
                kill_process(pid, Signal::INT).map_err(std::io::Error::from)?;
            }
            said.push_str(&line);
            said.push('\n');
        }
        Ok((child.0.wait()?.code(), said))
    };
    let ended = interrupted();
    let after = snapshot::take()?;
    start_xenconsoled()?;
    let (code, said) = ended?;
    // What it did and how long each step took is told at this verbosity, too.
    let interrupted =
        said.lines().any(|line| line.starts_with("xlr:") && line.contains("interrupted"));
    ensure!(code == Some(130) && interrupted, "exit code {code:?}: {said}");
    let left = leftovers::compare(&before, &after);
    ensure!(left.is_empty(), "left: {}", left.join("; "));
    Ok(())
}

/// Colours are for terminals, and not for those of people who want none.
fn colour() -> Verdict {
    const ESCAPE: &str = "\x1b[";
    let path = config("coloured", "name = \"coloured\"\nkernel = 3\nnosuchkey = 1\n")?;
    for (words, coloured) in [
        (&["/bin/xlr", "create", &path][..], true),
        (&["/bin/busybox", "env", "NO_COLOR=1", "/bin/xlr", "create", &path], false),
        (&["/bin/xlr", "list"], false),
    ] {
        let mut terminal = Terminal::start(words)?;
        terminal.end()?;
        ensure!(!terminal.text().is_empty(), "{words:?} says nothing");
        ensure!(terminal.text().contains(ESCAPE) == coloured, "{words:?}: {:?}", terminal.text());
    }
    let said = run(&format!("/bin/xlr create {path}"))?.failure()?;
    ensure!(said.err.contains("nosuchkey") && !said.err.contains(ESCAPE), "{:?}", said.err);
    let said = run("/bin/xlr create --nosuchflag")?.failure()?;
    ensure!(!said.err.contains(ESCAPE), "{:?}", said.err);
    Ok(())
}

const PID_FILE: &str = "/run/xen/xenconsoled.pid";

pub(super) fn stop_xenconsoled() -> Verdict {
    let text = std::fs::read_to_string(PID_FILE)?;
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else {
        fail!("{PID_FILE} holds {text:?}");
    };
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from)?;
    kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
    ensure!(readable(&process, Instant::now() + LIMIT)?, "xenconsoled does not end");
    Ok(())
}

/// As process 1 starts it.
pub(super) fn start_xenconsoled() -> Verdict {
    let args = ["--pid-file=/run/xen/xenconsoled.pid", "--log=guest", "--timestamp=none"];
    let mut command = init::command("/xen/bin/xenconsoled");
    let status = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "xenconsoled: {status}");
    Ok(())
}

/// Whether it becomes readable in time.
pub(super) fn readable(fd: &impl AsFd, deadline: Instant) -> Result<bool, Stop> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
}

/// A process that does not outlive the case.
pub(super) struct Kill(pub(super) Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program on a terminal of its own.
pub(super) struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    child: Kill,
    /// The terminal's settings before the program ran.
    before: String,
    /// All that it has shown.
    seen: Vec<u8>,
    /// How much of that was looked through.
    read: usize,
}

impl Terminal {
    pub(super) fn start(words: &[&str]) -> Result<Terminal, Stop> {
        let [program, args @ ..] = words else { fail!("an empty command") };
        eprintln!("$ {} (on a terminal)", words.join(" "));
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = || {
            let master = openpt(flags)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            let slave = ioctl_tiocgptpeer(&master, flags)?;
            Ok::<_, Errno>((master, slave))
        };
        let (master, slave) = open().map_err(std::io::Error::from)?;
        let mut command = init::command(program);
        let clone = || slave.try_clone();
        command.args(args).stdin(clone()?).stdout(clone()?).stderr(clone()?);
        // A size as people have it.
        let size = Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).map_err(std::io::Error::from)?;
        let before = settings(&slave)?;
        let child = Kill(command.spawn()?);
        Ok(Terminal { master, slave, child, before, seen: Vec::new(), read: 0 })
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub(super) fn type_in(&mut self, bytes: &[u8]) -> Verdict {
        let count = rustix::io::write(&self.master, bytes).map_err(std::io::Error::from)?;
        ensure!(count == bytes.len(), "the terminal takes only {count} bytes");
        Ok(())
    }

    /// Waits until the program has shown `needle`, after what was waited for before.
    pub(super) fn until(&mut self, needle: &str) -> Verdict {
        let deadline = Instant::now() + LIMIT;
        loop {
            let new = &self.seen[self.read..];
            let at = new.windows(needle.len()).position(|part| part == needle.as_bytes());
            if let Some(at) = at {
                self.read += at + needle.len();
                return Ok(());
            }
            ensure!(self.more(deadline)?, "no «{needle}»: {}", self.text());
        }
    }

    /// Takes what the terminal shows next; false when the time is over.
    fn more(&mut self, deadline: Instant) -> Result<bool, Stop> {
        if !readable(&self.master, deadline)? {
            return Ok(false);
        }
        let mut chunk = [0; 4096];
        let count = rustix::io::read(&self.master, &mut chunk).map_err(std::io::Error::from)?;
        self.seen.extend_from_slice(&chunk[..count]);
        Ok(true)
    }

    /// What has been shown so far is no longer looked at.
    fn forget(&mut self) {
        self.seen.drain(..self.read);
        self.read = 0;
    }

    /// Waits until the program has made the terminal raw, which nothing announces.
    pub(super) fn await_raw(&self) -> Verdict {
        let deadline = Instant::now() + LIMIT;
        while !self.is_raw()? {
            ensure!(Instant::now() < deadline, "the terminal is not raw: {}", self.text());
            std::thread::yield_now();
        }
        Ok(())
    }

    fn is_raw(&self) -> Result<bool, Stop> {
        let now = tcgetattr(&self.slave).map_err(std::io::Error::from)?;
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        Ok(!now.local_modes.intersects(cooked) && !now.output_modes.contains(OutputModes::OPOST))
    }

    /// Fails unless the settings are those from before the program.
    pub(super) fn is_restored(&self) -> Verdict {
        let now = settings(&self.slave)?;
        ensure!(now == self.before, "the terminal was {}, is {now}", self.before);
        Ok(())
    }

    /// Detaches: the program ends successfully and the terminal is as before.
    pub(super) fn detach(&mut self) -> Verdict {
        self.type_in(DETACH)?;
        let code = self.end()?;
        ensure!(code == 0, "exit code {code} after Ctrl-]: {}", self.text());
        self.is_restored()
    }

    /// Waits until the program has ended.
    pub(super) fn end(&mut self) -> Result<i32, Stop> {
        let process = pidfd_open(Pid::from_child(&self.child.0), PidfdFlags::empty())
            .map_err(std::io::Error::from)?;
        if !readable(&process, Instant::now() + LIMIT)? {
            fail!("it does not end; shown: {}", self.text());
        }
        let status = self.child.0.wait()?;
        while self.more(Instant::now())? {}
        Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255))
    }
}

/// All settings of a terminal, to be compared.
fn settings(terminal: &OwnedFd) -> Result<String, Stop> {
    let now = tcgetattr(terminal).map_err(std::io::Error::from)?;
    Ok(format!("{now:?}"))
}
