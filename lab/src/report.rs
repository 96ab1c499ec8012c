//! What the lab says while it works: one line per step, with the time since its start.

use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// The time since the lab was started.
pub fn elapsed() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}

/// A step begins.
pub fn step(text: &str) {
    let (on, off) = if std::io::stderr().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(std::io::stderr(), "{on}[{:6.1}s] {text}{off}", elapsed().as_secs_f64());
}

/// Something worth knowing inside a step.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "          {text}");
}
