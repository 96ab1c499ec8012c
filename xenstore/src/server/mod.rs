//! A server around the [store](crate::store): connections, their queues, whose turn it is.
//!
//! ```text
//! Transport ──bytes──▶ Connection ──packet──▶ State::apply ──▶ reply, events ──▶ Queue
//!     ▲                                                             │
//!     └───────────── request bytes taken, reply bytes ◀── Journal::commit
//! ```
//!
//! In: "something may have come for this connection", "some domain may have ended", and the work of
//! a [`Host`], which alone maps rings, binds event channels and asks the hypervisor. Out: bytes on
//! [`Transport`]s. Nothing here makes a hypercall, opens a file or reads a clock.
//!
//! # Order
//!
//! A [round](Server::round) serves every connection that has work, a few requests each, then
//! commits once, and only then tells anyone: first the transports learn which request bytes are
//! taken, then reply and event bytes go out. A server that dies before the commit has done nothing
//! that a peer could have seen; after it, everything can be done again from what was committed and
//! from the ring's own indices. Positions are those of the byte streams, as free-running 32-bit
//! numbers; of a ring they are its indices.
//!
//! # After a kill
//!
//! [`SavedLog`] is a journal that outlives the process. [`Revived`] reads what it kept, does the
//! entries again through the functions that made them, and puts new ways to the peers in place of
//! the old ones; whoever's ring rules out what was kept is cut off.
//!
//! # Nobody holds up another
//!
//! * Turns go round; a turn is [`Server::REQUESTS_PER_TURN`] requests at most.
//! * A guest that does not take its replies is not asked for more (the quota `outstanding`). Events
//!   that a guest's requests cause at others count there too, until the others have taken them.
//! * Events for a reader that falls behind are merged where it cannot tell ([`Queue`]), and the store
//!   makes none for a guest whose memory is used up. A reader that no quota binds is cut off at
//!   [`Server::QUEUE_BYTES`]; one that holds up guests and has taken nothing for
//!   [`Server::UNREAD_SECONDS`], too, unless it is this host's kernel.
//! * A ring with impossible indices, or a message longer than the protocol allows, ends that
//!   connection: a socket is closed, a guest's ring gets its error field set and is left alone until
//!   the guest asks for a reconnection or is introduced anew.

mod connection;
mod entries;
mod fault;
mod host;
mod journal;
mod log;
mod queue;
mod replay;
mod ring;
mod saved;
mod serve;
mod settle;
mod transport;

pub use connection::Connection;
pub use fault::Fault;
pub use host::{Found, Host, Identity};
pub use journal::{Entry, Journal, NoJournal};
pub use log::SavedLog;
pub use queue::Queue;
pub use replay::{Detached, Recorded, ReplayError, Revived};
pub use ring::{Page, PageRing};
pub use saved::ServerImage;
pub use serve::Server;
pub use transport::Transport;
