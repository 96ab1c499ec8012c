//! Signals that would end a command half-way.
//!
//! Between [`Signals::hold`] and [`Signals::release`] those that end a program by default only set a
//! flag, which whoever is at work looks at between steps. The release tells whether one came before
//! it: none is lost between the last look and the release.

use super::error::CommandError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What people, shells and service managers send to end a program.
const HELD: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Signals that can be held.
pub struct Signals {
    seen: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl Signals {
    /// Takes them over; they keep their default meaning until they are held.
    pub fn take() -> Result<Self, CommandError> {
        let seen = Arc::new(AtomicBool::new(false));
        let released = Arc::new(AtomicBool::new(true));
        for signal in HELD {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&released))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&seen)))
                .map_err(|source| CommandError::Signals { source })?;
        }
        Ok(Self { seen, released })
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

    /// Whether one came.
    pub fn seen(&self) -> bool {
        self.seen.load(Ordering::SeqCst)
    }

    /// Gives them their default meaning back; tells whether one came before that.
    pub fn release(&self) -> bool {
        self.released.store(true, Ordering::SeqCst);
        self.seen()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.released.store(true, Ordering::SeqCst);
    }
}
