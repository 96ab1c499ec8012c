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

    /// Whether it is time for [`SavedLog::keep`].
    #[must_use]
    pub fn wants_image(&self) -> bool {
        self.commits_to_wait == 0 && (!self.is_kept || self.storage.is_due())
    }

    /// Puts an image in place of all that was kept. It has to hold what was noted as well.
    ///
    /// # Errors
    /// It cannot be written. What was kept before is kept as long as commits succeed.
    pub fn keep(&mut self, image: &[u8]) -> Result<(), StorageError> {
        self.commits_to_wait = COMMITS_BETWEEN_TRIES;
        self.storage.replace(image)?;
        self.commits_to_wait = 0;
        self.entries.clear();
        self.has_news = false;
        self.answers = crc32fast::Hasher::new();
        (self.is_kept, self.is_earlier) = (true, false);
        Ok(())
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
        self.has_news |= !matches!(entry, Entry::Sent { .. });
        entry.save(&mut self.entries);
    }

    fn answered(&mut self, message: &[u8]) {
        self.answers.update(message);
    }

    fn commit(&mut self) -> io::Result<()> {
        // What was sent waits for the next commit: until then the rings know.
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
