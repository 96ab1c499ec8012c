//! One connection: where its streams are, what it has half sent, what waits for it.

use std::time::Duration;

use super::queue::Queue;
use crate::wire::Parser;

/// A connection and the way to its peer.
#[derive(Debug)]
pub struct Connection<T> {
    pub(super) link: T,
    /// Holds the part of a request that has come.
    pub(super) parser: Parser,
    /// The position up to which request bytes were taken.
    pub(super) request_position: u32,
    pub(super) out: Queue,
    /// Whether the peer broke the rules: nothing is taken from it or sent to it.
    pub(super) parked: bool,
    /// Whether it has requests that it may not make before it has taken more of its replies.
    pub(super) held_back: bool,
    /// Whether its turn comes.
    pub(super) listed: bool,
    /// Whether there is something to tell it after the next commit.
    pub(super) unsettled: bool,
    /// The features to advertise when both its streams begin anew, after the next commit.
    pub(super) was_reset: Option<u32>,
    /// Whether the transport was asked to tell when there is room.
    pub(super) awaits_room: bool,
    /// When the first message was seen waiting that another guest answers for.
    pub(super) stuck_since: Option<Duration>,
}

impl<T> Connection<T> {
    /// A connection whose request stream is at `request_position`, with nothing under way.
    pub(super) fn new(link: T, request_position: u32, out: Queue) -> Self {
        Self {
            link,
            parser: Parser::new(),
            request_position,
            out,
            parked: false,
            held_back: false,
            listed: false,
            unsettled: false,
            was_reset: None,
            awaits_room: false,
            stuck_since: None,
        }
    }

    /// The way to its peer.
    pub const fn link(&self) -> &T {
        &self.link
    }

    /// The position up to which request bytes were taken, those of a packet under way included.
    #[must_use]
    pub const fn request_position(&self) -> u32 {
        self.request_position
    }

    /// The bytes of a packet under way.
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        self.parser.held()
    }

    /// What waits to be sent.
    #[must_use]
    pub const fn out(&self) -> &Queue {
        &self.out
    }

    /// Whether its peer broke the rules: nothing is taken from it or sent to it.
    #[must_use]
    pub const fn is_parked(&self) -> bool {
        self.parked
    }
}
