//! What a case works with inside dom0: commands, guests' consoles, expectations.

use crate::dom0::follow::Follow;
use crate::dom0::init;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use xenstore::client::{Client, Nodes as _};

/// Why a case ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something is wrong.
    Failed(String),
    /// The case cannot be carried out here.
    Skipped(String),
}

/// What a case returns.
pub type Verdict = Result<(), Stop>;

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Failed(text)
    }
}

/// Fails the case with a formatted reason.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => {
        return Err($crate::dom0::host::Stop::Failed(format!($($arg)*)))
    };
}

/// Fails the case unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($arg:tt)*) => {
        // A value, so that what is compared may be a fraction.
        if !std::convert::identity::<bool>($condition) {
            $crate::fail!($($arg)*);
        }
    };
}

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The command itself.
    pub command: String,
    /// Exit code; 128 + signal when it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Fails the case unless the command succeeded.
    pub fn success(self) -> Result<Said, Stop> {
        if self.code == 0 {
            return Ok(self);
        }
        Err(Stop::Failed(format!(
            "{} ended with {}: {}{}",
            self.command, self.code, self.out, self.err
        )))
    }

    /// Fails the case unless the command failed.
    pub fn failure(self) -> Result<Said, Stop> {
        if self.code != 0 && self.code < 128 {
            return Ok(self);
        }
        Err(Stop::Failed(format!(
            "{} should have failed, ended with {}: {}{}",
            self.command, self.code, self.out, self.err
        )))
    }
}

/// Runs a program with its arguments, separated by blanks.
pub fn run(line: &str) -> Result<Said, Stop> {
    let words: Vec<&str> = line.split_whitespace().collect();
    argv(&words)
}

/// Runs a program with its arguments.
pub fn argv(words: &[&str]) -> Result<Said, Stop> {
    use std::os::unix::process::ExitStatusExt as _;
    let [program, args @ ..] = words else { fail!("an empty command") };
    let begun = Instant::now();
    let out = init::command(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Stop::Failed(format!("{program}: {error}")))?;
    let code = out.status.code().or_else(|| out.status.signal().map(|signal| 128 + signal));
    let said = Said {
        command: words.join(" "),
        code: code.unwrap_or(255),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    };
    let Said { command, code, out, err } = &said;
    eprintln!("$ {command}\n{out}{err}[{code}] {:.1} s", begun.elapsed().as_secs_f64());
    Ok(said)
}

/// Where xenconsoled logs what a guest prints.
pub fn console_log(name: &str) -> PathBuf {
    Path::new("/var/log/xen/console").join(format!("guest-{name}.log"))
}

/// A guest's console, followed from its start. Make it before the guest.
pub fn console(name: &str) -> Result<Follow, Stop> {
    let path = console_log(name);
    // An earlier guest of that name must not answer for this one.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Follow::new(&path)?)
}

/// Waits until the guest has printed `needle`.
pub fn await_text(console: &mut Follow, needle: &str, seconds: u64) -> Verdict {
    if console.until(needle, Duration::from_secs(seconds), |_| {})? {
        return Ok(());
    }
    fail!(
        "no «{needle}» within {seconds} s; the console: {}",
        String::from_utf8_lossy(&console.text)
    )
}

/// Waits until the node has a value, woken by a watch, and returns it.
pub fn await_node(path: &str, seconds: u64) -> Result<String, Stop> {
    await_value(path, seconds, |value| !value.is_empty())
}

/// Waits until the node has this value, woken by a watch.
pub fn await_node_is(path: &str, wanted: &str) -> Verdict {
    await_value(path, 60, |value| value == wanted).map(drop)
}

fn await_value(path: &str, seconds: u64, good: impl Fn(&str) -> bool) -> Result<String, Stop> {
    let failed = |error: xenstore::client::Error| Stop::Failed(error.to_string());
    let mut store = Client::connect().map_err(failed)?;
    store.watch(path, "lab").map_err(failed)?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if store.next_event(Some(left)).map_err(failed)?.is_none() {
            fail!("{path} is {last:?} after {seconds} s");
        }
        match store.read_text_optional(path).map_err(failed)? {
            Some(value) if good(&value) => return Ok(value),
            value => last = value,
        }
    }
}

/// The words of the guest's report line, by name.
pub fn report(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let line =
        text.lines().filter_map(|line| line.strip_prefix("xlr-guest: memory_kib=")).next_back();
    let Some(line) = line else { return BTreeMap::new() };
    let line = format!("memory_kib={line}");
    let (words, name) = line.trim_end().split_once(" name=").unwrap_or((line.trim_end(), ""));
    let mut report: BTreeMap<String, String> = words
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    report.insert("name".into(), name.into());
    report
}

/// Writes a configuration file and returns its path.
pub fn config(name: &str, text: &str) -> Result<String, Stop> {
    let path = format!("/tmp/{name}.cfg");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The number of a domain by the C tools; `None` when there is none of that name.
pub fn domid(name: &str) -> Result<Option<u32>, Stop> {
    let said = argv(&["/xen/bin/xl", "domid", name])?;
    Ok(said.out.trim().parse().ok().filter(|_| said.code == 0))
}

/// Waits for the end of every process whose command line begins with `start`: a toolstack's daemon
/// that follows its domain.
pub fn await_process_end(start: &str, seconds: i64) -> Verdict {
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let Some(pid) = pid else { continue };
        if !String::from_utf8_lossy(&line).replace('\0', " ").starts_with(start) {
            continue;
        }
        // One that is gone already has no descriptor any more.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit));
        ensure!(ended == Ok(1), "«{start}» is still there after {seconds} s");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_guest() {
        let text =
            b"noise\r\nxlr-guest: memory_kib=1 vcpus=2 domid=3 name=a b\r\nxlr-guest: ready\n";
        let report = report(text);
        assert_eq!(report["memory_kib"], "1");
        assert_eq!(report["domid"], "3");
        assert_eq!(report["name"], "a b");
        assert!(super::report(b"nothing").is_empty());
    }
}
