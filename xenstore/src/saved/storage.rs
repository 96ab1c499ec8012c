//! The file in memory-backed storage, and the directory that belongs to one server.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use thiserror::Error;

use super::file::{append_frame, begin};

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

/// The directory of a server: the lock that says so, and the file.
///
/// Nothing is ever synchronised to a medium: the file has to outlive the process, not the machine.
#[derive(Debug)]
pub struct Storage {
    directory: PathBuf,
    /// Held, not used: the lock goes with it.
    _lock: File,
    file: Option<File>,
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
        let bytes = begin(image);
        let (path, new) = (self.path(), self.directory.join("state.new"));
        let written = options().create(true).truncate(true).open(&new).and_then(|mut file| {
            file.write_all(&bytes)?;
            // Room for the frames is taken now, so that a commit finds it: when the storage is full,
            // it is found out here, where the old file still serves.
            let len = bytes.len() as u64;
            reserve(&file, len, frames_max(len))?;
            std::fs::rename(&new, &path)?;
            Ok(file)
        });
        match written {
            Ok(file) => {
                (self.file, self.image_len) = (Some(file), bytes.len() as u64);
                self.len = self.image_len;
                Ok(())
            }
            Err(source) => {
                // What is left of it takes room that others need.
                let _ = std::fs::remove_file(&new);
                Err(StorageError::Io { operation: "write", path: new, source })
            }
        }
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
