//! `consoled`: serves the consoles of guests beyond the first, which are called channels, for all
//! domains in one process.
//!
//! ```text
//!  guest ──▶ ring page ──▶ Ring ──▶ Endpoint: pseudo-terminal, or socket ──▶ whoever attaches
//!    ▲          ▲           │
//!    └ event channel ◀──────┘ notify, after the bytes are out and the index has moved
//! ```
//!
//! In: the backend nodes that the toolstack writes, and three numbers that the guest writes: its
//! state, its ring's grant reference and its port. They are believed as far as Xen grants what they
//! name. Out: bytes, the backend's state, and the path of the terminal. [`state`] decides, [`ring`]
//! copies, [`endpoint`] is dom0's side, [`nodes`] is xenstore, [`daemon`] waits and calls them.
//!
//! - Nothing is kept but in the rings and in xenstore: killed and started again it goes on where it
//!   was. Bytes count as taken only when they were handed on, so none from the guest is lost; at most
//!   one write is repeated.
//! - What nobody reads stays in the ring, and that guest waits. No guest waits for another: each turn
//!   moves at most one ring of bytes each way.
//! - A guest whose indices make no sense loses that console until it connects anew.
//! - It makes no hypercall: event channels, grants and a socket to xenstored are all that it holds.

pub mod console;
pub mod daemon;
pub mod endpoint;
pub mod error;
pub mod nodes;
pub mod ring;
pub mod state;

pub use error::ConsoledError;

use std::fmt;

/// Which console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose.
    pub domid: u16,
    /// Its number; channels begin at 1.
    pub number: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "console {} of domain {}", self.number, self.domid)
    }
}
