//! What is wrong with the state that xlr keeps.

use std::io;
use std::path::{Path, PathBuf};

/// Why state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A call failed.
    #[error("cannot {operation} {}; {}", path.display(), advice(source))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Written by an xlr of the future.
    #[error(
        "{} holds state of version {found}, this xlr knows version {known} at most: use the newer \
         xlr, or end its domains and remove the directory", root.display(), known = super::VERSION
    )]
    Newer {
        /// The directory.
        root: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file that does not hold what it should.
    #[error("{} is damaged ({why}): remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file that is not root's own, where everybody may put one.
    #[error(
        "{} is {why}, so it was not opened: find out who put it there, and remove it", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// No configuration is kept for the domain.
    #[error(
        "no configuration is kept for domain {domid}; destroy it, and create it again from its file"
    )]
    NotSaved {
        /// The domain.
        domid: u16,
    },
}

impl StateError {
    /// A call on `path` failed.
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }

    /// Whether it failed for want of rights.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// What to do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as root",
        io::ErrorKind::ReadOnlyFilesystem => "mount that filesystem writable",
        io::ErrorKind::StorageFull => "make room on that filesystem",
        _ => "xlr keeps its state there",
    }
}
