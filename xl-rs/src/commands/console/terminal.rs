//! Terminals in raw mode: the guest's, so that it does not echo, and the user's while attached.

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Puts a terminal into raw mode; gives its settings before.
pub(super) fn make_raw(tty: impl AsFd) -> Result<Termios, Errno> {
    let before = tcgetattr(&tty)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&tty, OptionalActions::Now, &raw)?;
    Ok(before)
}

/// Standard input in raw mode, if it is a terminal; put back as it was when dropped.
pub(super) struct RawTerminal<'a> {
    stdin: &'a io::Stdin,
    before: Option<Termios>,
}

impl<'a> RawTerminal<'a> {
    /// Puts it into raw mode, if it is a terminal.
    pub(super) fn enter(stdin: &'a io::Stdin) -> Result<Self, Errno> {
        let before = if isatty(stdin) { Some(make_raw(stdin)?) } else { None };
        Ok(Self { stdin, before })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing more can be done for a terminal that does not take its old settings back.
            let _ = tcsetattr(self.stdin, OptionalActions::Flush, before);
            let _ = io::stderr().write_all(b"\r\n");
        }
    }
}
