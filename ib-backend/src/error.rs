//! What can go wrong in the backend, and what to do about it.

use libxc_safe::{Domid, Errno};

/// The result of what the backend does for itself.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation of the backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libibverbs cannot be loaded.
    #[error(
        "{library} cannot be loaded: {reason}; install rdma-core (libibverbs1, ibverbs-providers)"
    )]
    NoLibrary {
        /// Its name.
        library: &'static str,
        /// What the loader said.
        reason: String,
    },
    /// No verbs device of that name.
    #[error("there is no RDMA device {device}; this host has: {}", list(there))]
    NoDevice {
        /// What the configuration asked for.
        device: String,
        /// What there is.
        there: Vec<String>,
    },
    /// A device for which nobody has vouched.
    #[error(
        "{device} is hardware, and a PV dom0 may bounce what it reads and writes of guests, which would \
         be wrong data without an error; try guests on it, then start xlr-ibd with --trust-device {device}"
    )]
    Untrusted {
        /// The device.
        device: String,
    },
    /// A verb failed.
    #[error("{verb} on {device}: {errno}")]
    Verb {
        /// Its name.
        verb: &'static str,
        /// The device.
        device: String,
        /// What it answered.
        errno: Errno,
    },
    /// The guardian cannot be started: without it a killed backend leaves memory registered.
    #[error("the guardian of registered memory cannot be started: {errno}")]
    Guardian {
        /// What the kernel answered.
        errno: Errno,
    },
    /// A node of the toolstack says what cannot be.
    #[error("{path}: {value:?} is no {expected}")]
    Node {
        /// The node.
        path: String,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The guest broke the protocol.
    #[error("domain {domid} broke the protocol: {what}")]
    Protocol {
        /// The guest.
        domid: Domid,
        /// How.
        what: String,
    },
    /// Another backend runs on this host.
    #[error("another xlr-ibd answers at {path}; one serves all guests")]
    Running {
        /// Its socket.
        path: String,
    },
    /// Something of this host failed.
    #[error("{operation}")]
    Host {
        /// What was tried.
        operation: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Grants or event channels.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// xenstore.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
}

impl Error {
    /// A failure of this host.
    pub fn host(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Host { operation, source }
    }

    /// The errno behind it, for the guest.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Verb { errno, .. } | Self::Guardian { errno } => *errno,
            Self::Xen(error) => error.errno().unwrap_or(Errno::INVAL),
            _ => Errno::IO,
        }
    }

    /// The whole story on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text += &format!(": {error}");
            next = error.source();
        }
        text
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none (see rdma link)".to_owned() } else { names.join(", ") }
}
