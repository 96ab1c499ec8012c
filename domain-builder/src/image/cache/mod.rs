//! Decoded kernels, kept per node.
//!
//! In: a compressed kernel's bytes and where they came from. Out: an open file that holds the
//! decoded ELF image. Never trusts a directory that others may write, and never stands in the way:
//! a cache that cannot be used is a warning.

use std::io;
use std::path::PathBuf;

/// How [`super::load`] uses the cache, and how large anything may become.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Where decoded kernels are kept; `None` decodes each time. Made with mode 0700 if missing.
    pub directory: Option<PathBuf>,
    /// Most bytes that the cache may hold; `None` is a quarter of what is free, at most 1 GiB.
    pub max_bytes: Option<u64>,
    /// Most bytes that a kernel file, and what it decodes to, may have.
    pub max_image_bytes: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            directory: Some(PathBuf::from("/var/cache/xlr/kernels")),
            max_bytes: None,
            max_image_bytes: 512 << 20,
        }
    }
}

/// Why the cache was not used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("kernel cache {}: cannot {operation}; the kernel is decoded at each create", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
