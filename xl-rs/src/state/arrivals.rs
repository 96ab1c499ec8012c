//! Word of records that are written, for who looks after what they speak of.
//!
//! In: the folder of records. Out: a file that can be read once another record is there. A command
//! that is killed before it has told xenstored of its domain is known by nothing else.

use super::{State, StateError};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Readable once another record is there.
#[derive(Debug)]
pub struct Arrivals(OwnedFd);

impl State {
    /// Tells of records from now on.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn arrivals(&self) -> Result<Arrivals, StateError> {
        let records = self.records();
        let failed = |errno: Errno| StateError::io("watch", &records, errno.into());
        let notify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        // Records are written under hidden names first.
        inotify::add_watch(&notify, &records, WatchFlags::MOVED_TO).map_err(failed)?;
        Ok(Arrivals(notify))
    }
}

impl Arrivals {
    /// Takes the word: it is readable again only after another one.
    pub fn take(&self) {
        let mut bytes = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.0, &mut bytes);
        while events.next().is_ok() {}
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
