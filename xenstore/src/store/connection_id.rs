//! Which connection is meant.

use std::fmt;

use crate::Domid;

/// A connection to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionId {
    /// A socket of the control domain, by a number that the server gives. Privileged.
    Socket(u32),
    /// The ring of a domain.
    Domain(Domid),
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(number) => write!(f, "socket {number}"),
            Self::Domain(domid) => write!(f, "domain {domid}"),
        }
    }
}
