//! A booted machine: commands run in its dom0, files put there, its console log, its end.

use crate::artefact::Artefacts;
use crate::command;
use crate::error::{Context as _, Error, Result};
use crate::frame::{Frame, Hello, Kind, Order, PAYLOAD_MAX};
use crate::paths::Paths;
use crate::qemu::{Machine, Qemu};
use crate::{console, debugger, image, rdma, report, slot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

/// Longest boot that is waited for; a loaded host takes several times a quiet one's ten seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// Limit for a step of the lab's own in dom0.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// How often the console is looked at while nothing comes from the agent.
const LOOK: Duration = Duration::from_secs(1);

/// How long a machine that has crashed may take to end: Xen waits five seconds before it reboots.
const CRASH_LIMIT: Duration = Duration::from_secs(20);

/// What a command in dom0 came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; 128 + signal for a killed command, 127 for one that could not be started.
    pub code: i32,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error.
    pub errors: Vec<u8>,
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.errors).into_owned()
    }
}

/// A booted machine.
pub struct Session {
    qemu: Qemu,
    writer: UnixStream,
    frames: Receiver<Frame>,
    next_id: u32,
    /// Where this run's logs are.
    pub dir: PathBuf,
    /// From the start of the emulator to the agent's greeting.
    pub boot_seconds: f64,
    /// How long the boot waited for other emulators to end.
    pub waited_seconds: f64,
    deadline: Instant,
    /// How much of the console was looked at for a crash.
    looked_at: u64,
    _socket_dir: SocketDir,
}

/// What to boot.
pub struct Boot<'a> {
    /// The lab's directories.
    pub paths: &'a Paths,
    /// The shape of the machine.
    pub machine: Machine,
    /// The `xlr` that goes into dom0.
    pub xlr: Option<PathBuf>,
    /// The whole session must be over by then.
    pub limit: Duration,
    /// What the directory for logs is called, below `target/lab/logs`; the process adds its number.
    pub log_name: String,
}

/// A machine whose files lie ready in its directory.
pub struct Prepared<'a> {
    boot: &'a Boot<'a>,
    /// Where the emulator was unpacked to.
    emulator: PathBuf,
    dir: PathBuf,
    initramfs_bytes: usize,
}

impl Boot<'_> {
    /// Fetches what the machine is made of and lays it into its directory.
    pub fn prepare(&self, artefacts: &mut Artefacts) -> Result<Prepared<'_>> {
        let files = image::prepare(self.paths, artefacts, &self.machine.xen)?;
        let emulator = artefacts.root("qemu")?;
        let logs = self.paths.dir("logs")?;
        prune(&logs);
        let dir = logs.join(format!("{}-{}", self.log_name, std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).on("create", &dir)?;
        link(&files.xen, &dir.join("xen"))?;
        link(&files.kernel, &dir.join("vmlinux"))?;
        let initramfs = dir.join("initramfs");
        let mut bytes = std::fs::read(&files.base).on("read", &files.base)?;
        bytes.extend(image::changing(self.paths, artefacts, self.xlr.as_deref())?);
        if self.machine.rdma {
            bytes.extend(rdma::archive(self.paths, artefacts)?);
        }
        if self.machine.debugger {
            bytes.extend(debugger::archive(artefacts)?);
        }
        std::fs::write(&initramfs, &bytes).on("write", &initramfs)?;
        Ok(Prepared { boot: self, emulator, dir, initramfs_bytes: bytes.len() })
    }
}

impl Session {
    /// Boots a machine and waits for its agent.
    pub fn boot(artefacts: &mut Artefacts, boot: &Boot<'_>) -> Result<Session> {
        Session::power_on(boot.prepare(artefacts)?)
    }

    /// Starts the emulator, once a slot is free, and waits for the agent.
    pub fn power_on(prepared: Prepared<'_>) -> Result<Session> {
        let Prepared { boot, emulator, dir, initramfs_bytes } = prepared;
        let socket_dir = SocketDir::new()?;
        let socket = socket_dir.0.join("agent");
        let listener = UnixListener::bind(&socket).on("bind", &socket)?;
        let slot = slot::take()?;
        let waited_seconds = slot.waited.as_secs_f64();
        report::step(&format!(
            "booting {} (initramfs {} MB)",
            boot.machine.name(),
            initramfs_bytes / 1_000_000
        ));
        let mut qemu = Qemu::start(slot, &boot.machine, &emulator, &dir, &socket)?;
        let start = Instant::now();
        let stream = accept(&listener, &mut qemu, &dir)?;
        let writer = stream.try_clone().on("open", &socket)?;
        let (sender, frames) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(1 << 16, stream);
            while let Ok(Some(frame)) = Frame::read(&mut reader) {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + boot.limit;
        let mut session = Session {
            qemu,
            writer,
            frames,
            next_id: 1,
            dir,
            boot_seconds: 0.0,
            waited_seconds,
            deadline,
            looked_at: 0,
            _socket_dir: socket_dir,
        };
        let hello = session.await_hello()?;
        session.boot_seconds = start.elapsed().as_secs_f64();
        let _ = std::fs::remove_file(session.dir.join("initramfs"));
        report::step(&format!("dom0 is up after {:.1} s", session.boot_seconds));
        if hello.trouble.is_empty() {
            return Ok(session);
        }
        Err(Error::Machine(format!("dom0 is not complete: {}", hello.trouble.join("; "))))
    }

    fn await_hello(&mut self) -> Result<Hello> {
        let limit = self.deadline.min(Instant::now() + BOOT_LIMIT);
        let frame = self.next(limit, "the boot")?;
        serde_json::from_slice(&frame.payload)
            .map_err(|error| Error::Machine(format!("the agent's greeting: {error}")))
    }

    fn next(&mut self, limit: Instant, what: &str) -> Result<Frame> {
        let begin = Instant::now();
        // A machine that went down ends the channel. One that has crashed and hangs does not.
        let mut hangs_at = None;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match self.frames.recv_timeout(left.min(LOOK)) {
                Ok(frame) => return Ok(frame),
                Err(RecvTimeoutError::Disconnected) => return Err(self.went_down(what)),
                Err(RecvTimeoutError::Timeout) if left <= LOOK => {
                    let seconds = limit.saturating_duration_since(begin).as_secs_f64();
                    let seconds = seconds.round() as u64;
                    return Err(Error::Timeout { what: what.into(), seconds });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if hangs_at.is_none() && self.crashed() {
                hangs_at = Some(Instant::now() + CRASH_LIMIT);
            }
            if hangs_at.is_some_and(|at| Instant::now() > at) {
                self.qemu.kill();
                let tail = self.console_tail();
                let text = format!("the machine crashed during {what} and did not end:\n{tail}");
                return Err(Error::Machine(text));
            }
        }
    }

    fn went_down(&mut self, what: &str) -> Error {
        let how = if self.qemu.wait(Duration::from_secs(5)) {
            self.qemu.ended().unwrap_or_default()
        } else {
            "agent gone".into()
        };
        Error::Machine(format!(
            "the machine went down during {what} ({how}); its console ended with:\n{}",
            self.console_tail()
        ))
    }

    /// Whether the console tells of the end of Xen or of dom0 since this was asked last.
    fn crashed(&mut self) -> bool {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut new = Vec::new();
        let read = std::fs::File::open(self.dir.join("console.log")).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.looked_at))?;
            file.read_to_end(&mut new)
        });
        // A line that is not whole yet is read again.
        let whole = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.looked_at += whole as u64;
        read.is_ok() && console::has_crash(&String::from_utf8_lossy(&new[..whole]))
    }

    /// The end of the console log.
    pub fn console_tail(&self) -> String {
        let own = std::fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
        format!("{}\n{}", command::tail(&self.console(), 25), command::tail(&own, 5))
    }

    /// The console log of Xen and dom0 so far.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.dir.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The console log once `sign` stands in it beyond `from`: Xen writes it behind the back of
    /// whoever asked, at the pace of a serial line.
    pub fn console_until(&self, from: usize, sign: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            let text = self.console();
            if text.get(from..).is_some_and(|new| new.contains(sign)) {
                return Ok(text);
            }
            if Instant::now() > end {
                let what = format!("«{sign}» on the console");
                return Err(Error::Timeout { what, seconds: limit.as_secs() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes a file of the host into dom0, executable.
    pub fn put(&mut self, from: &Path, to: &str) -> Result<()> {
        let bytes = std::fs::read(from).on("read", from)?;
        let outcome = self.shell(&format!("mkdir -p $(dirname {to}) && : > {to}"), STEP_LIMIT)?;
        let mut failed = outcome.code != 0;
        for piece in bytes.chunks(PAYLOAD_MAX / 2) {
            let id = self.next_id;
            self.next_id += 1;
            let mut payload = to.as_bytes().to_vec();
            payload.push(0);
            payload.extend_from_slice(piece);
            self.send(&Frame::new(Kind::Put, id, payload))?;
            loop {
                let frame = self.next(Instant::now() + STEP_LIMIT, "a copy into dom0")?;
                if frame.id == id && frame.kind == Kind::Exit {
                    failed |= exit_code(&frame)? != 0;
                    break;
                }
            }
        }
        if failed {
            return Err(Error::Machine(format!("cannot write {to} in dom0")));
        }
        Ok(())
    }

    fn send(&mut self, frame: &Frame) -> Result<()> {
        frame.write(&mut self.writer).on("write", "the agent's channel")
    }

    fn start(&mut self, order: &Order) -> Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        let frame = Frame::json(Kind::Run, id, order).on("write", "an order")?;
        self.send(&frame)?;
        Ok(id)
    }

    /// Runs a command and hands each piece of its output to `sink` as it comes.
    pub fn stream(
        &mut self,
        order: &Order,
        limit: Duration,
        mut sink: impl FnMut(Kind, &[u8]),
    ) -> Result<i32> {
        let what = order.argv.join(" ");
        let end = self.deadline.min(Instant::now() + limit);
        let id = self.start(order)?;
        self.send(&Frame::new(Kind::Input, id, []))?;
        loop {
            let frame = match self.next(end, &what) {
                Ok(frame) => frame,
                Err(Error::Timeout { .. }) => {
                    self.send(&Frame::new(Kind::Kill, id, []))?;
                    return Err(Error::Timeout { what, seconds: limit.as_secs() });
                }
                Err(error) => return Err(error),
            };
            if frame.id != id {
                continue;
            }
            match frame.kind {
                Kind::Output | Kind::Error => sink(frame.kind, &frame.payload),
                Kind::Exit => return exit_code(&frame),
                _ => {}
            }
        }
    }

    /// Runs a command to its end.
    pub fn run(&mut self, argv: &[&str], limit: Duration) -> Result<Outcome> {
        let order =
            Order { argv: argv.iter().map(ToString::to_string).collect(), ..Order::default() };
        let mut outcome = Outcome::default();
        outcome.code = self.stream(&order, limit, |kind, bytes| match kind {
            Kind::Error => outcome.errors.extend_from_slice(bytes),
            _ => outcome.output.extend_from_slice(bytes),
        })?;
        Ok(outcome)
    }

    /// Runs a shell line to its end.
    pub fn shell(&mut self, line: &str, limit: Duration) -> Result<Outcome> {
        self.run(&["/bin/sh", "-c", line], limit)
    }

    /// Connects the lab's terminal with a command in dom0 until it ends.
    pub fn interact(&mut self, order: &Order) -> Result<i32> {
        let id = self.start(order)?;
        let mut writer = self.writer.try_clone().on("open", "the agent's channel")?;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = std::io::Read::read(&mut std::io::stdin(), &mut buffer) {
                let frame = Frame::new(Kind::Input, id, &buffer[..count]);
                if frame.write(&mut writer).is_err() || count == 0 {
                    return;
                }
            }
        });
        loop {
            let frame = self.next(self.deadline, "the shell")?;
            if frame.id != id {
                continue;
            }
            match frame.kind {
                Kind::Output | Kind::Error => show(&frame.payload),
                Kind::Exit => return exit_code(&frame),
                _ => {}
            }
        }
    }

    /// Whether the emulator has ended.
    pub fn ended(&mut self) -> bool {
        self.qemu.ended().is_some()
    }

    /// Powers the machine off in good order. Returns whether it ended by itself.
    pub fn power_off(mut self) -> Result<bool> {
        self.send(&Frame::new(Kind::PowerOff, 0, []))?;
        Ok(self.qemu.wait(Duration::from_secs(30)))
    }
}

/// How many runs' logs are kept.
const LOGS_KEPT: usize = 60;

/// Removes the oldest logs.
fn prune(logs: &Path) {
    let Ok(entries) = std::fs::read_dir(logs) else { return };
    let mut runs: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    runs.sort();
    for (_, old) in runs.iter().rev().skip(LOGS_KEPT) {
        // Logs are only a convenience: one that cannot be removed stays.
        let _ = std::fs::remove_dir_all(old);
    }
}

/// Writes bytes to the lab's standard output at once.
pub fn show(bytes: &[u8]) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes);
    let _ = out.flush();
}

fn exit_code(frame: &Frame) -> Result<i32> {
    let bytes: [u8; 4] = frame.payload[..]
        .try_into()
        .map_err(|_| Error::Machine("the agent sent no exit code".into()))?;
    Ok(i32::from_le_bytes(bytes))
}

fn link(target: &Path, at: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, at).on("link", at)
}

/// Waits for the emulator to connect to its socket.
fn accept(listener: &UnixListener, qemu: &mut Qemu, dir: &Path) -> Result<UnixStream> {
    for _ in 0..300 {
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut fds, Some(&tick)).on("poll", dir)? > 0 {
            return Ok(listener.accept().on("accept", dir)?.0);
        }
        if let Some(how) = qemu.ended() {
            let log = std::fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
            return Err(Error::Machine(format!("QEMU did not start ({how}): {}", log.trim())));
        }
    }
    Err(Error::Timeout { what: "the start of QEMU".into(), seconds: 30 })
}

/// A short-named directory for the socket (socket names are limited to 107 bytes).
struct SocketDir(PathBuf);

impl SocketDir {
    fn new() -> Result<SocketDir> {
        use std::os::unix::fs::DirBuilderExt as _;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_stale();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{SOCKET_DIR}{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path).on("create", &path)?;
        Ok(SocketDir(path))
    }
}

const SOCKET_DIR: &str = "xlr-lab-";

/// Removes the directories of labs that were killed.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(SOCKET_DIR).and_then(|rest| rest.split('-').next());
        let dead = pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if dead && pid.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
            // Another user's stays: it cannot be removed.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
