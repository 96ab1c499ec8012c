//! What can go wrong in the guest's half, and the errno that a verbs program gets for it.

use ib_protocol::RingFault;
use libxc_safe::Errno;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's devices for Xen.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// The guest's own xenstore.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// A file or descriptor of the system's.
    #[error("{what}: {errno}")]
    System {
        /// What was done.
        what: &'static str,
        /// The system's answer.
        errno: Errno,
    },
    /// A node of the guest's own half makes no sense.
    #[error("{path} is {value:?}, which is no domid")]
    BadNode {
        /// Where it is.
        path: String,
        /// What it holds.
        value: String,
    },
    /// The backend did not look at the request for a context.
    #[error("device/rdma/{devid}: the backend does not answer; is xlr-ibd running in dom0?")]
    NoAnswer {
        /// The device's number.
        devid: u32,
    },
    /// The backend refused a context.
    #[error("device/rdma/{devid}: the backend refuses: {why}")]
    Refused {
        /// The device's number.
        devid: u32,
        /// Its reason.
        why: &'static str,
    },
    /// The backend refused a request.
    #[error("the backend answers {errno} to {request}")]
    Answer {
        /// What was asked.
        request: &'static str,
        /// Its answer.
        errno: Errno,
    },
    /// The backend has ended, or has closed the context.
    #[error("the backend is gone; open the device again")]
    Gone,
    /// The backend wrote an index that cannot be.
    #[error("the backend claims {} entries of {}", .0.claimed, .0.slots)]
    Ring(RingFault),
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// A ring has no room.
    #[error("the queue is full")]
    Full,
    /// Memory that cannot be shared.
    #[error("memory at {address:#x} cannot be registered: {why}")]
    Memory {
        /// Where it begins.
        address: usize,
        /// Why.
        why: &'static str,
    },
}

impl Error {
    /// What a verbs program is told.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Xen(libxc_safe::Error::Device { errno, .. }) => *errno,
            Self::System { errno, .. } | Self::Answer { errno, .. } => *errno,
            Self::NoAnswer { .. } => Errno::TIMEDOUT,
            Self::Refused { .. } => Errno::ACCESS,
            Self::Invalid(_) | Self::Memory { .. } => Errno::INVAL,
            Self::Full => Errno::NOMEM,
            Self::Gone | Self::Ring(_) | Self::BadNode { .. } => Errno::IO,
            Self::Xen(_) | Self::Store(_) => Errno::NODEV,
        }
    }
}

impl Error {
    /// Whether what was asked for would have succeeded with less of the same kind about: the guest's quota,
    /// the kernel's, or memory.
    #[must_use]
    pub fn is_want_of_room(&self) -> bool {
        matches!(self.errno(), Errno::DQUOT | Errno::NOSPC | Errno::NOMEM)
    }
}

impl From<RingFault> for Error {
    fn from(fault: RingFault) -> Self {
        Self::Ring(fault)
    }
}
