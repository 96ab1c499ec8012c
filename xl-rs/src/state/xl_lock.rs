//! xl's lock, `/var/lock/xl`.
//!
//! xl holds it, for itself alone, while it makes room for a new domain and builds it, so that
//! nobody else takes the memory that it has freed. Creates of xlr share it among themselves, since
//! each claims its memory from the hypervisor in one go, and so keep out of xl's way and xl out of
//! theirs. It is a record lock of fcntl(2), not a `flock`. Never waits without saying so.

use super::StateError;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where xl has it unless its configuration says otherwise.
pub const PATH: &str = "/var/lock/xl";

/// The lock, shared; gone when dropped. Dropping any other handle of this process on the same file
/// would release it too, so there is one at a time.
#[derive(Debug)]
pub struct XlLock {
    _file: Option<File>,
}

impl XlLock {
    /// Takes it; `tell` is called with a line for the user if xl holds it. On a host without
    /// `/var/lock` there is no xl to wait for.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn share(tell: impl FnOnce(fmt::Arguments<'_>)) -> Result<Self, StateError> {
        let path = Path::new(PATH);
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false).mode(0o200);
        let file = match open.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { _file: None });
            }
            Err(source) => return Err(StateError::io("open", path, source)),
        };
        match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => {
                tell(format_args!("Waiting for xl, which is making a domain and holds {PATH}"));
                loop {
                    match fcntl_lock(&file, FlockOperation::LockShared) {
                        Err(Errno::INTR) => {}
                        Err(errno) => return Err(StateError::io("lock", path, errno.into())),
                        Ok(()) => break,
                    }
                }
            }
            Err(errno) => return Err(StateError::io("lock", path, errno.into())),
        }
        Ok(Self { _file: Some(file) })
    }
}
