//! Where a server writes down what it does before anyone learns of it.

use std::io;

use super::host::Identity;
use crate::store::{ConnectionId, Ring};
use crate::wire::Packet;
use crate::{Domid, Errno};

/// What changes the store or a connection. The same entries in the same order give the same store
/// and the same queues.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A packet was taken from a connection and applied. Its bytes are taken with it.
    Request {
        /// Whose.
        connection: ConnectionId,
        /// The packet.
        packet: &'a Packet,
    },
    /// The bytes of a packet that is not whole yet were taken.
    Partial {
        /// Whose.
        connection: ConnectionId,
        /// Those that came now.
        bytes: &'a [u8],
    },
    /// Bytes have left the head of a connection's queue, since the commit before.
    Sent {
        /// Whose.
        connection: ConnectionId,
        /// How many.
        bytes: usize,
    },
    /// A domain that a request names exists.
    Exists(Domid, Identity),
    /// The ring of an INTRODUCE was connected, or why not.
    Connected {
        /// The domain.
        domid: Domid,
        /// Which one it is.
        identity: Identity,
        /// Its ring.
        ring: Ring,
        /// How it went.
        result: Result<(), Errno>,
    },
    /// A domain has shut down.
    ShutDown(Domid),
    /// A domain is no more.
    Gone(Domid),
    /// A socket was accepted.
    Opened(u32),
    /// A socket is closed.
    Closed(u32),
    /// A connection lost its watches, transactions, queue and positions: its ring was broken
    /// (`parked`), or it asked for a new beginning.
    Reset {
        /// Whose.
        connection: ConnectionId,
        /// Whether nothing more is taken from it or sent to it.
        parked: bool,
    },
    /// An image of everything is begun (`true`) or not held any more: meanwhile its trees are held, and
    /// changes copy.
    Image(bool),
}

/// A journal of a server.
pub trait Journal {
    /// Takes note of something that was done.
    fn note(&mut self, entry: Entry<'_>);

    /// Hears the bytes of every reply and event that what was noted leads to: whoever does it again
    /// can tell whether it leads to the same.
    fn answered(&mut self, _message: &[u8]) {}

    /// Keeps all notes so far, whatever happens to the process. Until this has returned, no peer
    /// hears of what was noted.
    ///
    /// # Errors
    /// They cannot be kept; the server stops.
    fn commit(&mut self) -> io::Result<()>;
}

/// The journal of a server whose store ends with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn note(&mut self, _entry: Entry<'_>) {}

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}
