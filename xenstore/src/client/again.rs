//! A connection that is made anew when its xenstored has ended.
//!
//! In: a client that was told to outlive its store ([`Client::outlive_store`]) and has lost it. Out: the
//! same client, connected, with its watches set again. Each of them tells of its first event once more,
//! so that whoever waits for changes looks again; what happened meanwhile is in what it finds.
//!
//! What it never does: repeat a request that may have been carried out and would have another effect the
//! second time. A request whose reply was lost is repeated when it only reads or says what shall be
//! ([`is_repeatable`]); any other fails with [`Error::Disconnected`], and the one after it goes out over
//! the new connection. A transaction ends with its connection, and is begun again as after a conflict,
//! unless it was its commit that was not answered.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
    fn open(&self) -> Result<Box<dyn Transport>, Error> {
        match self {
            Self::Usual => transport::find(),
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

/// Whether a request may be carried out twice: it reads, or says what shall be whatever was. Not those
/// that say how something is to change, or that fail the second time.
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
    }

    /// Connects as [`Client::connect`] does, and waits for a store to come.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none comes within `patience`.
    pub fn connect_within(patience: Duration) -> Result<Self, Error> {
        open_within(&Place::Usual, Instant::now() + patience)?;
        Self::connect()
    }

    /// Makes a lost connection anew; `false` when it is not lost in a way that this helps against.
    pub(super) fn connect_again(&mut self) -> Result<bool, Error> {
        let ended = matches!(self.lost, Some(Loss::Closed | Loss::Io(_)));
        let is_new = ended && !matches!(self.place, Place::Given);
        let Some(patience) = self.patience.take().filter(|_| is_new) else { return Ok(false) };
        let result = self.connect_until(Instant::now() + patience);
        // Taken meanwhile: the watches are set by requests, which must not come here.
        self.patience = Some(patience);
        result.map(|()| true)
    }

    fn connect_until(&mut self, deadline: Instant) -> Result<(), Error> {
        let watches = self.session.begin_anew();
        loop {
            self.transport = open_within(&self.place, deadline)?;
            self.session.begin_anew();
            if self.transport.framing() != Framing::Stream {
                self.session.keep_depths();
            }
            self.lost = None;
            let again = watches.iter().cloned();
            let set =
                again.map(|Watch { path, token, depth }| self.watch_again(path, token, depth));
            match set.collect::<Result<(), Error>>() {
                // It has ended again.
                Err(error) if error.is_disconnected() && Instant::now() < deadline => {}
                Err(error) => {
                    // Without its watches it would wait in vain, and look as if it did not.
                    (self.lost, self.place) = (Some(Loss::Closed), Place::Given);
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }
}

/// A connection, as soon as there is a store, or why there is none by then.
fn open_within(place: &Place, deadline: Instant) -> Result<Box<dyn Transport>, Error> {
    let inotify = folders_change(place);
    loop {
        match place.open() {
            Ok(transport) => return Ok(transport),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
        if let Ok(inotify) = &inotify {
            await_change(inotify);
        } else {
            return place.open();
        }
    }
}

fn folders_change(place: &Place) -> io::Result<rustix::fd::OwnedFd> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CREATE | WatchFlags::ATTRIB | WatchFlags::MOVED_TO;
    for folder in place.folders() {
        // One that is not there yet is looked at again, too.
        let _ = inotify::add_watch(&inotify, &folder, flags);
    }
    Ok(inotify)
}

fn await_change(inotify: &rustix::fd::OwnedFd) {
    let limit = Timespec::try_from(LOOK_AGAIN).unwrap_or_default();
    // Whatever comes of it, the next thing is another look.
    let _ = poll(&mut [PollFd::new(inotify, PollFlags::IN)], Some(&limit));
    let mut bytes = [std::mem::MaybeUninit::uninit(); 1024];
    let mut events = inotify::Reader::new(inotify, &mut bytes);
    while events.next().is_ok() {}
}
