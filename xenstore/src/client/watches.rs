//! Watches and their events ("Watches" of the specification).

use std::time::{Duration, Instant};

use super::connection::Client;
use super::error::Error;
use super::events::Waiting;
use super::expect;
use super::nodes::Nodes;
use super::transport::Framing;
use crate::errno::Errno;
use crate::path::Path;
use crate::wire::{Request, Token, WatchEvent};

impl Client {
    /// Watches `path` and all below it; `path` may be special (`@introduceDomain`,
    /// `@releaseDomain`). A first event comes at once.
    ///
    /// # Errors
    /// [`Error::is_exists`] for the same path and token again; quotas.
    pub fn watch(&mut self, path: impl AsRef<str>, token: impl AsRef<[u8]>) -> Result<(), Error> {
        self.set_watch(Path::new(path.as_ref())?, Token::new(token.as_ref())?, None)
    }

    /// Watches `path` and what lies up to `depth` levels below it: 0 for the node alone, 1 for its
    /// children too. Where the store does not know depths (before Xen 4.21, or through the kernel's
    /// device), events from deeper nodes are sorted out here.
    ///
    /// With a special path and a depth of 1, events name the domain: `@releaseDomain/5`.
    ///
    /// # Errors
    /// As [`Client::watch`]; [`Error::Unsupported`] for a special path where the store does not know
    /// depths.
    pub fn watch_depth(
        &mut self,
        path: impl AsRef<str>,
        token: impl AsRef<[u8]>,
        depth: u32,
    ) -> Result<(), Error> {
        let (path, token) = (Path::new(path.as_ref())?, Token::new(token.as_ref())?);
        if path.is_special() && self.framing() != Framing::Stream {
            return Err(depth_unsupported(&path));
        }
        self.set_deep_watch(path, token, depth)
    }

    /// Sets a watch as it was set before.
    pub(super) fn watch_again(
        &mut self,
        path: Path,
        token: Token,
        depth: Option<u32>,
    ) -> Result<(), Error> {
        match depth {
            Some(depth) => self.set_deep_watch(path, token, depth),
            None => self.set_watch(path, token, None),
        }
    }

    fn set_deep_watch(&mut self, path: Path, token: Token, depth: u32) -> Result<(), Error> {
        match self.set_watch(path.clone(), token.clone(), Some(depth)) {
            Err(error) if error.errno() == Some(Errno::Einval) => {}
            result => return result,
        }
        // An old store refuses the third field.
        if path.is_special() {
            return Err(depth_unsupported(&path));
        }
        self.session.keep_depths();
        self.set_watch(path, token, Some(depth))
    }

    fn set_watch(&mut self, path: Path, token: Token, depth: Option<u32>) -> Result<(), Error> {
        let request = Request::Watch { path, token, depth };
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }

    /// Takes a watch back. Its events that were not taken yet are dropped.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when there is no such watch.
    pub fn unwatch(&mut self, path: impl AsRef<str>, token: impl AsRef<[u8]>) -> Result<(), Error> {
        let (path, token) = (Path::new(path.as_ref())?, Token::new(token.as_ref())?);
        let request = Request::Unwatch { path, token };
        let reply = self.call(&request)?;
        expect::done(&request, reply)
    }

    /// Drops all watches, their events, and the connection's transactions.
    ///
    /// # Errors
    /// ENOSYS from an old store; a lost connection. Over the kernel's device it would hit the
    /// kernel's own watches too, so it is not sent there.
    pub fn reset_watches(&mut self) -> Result<(), Error> {
        if self.framing() != Framing::Stream {
            return Err(Error::Unsupported {
                what: "RESET_WATCHES through the kernel's device".to_owned(),
                needs: "the kernel's own watches would go too; connect by xenstored's socket",
            });
        }
        let reply = self.call(&Request::ResetWatches)?;
        expect::done(&Request::ResetWatches, reply)
    }

    /// The next event, or `None` when none came within `timeout` (`None` waits for ever). An event
    /// that is here already is given at once, even after the connection was lost. While a lost connection
    /// is made anew ([`Client::outlive_store`]), `timeout` is at least some hundredths of a second.
    ///
    /// # Errors
    /// [`Error::EventsLost`] in the place of events that found no room: the watches stand, but the
    /// watched nodes must be looked at anew. [`Error::WatchesLost`] when the connection is gone.
    pub fn next_event(&mut self, timeout: Option<Duration>) -> Result<Option<WatchEvent>, Error> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            match self.session.pop_event() {
                Some(Waiting::Event(event)) => return Ok(Some(event)),
                Some(Waiting::Lost(lost)) => {
                    let limit = self.session.events.limit();
                    return Err(Error::EventsLost { lost, limit });
                }
                None => {}
            }
            if let Some(loss) = self.lost().cloned() {
                // The watches tell of their first events again.
                match self.connect_again(deadline) {
                    Ok(true) => continue,
                    Ok(false) => return Err(Error::WatchesLost { loss }),
                    // It may come back later.
                    Err(_) if self.is_returning() => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            let heard = self
                .wait(false, deadline)
                .and_then(|ready| if ready { self.hear().map(|_| true) } else { Ok(false) });
            match heard {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // Events may have come before the end; they are given first.
                Err(loss) => drop(self.lose(loss)),
            }
        }
    }

    /// How many events, or reports of lost ones, wait here.
    #[must_use]
    pub fn events_waiting(&self) -> usize {
        self.session.events.len()
    }

    /// Events for ever, each as [`Client::next_event`] gives it without a timeout. It ends after the
    /// connection was lost.
    pub const fn events(&mut self) -> WatchEvents<'_> {
        WatchEvents { client: self, ended: false }
    }
}

pub(crate) fn depth_unsupported(path: &Path) -> Error {
    Error::Unsupported {
        what: format!("a watch on {path} with a depth"),
        needs: "it needs a xenstored of Xen 4.21 or later, reached by its socket",
    }
}

/// The events of a client, one after the other.
#[derive(Debug)]
pub struct WatchEvents<'a> {
    client: &'a mut Client,
    ended: bool,
}

impl Iterator for WatchEvents<'_> {
    type Item = Result<WatchEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.client.next_event(None).transpose()?;
        self.ended = next.as_ref().is_err_and(Error::is_disconnected);
        Some(next)
    }
}
