//! One guest from its configuration to its verdict, and nothing left of it.
//!
//! ```text
//!   make ──▶ attach its console ──▶ let it run ──▶ watch ──▶ remove ──▶ hear its last words
//! ```
//!
//! In: a configuration and what is wanted. Out: an [`Attempt`]. From its making on the domain is leased:
//! its record says that it goes with this process, so that whoever comes next removes it should this
//! one be killed. All waiting is by events; what a guest prints is kept within bounds, and holds up
//! neither its time nor its end.

use super::error::RunError;
use super::judge::{End, Event, Judge, Outcome, Stage, Verdict, Wants};
use super::lines::{Lines, text};
use super::log::{Log, stamped};
use super::scratch::Scratch;
use crate::cli::program;
use crate::commands::build::{Halts, Job, definition};
use crate::commands::console::{Console, Heard};
use crate::commands::create::attach;
use crate::commands::error::{CommandError, chain};
use crate::commands::policy;
use crate::commands::remove::{prune, remove};
use crate::commands::signals::Signals;
use crate::commands::sweep::sweep_quietly;
use crate::commands::{domain, tell};
use crate::config::source::Sources;
use crate::core_dump::write_core;
use crate::state::State;
use crate::state::lock::Subject;
use crate::state::record::Held;
use domain_builder::apply::Created;
use domain_builder::undo::DestroyError;
use libxc_safe::{DomainInfo, ShutdownReason, Xen};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;
use xenstore::client::{Client, Nodes, RETURN_PATIENCE};

/// How long a line without an end may stand before it counts as one: a prompt has none.
const UNFINISHED: Duration = Duration::from_millis(500);
/// After its end a guest's ring is empty when nothing has come for so long: xenconsoled lets a guest
/// that prints much wait for 200 ms.
const QUIET: Duration = Duration::from_millis(250);
/// How long last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much of a console may wait for the reader of standard output. What comes beyond that is not
/// printed: neither the guest nor its verdict waits for a reader.
const UNREAD_BYTES: usize = 256 << 10;
/// A time that never comes.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// A guest that is to be run.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it is called in reports.
    pub name: String,
    /// Its configuration.
    pub sources: Sources,
    /// What it is to show.
    pub wants: Wants,
    /// How often it is run again when it has not passed.
    pub retries: u32,
    /// The size of the device through which it hands out files, if it has one.
    pub scratch_bytes: Option<u64>,
}

/// How it is run.
#[derive(Clone, Copy)]
pub struct Manner<'a> {
    /// The signals, which are held.
    pub signals: &'a Signals,
    /// Where what it leaves is kept.
    pub folder: Option<&'a Path>,
    /// Whether its console is printed.
    pub streams: bool,
    /// Whether warnings are not.
    pub quiet: bool,
    /// Called once it has its memory.
    pub made: Option<&'a dyn Fn()>,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Came {
    /// This.
    To(Verdict),
    /// It could not be run, or not be judged.
    Broken(String),
    /// A signal has ended it.
    #[default]
    Interrupted,
}

/// One run of a guest.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// What it came to.
    pub came: Came,
    /// From the first instruction to the verdict; nothing if it did not come to that.
    pub took: Duration,
    /// The domain's name.
    pub name: Option<String>,
    /// Its number.
    pub domid: Option<u16>,
    /// The exit code that it wrote.
    pub exit_code: Option<u8>,
    /// How its domain has ended, if it did of itself.
    pub end: Option<End>,
    /// Where its console is kept.
    pub log: Option<PathBuf>,
    /// The last of its console.
    pub tail: String,
    /// The folder of the files that it has handed out.
    pub files: Option<PathBuf>,
    /// The core of a domain that has crashed.
    pub core: Option<PathBuf>,
    /// What there is to be said of both.
    pub notes: Vec<String>,
    /// Whether others had the memory that it needs.
    pub crowded: bool,
}

/// Runs a guest.
pub fn attempt(guest: &Guest, manner: Manner<'_>) -> Attempt {
    let mut attempt = Attempt::default();
    if let Some(folder) = manner.folder {
        clear(folder);
    }
    match run(guest, manner, &mut attempt) {
        Ok(verdict) => attempt.came = Came::To(verdict),
        Err(_) if manner.signals.seen() => {}
        Err(error) => {
            attempt.crowded = error.is_out_of_memory();
            attempt.came = Came::Broken(chain(&error));
        }
    }
    attempt
}

fn run(guest: &Guest, manner: Manner<'_>, attempt: &mut Attempt) -> Result<Verdict, CommandError> {
    let signals = manner.signals;
    let (sources, mut config) = definition(guest.sources.clone(), manner.quiet)?;
    attempt.name = Some(config.name.value.clone());
    let scratch = scratch(guest, manner.folder)?;
    if let Some(scratch) = &scratch {
        let disk = scratch.disk(&config.devices.disks)?;
        config.devices.disks.push(disk);
        if let Some(site) = policy::site()? {
            site.admits(&config)?;
        }
    }
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let mut job = Job::prepare(sources, config, Uuid::new_v4(), &xen, &mut store, manner.quiet)?;
    job.leased = true;
    let log = open_log(manner.folder, attempt)?;
    let state = State::open()?;
    prune(&xen, &state)?;
    let locks = signals.or(job.locks(&state))?;
    let mut made = job.make(locks, &xen, &mut store, &state, signals, Halts::default())?;
    store.outlive_store(RETURN_PATIENCE);
    let domid = made.created.domid;
    attempt.domid = Some(domid.0);
    if let Some(tell) = manner.made {
        tell();
    }
    let code_path = format!("/local/domain/{domid}/data/exit-code");
    let mut console_store = None;
    let begun = attach(&xen, &mut console_store, &made.created, signals).and_then(|mut console| {
        console.store().watch(&code_path, "run-code")?;
        let info = xen.existing_domain_info(domid)?;
        made.unpause(&xen)?;
        Ok((console, info))
    });
    let (console, info) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            made.undo(&xen, &mut store, &state);
            return Err(error.before_it_ran());
        }
    };
    let (created, lease) = made.lease();
    let mut session = Session {
        xen: &xen,
        console,
        info,
        code_path,
        judge: Judge::new(guest.wants.clone(), &job.spec.cmdline),
        lines: Lines::default(),
        unfinished: None,
        log,
        printer: Printer { streams: manner.streams, unread_bytes: 0, left_out: 0 },
        begun: Instant::now(),
    };
    let watched = session.watch();
    attempt.took = session.begun.elapsed();
    if let (Ok(()), Some(folder)) = (&watched, manner.folder) {
        session.dump_core(&folder.join("core"), signals, attempt);
    }
    let removed = take_away(&created, lease, &xen, &mut store, &state);
    if let Err(error) = &removed {
        // Told in any case: it is left for the next command.
        tell(format_args!("{}: domain {domid} is still there: {}", program::name(), chain(error)));
    }
    let heard = watched.and_then(|()| session.last_words(signals));
    attempt.exit_code = session.judge.exit_code();
    attempt.end = session.judge.end();
    attempt.tail = session.log.tail();
    let kept = heard.and(removed).and_then(|()| match (scratch, manner.folder) {
        (Some(scratch), Some(folder)) => Ok(hand_out(&scratch, &folder.join("files"), attempt)?),
        _ => Ok(()),
    });
    let kept = kept.and(session.log.finish().map_err(CommandError::from));
    settled(session.judge.verdict(), kept, &mut attempt.notes)
}

/// What a run comes to if not all was kept or cleared up: only what passes has to have both.
fn settled(
    verdict: Option<Verdict>,
    kept: Result<(), CommandError>,
    notes: &mut Vec<String>,
) -> Result<Verdict, CommandError> {
    match (verdict, kept) {
        (_, Err(CommandError::Interrupted)) | (None, Ok(())) => Err(CommandError::Interrupted),
        (Some(verdict), Err(error)) if verdict.outcome != Outcome::Pass => {
            notes.push(chain(&error));
            Ok(verdict)
        }
        (_, Err(error)) => Err(error),
        (Some(verdict), Ok(())) => Ok(verdict),
    }
}

/// Removes what an earlier run has left in a folder, so that nothing of it passes for this one's.
fn clear(folder: &Path) {
    // What cannot be removed is met again where it is written.
    for name in ["console.log", "core"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    for retry in (1..).map(|retry| folder.join(format!("retry-{retry}"))) {
        // A link is not followed; and a folder without it is none of a run's.
        let is_own = std::fs::symlink_metadata(&retry).is_ok_and(|there| there.is_dir())
            && retry.join("console.log").exists();
        if !is_own || std::fs::remove_dir_all(&retry).is_err() {
            return;
        }
    }
}

fn open_log(folder: Option<&Path>, attempt: &mut Attempt) -> Result<Log, CommandError> {
    let Some(folder) = folder else { return Ok(Log::default()) };
    std::fs::create_dir_all(folder).map_err(RunError::write(folder))?;
    let path = folder.join("console.log");
    let log = Log::in_file(&path)?;
    attempt.log = Some(path);
    Ok(log)
}

fn scratch(guest: &Guest, folder: Option<&Path>) -> Result<Option<Scratch>, RunError> {
    let Some(bytes) = guest.scratch_bytes else { return Ok(None) };
    let folder = folder.ok_or(RunError::Nowhere)?;
    std::fs::create_dir_all(folder).map_err(RunError::write(folder))?;
    let files = folder.join("files");
    if std::fs::symlink_metadata(&files).is_ok() {
        // Never removed by itself: it may be anybody's.
        return Err(RunError::Left { path: files });
    }
    Scratch::make(folder, bytes).map(Some)
}

/// Takes out the files that the guest hands out.
fn hand_out(scratch: &Scratch, into: &Path, attempt: &mut Attempt) -> Result<(), RunError> {
    let taken = scratch.unpack(into)?;
    attempt.notes.extend(taken.left_out.iter().map(|what| format!("left out {what}")));
    attempt.files = (taken.files > 0).then(|| into.to_owned());
    Ok(())
}

/// Removes the domain, whatever state it is in. What cannot be removed stays recorded.
fn take_away(
    created: &Created,
    lease: Held,
    xen: &Xen,
    store: &mut Client,
    state: &State,
) -> Result<(), CommandError> {
    let _lock = state.lock(Subject::Domain(created.domid.0), |text| tell(text))?;
    match remove(xen, store, state, &created.identity()) {
        Ok(()) => Ok(lease.finish()?),
        Err(CommandError::Destroy(DestroyError::Gone { .. } | DestroyError::Another { .. })) => {
            // What whoever has removed it left is found by its record.
            drop((lease, _lock));
            sweep_quietly(state);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A guest that runs, and all that is heard of it.
struct Session<'a> {
    xen: &'a Xen,
    console: Console<'a>,
    info: DomainInfo,
    code_path: String,
    judge: Judge,
    lines: Lines,
    /// When a line that has no end yet is to count as one.
    unfinished: Option<Instant>,
    log: Log,
    printer: Printer,
    begun: Instant,
}

impl Session<'_> {
    /// Listens until the domain is to go.
    fn watch(&mut self) -> Result<(), CommandError> {
        // It may have ended before it was watched.
        if self.look()? {
            return self.listen_on(QUIET, false);
        }
        while self.judge.hear(self.begun.elapsed(), Event::Time) == Stage::Watching {
            let next = self.begun + self.judge.next_time().min(NEVER);
            let until = self.unfinished.into_iter().chain([next]).min().unwrap_or(next);
            let heard = self.console.hear(until)?;
            if heard.signal {
                return Err(CommandError::Interrupted);
            }
            // Before what was said: its last words may come when the time, or the grace, is over.
            let has_ended = heard.event && self.look()?;
            self.take(&heard);
            if has_ended {
                return self.listen_on(QUIET, false);
            }
            let now = Instant::now();
            if self.unfinished.is_some_and(|until| until <= now || next <= now) {
                self.unfinished = None;
                let line = text(self.lines.open());
                self.judge.hear(self.begun.elapsed(), Event::Line(&line));
            }
        }
        // It may have ended just now.
        self.look().map(drop)
    }

    /// Looks at what has no event of its own: the exit code, and the domain; tells whether that has
    /// ended.
    fn look(&mut self) -> Result<bool, CommandError> {
        self.read_code()?;
        let end = match domain::again(self.xen, &self.info)? {
            None => End::Removed,
            Some(info) => match info.shutdown {
                None => return Ok(false),
                Some(reason) => End::ShutDown(reason),
            },
        };
        // What it wrote last.
        self.read_code()?;
        self.judge.hear(self.begun.elapsed(), Event::End(end));
        Ok(true)
    }

    /// Writes the core of a domain that has crashed. That there is none is no reason for another verdict.
    fn dump_core(&mut self, path: &Path, signals: &Signals, attempt: &mut Attempt) {
        let crashed = matches!(
            self.judge.end(),
            Some(End::ShutDown(ShutdownReason::Crash | ShutdownReason::Watchdog))
        );
        if !crashed {
            return;
        }
        match write_core(self.xen, &self.info, path, &mut |_, _| !signals.seen()) {
            Ok(_) => attempt.core = Some(path.to_owned()),
            Err(error) => attempt.notes.push(format!("no core: {}", chain(&error))),
        }
    }

    fn read_code(&mut self) -> Result<(), CommandError> {
        // Whatever bytes it writes: what is no text is no exit code.
        if let Some(value) = self.console.store().read_optional(&self.code_path)? {
            let text = String::from_utf8_lossy(&value);
            self.judge.hear(self.begun.elapsed(), Event::Code(&text));
        }
        Ok(())
    }

    /// The domain is gone: what it had said, to the end.
    fn last_words(&mut self, signals: &Signals) -> Result<(), CommandError> {
        let heard = self.listen_on(LAST_WORDS, true);
        let (at, mut line) = (self.begun.elapsed(), None);
        self.lines.finish(|bytes| line = Some(text(bytes)));
        if let Some(line) = line {
            self.line(at, &line);
        }
        self.judge.hear(at, Event::Closed);
        heard?;
        // Whoever reads may take its time, but nobody is held against a signal.
        if let Some(notice) = self.printer.notice() {
            self.console.print(notice.as_bytes());
        }
        let mut until = Instant::now();
        loop {
            let heard = self.console.hear(until)?;
            match heard {
                Heard { unread_bytes: 0, .. } => return Ok(()),
                // It may have come, and have been read, while the last words were heard.
                _ if signals.seen() => return Err(CommandError::Interrupted),
                _ => until = Instant::now() + NEVER,
            }
        }
    }

    /// Listens until nothing has come for a while, or, if it will hang up, until it has.
    fn listen_on(&mut self, quiet: Duration, hangs_up: bool) -> Result<(), CommandError> {
        let end = Instant::now() + LAST_WORDS;
        let mut until = Instant::now() + quiet;
        loop {
            let heard = self.console.hear(until.min(end))?;
            if heard.signal && !hangs_up {
                return Err(CommandError::Interrupted);
            }
            if !heard.text.is_empty() {
                until = Instant::now() + quiet;
            }
            self.take(&heard);
            let (now, silent) = (Instant::now(), heard.text.is_empty());
            if end <= now || (silent && until <= now) || (hangs_up && !heard.attached) {
                return Ok(());
            }
        }
    }

    /// Takes in what the guest has said.
    fn take(&mut self, heard: &Heard) {
        self.printer.unread_bytes = heard.unread_bytes;
        self.printer.streams &= !heard.unheard;
        if heard.text.is_empty() {
            return;
        }
        let at = self.begun.elapsed();
        let mut said = Vec::new();
        self.lines.push(&heard.text, |bytes| said.push(text(bytes)));
        for line in said {
            self.line(at, &line);
        }
        self.unfinished = (!self.lines.open().is_empty()).then(|| Instant::now() + UNFINISHED);
    }

    fn line(&mut self, at: Duration, line: &str) {
        self.judge.hear(at, Event::Line(line));
        let stamped = stamped(at, line);
        for text in self.printer.print(&stamped) {
            self.console.print(text.as_bytes());
        }
        self.log.add(stamped);
    }
}

/// What of the console is printed.
struct Printer {
    streams: bool,
    unread_bytes: usize,
    /// How many lines were not printed in a row.
    left_out: u64,
}

impl Printer {
    /// What is to be printed for a line.
    fn print<'a>(&mut self, line: &'a str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let (mut notice, mut own) = (None, None);
        if self.streams && self.unread_bytes > UNREAD_BYTES {
            self.left_out += 1;
        } else if self.streams {
            notice = self.notice();
            self.unread_bytes += line.len();
            own = Some(line);
        }
        notice.map(Cow::Owned).into_iter().chain(own.map(Cow::Borrowed))
    }

    /// That lines were left out, if any were.
    fn notice(&mut self) -> Option<String> {
        match std::mem::take(&mut self.left_out) {
            0 => None,
            count => Some(format!("[ {count} lines are not shown: nobody was reading ]\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that has failed does not get away with it by filling the disk.
    #[test]
    fn what_cannot_be_kept_excuses_no_guest() {
        use super::super::judge::Cause;
        let full = || Err(CommandError::from(RunError::Nowhere));
        let check = |outcome, kept, word: &str, noted: usize| {
            let reason = String::new();
            let verdict = Some(Verdict { outcome, cause: Cause::End, reason });
            let mut notes = Vec::new();
            let came = match settled(verdict, kept, &mut notes) {
                Ok(verdict) => Came::To(verdict),
                Err(CommandError::Interrupted) => Came::Interrupted,
                Err(error) => Came::Broken(chain(&error)),
            };
            assert_eq!((came.word(), notes.len()), (word, noted));
        };
        check(Outcome::Fail, full(), "fail", 1);
        check(Outcome::Timeout, full(), "timeout", 1);
        check(Outcome::Pass, full(), "error", 0);
        check(Outcome::Pass, Ok(()), "pass", 0);
        check(Outcome::Fail, Err(CommandError::Interrupted), "interrupted", 0);
    }

    #[test]
    fn what_an_earlier_run_left_is_cleared() {
        let out = std::env::temp_dir().join(format!("xlr-run-clear-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&out);
        let names = ["console.log", "core", "retry-1/console.log", "retry-2/own", "files/result"];
        for name in names {
            let path = out.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        clear(&out);
        let left = names.map(|name| out.join(name).exists());
        assert_eq!(left, [false, false, false, true, true]);
        std::fs::remove_dir_all(out).unwrap();
    }

    #[test]
    fn what_nobody_reads_is_not_kept_for_ever() {
        let mut printer = Printer { streams: true, unread_bytes: 0, left_out: 0 };
        let line = "x".repeat(1024);
        let printed = (0..1000).map(|_| printer.print(&line).count()).sum::<usize>();
        assert_eq!(printed, 257);
        printer.unread_bytes = 0;
        let texts: Vec<String> = printer.print("y").map(Cow::into_owned).collect();
        assert_eq!(texts, ["[ 743 lines are not shown: nobody was reading ]\n", "y"]);
        assert_eq!(printer.notice(), None);
        let mut silent = Printer { streams: false, unread_bytes: 0, left_out: 0 };
        assert_eq!(silent.print("y").count(), 0);
    }
}
