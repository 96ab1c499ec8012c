//! Why the cache of decoded kernels was not used.
//!
//! In: nothing. Out: [`CacheError`], which names the directory and says what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why the cache was not used. The kernel has been decoded nevertheless, as at every create until
/// the reason is gone.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("kernel cache {}: cannot {operation}; kernels are decoded at each create", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The directory belongs to another user.
    #[error(
        "kernel cache {}: owned by user {uid}, and this is user {own_uid}; \
         remove it or give it away with chown", path.display()
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
        /// Who we are.
        own_uid: u32,
    },
    /// Others may write the directory.
    #[error(
        "kernel cache {}: mode {mode:04o} lets others write it; \
         empty it and chmod it to 0700", path.display()
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The kernel takes more than the whole cache may.
    #[error(
        "kernel cache {}: the decoded kernel takes more than the {limit_bytes} bytes \
         that the cache may hold", path.display()
    )]
    Full {
        /// The directory.
        path: PathBuf,
        /// What the cache may hold.
        limit_bytes: u64,
    },
}

impl CacheError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }
}
