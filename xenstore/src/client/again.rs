//! A connection that is made anew when its xenstored has ended.
//!
//! In: a client that was told to outlive its store ([`Client::outlive_store`]) and has lost it. Out: the
//! same client, connected, with its watches set again. Each of them tells of its first event once more,
//! so that whoever waits for changes looks again; what happened meanwhile is in what it finds.
//!
//! What it never does: repeat a request that may have been carried out and would have another effect the
//! second time. A request whose reply was lost is repeated when it only reads or begins a transaction
//! ([`is_repeatable`]); any other, a write too, fails with [`Error::Disconnected`], and the one after it
//! goes out over the new connection. A transaction ends with its connection, and is begun again as after
//! a conflict, unless it was its commit that was not answered.
//!
//! Patience counts from when the loss is noticed. When it is over, each further call tries once, and the
//! watches wait for the one that succeeds.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::connection::{Client, open_at};
use super::error::{Error, Loss};
use super::events::Watch;
use super::transport::{self, Framing, Transport};
use crate::wire::Request;

/// How long a command that runs for long waits for a store to come back.
pub const RETURN_PATIENCE: Duration = Duration::from_secs(60);

/// A socket that is there may be a dead xenstored's, which its successor replaces: that is seen as it
/// happens, except for the moment when it begins to listen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where a client found its store.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where xenstoreds usually are.
    Usual,
    /// Here.
    Path(PathBuf),
    /// It was handed a connection.
    Given,
}

impl Place {
    /// A connection that was a socket's does not become one of the kernel's device, which would serve as
    /// badly as before a socket was there.
    fn open(&self, sockets_only: bool) -> Result<Box<dyn Transport>, Error> {
        match self {
            Self::Usual => transport::find(sockets_only),
            Self::Path(path) => open_at(path),
            Self::Given => Err(Error::Unavailable { tried: Vec::new() }),
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let places = match self {
            Self::Usual => transport::places(),
            Self::Path(path) => vec![path.clone()],
            Self::Given => Vec::new(),
        };
        places.iter().filter_map(|place| place.parent().map(Path::to_owned)).collect()
    }
}

/// How a client comes back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Return {
    /// Until when calls wait for a store, once the connection was lost.
    until: Option<Instant>,
    /// When it last connected again.
    last: Option<Instant>,
}

/// Whether a request may be carried out twice: it reads. Not those that change something: meanwhile
/// somebody else may have.
pub(super) const fn is_repeatable(request: &Request) -> bool {
    matches!(
        request,
        Request::Read(_)
            | Request::Directory(_)
            | Request::DirectoryPart { .. }
            | Request::GetPerms(_)
            | Request::GetDomainPath(_)
            | Request::IsDomainIntroduced(_)
            | Request::GetFeature(_)
            | Request::GetQuota { .. }
            // What it began has ended with its connection.
            | Request::TransactionStart
    )
}

impl Client {
    /// From here on a connection that xenstored has closed is made anew, for as long as `patience` allows
    /// one to come back. The descriptor is another one afterwards: ask for it before each wait.
    ///
    /// A connection over the kernel's device needs none of this, and one that was handed over
    /// ([`Client::over`]) cannot be made anew.
    pub const fn outlive_store(&mut self, patience: Duration) {
        self.patience = Some(patience);
        self.coming.until = None;
    }

    /// Connects as [`Client::connect`] does, and waits for a store to come.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none comes within `patience`.
    pub fn connect_within(patience: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + patience;
        let transport = Search::new(&Place::Usual, false).open(deadline)?;
        Ok(Self::from_box(transport, Place::Usual))
    }

    /// Another client, connected to where this one was, as soon as a store is there. It has no watches.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none comes within `patience`.
    pub fn connect_anew(&self, patience: Duration) -> Result<Self, Error> {
        let was_socket = self.framing() == Framing::Stream;
        let deadline = Instant::now() + patience;
        let transport = Search::new(&self.place, was_socket).open(deadline)?;
        Ok(Self::from_box(transport, self.place.clone()))
    }

    /// Makes a lost connection anew, for as long as patience and `until` allow; `Ok(false)` when it is not
    /// lost in a way that this helps against.
    pub(super) fn connect_again(&mut self, until: Option<Instant>) -> Result<bool, Error> {
        let ended = matches!(self.lost, Some(Loss::Closed | Loss::Io(_)));
        let is_new = ended && !matches!(self.place, Place::Given);
        let Some(patience) = self.patience.take().filter(|_| is_new) else { return Ok(false) };
        let last = *self.coming.until.get_or_insert_with(|| Instant::now() + patience);
        // A caller that waits for nothing does not look all the time either.
        let until = until.map(|until| until.max(Instant::now() + LOOK_AGAIN));
        let result = self.connect_until(until.map_or(last, |until| until.min(last)));
        // Taken meanwhile: the watches are set by requests, which must not come here.
        self.patience = Some(patience);
        result.map(|()| true)
    }

    /// Whether a lost connection may come back that patience allows for still.
    pub(super) fn is_returning(&self) -> bool {
        self.lost.is_some() && self.coming.until.is_some_and(|until| Instant::now() < until)
    }

    fn connect_until(&mut self, deadline: Instant) -> Result<(), Error> {
        let watches = self.session.begin_anew();
        let result = self.set_again(&watches, deadline);
        match &result {
            Ok(()) => self.coming.until = None,
            Err(error) if error.is_disconnected() || error.is_unavailable() => {
                // The next call tries again.
                self.session.begin_anew();
                self.session.events.put_back(watches);
                self.lost = Some(Loss::Closed);
            }
            Err(_) => {
                // Without its watches it would wait in vain, and look as if it did not.
                (self.lost, self.place) = (Some(Loss::Closed), Place::Given);
                self.coming.until = None;
            }
        }
        result
    }

    /// Connects and sets the watches, as often as it takes.
    fn set_again(&mut self, watches: &[Watch], deadline: Instant) -> Result<(), Error> {
        let was_socket = self.framing() == Framing::Stream;
        let search = Search::new(&self.place, was_socket);
        loop {
            if self.coming.last.is_some_and(|last| last.elapsed() < LOOK_AGAIN) {
                // Whoever takes connections and closes them is not asked all the time.
                search.await_change();
            }
            self.transport = search.open(deadline)?;
            self.coming.last = Some(Instant::now());
            self.session.begin_anew();
            if self.transport.framing() != Framing::Stream {
                self.session.keep_depths();
            }
            self.lost = None;
            let set = watches
                .iter()
                .cloned()
                .try_for_each(|Watch { path, token, depth }| self.watch_again(path, token, depth));
            match set {
                // It has ended again.
                Err(error) if error.is_disconnected() && Instant::now() < deadline => {}
                result => return result,
            }
        }
    }
}

/// The search for a store in its place.
struct Search {
    place: Place,
    sockets_only: bool,
    /// Tells of what changes there.
    changes: io::Result<OwnedFd>,
}

impl Search {
    fn new(place: &Place, sockets_only: bool) -> Self {
        Self { place: place.clone(), sockets_only, changes: folders_change(place) }
    }

    /// A connection, as soon as there is a store, or why there is none by then.
    fn open(&self, deadline: Instant) -> Result<Box<dyn Transport>, Error> {
        loop {
            match self.place.open(self.sockets_only) {
                Ok(transport) => return Ok(transport),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => self.await_change(),
            }
        }
    }

    /// Waits until something changes in the place, or until it is time for another look.
    fn await_change(&self) {
        let limit = Timespec::try_from(LOOK_AGAIN).unwrap_or_default();
        let Ok(changes) = &self.changes else {
            let _ = poll(&mut [], Some(&limit));
            return;
        };
        // Whatever comes of it, the next thing is another look.
        let _ = poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&limit));
        let mut bytes = [std::mem::MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(changes, &mut bytes);
        while events.next().is_ok() {}
    }
}

fn folders_change(place: &Place) -> io::Result<OwnedFd> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CREATE | WatchFlags::ATTRIB | WatchFlags::MOVED_TO;
    for folder in place.folders() {
        // One that is not there yet is looked at again, too.
        let _ = inotify::add_watch(&inotify, &folder, flags);
    }
    Ok(inotify)
}
