//! What a request did and what is left for the server to do.

use super::connection_id::ConnectionId;
use crate::wire::{Reply, WatchEvent};
use crate::{Domid, Gfn, Port};

/// What a call of the store leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What to answer; `None` when the answer depends on an effect (see [`Effect::Connect`]).
    pub reply: Option<Reply>,
    /// What else follows.
    pub changes: Changes,
}

/// Events to send and effects to bring about, each in order. The reply goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Watch events; those of one connection keep their order.
    pub events: Vec<Event>,
    /// What only the server can do.
    pub effects: Vec<Effect>,
}

/// A watch event for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whom to send it.
    pub connection: ConnectionId,
    /// The event; it always fits into a message.
    pub event: WatchEvent,
}

/// Something in the world outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Map the ring of a domain and bind its event channel, then tell the result to
    /// [`State::connected`](super::State::connected), which has the answer for `introducer`.
    Connect {
        /// Who asked.
        introducer: ConnectionId,
        /// The domain.
        domid: Domid,
        /// The frame of its ring page.
        gfn: Gfn,
        /// Its unbound event channel port.
        port: Port,
    },
    /// Forget all that was queued for this connection and what it has half sent: a ring starts anew,
    /// its indices and its feature bits are to be set.
    Reset {
        /// The connection.
        connection: ConnectionId,
        /// The ring's feature bits.
        features: u32,
    },
    /// Unmap the ring of a domain and let its event channel go; the connection is no more.
    Disconnect(Domid),
    /// Turn the log on or off (CONTROL `log`).
    Log(bool),
    /// Log to another file (CONTROL `logfile`).
    LogFile(String),
    /// Append a text to a file, or to the log (CONTROL `memreport` and `check`).
    Report {
        /// The file; `None` for the log.
        file: Option<String>,
        /// What to write.
        text: String,
    },
    /// Say something on the console or in the system's log (CONTROL `print`).
    Print(String),
}
