//! What is told of runs: text, JSON and the exit code. Pure.

use super::attempt::{Attempt, Came};
use super::judge::Outcome;
use crate::exit::Exit;
use crate::printable;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// A guest, and every run of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it is called.
    pub name: String,
    /// The runs; none if a signal came before the first.
    pub attempts: Vec<Attempt>,
}

/// All guests of one command.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The suite, or the one guest.
    pub name: String,
    /// When it began, as ISO 8601 has it.
    pub begun: String,
    /// How long all took.
    pub took: Duration,
    /// The guests, in the order of the suite.
    pub reports: Vec<Report>,
}

impl Came {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::To(verdict) => match verdict.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "fail",
                Outcome::Timeout => "timeout",
            },
            Self::Broken(_) => "error",
            Self::Interrupted => "interrupted",
        }
    }

    /// Why, for people.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::To(verdict) => &verdict.reason,
            Self::Broken(why) => why,
            Self::Interrupted => "a signal came",
        }
    }

    /// Whether all was as wanted.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::To(verdict) if verdict.outcome == Outcome::Pass)
    }

    fn exit(&self) -> Exit {
        match self {
            Self::To(verdict) => match verdict.outcome {
                Outcome::Pass => Exit::Success,
                Outcome::Fail => Exit::Failure,
                Outcome::Timeout => Exit::TimeOver,
            },
            Self::Broken(_) => Exit::Configuration,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl Report {
    /// What it came to in the end.
    #[must_use]
    pub fn came(&self) -> &Came {
        self.attempts.last().map_or(&Came::Interrupted, |attempt| &attempt.came)
    }

    /// How long its last run took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.attempts.last().map_or(Duration::ZERO, |attempt| attempt.took)
    }

    /// How often it was run again.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.attempts.len().saturating_sub(1)
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let (name, seconds) = (printable::line(&self.name), self.took().as_secs_f64());
        let why = printable::line(self.came().why());
        let retried = match self.retries() {
            0 => String::new(),
            1 => String::from(" (1 retry)"),
            count => format!(" ({count} retries)"),
        };
        format!("{} {name} after {seconds:.1} s{retried}: {why}\n", self.came().word())
    }

    fn to_json(&self) -> Value {
        let attempts: Vec<Value> = self.attempts.iter().map(attempt).collect();
        json!({
            "name": self.name,
            "verdict": self.came().word(),
            "retries": self.retries(),
            "attempts": attempts,
        })
    }
}

impl Summary {
    /// The exit code: what failed counts more than what was late, and that more than what could not
    /// be run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let exits: Vec<Exit> = self.reports.iter().map(|report| report.came().exit()).collect();
        [Exit::Interrupted, Exit::Failure, Exit::TimeOver, Exit::Configuration]
            .into_iter()
            .find(|exit| exits.contains(exit))
            .unwrap_or(Exit::Success)
    }

    /// How many came to this.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.reports.iter().filter(|report| report.came().word() == word).count()
    }

    /// A table for people, and a line below it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let names = self.reports.iter().map(|report| printable::line(&report.name).chars().count());
        let width = names.max().unwrap_or(0).max("GUEST".len());
        let mut text = format!("{:width$}  VERDICT      RUNS  SECONDS  REASON\n", "GUEST");
        for report in &self.reports {
            let (came, runs) = (report.came(), report.attempts.len());
            let (name, seconds) = (printable::line(&report.name), report.took().as_secs_f64());
            let why = printable::line(came.why());
            // Writing into a String cannot fail.
            let _ =
                writeln!(text, "{name:width$}  {:11}  {runs:4}  {seconds:7.1}  {why}", came.word());
        }
        let words = ["pass", "fail", "timeout", "error", "interrupted"];
        let counts: Vec<String> = words
            .iter()
            .map(|word| (self.count(word), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let flaky = self.reports.iter().filter(|report| report.is_flaky()).count();
        let flaky = match flaky {
            0 => String::new(),
            count => format!("; {count} passed only when run again"),
        };
        let (all, seconds) = (self.reports.len(), self.took.as_secs_f64());
        let _ = writeln!(text, "{all} guests in {seconds:.1} s: {}{flaky}", counts.join(", "));
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let guests: Vec<Value> = self.reports.iter().map(Report::to_json).collect();
        json!({
            "name": self.name,
            "begun": self.begun,
            "seconds": self.took.as_secs_f64(),
            "exit_code": self.exit() as u8,
            "guests": guests,
        })
    }
}

impl Report {
    /// Whether it has passed, and not at once.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.came().is_pass() && self.retries() > 0
    }
}

/// A path as text: a folder's name need not be UTF-8, but JSON is.
fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn attempt(attempt: &Attempt) -> Value {
    let cause = match &attempt.came {
        Came::To(verdict) => json!(verdict.cause),
        _ => Value::Null,
    };
    json!({
        "verdict": attempt.came.word(),
        "cause": cause,
        "reason": attempt.came.why(),
        "seconds": attempt.took.as_secs_f64(),
        "domid": attempt.domid,
        "exit_code": attempt.exit_code,
        "end": attempt.end.map(|end| end.to_string()),
        "log": path(attempt.log.as_ref()),
        "files": path(attempt.files.as_ref()),
        "core": path(attempt.core.as_ref()),
        "notes": attempt.notes,
    })
}

#[cfg(test)]
pub mod tests {
    use super::super::judge::{Cause, Verdict};
    use super::*;

    /// A run that came to this.
    pub fn ran(came: Came) -> Attempt {
        Attempt { came, took: Duration::from_millis(1250), ..Attempt::default() }
    }

    /// What a judge says.
    pub fn judged(outcome: Outcome, cause: Cause, reason: &str) -> Came {
        Came::To(Verdict { outcome, cause, reason: reason.to_owned() })
    }

    /// One guest for each way to fare, and one that passed when it was run again.
    pub fn one_of_each() -> Summary {
        let pass = || judged(Outcome::Pass, Cause::Expect, "printed what was expected");
        let fail = || judged(Outcome::Fail, Cause::FailOn, "printed «<&\u{1b}\">»");
        let late = judged(Outcome::Timeout, Cause::Timeout, "not within 1 s");
        let all = [
            ("good", vec![pass()]),
            ("flaky", vec![fail(), pass()]),
            ("bad", vec![fail(), fail()]),
            ("late", vec![late]),
            ("broken", vec![Came::Broken(String::from("no memory"))]),
        ];
        let reports = all.map(|(name, all)| Report {
            name: name.to_owned(),
            attempts: all.into_iter().map(ran).collect(),
        });
        Summary {
            name: String::from("suite"),
            begun: String::from("2026-01-02T03:04:05Z"),
            took: Duration::from_secs(3),
            reports: reports.into(),
        }
    }

    #[test]
    fn the_worst_is_the_exit_code() {
        let all = one_of_each();
        let check = |names: &[&str], exit: Exit| {
            let mut some = all.clone();
            some.reports.retain(|report| names.contains(&report.name.as_str()));
            assert_eq!(some.exit(), exit, "{names:?}");
        };
        check(&["good", "flaky"], Exit::Success);
        check(&["good", "broken"], Exit::Configuration);
        check(&["late", "broken"], Exit::TimeOver);
        check(&["good", "late", "bad", "broken"], Exit::Failure);
        let mut some = all.clone();
        some.reports[1].attempts.clear();
        assert_eq!(some.exit(), Exit::Interrupted);
    }

    #[test]
    fn json_survives_any_folder() {
        use std::os::unix::ffi::OsStringExt;
        let mut summary = one_of_each();
        let path = std::ffi::OsString::from_vec(b"out\xff".to_vec());
        summary.reports[0].attempts[0].log = Some(path.into());
        let json = summary.to_json();
        assert_eq!(json["guests"][0]["attempts"][0]["log"], "out\u{fffd}");
    }

    #[test]
    fn a_table_of_all() {
        assert_eq!(
            one_of_each().to_text(),
            "GUEST   VERDICT      RUNS  SECONDS  REASON\n\
             good    pass            1      1.2  printed what was expected\n\
             flaky   pass            2      1.2  printed what was expected\n\
             bad     fail            2      1.2  printed «<&?\">»\n\
             late    timeout         1      1.2  not within 1 s\n\
             broken  error           1      1.2  no memory\n\
             5 guests in 3.0 s: 2 pass, 1 fail, 1 timeout, 1 error; 1 passed only when run again\n"
        );
        let lines: Vec<String> = one_of_each().reports.iter().map(Report::line).collect();
        assert_eq!(lines[1], "pass flaky after 1.2 s (1 retry): printed what was expected\n");
    }
}
