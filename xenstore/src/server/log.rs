//! The journal that outlives its server.

use std::io;

use super::journal::{Entry, Journal};
use crate::saved::{Storage, StorageError};

/// Commits after which a file is tried again that could not be written.
const COMMITS_BETWEEN_TRIES: u32 = 256;

/// Keeps entries in a [`Storage`].
///
/// When the storage cannot take a commit, the file is removed, since it would tell a later server what
/// is not true any more, and the service goes on without: a host whose storage is full should not lose
/// its store in addition. A new image is asked for from time to time ([`SavedLog::wants_image`]).
#[derive(Debug)]
pub struct SavedLog {
    storage: Storage,
    entries: Vec<u8>,
    answers: crc32fast::Hasher,
    /// Whether the file holds everything up to the last commit.
    is_kept: bool,
    /// Whether a file may be there that an earlier server wrote, and that is true still.
    is_earlier: bool,
    commits_to_wait: u32,
    /// Whether something was noted that the rings do not tell as well.
    has_news: bool,
    /// Why the file is not kept, until somebody asked.
    trouble: Option<StorageError>,
}

impl SavedLog {
    /// A journal in this storage, whose file is written with the first image.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        let (entries, answers) = (Vec::new(), crc32fast::Hasher::new());
        Self {
            storage,
            entries,
            answers,
            is_kept: false,
            is_earlier: true,
            commits_to_wait: 0,
            has_news: false,
            trouble: None,
        }
    }

    /// Whether it is time for [`SavedLog::begin`].
    #[must_use]
    pub fn wants_image(&self) -> bool {
        let is_due = !self.is_kept || self.storage.is_due();
        self.commits_to_wait == 0 && is_due && !self.storage.has_begun()
    }

    /// Whether an image is begun. It may be given up at a commit.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.storage.has_begun()
    }

    /// Puts an image in place of all that was kept. It has to hold what was noted as well.
    ///
    /// # Errors
    /// It cannot be written. What was kept before is kept as long as commits succeed.
    pub fn keep(&mut self, image: &[u8]) -> Result<(), StorageError> {
        self.begin()?;
        self.add(image)?;
        while !self.finish()? {}
        Ok(())
    }

    /// Begins an image of how things are now. As long as everything is kept, more may be noted and
    /// committed while it is written; else nothing may happen until it is finished.
    ///
    /// # Errors
    /// It cannot be begun. What was kept before is kept as long as commits succeed.
    pub fn begin(&mut self) -> Result<(), StorageError> {
        self.commits_to_wait = COMMITS_BETWEEN_TRIES;
        // What was noted is in the image. It must not be in what follows, but in what was kept before.
        if self.is_kept && !self.entries.is_empty() {
            self.storage.commit(&self.entries, self.answers.clone().finalize())?;
            self.has_news = false;
        }
        // Where nothing was kept it is news until the image is in place: should that fail, the file of an
        // earlier server goes with the next commit.
        self.entries.clear();
        self.answers = crc32fast::Hasher::new();
        self.storage.begin()
    }

    /// Adds bytes to the image.
    ///
    /// # Errors
    /// It cannot be written and is given up. What was kept before is kept as long as commits succeed.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.add(bytes)
    }

    /// Puts the image, which is whole, in place of all that was kept, or does a part of that work;
    /// whether it is done. The last part grows with what was committed meanwhile.
    ///
    /// # Errors
    /// It cannot be written and is given up. What was kept before is kept as long as commits succeed.
    pub fn finish(&mut self) -> Result<bool, StorageError> {
        if !self.storage.finish()? {
            return Ok(false);
        }
        self.commits_to_wait = 0;
        // Nothing has happened meanwhile where nothing was kept.
        self.has_news &= self.is_kept;
        (self.is_kept, self.is_earlier) = (true, false);
        Ok(true)
    }

    /// Gives up an image that was begun.
    pub fn give_up(&mut self) {
        self.storage.give_up();
    }

    /// Whether a kill would lose nothing now.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Why a commit could not be kept, once per failure.
    pub fn take_trouble(&mut self) -> Option<StorageError> {
        self.trouble.take()
    }
}

impl Journal for SavedLog {
    fn note(&mut self, entry: Entry<'_>) {
        self.has_news |= !matches!(entry, Entry::Sent { .. } | Entry::Image(_));
        entry.save(&mut self.entries);
    }

    fn answered(&mut self, message: &[u8]) {
        self.answers.update(message);
    }

    fn commit(&mut self) -> io::Result<()> {
        // What was sent waits for the next commit: until then the rings know. Whether trees are held
        // matters to what is done next only.
        if !std::mem::take(&mut self.has_news) {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.answers).finalize();
        if self.is_kept
            && let Err(error) = self.storage.commit(&self.entries, answers)
        {
            self.is_kept = false;
            self.commits_to_wait = COMMITS_BETWEEN_TRIES;
            self.storage.discard().map_err(io::Error::other)?;
            self.trouble = Some(error);
        }
        // From here on somebody may hear of what the file of an earlier server does not tell.
        if !self.is_kept && self.is_earlier {
            self.storage.discard().map_err(io::Error::other)?;
            self.is_earlier = false;
        }
        self.commits_to_wait = self.commits_to_wait.saturating_sub(1);
        self.entries.clear();
        Ok(())
    }
}
