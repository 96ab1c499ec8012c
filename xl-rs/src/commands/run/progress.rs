//! What is told while a suite runs: moving lines on a terminal, plain ones everywhere else.
//!
//! In: what begins and ends. Out: standard error, so that standard output is the results' alone.

use super::report::Report;
use crate::commands::tell;
use crate::printable;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Zoned;
use rustix::termios::isatty;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How often what moves is drawn.
const TICK: Duration = Duration::from_millis(250);

/// What is told.
pub enum Progress {
    /// Nothing.
    Silent,
    /// Lines with the time of day.
    Plain,
    /// Bars: one for all, one for each guest that runs.
    Bars {
        /// Where they are drawn.
        all: MultiProgress,
        /// How many guests are done.
        total: ProgressBar,
        /// Those that run.
        running: BTreeMap<usize, ProgressBar>,
    },
}

impl Progress {
    /// For so many guests.
    #[must_use]
    pub fn new(guests: usize, quiet: bool) -> Self {
        match (quiet, isatty(io::stderr())) {
            (true, _) => Self::Silent,
            (false, false) => Self::Plain,
            (false, true) => {
                let all = MultiProgress::new();
                let total = all.add(ProgressBar::new(guests as u64));
                total.set_style(style("{bar:30} {pos}/{len} guests, {elapsed}"));
                total.tick();
                Self::Bars { all, total, running: BTreeMap::new() }
            }
        }
    }

    /// A guest begins, for the first time or once more.
    pub fn begins(&mut self, index: usize, name: &str, retry: usize) {
        let name = printable::line(name);
        let again = if retry > 0 { format!(", retry {retry}") } else { String::new() };
        match self {
            Self::Silent => {}
            Self::Plain => plain(&format!("run  {name}{again}")),
            Self::Bars { all, running, total } => {
                let bar = all.insert_before(total, ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {msg} {elapsed}"));
                bar.set_message(format!("{name}{again}"));
                bar.enable_steady_tick(TICK);
                running.insert(index, bar);
            }
        }
    }

    /// A run has ended; the guest may be run again.
    pub fn ended(&mut self, index: usize, report: &Report, again: bool) {
        self.stops(index, report.line().trim_end(), !again);
    }

    /// There was no room for it after all.
    pub fn waits(&mut self, index: usize, name: &str) {
        let name = printable::line(name);
        self.stops(index, &format!("wait {name}: others have its memory"), false);
    }

    fn stops(&mut self, index: usize, line: &str, done: bool) {
        match self {
            Self::Silent => {}
            Self::Plain => plain(line),
            Self::Bars { all, total, running } => {
                if let Some(bar) = running.remove(&index) {
                    bar.finish_and_clear();
                    all.remove(&bar);
                }
                // A terminal that is gone needs no progress.
                let _ = all.println(line);
                if done {
                    total.inc(1);
                }
            }
        }
    }

    /// All is over.
    pub fn finish(&mut self) {
        if let Self::Bars { total, .. } = self {
            total.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn plain(line: &str) {
    tell(format_args!("{} {line}", Zoned::now().strftime("%H:%M:%S")));
}
