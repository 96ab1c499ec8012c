//! The file in memory-backed storage, and the directory that belongs to one server.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use rustix::fs::{FallocateFlags, FlockOperation};
use thiserror::Error;

use super::file::{HEAD_LEN, append_frame, head};

/// Frames are at least so long, in bytes, before a new image replaces them.
const FRAMES_MIN: u64 = 1 << 20;

/// What went wrong with the storage of a store.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Another server holds the directory.
    #[error(
        "{path} is in use: a xenstored runs already; if it is to be replaced, end it first", path = .0.display()
    )]
    InUse(PathBuf),
    /// The system refused something.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Bytes of frames that a file has room for beyond those after which a new image is due.
const FRAMES_LATE: u64 = 512 << 10;
/// Bytes that are reserved or copied at once.
const PIECE_BYTES: u64 = 256 << 10;

/// An image that is not in place yet.
#[derive(Debug)]
struct New {
    file: File,
    len: u64,
    /// Bytes behind the image that are reserved.
    reserved: u64,
    sum: Hasher,
    /// Where the frames of the file begin that follow the image.
    follows: u64,
}

/// The directory of a server: the lock that says so, and the file.
///
/// Nothing is ever synchronised to a medium: the file has to outlive the process, not the machine.
#[derive(Debug)]
pub struct Storage {
    directory: PathBuf,
    /// Held, not used: the lock goes with it.
    _lock: File,
    file: Option<File>,
    new: Option<New>,
    image_len: u64,
    /// Bytes of the file that are whole.
    len: u64,
    frame: Vec<u8>,
}

impl Storage {
    /// Takes the directory, which is made when it is missing.
    ///
    /// # Errors
    /// Another server has it, or the system refuses.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StorageError::Io { operation, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("make", directory))?;
        let path = directory.join("lock");
        let lock = options().create(true).open(&path).map_err(failed("open", &path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StorageError::InUse(path)),
            Err(errno) => return Err(failed("lock", &path)(errno.into())),
        }
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            file: None,
            new: None,
            image_len: 0,
            len: 0,
            frame: Vec::new(),
        })
    }

    /// The bytes of the file, if there is one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StorageError::Io { operation: "read", path, source }),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Replaces image and frames by a new image, at once: a kill leaves the one or the other.
    ///
    /// # Errors
    /// The system refuses; the file is as it was, and frames may still be appended to it.
    pub fn replace(&mut self, image: &[u8]) -> Result<(), StorageError> {
        self.begin()?;
        self.add(image)?;
        while !self.finish()? {}
        Ok(())
    }

    /// Begins a new image beside the file, of what the file tells now. Frames may be committed while it
    /// is written; they follow it.
    ///
    /// # Errors
    /// The system refuses; the file is as it was.
    pub fn begin(&mut self) -> Result<(), StorageError> {
        self.give_up();
        let path = self.new_path();
        let begun = options().read(true).create(true).truncate(true).open(&path);
        let file = begun.map_err(|source| self.refused(source))?;
        let len = HEAD_LEN as u64;
        self.new = Some(New { file, len, reserved: 0, sum: Hasher::new(), follows: self.len });
        Ok(())
    }

    /// Adds to the image that was begun.
    ///
    /// # Errors
    /// The system refuses; the file is as it was, and the image is given up.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some(new) = &mut self.new else {
            return Err(self.refused(io::ErrorKind::NotFound.into()));
        };
        new.sum.update(bytes);
        let written = new.file.write_all_at(bytes, new.len);
        new.len += bytes.len() as u64;
        written.map_err(|source| self.refused(source))
    }

    /// Puts the image, which is whole, in place of the file, with the frames that were committed
    /// meanwhile, at once: a kill leaves the one or the other. This takes several calls; whether it is
    /// done. Each reserves a bounded piece of room, and the last one copies those frames.
    ///
    /// # Errors
    /// The system refuses; the file is as it was, and the image is given up.
    pub fn finish(&mut self) -> Result<bool, StorageError> {
        let Some(mut new) = self.new.take() else {
            return Err(self.refused(io::ErrorKind::NotFound.into()));
        };
        // Room for the frames is taken now, so that a commit finds it: when the storage is full, it is
        // found out here, where the old file still serves.
        let left = (frames_max(new.len) + FRAMES_LATE).saturating_sub(new.reserved);
        if left > 0 {
            let more = left.min(PIECE_BYTES);
            let reserved = reserve(&new.file, new.len + new.reserved, more);
            reserved.map_err(|errno| self.refused(errno.into()))?;
            new.reserved += more;
            self.new = Some(new);
            return Ok(false);
        }
        self.put_in_place(new).map_err(|source| self.refused(source))?;
        Ok(true)
    }

    fn put_in_place(&mut self, new: New) -> io::Result<()> {
        let image_len = new.len;
        let head = head(image_len - HEAD_LEN as u64, new.sum.finalize());
        new.file.write_all_at(&head, 0)?;
        let mut len = image_len;
        if let Some(old) = &self.file {
            let mut piece = vec![0; PIECE_BYTES as usize];
            let mut at = new.follows;
            while at < self.len {
                let count = (self.len - at).min(PIECE_BYTES);
                // Not above the length of the piece.
                let piece = &mut piece[..count as usize];
                old.read_exact_at(piece, at)?;
                new.file.write_all_at(piece, len)?;
                (at, len) = (at + count, len + count);
            }
        }
        std::fs::rename(self.new_path(), self.path())?;
        self.file = Some(new.file);
        (self.image_len, self.len) = (image_len, len);
        Ok(())
    }

    /// Gives up an image that is not in place yet.
    pub fn give_up(&mut self) {
        if self.new.take().is_some() {
            // What is left of it takes room that others need.
            let _ = std::fs::remove_file(self.new_path());
        }
    }

    /// Whether an image is begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.new.is_some()
    }

    fn refused(&mut self, source: io::Error) -> StorageError {
        let path = self.new_path();
        // What is left of it takes room that others need.
        let _ = std::fs::remove_file(&path);
        self.new = None;
        StorageError::Io { operation: "write", path, source }
    }

    fn new_path(&self) -> PathBuf {
        self.directory.join("state.new")
    }

    /// Appends a frame. When this returns, a later server will find it.
    ///
    /// # Errors
    /// The system refuses, or there is no image yet; the file holds what it held.
    pub fn commit(&mut self, entries: &[u8], answers: u32) -> Result<(), StorageError> {
        self.frame.clear();
        append_frame(entries, answers, &mut self.frame);
        let written = match &self.file {
            // Behind what is whole: should a frame have been written in part, the next one takes its
            // place.
            Some(file) => file.write_all_at(&self.frame, self.len),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let failed =
            |source| StorageError::Io { operation: "append to", path: self.path(), source };
        written.map_err(failed)?;
        self.len += self.frame.len() as u64;
        Ok(())
    }

    /// Whether frames have become so long that a new image is due.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.len - self.image_len >= frames_max(self.image_len)
    }

    /// Removes the file: what it says is not true any more, and nothing newer can be written.
    ///
    /// # Errors
    /// The system refuses.
    pub fn discard(&mut self) -> Result<(), StorageError> {
        self.give_up();
        self.file = None;
        let path = self.path();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::Io { operation: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }
}

/// Bytes of frames behind an image of this length before the next image is due.
fn frames_max(image_len: u64) -> u64 {
    image_len.max(FRAMES_MIN)
}

/// Takes room, where the storage (ramfs does not) knows how to.
fn reserve(file: &File, start: u64, len: u64) -> rustix::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, start, len) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xlr-saved-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn holds_what_was_committed() {
        let path = directory("commits");
        let mut storage = Storage::open(&path).unwrap();
        assert_eq!(storage.read().unwrap(), None);
        assert!(storage.commit(b"too early", 0).is_err());
        storage.replace(b"image").unwrap();
        storage.commit(b"one", 1).unwrap();
        storage.commit(b"two", 2).unwrap();
        let bytes = storage.read().unwrap().unwrap();
        let contents = load(&bytes).unwrap();
        assert_eq!(
            (contents.image, contents.frames.len(), contents.cut_bytes),
            (&b"image"[..], 2, 0)
        );
        assert!(!storage.is_due());
        let big = vec![1; FRAMES_MIN as usize];
        storage.commit(&big, 0).unwrap();
        assert!(storage.is_due());
        storage.replace(b"later").unwrap();
        assert!(!storage.is_due());
        assert_eq!(load(&storage.read().unwrap().unwrap()).unwrap().image, b"later");
        storage.discard().unwrap();
        storage.discard().unwrap();
        assert_eq!(storage.read().unwrap(), None);
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_storage_that_cannot_reserve_is_used() {
        // A file of every Linux that takes writes and, like those of ramfs, no reservations.
        let file = options().open("/proc/self/comm").unwrap();
        let refused = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1);
        assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP));
        assert_eq!(reserve(&file, 0, 1), Ok(()));
    }

    #[test]
    fn belongs_to_one_server() {
        let path = directory("lock");
        let first = Storage::open(&path).unwrap();
        let error = Storage::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::InUse(_)), "{error}");
        drop(first);
        Storage::open(&path).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }
}
