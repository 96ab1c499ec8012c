//! What a guest's run comes to: pure.
//!
//! ```text
//!              decided, and the grace is over; or the time is over
//!   Watching ────────────────────────────────────────────────────▶ Leaving ──────▶ Done
//!      │                         the domain has ended                 ▲    all has
//!      └──────────────────────────────────────────────────────────────┘    been heard
//! ```
//!
//! In: lines of the console, what the guest wrote as its exit code, how its domain ended, and time.
//! Out: when the domain is to go, and the [`Verdict`]. What is heard while the domain is taken away
//! still counts, so that no pattern is lost in a buffer. What fails a run beats what passes it,
//! whichever came first; only the time that was over before is over.

use super::echo::Echo;
use super::patterns::Patterns;
use libxc_safe::ShutdownReason;
use std::fmt;
use std::time::Duration;

/// Most characters of a line that a reason quotes.
const QUOTED: usize = 200;

/// What a run is to show.
#[derive(Clone, Debug)]
pub struct Wants {
    /// All of these are to be seen, in any order.
    pub expect: Patterns,
    /// None of these is.
    pub fail_on: Patterns,
    /// How the domain is to end; none where it need not end.
    pub end: Option<Ending>,
    /// Whether the guest has to write an exit code.
    pub code: bool,
    /// How long all that may take.
    pub timeout: Duration,
    /// How long the guest is watched once all is decided: it may still crash.
    pub grace: Duration,
}

/// A way in which a domain can be wanted to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It powers off
    Poweroff,
    /// It wants to be started again
    Reboot,
    /// It crashes, or its watchdog ends it
    Crash,
}

/// How a domain has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In one of the ways of its own.
    ShutDown(ShutdownReason),
    /// Somebody else has removed it.
    Removed,
}

impl End {
    fn is(self, wanted: Ending) -> bool {
        use ShutdownReason::{Crash, Poweroff, Reboot, Watchdog};
        matches!(
            (self, wanted),
            (Self::ShutDown(Poweroff), Ending::Poweroff)
                | (Self::ShutDown(Reboot), Ending::Reboot)
                | (Self::ShutDown(Crash | Watchdog), Ending::Crash)
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown(ShutdownReason::Poweroff) => f.write_str("poweroff"),
            Self::ShutDown(ShutdownReason::Reboot) => f.write_str("reboot"),
            Self::ShutDown(ShutdownReason::Suspend) => f.write_str("suspend"),
            Self::ShutDown(ShutdownReason::Crash) => f.write_str("crash"),
            Self::ShutDown(ShutdownReason::Watchdog) => f.write_str("watchdog"),
            Self::ShutDown(ShutdownReason::SoftReset) => f.write_str("soft-reset"),
            Self::ShutDown(ShutdownReason::Other(code)) => write!(f, "code {code}"),
            Self::Removed => f.write_str("removed"),
        }
    }
}

/// What comes from outside.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The guest has printed this line.
    Line(&'a str),
    /// The guest has written this as its exit code.
    Code(&'a str),
    /// The domain has ended.
    End(End),
    /// The domain is gone, and all that it had said was heard.
    Closed,
    /// Nothing but time.
    Time,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Go on.
    Watching,
    /// The domain is to go.
    Leaving,
    /// Nothing: the verdict stands.
    Done,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As wanted.
    Pass,
    /// Not as wanted.
    Fail,
    /// Not in time.
    Timeout,
}

/// What has settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// What was expected was seen.
    Expect,
    /// What must not be seen was.
    FailOn,
    /// The exit code.
    ExitCode,
    /// How the domain ended.
    End,
    /// The domain ended before all was seen.
    Unseen,
    /// Time.
    Timeout,
}

/// What a run came to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it came to.
    pub outcome: Outcome,
    /// What has settled it.
    pub cause: Cause,
    /// The same for people.
    pub reason: String,
}

/// The exit code, as the guest wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A number.
    Number(u8),
    /// Something else.
    Unreadable(String),
}

/// The judge of one run.
#[derive(Debug)]
pub struct Judge {
    wants: Wants,
    echo: Echo,
    stage: Stage,
    /// Which of the expected patterns were seen.
    seen: Vec<bool>,
    /// The pattern that must not be seen, and the line in which it was.
    broken: Option<(String, String)>,
    code: Option<Code>,
    end: Option<End>,
    /// When all was decided, as far as it could be.
    decided: Option<Duration>,
    timed_out: bool,
}

impl Judge {
    /// Nothing has been heard. `command_line` is what the guest's kernel is given: it may print it.
    #[must_use]
    pub fn new(wants: Wants, command_line: &str) -> Self {
        let seen = vec![false; wants.expect.len()];
        Self {
            wants,
            echo: Echo::new(command_line),
            stage: Stage::Watching,
            seen,
            broken: None,
            code: None,
            end: None,
            decided: None,
            timed_out: false,
        }
    }

    /// Takes an event in; `at` is the time since the guest began, and never goes back.
    pub fn hear(&mut self, at: Duration, event: Event<'_>) -> Stage {
        if self.stage == Stage::Done {
            return Stage::Done;
        }
        match event {
            Event::Line(line) if !self.timed_out => self.line(line),
            Event::Code(text) if !self.timed_out && !self.bad_code() => self.code(text),
            Event::End(end) => {
                // The first is its own; what came after the time was over is no matter of this run.
                if self.end.is_none() && !self.timed_out {
                    self.end = Some(end);
                }
                self.stage = Stage::Leaving;
            }
            Event::Closed => self.stage = Stage::Done,
            Event::Line(_) | Event::Code(_) | Event::Time => {}
        }
        if self.stage == Stage::Watching {
            self.watch(at);
        }
        self.stage
    }

    fn watch(&mut self, at: Duration) {
        if self.decided.is_none() && (self.is_broken() || self.is_satisfied()) {
            self.decided = Some(at);
        }
        if self.next_time() <= at {
            self.timed_out = self.decided.is_none();
            self.stage = Stage::Leaving;
        }
    }

    fn line(&mut self, line: &str) {
        let counts = |pattern: &regex::Regex| {
            // What is left of an echo is looked at only where there is something to be found.
            pattern.is_match(line) && pattern.is_match(&self.echo.without(line))
        };
        for (seen, pattern) in self.seen.iter_mut().zip(self.wants.expect.iter()) {
            *seen = *seen || counts(pattern);
        }
        if self.broken.is_none() {
            let broken = self.wants.fail_on.iter().find(|pattern| counts(pattern));
            self.broken = broken.map(|pattern| {
                let line = line.trim().chars().take(QUOTED).collect();
                (pattern.as_str().to_owned(), line)
            });
        }
    }

    fn code(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.code = Some(match text.parse() {
                Ok(number) => Code::Number(number),
                Err(_) => Code::Unreadable(text.chars().take(40).collect()),
            });
        }
    }

    /// When [`Event::Time`] is to come, unless something else comes before.
    #[must_use]
    pub fn next_time(&self) -> Duration {
        match self.decided {
            Some(decided) => decided.saturating_add(self.wants.grace),
            None => self.wants.timeout,
        }
    }

    /// The exit code that the guest wrote.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.code {
            Some(Code::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// How the domain ended, if it did of itself.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn bad_code(&self) -> bool {
        self.code.as_ref().is_some_and(|code| *code != Code::Number(0))
    }

    fn bad_end(&self) -> bool {
        let wanted = self.wants.end.unwrap_or(Ending::Poweroff);
        self.end.is_some_and(|end| !end.is(wanted))
    }

    fn is_broken(&self) -> bool {
        self.broken.is_some() || self.bad_code() || self.bad_end()
    }

    fn is_satisfied(&self) -> bool {
        let Wants { expect, end, code, .. } = &self.wants;
        let ended = |wanted: Ending| self.end.is_some_and(|end| end.is(wanted));
        let zero = self.code == Some(Code::Number(0));
        if expect.len() == 0 && end.is_none() && !code {
            return zero || ended(Ending::Poweroff);
        }
        self.seen.iter().all(|seen| *seen) && (zero || !code) && end.is_none_or(ended)
    }

    /// Whether all has come, and no end was wanted: it may be heard only after the end.
    fn all_but_the_end(&self) -> bool {
        let zero = self.code == Some(Code::Number(0)) || !self.wants.code;
        let seen = !self.seen.is_empty() && self.seen.iter().all(|seen| *seen);
        seen && zero && self.wants.end.is_none()
    }

    /// The verdict, once there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        (self.stage == Stage::Done).then(|| {
            let (outcome, cause, reason) = self.settle();
            Verdict { outcome, cause, reason }
        })
    }

    fn settle(&self) -> (Outcome, Cause, String) {
        use Outcome::{Fail, Pass, Timeout};
        if self.timed_out {
            let seconds = self.wants.timeout.as_secs_f64();
            return (Timeout, Cause::Timeout, format!("not within {seconds} s{}", self.missing()));
        }
        if let Some((pattern, line)) = &self.broken {
            return (Fail, Cause::FailOn, format!("printed «{line}», which {pattern:?} fails"));
        }
        match (&self.code, self.end) {
            (Some(Code::Number(number)), _) if *number != 0 => {
                return (Fail, Cause::ExitCode, format!("wrote exit code {number}"));
            }
            (Some(Code::Unreadable(text)), _) => {
                return (Fail, Cause::ExitCode, format!("wrote {text:?}, which is no exit code"));
            }
            (_, Some(end)) if self.bad_end() => {
                let wanted = match self.wants.end {
                    Some(Ending::Poweroff) | None => "poweroff",
                    Some(Ending::Reboot) => "reboot",
                    Some(Ending::Crash) => "crash",
                };
                let after = match self.decided.is_some() || self.all_but_the_end() {
                    true => ", after all that was wanted",
                    false => "",
                };
                let reason = match end {
                    End::Removed => format!("its domain was removed by somebody else{after}"),
                    End::ShutDown(_) => format!("ended by {end} and not by {wanted}{after}"),
                };
                return (Fail, Cause::End, reason);
            }
            _ => {}
        }
        if !self.is_satisfied() {
            return (Fail, Cause::Unseen, format!("ended before that{}", self.missing()));
        }
        match (self.seen.len(), self.end) {
            (1.., _) => (Pass, Cause::Expect, String::from("printed what was expected")),
            (0, Some(end)) if !self.wants.code && self.code.is_none() => {
                (Pass, Cause::End, format!("ended by {end}"))
            }
            (0, _) => (Pass, Cause::ExitCode, String::from("wrote exit code 0")),
        }
    }

    /// What was wanted and has not come.
    fn missing(&self) -> String {
        let unseen = self.seen.iter().zip(self.wants.expect.iter()).filter(|(seen, _)| !**seen);
        let mut missing: Vec<String> =
            unseen.map(|(_, pattern)| format!("{:?}", pattern.as_str())).collect();
        if self.wants.code && self.code.is_none() {
            missing.push(String::from("an exit code"));
        }
        if self.end.is_none() && (self.wants.end.is_some() || missing.is_empty()) {
            missing.push(String::from("its end"));
        }
        match missing.is_empty() {
            true => String::new(),
            false => format!(": {}", missing.join(", ")),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
