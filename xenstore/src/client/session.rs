//! The client's half of the protocol, without I/O.
//!
//! In: requests to send, bytes that arrived. Out: bytes to send, replies, events. The blocking client
//! and the tokio client both drive this; it reads no clock and blocks on nothing.
//!
//! ```text
//! Request ──request()──▶ bytes to send          pending: id → nothing yet | outcome
//! bytes   ──receive()──▶ outcome by req_id ──take()──▶ Reply
//!                    └─▶ event queue       ──pop_event()──▶ WatchEvent | Lost
//! ```
//!
//! Replies are matched by `req_id`, in whatever order they come. A WATCH_EVENT is told by its type
//! alone: Linux's xenbus device leaves the other fields of its header undefined.

use std::collections::VecDeque;
use std::time::Duration;

use super::error::{Loss, ReplyError};
use super::events::{Events, Fate, Waiting, Watch};
use crate::errno::{Errno, Failure};
use crate::path::Path;
use crate::wire::{
    DecodeError, MessageType, Packet, Parser, Reply, Request, RequestId, Token, TransactionId,
};

/// What became of a request: the reply (which may be [`Reply::Error`]), or one that cannot be read.
pub type Outcome = Result<Reply, ReplyError>;

/// What a session counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent.
    pub requests: u64,
    /// Times that a caller waited for the server: one for a request, one for a whole batch.
    pub round_trips: u64,
    /// How long a blocking caller waited for the server in all, from the first byte sent to the last
    /// one read: the server may run as soon as something is sent to it.
    pub waited: Duration,
    /// Transactions that were tried again because of EAGAIN.
    pub conflicts: u64,
    /// Watch events that were queued.
    pub events: u64,
    /// Watch events that found no room or could not be read.
    pub events_lost: u64,
}

#[derive(Debug)]
struct Pending {
    id: RequestId,
    kind: MessageType,
    /// What the success of the request does to the watches.
    effect: Effect,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Answered(Outcome),
    Taken,
}

#[derive(Debug)]
enum Effect {
    None,
    Watch,
    Unwatch(Path, Token),
    Reset,
}

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    parser: Parser,
    /// In the order of sending, with consecutive ids, so that an id is an index.
    pending: VecDeque<Pending>,
    waiting: usize,
    next_id: u32,
    /// The server does not know depths: they are kept here and not sent.
    keeps_depths: bool,
    /// Watches and their events.
    pub events: Events,
    /// What happened so far.
    pub counters: Counters,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            parser: Parser::new(),
            pending: VecDeque::new(),
            waiting: 0,
            next_id: 1,
            keeps_depths: false,
            events: Events::default(),
            counters: Counters::default(),
        }
    }
}

impl Session {
    /// A session over a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on depths of watches are not sent, because the server does not know them; deeper
    /// events are sorted out here, as they are in any case. A special path keeps its depth, which
    /// changes what its events say: better refused than lost.
    pub fn keep_depths(&mut self) {
        self.keeps_depths = true;
    }

    /// The connection is another one: nothing is under way on it, and no watch is set. Gives those that
    /// were; events that wait stay.
    pub(super) fn begin_anew(&mut self) -> Vec<Watch> {
        self.parser = Parser::new();
        for pending in std::mem::take(&mut self.pending) {
            match (pending.state, pending.effect) {
                // Whoever asked hears that it was not answered.
                (State::Waiting, Effect::Watch) => self.events.refused(pending.id),
                (State::Waiting, Effect::Unwatch(path, token)) => {
                    self.events.unwatch(&path, &token);
                }
                (State::Waiting, Effect::Reset) => self.events.reset(),
                _ => {}
            }
        }
        self.waiting = 0;
        self.keeps_depths = false;
        self.events.take_watches()
    }

    /// Appends the request to `out` and expects its reply.
    ///
    /// # Errors
    /// The payload's length in bytes, when it is over the protocol's limit; nothing changed then.
    pub fn request(
        &mut self,
        request: &Request,
        transaction: TransactionId,
        out: &mut Vec<u8>,
    ) -> Result<RequestId, usize> {
        let id = RequestId(self.next_id);
        match request {
            Request::Watch { path, token, .. } if self.keeps_depths && !path.is_special() => {
                let (path, token) = (path.clone(), token.clone());
                Request::Watch { path, token, depth: None }.encode(id, transaction, out)?;
            }
            _ => request.encode(id, transaction, out)?,
        }
        self.next_id = self.next_id.wrapping_add(1);
        let effect = match request {
            Request::Watch { path, token, depth } => {
                self.events.watch(path.clone(), token.clone(), *depth, id);
                Effect::Watch
            }
            Request::Unwatch { path, token } => Effect::Unwatch(path.clone(), token.clone()),
            Request::ResetWatches => Effect::Reset,
            _ => Effect::None,
        };
        let kind = request.message_type();
        self.pending.push_back(Pending { id, kind, effect, state: State::Waiting });
        self.waiting += 1;
        self.counters.requests += 1;
        Ok(id)
    }

    /// How many requests have no reply yet.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes bytes that arrived.
    ///
    /// # Errors
    /// The stream is lost: drop the connection.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Loss> {
        while !bytes.is_empty() {
            if let Some(packet) = self.parser.advance(&mut bytes).map_err(Loss::Garbage)? {
                self.packet(&packet)?;
            }
        }
        Ok(())
    }

    /// The transport itself refused to take this request: answers it as the server would.
    pub fn refuse(&mut self, id: RequestId, errno: Errno) {
        self.answer(id, Ok(Reply::Error(Failure::Known(errno))));
    }

    /// The outcome of a request, once.
    pub fn take(&mut self, id: RequestId) -> Option<Outcome> {
        let pending = self.find(id)?;
        if !matches!(pending.state, State::Answered(_)) {
            return None;
        }
        let state = std::mem::replace(&mut pending.state, State::Taken);
        while matches!(self.pending.front(), Some(Pending { state: State::Taken, .. })) {
            self.pending.pop_front();
        }
        match state {
            State::Answered(outcome) => Some(outcome),
            State::Waiting | State::Taken => None,
        }
    }

    /// The event, or the report of a loss, that has waited longest.
    pub fn pop_event(&mut self) -> Option<Waiting> {
        self.events.pop()
    }

    fn find(&mut self, id: RequestId) -> Option<&mut Pending> {
        let first = self.pending.front()?.id;
        let index = usize::try_from(id.0.wrapping_sub(first.0)).ok()?;
        self.pending.get_mut(index)
    }

    fn packet(&mut self, packet: &Packet) -> Result<(), Loss> {
        if packet.header.message_type() == Some(MessageType::WatchEvent) {
            self.event(Reply::decode(packet));
            return Ok(());
        }
        let id = packet.header.request;
        let Some(Pending { kind, state: State::Waiting, .. }) = self.find(id) else {
            return Err(Loss::Unasked(id.0));
        };
        let kind = *kind;
        let outcome = match Reply::decode(packet) {
            Ok(reply) if reply.message_type() == kind => Ok(reply),
            Ok(reply @ Reply::Error(_)) => Ok(reply),
            Ok(reply) => Err(ReplyError::Type(reply.message_type())),
            Err(error) => Err(ReplyError::Decode(error)),
        };
        self.answer(id, outcome);
        Ok(())
    }

    fn event(&mut self, decoded: Result<Reply, DecodeError>) {
        let fate = if let Ok(Reply::Event(event)) = decoded {
            self.events.push(event)
        } else {
            self.events.lost_one();
            Fate::Lost
        };
        match fate {
            Fate::Queued => self.counters.events += 1,
            Fate::Lost => self.counters.events_lost += 1,
            Fate::Outside => {}
        }
    }

    fn answer(&mut self, id: RequestId, outcome: Outcome) {
        let success = matches!(outcome, Ok(ref reply) if !matches!(reply, Reply::Error(_)));
        let Some(pending) = self.find(id) else { return };
        if !matches!(pending.state, State::Waiting) {
            return;
        }
        pending.state = State::Answered(outcome);
        let effect = std::mem::replace(&mut pending.effect, Effect::None);
        self.waiting -= 1;
        match effect {
            Effect::Watch if !success => self.events.refused(id),
            Effect::Unwatch(path, token) if success => self.events.unwatch(&path, &token),
            Effect::Reset if success => self.events.reset(),
            _ => {}
        }
    }
}
