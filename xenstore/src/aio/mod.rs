//! The client for tokio: one connection, any number of tasks.
//!
//! In: calls of concurrent tasks. Out: their replies, and one stream of watch events. A task of its
//! own owns the socket and drives the same [`Session`](crate::client::Session) as the
//! blocking client; calls reach it by a channel, so that requests of different tasks are pipelined
//! without further ado.
//!
//! Watch events wait in a bounded channel, then in the session. While nobody takes them and no
//! request is under way, the socket is not read: the store keeps them. While requests are under way
//! reading must go on for their replies; events that then find no room are reported as
//! [`Error::EventsLost`], never dropped in silence.
//!
//! Only sockets serve here: the kernel's device takes one request at a time and reports no room.

mod nodes;
mod task;
mod transaction;

use std::path::Path as FilePath;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;

pub use nodes::Nodes;
pub use transaction::Transaction;

use crate::client::expect;
use crate::client::{
    Attempt, Counters, Error, REQUEST_TIMEOUT, Waiting, depth_unsupported, places,
};
use crate::errno::Errno;
use crate::path::Path;
use crate::wire::{Request, Token, WatchEvent};
use task::{Command, Link};

/// Events that wait in the channel to their receiver; beyond it they wait in the session.
pub const EVENT_CHANNEL_MAX: usize = 1024;

/// How a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long requests may wait without any byte from the server; `None` for ever.
    pub request_timeout: Option<Duration>,
    /// Events that may wait in the session, beyond [`EVENT_CHANNEL_MAX`].
    pub event_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        let event_limit = crate::client::EVENTS_MAX;
        Self { request_timeout: Some(REQUEST_TIMEOUT), event_limit }
    }
}

/// A connection that tasks share: clone it freely. It closes when the last clone is gone and no
/// request is under way.
///
/// Reading and writing nodes is in [`Nodes`], to which this dereferences.
#[derive(Clone, Debug)]
pub struct Store {
    nodes: Nodes,
}

impl std::ops::Deref for Store {
    type Target = Nodes;
    fn deref(&self) -> &Nodes {
        &self.nodes
    }
}

impl Store {
    /// Connects to xenstored's socket: the one that the environment variable `XENSTORED_PATH` names,
    /// else the first of the usual places. The events of all watches come out of the second half.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with every place that was tried.
    pub async fn connect() -> Result<(Self, Events), Error> {
        let mut tried = Vec::new();
        for path in places().into_iter().filter(|path| !path.starts_with("/dev")) {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Ok(Self::over(stream, Options::default())),
                Err(error) => tried.push(Attempt { path, error }),
            }
        }
        Err(Error::Unavailable { tried })
    }

    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason.
    pub async fn connect_to(path: impl AsRef<FilePath>) -> Result<(Self, Events), Error> {
        let path = path.as_ref();
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Self::over(stream, Options::default())),
            Err(error) => {
                Err(Error::Unavailable { tried: vec![Attempt { path: path.to_owned(), error }] })
            }
        }
    }

    /// A client over a connected socket. Must be called inside a tokio runtime.
    #[must_use]
    pub fn over(stream: UnixStream, options: Options) -> (Self, Events) {
        let (link, events) = task::spawn(stream, options);
        let limit = options.event_limit;
        (Self { nodes: Nodes::new(link) }, Events { receiver: events, limit })
    }

    /// What this connection counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.link().counters()
    }

    /// Watches `path` and all below it; see [`Client::watch`](crate::client::Client::watch).
    ///
    /// # Errors
    /// [`Error::is_exists`] for the same path and token again; quotas.
    pub async fn watch(&self, path: impl AsRef<str>, token: impl AsRef<[u8]>) -> Result<(), Error> {
        let (path, token) = (Path::new(path.as_ref())?, Token::new(token.as_ref())?);
        self.done(Request::Watch { path, token, depth: None }).await
    }

    /// Watches `path` and up to `depth` levels below it; see
    /// [`Client::watch_depth`](crate::client::Client::watch_depth).
    ///
    /// # Errors
    /// As [`Store::watch`]; [`Error::Unsupported`] for a special path where the store does not know
    /// depths.
    pub async fn watch_depth(
        &self,
        path: impl AsRef<str>,
        token: impl AsRef<[u8]>,
        depth: u32,
    ) -> Result<(), Error> {
        let (path, token) = (Path::new(path.as_ref())?, Token::new(token.as_ref())?);
        let request = Request::Watch { path: path.clone(), token, depth: Some(depth) };
        match self.done(request.clone()).await {
            Err(error) if error.errno() == Some(Errno::Einval) => {}
            result => return result,
        }
        if path.is_special() {
            return Err(depth_unsupported(&path));
        }
        self.link().send(Command::KeepDepths);
        self.done(request).await
    }

    /// Takes a watch back. Its events that did not reach the channel yet are dropped; up to
    /// [`EVENT_CHANNEL_MAX`] may still come out of it.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when there is no such watch.
    pub async fn unwatch(
        &self,
        path: impl AsRef<str>,
        token: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let (path, token) = (Path::new(path.as_ref())?, Token::new(token.as_ref())?);
        self.done(Request::Unwatch { path, token }).await
    }

    async fn done(&self, request: Request) -> Result<(), Error> {
        let reply = self.call(&request).await?;
        expect::done(&request, reply)
    }

    fn link(&self) -> &Link {
        self.nodes.link()
    }
}

/// The events of all watches of a connection.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Result<Waiting, crate::client::Loss>>,
    limit: usize,
}

impl Events {
    /// The next event; `None` after the connection was closed on this side. Safe to cancel.
    ///
    /// # Errors
    /// [`Error::EventsLost`] in the place of events that found no room: look at the watched nodes
    /// anew. [`Error::WatchesLost`], once, when the connection is gone.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        let waiting = self.receiver.recv().await?;
        Some(self.event(waiting))
    }

    /// An event that is here already.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn try_next(&mut self) -> Option<Result<WatchEvent, Error>> {
        let waiting = self.receiver.try_recv().ok()?;
        Some(self.event(waiting))
    }

    fn event(&self, waiting: Result<Waiting, crate::client::Loss>) -> Result<WatchEvent, Error> {
        match waiting {
            Ok(Waiting::Event(event)) => Ok(event),
            Ok(Waiting::Lost(lost)) => Err(Error::EventsLost { lost, limit: self.limit }),
            Err(loss) => Err(Error::WatchesLost { loss }),
        }
    }
}
