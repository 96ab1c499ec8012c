//! xl's lock, `/var/lock/xl`.
//!
//! xl holds it, for itself alone, while it makes room for a new domain and builds it, so that
//! nobody else takes the memory that it has freed. Creates of xlr share it among themselves, since
//! each claims its memory from the hypervisor in one go, and so keep out of xl's way and xl out of
//! theirs. It is a record lock of fcntl(2), not a `flock`. Never waits without saying so.

use super::StateError;
use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError, TryLockError};

/// Where xl has it unless its configuration says otherwise.
pub const PATH: &str = "/var/lock/xl";

/// How often this process holds the lock, and by which file: to close any file of it would let go of
/// the lock for all of its threads.
static HELD: Mutex<Held> = Mutex::new(Held { count: 0, file: None });

struct Held {
    count: usize,
    file: Option<File>,
}

impl Held {
    /// Takes the lock once more; false if it is xl's and the operation does not wait.
    fn take(&mut self, operation: FlockOperation) -> Result<bool, StateError> {
        if self.count == 0 {
            let path = Path::new(PATH);
            let file = open(path)?;
            while let Some(file) = &file {
                match fcntl_lock(file, operation) {
                    Ok(()) => break,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
                    Err(errno) => return Err(StateError::io("lock", path, errno.into())),
                }
            }
            self.file = file;
        }
        self.count += 1;
        Ok(true)
    }
}

/// The lock, shared; gone when the last one of this process is dropped.
#[derive(Debug)]
pub struct XlLock(());

impl XlLock {
    /// Takes it; `tell` is called with a line for the user if xl holds it. On a host without
    /// `/var/lock` there is no xl to wait for.
    ///
    /// # Errors
    /// [`StateError::Io`], [`StateError::Foreign`].
    pub fn share(tell: impl FnOnce(fmt::Arguments<'_>)) -> Result<Self, StateError> {
        if let Some(lock) = Self::share_if_free()? {
            return Ok(lock);
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.count == 0 {
            tell(format_args!("Waiting for xl, which is making a domain and holds {PATH}"));
        }
        held.take(FlockOperation::LockShared)?;
        Ok(Self(()))
    }

    /// Takes it unless xl holds it, or another thread is taking it.
    ///
    /// # Errors
    /// As [`Self::share`].
    pub fn share_if_free() -> Result<Option<Self>, StateError> {
        let mut held = match HELD.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        Ok(held.take(FlockOperation::NonBlockingLockShared)?.then_some(Self(())))
    }
}

impl Drop for XlLock {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.count -= 1;
        if held.count == 0 {
            // Closed before another thread can take the lock by another file.
            held.file = None;
        }
    }
}

/// Opens the file; none on a host without its directory. Everybody may write to that one, so what
/// somebody else put there is not followed, and not waited for.
fn open(path: &Path) -> Result<Option<File>, StateError> {
    let foreign = |why| StateError::Foreign { path: path.to_owned(), why };
    let mut open = OpenOptions::new();
    let open = open.read(true).write(true).create(true).truncate(false).mode(0o200);
    // Not to wait for the other end of a FIFO either.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match open.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => Ok(None),
                Some(Errno::LOOP) => Err(foreign("a symbolic link")),
                Some(Errno::ISDIR | Errno::NXIO) => Err(foreign("no regular file")),
                // The kernel protects root from files of others in such a directory.
                Some(Errno::ACCESS) if geteuid().is_root() => Err(foreign("somebody else's")),
                _ => Err(StateError::io("open", path, error)),
            };
        }
    };
    let metadata = file.metadata().map_err(|source| StateError::io("look at", path, source))?;
    if !metadata.is_file() {
        return Err(foreign("no regular file"));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(foreign("somebody else's"));
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_file_of_our_own_is_opened() {
        let root = std::env::temp_dir().join(format!("xlr-xl-lock-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("directory")).unwrap();
        symlink(root.join("target"), root.join("link")).unwrap();
        let check = |name: &str, wrong: Option<&str>| match (open(&root.join(name)), wrong) {
            (Ok(file), None) => assert!(file.is_some(), "{name}"),
            (Err(StateError::Foreign { why, .. }), Some(words)) => assert_eq!(why, words),
            (opened, _) => panic!("{name}: {opened:?}"),
        };
        check("own", None);
        check("own", None);
        check("link", Some("a symbolic link"));
        check("directory", Some("no regular file"));
        assert!(!root.join("target").exists());
        assert!(open(&root.join("none/own")).unwrap().is_none());
        std::fs::remove_dir_all(root).unwrap();
    }
}
