//! `cargo lab run` and `cargo lab shell`: one command, or a terminal, in a freshly booted dom0.

use crate::artefact::Artefacts;
use crate::error::{Context as _, Result};
use crate::frame::{Kind, Order};
use crate::paths::Paths;
use crate::program;
use crate::qemu::Machine;
use crate::session::{Boot, Session, show};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

/// What `run` and `shell` share.
pub struct Options {
    /// The shape of the machine.
    pub machine: Machine,
    /// Whether `xlr` is built and put into dom0.
    pub with_xlr: bool,
    /// The whole run's limit.
    pub limit: Duration,
}

fn boot(paths: &Paths, options: &Options, log_name: &str) -> Result<Session> {
    let xlr = if options.with_xlr { Some(program::xlr(paths, "small")?) } else { None };
    let mut artefacts = Artefacts::open(paths)?;
    let boot = Boot {
        paths,
        machine: options.machine.clone(),
        xlr,
        limit: options.limit,
        log_name: log_name.into(),
    };
    Session::boot(&mut artefacts, &boot)
}

/// Runs one command; its output and exit code become the lab's.
pub fn run(paths: &Paths, options: &Options, command: &[String]) -> Result<i32> {
    let mut session = boot(paths, options, "run")?;
    let argv = match command {
        [line] => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        words => words.to_vec(),
    };
    let order = Order { argv, merged: one_way(), ..Order::default() };
    let code = session.stream(&order, options.limit, |kind, bytes| match kind {
        Kind::Error => {
            let _ = std::io::stderr().write_all(bytes);
        }
        _ => show(bytes),
    })?;
    session.power_off()?;
    Ok(code)
}

/// Whether the lab's standard output and standard error end in the same place: what a command writes
/// to both must come there in the order in which it wrote it.
fn one_way() -> bool {
    let of = |stream: BorrowedFd<'_>| rustix::fs::fstat(stream).map(|at| (at.st_dev, at.st_ino));
    match (of(stdout().as_fd()), of(stderr().as_fd())) {
        (Ok(out), Ok(error)) => out == error,
        _ => false,
    }
}

/// An interactive shell in dom0.
pub fn shell(paths: &Paths, options: &Options) -> Result<i32> {
    let mut session = boot(paths, options, "shell")?;
    let terminal = stdin().is_terminal();
    let size = tcgetwinsize(stdin()).map_or((24, 80), |size| (size.ws_row, size.ws_col));
    let order = Order {
        argv: vec!["/bin/sh".into(), "-i".into()],
        env: vec![("PS1".into(), "dom0# ".into())],
        terminal: terminal.then_some(size),
        ..Order::default()
    };
    let raw = if terminal { Some(RawTerminal::enter()?) } else { None };
    let code = session.interact(&order);
    drop(raw);
    let code = code?;
    session.power_off()?;
    Ok(code)
}

/// The lab's terminal without line editing; dropping it restores what was.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<RawTerminal> {
        let before = tcgetattr(stdin()).on("examine", "the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).on("change", "the terminal")?;
        Ok(RawTerminal(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
