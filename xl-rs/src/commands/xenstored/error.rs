//! Why the store cannot be served.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A xenstored that could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum XenstoredError {
    /// The hypervisor, or the way to it.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// Another one serves this host.
    #[error(
        "another xenstored serves this host{}; a host has one store, which cannot change hands \
         while domains run",
        pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    Running {
        /// Its process, if it is ours.
        pid: Option<u32>,
    },
    /// A file or socket of the service.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Something that the system should give to any process.
    #[error("cannot {operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel's ring.
    #[error("cannot use the kernel's xenstore ring")]
    KernelRing {
        /// Why.
        #[source]
        source: xenstore::server::Fault,
    },
    /// The directory of the saved state.
    #[error(transparent)]
    Storage(#[from] xenstore::saved::StorageError),
    /// The state that a killed service left behind.
    #[error(
        "the store that was served before cannot be taken up from {path}; the guests that run are \
         connected to it. To begin with an empty store instead, remove {path} and start these guests \
         again afterwards",
        path = path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: Unusable,
    },
    /// The process that was to serve ended before it did.
    #[error("xenstored did not start ({status}); what it said stands above")]
    NotStarted {
        /// How it ended.
        status: ExitStatus,
    },
}

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file is damaged, or none.
    #[error(transparent)]
    File(xenstore::saved::LoadError),
    /// It says what cannot be.
    #[error(transparent)]
    Contents(xenstore::server::ReplayError),
}

/// Says what was tried with a file.
pub(super) fn file(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> XenstoredError {
    let path = path.into();
    move |source| XenstoredError::File { operation, path, source }
}

/// Says what was tried of the system.
pub(super) fn system<E: Into<io::Error>>(
    operation: &'static str,
) -> impl FnOnce(E) -> XenstoredError {
    move |error| XenstoredError::System { operation, source: error.into() }
}
