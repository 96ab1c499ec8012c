//! Signals that would end a command half-way.
//!
//! Between [`Signals::hold`] and [`Signals::release`] those that end a program by default only set a
//! flag, which whoever is at work looks at between steps. The release tells whether one came before
//! it: none is lost between the last look and the release.

use super::error::CommandError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

/// What people, shells and service managers send to end a program.
const HELD: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Signals that can be held.
pub struct Signals {
    seen: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
    /// A console hears them, and they stay held for as long.
    heard: AtomicBool,
    /// Readable once one came.
    came: UnixStream,
    /// Of signals that are never heard: without its other end a stream is readable.
    _silent: Option<UnixStream>,
}

impl Signals {
    /// Takes them over; they keep their default meaning until they are held.
    pub fn take() -> Result<Self, CommandError> {
        let seen = Arc::new(AtomicBool::new(false));
        let released = Arc::new(AtomicBool::new(true));
        let failed = |source| CommandError::Signals { source };
        let (came, end) = UnixStream::pair().map_err(failed)?;
        for signal in HELD {
            let end = end.try_clone().map_err(failed)?;
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&released))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&seen)))
                .and_then(|_| signal_hook::low_level::pipe::register(signal, end))
                .map_err(failed)?;
        }
        Ok(Self { seen, released, heard: AtomicBool::new(false), came, _silent: None })
    }

    /// None of them, ever: for work that is carried to its end, in a thread of a process that hears
    /// them elsewhere.
    pub fn unheard() -> Result<Self, CommandError> {
        let (came, silent) =
            UnixStream::pair().map_err(|source| CommandError::Signals { source })?;
        let flag = || Arc::new(AtomicBool::new(false));
        let heard = AtomicBool::new(false);
        Ok(Self { seen: flag(), released: flag(), heard, came, _silent: Some(silent) })
    }

    /// Holds them from now on.
    pub fn hold(&self) {
        self.released.store(false, Ordering::SeqCst);
    }

    /// The flag that one of them sets.
    pub fn seen_flag(&self) -> &AtomicBool {
        &self.seen
    }

    /// The same flag, for another thread.
    pub fn seen_handle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.seen)
    }

    /// Readable once one came, and from then on: for who waits for other things as well.
    pub fn came(&self) -> &UnixStream {
        &self.came
    }

    /// Whether one came.
    pub fn seen(&self) -> bool {
        self.seen.load(Ordering::SeqCst)
    }

    /// Does what waits for other commands, unless one of them comes first: the kernel hands out locks and
    /// looks at no flag.
    ///
    /// # Errors
    /// Those of the work, and [`CommandError::Interrupted`].
    pub fn or<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let failed = |source| CommandError::Wait { source };
        let (done, end) = UnixStream::pair().map_err(failed)?;
        let (give, taken) = channel();
        // Nobody waits for it after a signal, and the process is about to end. What it gets before that
        // is let go of.
        let wait = move || {
            drop(give.send(work()));
            drop(end);
        };
        std::thread::Builder::new().name(String::from("locks")).spawn(wait).map_err(failed)?;
        loop {
            let mut fds =
                [PollFd::new(&self.came, PollFlags::IN), PollFd::new(&done, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
                Ok(_) if !fds[0].revents().is_empty() => return Err(CommandError::Interrupted),
                Ok(_) => return taken.recv().unwrap_or(Err(CommandError::Interrupted)),
            }
        }
    }

    /// Tells whether a console hears them, which puts the terminal back before the process ends: at no
    /// moment may they have their default meaning then.
    pub fn heard_by_console(&self, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
    }

    /// Gives them their default meaning back, unless a console hears them; tells whether one came before
    /// that.
    pub fn release(&self) -> bool {
        if !self.heard.load(Ordering::SeqCst) {
            self.released.store(true, Ordering::SeqCst);
        }
        self.seen()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandError, Ordering, Signals, channel};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// A command that waits for another's lock ends by a signal all the same.
    #[test]
    fn what_waits_ends_by_a_signal() {
        let mut signals = Signals::unheard().unwrap();
        assert_eq!(signals.or(|| Ok(3)).ok(), Some(3));
        let (release, never) = channel::<()>();
        // As if one had come.
        signals._silent = None;
        let waited = signals.or(move || Ok(never.recv().is_ok()));
        assert!(matches!(waited, Err(CommandError::Interrupted)), "{waited:?}");
        drop(release);
    }

    /// A signal between the domain's begin and the console's reading would leave the terminal raw.
    #[test]
    fn what_a_console_hears_stays_held() {
        let signals = Signals::unheard().unwrap();
        for (heard, released) in [(true, false), (false, true)] {
            signals.hold();
            signals.heard_by_console(heard);
            assert!(!signals.release());
            assert_eq!(signals.released.load(Ordering::SeqCst), released);
        }
    }

    /// Whoever waits for a backend would take a stream that is readable for a signal.
    #[test]
    fn signals_that_are_not_heard_do_not_come() {
        let signals = Signals::unheard().unwrap();
        let mut fds = [PollFd::new(signals.came(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap(), 0);
        assert!(!signals.seen());
    }
}
