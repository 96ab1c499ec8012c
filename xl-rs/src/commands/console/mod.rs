//! `console`: the guest's console on this terminal.
//!
//! ```text
//!              waiting for the tty node ◀────── hang-up ──────┐
//!                        │ node holds a path                  │
//!                        ▼                                    │
//!   attach ──▶ opened ──▶ copying both ways ──────────────────┘
//!                              │ Ctrl-]            │ domain gone
//!                              ▼                   ▼
//!                           detached       copy what is left, end
//! ```
//!
//! xenconsoled serves the guest's ring and names a pseudo-terminal in xenstore; this copies between
//! it and standard input and output. All waiting is by events: the terminal, standard input, and
//! xenstore's watches, which also tell the end of the domain. Only guest output goes to standard
//! output. Never takes a path from a node that the guest can write.

mod channel;
pub mod error;
mod listen;
mod terminal;

pub use error::ConsoleError;
pub use listen::Heard;

use super::error::CommandError;
use super::{domain, tell};
use crate::cli::ConsoleArgs;
use channel::Tty;
use error::{PATIENCE, io_error};
use libxc_safe::{DomainInfo, Xen};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::isatty;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use terminal::{RawTerminal, make_raw};
use xenstore::client::{Client, Nodes, RETURN_PATIENCE};

/// Ctrl-], which detaches unless another key was chosen.
pub const DETACH: u8 = 0x1d;
/// Bytes moved at once; also the most that waits for a guest or a reader that does not read. No more
/// than a pipe takes without blocking once it takes anything.
const CHUNK: usize = 4096;
/// How long xenconsoled may take to hang up once the domain is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How an attachment ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user typed Ctrl-].
    Detached,
    /// The domain is gone.
    DomainGone,
}

/// Runs the command.
pub fn run(arguments: &ConsoleArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    store.outlive_store(RETURN_PATIENCE);
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    if info.domid.0 == 0 {
        return Err(CommandError::Dom0 { hint: ": it has no console of this kind" });
    }
    let tty = Tty::of(&mut store, info.domid, arguments.number)?;
    let mut console = Console::attach_to(&xen, &mut store, &info, tty, None)?;
    console.copy(Some(arguments.escape), true)?;
    Ok(())
}

/// A console that is attached.
#[derive(Debug)]
pub struct Console<'a> {
    xen: &'a Xen,
    store: &'a mut Client,
    info: DomainInfo,
    /// The node that names the terminal.
    named: Tty,
    /// The terminal; none while xenconsoled offers none.
    tty: Option<OwnedFd>,
    /// Input that the guest has not taken yet.
    input: Vec<u8>,
    input_open: bool,
    /// Output that nobody has taken yet.
    output: Vec<u8>,
    /// The key that detaches.
    detach: u8,
    /// Readable once a signal has asked the process to end.
    signals: UnixStream,
    /// To hear no more of them.
    registered: Vec<SigId>,
    /// Whether a domain that has shut down counts as gone.
    until_shutdown: bool,
}

impl<'a> Console<'a> {
    /// Attaches: waits until xenconsoled has named the terminal, and opens it. From here on nothing
    /// that the guest says is lost.
    ///
    /// A signal that asks the process to end ends the waiting. Where signals were held before, `seen`
    /// is what one sets that came until now.
    pub fn attach(
        xen: &'a Xen,
        store: &'a mut Client,
        info: &DomainInfo,
        seen: Option<&AtomicBool>,
    ) -> Result<Self, CommandError> {
        Self::attach_to(xen, store, info, Tty::first(info.domid), seen)
    }

    /// As [`Self::attach`], to the console whose terminal this node names.
    fn attach_to(
        xen: &'a Xen,
        store: &'a mut Client,
        info: &DomainInfo,
        named: Tty,
        seen: Option<&AtomicBool>,
    ) -> Result<Self, CommandError> {
        store.watch(&named.node, "console-tty")?;
        store.watch("@releaseDomain", "console-end")?;
        let (info, input) = (info.clone(), Vec::new());
        let (tty, input_open, detach) = (None, true, DETACH);
        let (signals, signalled) =
            UnixStream::pair().map_err(|e| io_error(info.domid, "prepare for signals", e))?;
        let mut console = Self {
            xen,
            store,
            info,
            named,
            tty,
            input,
            input_open,
            output: Vec::new(),
            detach,
            signals,
            registered: Vec::new(),
            until_shutdown: false,
        };
        // From here on signals are for us: the copying puts the terminal back.
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            let end = signalled.try_clone().map_err(|e| console.io("handle signals", e))?;
            let registered = signal_hook::low_level::pipe::register(signal, end)
                .map_err(|error| console.io("handle signals", error))?;
            console.registered.push(registered);
        }
        let domid = console.info.domid;
        if seen.is_some_and(|seen| seen.load(Ordering::SeqCst)) {
            return Err(ConsoleError::Signal { domid }.into());
        }
        let deadline = Instant::now() + PATIENCE;
        while !console.open()? && console.exists()? {
            match console.wait_to_open(deadline)? {
                Waited::Event => console.take_events()?,
                Waited::Signal => return Err(ConsoleError::Signal { domid }.into()),
                Waited::Enough => return Err(ConsoleError::NotServed { domid }.into()),
            }
        }
        Ok(console)
    }

    /// Waits for an event of the store's, or a signal.
    fn wait_to_open(&self, deadline: Instant) -> Result<Waited, CommandError> {
        // Events may have come along with the answer to a request, where poll does not see them.
        if self.store.events_waiting() > 0 {
            return Ok(Waited::Event);
        }
        let mut fds =
            [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&*self.store, PollFlags::IN)];
        let count = wait_for(&mut fds, Some(deadline))
            .map_err(|errno| self.io("wait for its terminal", errno))?;
        Ok(match count {
            0 => Waited::Enough,
            _ if !fds[0].revents().is_empty() => Waited::Signal,
            _ => Waited::Event,
        })
    }

    /// Ends when the domain has shut down, even if it is kept.
    #[must_use]
    pub fn until_shutdown(mut self) -> Self {
        self.until_shutdown = true;
        self
    }

    /// Copies until the domain is gone or the user detaches, by Ctrl-] unless another key is given.
    /// With `hint`, a user at a terminal is told that key first.
    pub fn copy(&mut self, key: Option<u8>, hint: bool) -> Result<Ended, CommandError> {
        self.detach = key.unwrap_or(DETACH);
        let stdin = io::stdin();
        if hint && isatty(&stdin) && isatty(io::stderr()) {
            let key = key_name(self.detach);
            tell(format_args!("Console of domain {}; {key} leaves it.", self.info.domid));
        }
        let _raw = RawTerminal::enter(&stdin).map_err(|e| self.io("set up the terminal", e))?;
        loop {
            // Events may have come along with the answer to a request, where poll does not see them.
            let mut events = self.store.events_waiting() > 0;
            if !events {
                let ready = self.wait(&stdin)?;
                if ready.signal {
                    return Err(ConsoleError::Signal { domid: self.info.domid }.into());
                }
                if ready.output && !self.take_output()? {
                    // Hung up: another terminal may have been named already.
                    self.open()?;
                }
                self.give_output()?;
                if ready.input && self.take_input(&stdin)? {
                    return Ok(Ended::Detached);
                }
                self.give_input()?;
                events = ready.store;
            }
            if events {
                self.take_events()?;
                if !self.exists()? {
                    self.last_words()?;
                    return Ok(Ended::DomainGone);
                }
                if self.tty.is_none() {
                    self.open()?;
                }
            }
        }
    }

    /// Whether the domain is still there; one that is dying says nothing any more.
    fn exists(&self) -> Result<bool, CommandError> {
        let now = domain::again(self.xen, &self.info)?;
        Ok(now.is_some_and(|info| !self.until_shutdown || info.shutdown.is_none()))
    }

    fn take_events(&mut self) -> Result<(), CommandError> {
        while domain::wait_for_event(self.store, Some(Duration::ZERO))? {}
        Ok(())
    }

    /// Opens the terminal that the node names, if it names one.
    fn open(&mut self) -> Result<bool, CommandError> {
        // Asked first: who serves now has named its own terminal before.
        if !self.named.is_served()? {
            return Ok(false);
        }
        let path = self.store.read_text_optional(&self.named.node)?.unwrap_or_default();
        if path.is_empty() {
            return Ok(false);
        }
        let domid = self.info.domid;
        let not_a_terminal = || ConsoleError::NotATerminal { domid, path: path.clone() };
        if !path.starts_with("/dev/") || path.contains("/../") {
            return Err(not_a_terminal().into());
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
            Ok(tty) => tty,
            // The terminal of an xenconsoled that has ended; its successor will name another.
            Err(Errno::NOENT | Errno::IO | Errno::NXIO) => return Ok(false),
            Err(errno) => return Err(self.io("open its terminal", errno).into()),
        };
        if !isatty(&tty) {
            return Err(not_a_terminal().into());
        }
        // Without this the terminal would echo the guest's own output back to it.
        make_raw(&tty).map_err(|errno| self.io("set up its terminal", errno))?;
        self.tty = Some(tty);
        Ok(true)
    }

    fn wait(&self, stdin: &io::Stdin) -> Result<Ready, CommandError> {
        let signals = PollFd::new(&self.signals, PollFlags::IN);
        let mut fds = vec![PollFd::new(&*self.store, PollFlags::IN), signals];
        let input = (self.input_open && self.input.is_empty()).then(|| {
            fds.push(PollFd::new(stdin, PollFlags::IN));
            fds.len() - 1
        });
        // While the reader of our output does not read, the guest has to wait; signals, the key that
        // detaches and the end of the domain do not.
        let stdout = io::stdout();
        if !self.output.is_empty() {
            fds.push(PollFd::new(&stdout, PollFlags::OUT));
        }
        let tty = self.tty.as_ref().filter(|_| self.output.is_empty()).map(|tty| {
            let more = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(tty, PollFlags::IN | more));
            fds.len() - 1
        });
        wait_for(&mut fds, None).map_err(|errno| self.io("wait for input", errno))?;
        let ready = |index: usize| !fds[index].revents().is_empty();
        let output = tty.is_some_and(|index| {
            fds[index].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
        });
        Ok(Ready { store: ready(0), signal: ready(1), input: input.is_some_and(ready), output })
    }

    /// Takes what the guest has said; tells whether the terminal still stands.
    fn take_output(&mut self) -> Result<bool, CommandError> {
        let mut output = std::mem::take(&mut self.output);
        let stands = self.read(&mut output);
        self.output = output;
        stands
    }

    /// Reads what the guest has said, a piece at a time; tells whether the terminal still stands.
    fn read(&mut self, into: &mut Vec<u8>) -> Result<bool, CommandError> {
        let Some(tty) = &self.tty else { return Ok(false) };
        let mut chunk = [0; CHUNK];
        match rustix::io::read(tty, &mut chunk) {
            Ok(0) | Err(Errno::IO) => {
                self.tty = None;
                Ok(false)
            }
            Ok(count) => {
                into.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(errno) => Err(self.io("read its terminal", errno).into()),
        }
    }

    /// Prints as much of the waiting output as standard output takes without blocking. A terminal may
    /// take less than it is given and block then; a signal ends that after some bytes.
    fn give_output(&mut self) -> Result<(), CommandError> {
        let stdout = io::stdout();
        while !self.output.is_empty() {
            let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
            let ready = wait_for(&mut fds, Some(Instant::now()))
                .map_err(|errno| self.io("wait for its reader", errno))?;
            if ready == 0 {
                return Ok(());
            }
            let piece = &self.output[..self.output.len().min(CHUNK)];
            match rustix::io::write(&stdout, piece) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(errno) => {
                    let what = String::from("standard output");
                    return Err(CommandError::Write { what, source: errno.into() });
                }
            }
        }
        Ok(())
    }

    /// Takes what the user typed; tells whether it was the wish to detach.
    fn take_input(&mut self, stdin: &io::Stdin) -> Result<bool, CommandError> {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(stdin, &mut chunk) {
            Ok(0) => self.input_open = false,
            Ok(count) => {
                let typed = &chunk[..count];
                let detach = typed.iter().position(|&byte| byte == self.detach);
                self.input.extend_from_slice(&typed[..detach.unwrap_or(count)]);
                if detach.is_some() {
                    self.give_input()?;
                    return Ok(true);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The terminal that we were started from is gone: no more input, but output may go on.
            Err(Errno::IO) => self.input_open = false,
            Err(errno) => return Err(self.io("read standard input", errno).into()),
        }
        Ok(false)
    }

    /// Gives the guest as much of the waiting input as it takes.
    fn give_input(&mut self) -> Result<(), CommandError> {
        let Some(tty) = &self.tty else { return Ok(()) };
        if self.input.is_empty() {
            return Ok(());
        }
        match rustix::io::write(tty, &self.input) {
            Ok(count) => {
                self.input.drain(..count);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            // Hung up: reading notices and opens the next one.
            Err(Errno::IO) => Ok(()),
            Err(errno) => Err(self.io("write its terminal", errno).into()),
        }
    }

    /// After the end: copies until xenconsoled hangs up, which it does once it has passed on all.
    fn last_words(&mut self) -> Result<(), CommandError> {
        let deadline = Instant::now() + LAST_WORDS;
        let stdout = io::stdout();
        loop {
            self.give_output()?;
            // Whoever reads may take its time; xenconsoled may not.
            let (next, until) = match &self.tty {
                _ if !self.output.is_empty() => (PollFd::new(&stdout, PollFlags::OUT), None),
                Some(tty) => (PollFd::new(tty, PollFlags::IN), Some(deadline)),
                None => return Ok(()),
            };
            let mut fds = [PollFd::new(&self.signals, PollFlags::IN), next];
            let count = wait_for(&mut fds, until)
                .map_err(|errno| self.io("wait for its last output", errno))?;
            if count == 0 {
                return Ok(());
            }
            if !fds[0].revents().is_empty() {
                return Err(ConsoleError::Unread { domid: self.info.domid }.into());
            }
            if self.output.is_empty() {
                self.take_output()?;
            }
        }
    }

    fn io(&self, operation: &'static str, source: impl Into<io::Error>) -> ConsoleError {
        io_error(self.info.domid, operation, source)
    }
}

impl Drop for Console<'_> {
    fn drop(&mut self) {
        for registered in self.registered.drain(..) {
            signal_hook::low_level::unregister(registered);
        }
    }
}

/// Polls until something is ready or the deadline has passed; tells how much is ready.
fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<usize, Errno> {
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or_default()
        });
        match poll(fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            ended => return ended,
        }
    }
}

/// What ended the waiting for a terminal.
#[derive(Clone, Copy, Debug)]
enum Waited {
    Event,
    Signal,
    Enough,
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
struct Ready {
    store: bool,
    signal: bool,
    input: bool,
    output: bool,
}

/// A key as people write it.
fn key_name(key: u8) -> String {
    match key {
        0..0x20 => format!("Ctrl-{}", char::from(key | 0x40)),
        _ => char::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::key_name;

    #[test]
    fn keys_have_names() {
        for (key, name) in [(0x1d, "Ctrl-]"), (1, "Ctrl-A"), (0, "Ctrl-@"), (b'q', "q")] {
            assert_eq!(key_name(key), name);
        }
    }
}
