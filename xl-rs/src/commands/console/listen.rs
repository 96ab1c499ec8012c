//! A console that is listened to by this program, beside all else that it waits for.
//!
//! In: a console that is attached. Out: pieces of what the guest says, and whether anything else has
//! come. Standard output gets what the listener prints, as it takes it; nothing waits for that.

use super::{Console, wait_for};
use crate::commands::error::CommandError;
use rustix::event::{PollFd, PollFlags};
use std::io::{self, Read as _};
use std::time::Instant;
use xenstore::client::Client;

/// What has come; nothing of it if it was the time.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What the guest has said.
    pub text: Vec<u8>,
    /// Something has changed in the store, or a domain has ended.
    pub event: bool,
    /// A signal that asks the process to end.
    pub signal: bool,
    /// Whether a terminal is there to be read from.
    pub attached: bool,
    /// How many bytes of what was printed nobody has taken yet.
    pub unread_bytes: usize,
    /// Whether standard output takes nothing any more: its reader has gone, or its disk is full.
    pub unheard: bool,
}

impl Console<'_> {
    /// Waits for any of it.
    pub fn hear(&mut self, until: Instant) -> Result<Heard, CommandError> {
        let mut heard = Heard { event: self.store.events_waiting() > 0, ..Heard::default() };
        let deadline = if heard.event { Instant::now() } else { until };
        let (mut said, mut signalled) = (false, false);
        {
            let stdout = io::stdout();
            let mut fds = vec![
                PollFd::new(&*self.store, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if let Some(tty) = &self.tty {
                fds.push(PollFd::new(tty, PollFlags::IN));
                said = true;
            }
            if !self.output.is_empty() {
                fds.push(PollFd::new(&stdout, PollFlags::OUT));
            }
            wait_for(&mut fds, Some(deadline))
                .map_err(|errno| self.io("wait for its output", errno))?;
            let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            heard.event |= ready(0);
            signalled |= ready(1);
            said &= ready(2);
        }
        if signalled {
            let mut bytes = [0; 16];
            // How many came does not matter; there is at least one.
            let _ = self.signals.read(&mut bytes);
            heard.signal = true;
        }
        match self.give_output() {
            Err(CommandError::Write { .. }) => {
                self.output.clear();
                heard.unheard = true;
            }
            given => given?,
        }
        if said && !self.read(&mut heard.text)? {
            // Hung up: another terminal may have been named already.
            self.open()?;
        }
        if heard.event {
            self.take_events()?;
            if self.tty.is_none() {
                self.open()?;
            }
        }
        (heard.attached, heard.unread_bytes) = (self.tty.is_some(), self.output.len());
        Ok(heard)
    }

    /// Prints to standard output, as soon as that takes it.
    pub fn print(&mut self, text: &[u8]) {
        self.output.extend_from_slice(text);
    }

    /// The connection to the store, for watches of the listener's own.
    pub fn store(&mut self) -> &mut Client {
        self.store
    }
}
