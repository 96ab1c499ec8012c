//! Waiting for a backend: by a watch, with a limit, and a signal ends it.
//!
//! In: a device and a judgement of its backend's state. Out: the judgement, or the state in which the
//! backend was when the time was over. Never sleeps, never polls. The limits are xl's.

use super::{Address, DeviceError, Host, XenbusState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use xenstore::client::Nodes;

/// How long a backend may take to be ready for a new device.
pub const INIT: Duration = Duration::from_secs(10);
/// How long a hotplug script may take.
pub const HOTPLUG: Duration = Duration::from_secs(40);
/// How long a backend may take to let go of a device.
pub const DESTROY: Duration = Duration::from_secs(10);

const TOKEN: &str = "device";

/// What ended a waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was waited for can be read.
    Ready,
    /// A signal came.
    Signal,
    /// The time is over.
    Time,
}

/// Waits until `ready` can be read.
///
/// # Errors
/// The system's answer.
pub fn readable(
    ready: impl AsFd,
    interrupt: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<Woken, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let ready = PollFd::new(&ready, PollFlags::IN);
        let polled = match &interrupt {
            None => {
                let mut fds = [ready];
                poll(&mut fds, Some(&left)).map(|count| (count, false))
            }
            Some(interrupt) => {
                let mut fds = [ready, PollFd::new(interrupt, PollFlags::IN)];
                let polled = poll(&mut fds, Some(&left));
                polled.map(|count| (count, !fds[1].revents().is_empty()))
            }
        };
        match polled {
            Ok((_, true)) => return Ok(Woken::Signal),
            Ok((0, _)) => return Ok(Woken::Time),
            Ok(_) => return Ok(Woken::Ready),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

impl Host<'_> {
    /// Waits until `judge` has decided on the state of a device's backend; none stands for a backend
    /// that has no state. When the time is over: the last state.
    ///
    /// # Errors
    /// [`DeviceError::Interrupted`], those of the store.
    pub fn await_backend<T>(
        &mut self,
        address: &Address,
        limit: Duration,
        mut judge: impl FnMut(Option<XenbusState>) -> Option<T>,
    ) -> Result<Result<T, Option<XenbusState>>, DeviceError> {
        let path = format!("{}/state", address.backend_path());
        self.events()?.watch(&path, TOKEN)?;
        let waited = self.await_events(address, Instant::now() + limit, |host| {
            let state = host.backend_state(address)?;
            Ok(judge(state).ok_or(state))
        });
        // A connection that is gone has no watches.
        let unwatched = self.events().and_then(|events| events.unwatch(&path, TOKEN));
        let waited = waited?;
        unwatched?;
        Ok(waited)
    }

    /// Waits until `judge` has decided on the value of a node of a device. When the time is over: the
    /// last value.
    ///
    /// # Errors
    /// [`DeviceError::Interrupted`], those of the store.
    pub fn await_node<T>(
        &mut self,
        address: &Address,
        path: &str,
        limit: Duration,
        mut judge: impl FnMut(Option<&[u8]>) -> Option<T>,
    ) -> Result<Result<T, Option<Vec<u8>>>, DeviceError> {
        self.events()?.watch(path, TOKEN)?;
        let waited = self.await_events(address, Instant::now() + limit, |host| {
            let value = host.store.read_optional(path)?;
            Ok(judge(value.as_deref()).ok_or(value))
        });
        // A connection that is gone has no watches.
        let unwatched = self.events().and_then(|events| events.unwatch(path, TOKEN));
        let waited = waited?;
        unwatched?;
        Ok(waited)
    }

    /// Calls `look` at every event until it finds what it looks for, or the time is over.
    fn await_events<T, S>(
        &mut self,
        address: &Address,
        deadline: Instant,
        mut look: impl FnMut(&mut Self) -> Result<Result<T, S>, DeviceError>,
    ) -> Result<Result<T, S>, DeviceError> {
        loop {
            let seen = match look(self)? {
                Ok(found) => return Ok(Ok(found)),
                Err(seen) => seen,
            };
            let interrupt = self.interrupt();
            let events = self.events()?;
            // Events may have come along with the answer to a request, where poll does not see them.
            if events.events_waiting() == 0 {
                let woken = readable(&*events, interrupt, deadline);
                match woken.map_err(|errno| wait_failed(address, errno))? {
                    Woken::Ready => {}
                    Woken::Signal => return Err(DeviceError::Interrupted { device: *address }),
                    Woken::Time => return Ok(Err(seen)),
                }
            }
            // Which event it was does not matter: everything is looked at anew.
            loop {
                match events.next_event(Some(Duration::ZERO)) {
                    Ok(Some(_)) | Err(xenstore::client::Error::EventsLost { .. }) => {}
                    Ok(None) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// The state of a device's backend.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backend_state(&mut self, address: &Address) -> Result<Option<XenbusState>, DeviceError> {
        let value = self.store.read_optional(format!("{}/state", address.backend_path()))?;
        Ok(value.as_deref().map(XenbusState::of))
    }

    /// What the backend's kernel says is wrong.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backend_error(&mut self, address: &Address) -> Result<Option<String>, DeviceError> {
        let value = self.store.read_optional(format!("{}/error", address.error_path()))?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

pub(super) fn wait_failed(address: &Address, errno: Errno) -> DeviceError {
    DeviceError::Wait { device: *address, source: errno.into() }
}
