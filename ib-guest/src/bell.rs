//! A descriptor that can be polled: readable once the other side has sent an event.
//!
//! In: an event channel. Out: what programs poll as a completion channel or for asynchronous events, and
//! what waits for it. One event may stand for several things to be read; [`Bell::keep`] makes the
//! descriptor readable for those that are left.

use crate::error::{Error, Result};
use libxc_safe::{Domid, Errno, EventChannels, Port};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// One event channel, and its descriptor.
#[derive(Debug)]
pub struct Bell {
    /// What is polled: it has no data of its own.
    poll: OwnedFd,
    events: EventChannels,
    port: Port,
    /// Readable while something is left.
    left: OwnedFd,
}

impl Bell {
    /// One whose port waits for `backend`.
    ///
    /// # Errors
    /// [`Error::Xen`], [`Error::System`].
    pub fn new(backend: Domid) -> Result<Self> {
        let events = EventChannels::open()?;
        let port = events.bind_unbound(backend)?;
        let failed = |errno| Error::System { what: "make a descriptor for events", errno };
        let left = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        epoll::add(&poll, &events, EventData::new_u64(0), EventFlags::IN).map_err(failed)?;
        epoll::add(&poll, &left, EventData::new_u64(1), EventFlags::IN).map_err(failed)?;
        Ok(Self { poll, events, port, left })
    }

    /// The port, for the backend.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.port
    }

    /// What programs poll.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Takes what has come: look at what it may stand for afterwards.
    ///
    /// # Errors
    /// [`Error::Xen`].
    pub fn take(&self) -> Result<()> {
        let mut ports = Vec::new();
        while self.events.pending(&mut ports)? > 0 {}
        if !ports.is_empty() {
            self.events.unmask_all(&ports)?;
        }
        // Nothing is in it unless something was left; then there is no more now.
        let _ = rustix::io::read(&self.left, &mut [0_u8; 8]);
        Ok(())
    }

    /// Something is left to be read.
    pub fn keep(&self) {
        // It cannot be full: it is emptied before each look.
        let _ = rustix::io::write(&self.left, &1_u64.to_ne_bytes());
    }

    /// Waits until something comes, unless the program has made the descriptor non-blocking.
    ///
    /// # Errors
    /// [`Error::System`] with EAGAIN, or EINTR when a signal came.
    pub fn wait(&self) -> Result<()> {
        let failed = |errno| Error::System { what: "wait for an event", errno };
        let flags = rustix::fs::fcntl_getfl(&self.poll).map_err(failed)?;
        if flags.contains(OFlags::NONBLOCK) {
            return Err(failed(Errno::AGAIN));
        }
        let mut fds = [PollFd::from_borrowed_fd(self.poll.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut fds, None).map_err(failed)?;
        Ok(())
    }
}
