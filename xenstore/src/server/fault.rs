//! Why a connection cannot go on.

use std::io;

use thiserror::Error;
use xen_sys::io::ring_index::BrokenRing;
use xen_sys::io::xs_wire::{XENSTORE_ERROR_COMM, XENSTORE_ERROR_PROTO, XENSTORE_ERROR_RINGIDX};

use crate::wire::ParseError;

/// The end of a connection. Each concerns one connection only.
#[derive(Debug, Error)]
pub enum Fault {
    /// The peer has closed it.
    #[error("closed by the peer")]
    Closed,
    /// Indices that no honest peer leaves.
    #[error(transparent)]
    Indices(#[from] BrokenRing),
    /// Positions of its ring that do not fit what the server before this one wrote down.
    #[error(
        "its ring has taken requests up to {taken} and replies up to {sent}, which the saved state \
         rules out"
    )]
    Resumed {
        /// `req_cons` of the ring.
        taken: u32,
        /// `rsp_prod` of the ring.
        sent: u32,
    },
    /// A message that is longer than the protocol allows.
    #[error(transparent)]
    TooLong(#[from] ParseError),
    /// The peer does not take what is sent to it.
    #[error("{waiting_bytes} bytes wait for it, and it does not take them in time")]
    Unread {
        /// What waits.
        waiting_bytes: usize,
    },
    /// The way to the peer failed.
    #[error("cannot {operation}")]
    Link {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Fault {
    /// What the error field of a ring says of it (`XENSTORE_ERROR_*`).
    #[must_use]
    pub const fn ring_code(&self) -> u32 {
        match self {
            Self::Indices(_) | Self::Resumed { .. } => XENSTORE_ERROR_RINGIDX,
            Self::TooLong(_) => XENSTORE_ERROR_PROTO,
            Self::Closed | Self::Unread { .. } | Self::Link { .. } => XENSTORE_ERROR_COMM,
        }
    }
}
