//! Why consoles cannot be served.

use super::Key;
use std::io;
use std::path::PathBuf;
use xen_sys::io::ring_index::BrokenRing;

/// Why the daemon ends, or one console is not served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoledError {
    /// There is one already.
    #[error("another consoled serves this host's consoles; one is enough")]
    Running,
    /// A device of Xen's.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// The lock.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    /// The daemon itself.
    #[error("cannot {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Dom0's side of one console.
    #[error("{key}: cannot {operation}{}", path.as_ref().map_or_else(String::new, |path| format!(" {}", path.display())))]
    Endpoint {
        /// Which.
        key: Key,
        /// What was tried.
        operation: &'static str,
        /// The socket.
        path: Option<PathBuf>,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Something else is where the socket shall be.
    #[error(
        "{key}: {} is {what}; remove it, or give the channel another path", path.display()
    )]
    Taken {
        /// Which.
        key: Key,
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The guest's numbers make no sense.
    #[error("{key}: the guest gives no number as its {node}")]
    NoNumber {
        /// Which.
        key: Key,
        /// What should hold one.
        node: &'static str,
    },
    /// What the guest names cannot be had.
    #[error("{key}: cannot connect to what the guest names")]
    Connect {
        /// Which.
        key: Key,
        /// Why.
        #[source]
        source: libxc_safe::Error,
    },
    /// The guest's indices make no sense.
    #[error("{key} is not served until the guest connects anew")]
    Broken {
        /// Which.
        key: Key,
        /// The indices.
        #[source]
        source: BrokenRing,
    },
}

impl ConsoledError {
    /// Whether it is about one console alone, and all others go on.
    #[must_use]
    pub fn is_of_one(&self) -> bool {
        match self {
            Self::Endpoint { .. }
            | Self::Taken { .. }
            | Self::NoNumber { .. }
            | Self::Connect { .. }
            | Self::Broken { .. } => true,
            // Whoever is refused, or comes late at each of its tries, has a store all the same.
            Self::Store(error) => !error.is_disconnected() && !error.is_unavailable(),
            _ => false,
        }
    }

    /// Whether the connection to the store is gone.
    #[must_use]
    pub fn is_store_lost(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_disconnected())
    }

    /// Whether dom0's side of a console cannot be opened.
    #[must_use]
    pub const fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Endpoint { .. } | Self::Taken { .. })
    }
}
