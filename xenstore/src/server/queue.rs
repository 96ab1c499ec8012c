//! What waits to be sent on a connection.

mod saved;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::Domid;

/// Replies and events in their order, as bytes, with the position of the first in its stream.
///
/// **Merging.** An event says "look there", so one that equals an event still waiting tells nothing
/// new, as long as no reply waits between the two: the reader cannot have looked in between. From
/// [`Queue::MERGE_BYTES`] on such events are not added. A reader that keeps up never sees this.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    /// Bytes at the head that are gone.
    sent: usize,
    /// The position of the first byte that is not.
    base: u32,
    messages: VecDeque<Message>,
    /// The guest at the other end.
    reader: Option<Domid>,
    /// Messages that other guests answer for.
    owed: usize,
    /// Messages at the head for which [`Queue::owed_since`] has noted the time.
    timed: usize,
    /// The time of the first message that other guests answer for, once it was looked for.
    oldest: Option<Duration>,
    /// Events since the last reply, and since anything was sent.
    recent: BTreeSet<Box<[u8]>>,
}

/// A message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes of it that are not sent.
    pub left: usize,
    /// The guest whose request led to it, which has to answer for it until it is sent.
    pub origin: Option<Domid>,
    /// When it was first seen waiting, if another guest answers for it.
    pub since: Option<Duration>,
}

impl Queue {
    /// Waiting bytes from which on equal events are merged.
    pub const MERGE_BYTES: usize = 16 << 10;

    /// An empty queue whose stream is at position `base`; `reader` is the guest at its other end.
    #[must_use]
    pub fn at(base: u32, reader: Option<Domid>) -> Self {
        Self { base, reader, ..Self::default() }
    }

    /// The guest at the other end.
    #[must_use]
    pub const fn reader(&self) -> Option<Domid> {
        self.reader
    }

    /// Whether something waits that another guest answers for.
    #[must_use]
    pub const fn holds_up_others(&self) -> bool {
        self.owed > 0
    }

    /// The position of the first waiting byte.
    #[must_use]
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// All that waits.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// What waits behind `sent` bytes that are on their way, with its position.
    #[must_use]
    pub fn not_sent(&self, sent: usize) -> (u32, &[u8]) {
        // Positions are modulo 2³².
        (self.base.wrapping_add(sent as u32), self.waiting().get(sent..).unwrap_or(&[]))
    }

    /// The messages that wait, the first of which may have been sent in part.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// Adds a reply.
    pub fn push_reply(&mut self, message: &[u8], origin: Option<Domid>) {
        self.recent.clear();
        self.push(message, origin);
    }

    /// Adds an event; `false` when an equal one waits.
    pub fn push_event(&mut self, message: &[u8], origin: Option<Domid>) -> bool {
        if self.waiting().len() >= Self::MERGE_BYTES && !self.recent.insert(message.into()) {
            return false;
        }
        self.push(message, origin);
        true
    }

    fn push(&mut self, message: &[u8], origin: Option<Domid>) {
        self.owed += usize::from(self.is_owed(origin));
        self.bytes.extend_from_slice(message);
        self.messages.push_back(Message { left: message.len(), origin, since: None });
    }

    /// The last two messages are of one request, and the second one answers for both.
    pub fn answer_once(&mut self) {
        let before = self.messages.len().checked_sub(2);
        if let Some(message) = before.and_then(|at| self.messages.get_mut(at)) {
            let origin = message.origin.take();
            self.owed -= usize::from(self.is_owed(origin));
        }
    }

    /// Since when the first message waits that another guest answers for. Those that came since it was
    /// asked last wait from `now` on: what is taken meanwhile gives none of them more time.
    pub fn owed_since(&mut self, now: Duration) -> Option<Duration> {
        let reader = self.reader;
        let owed = |message: &Message| message.origin.is_some() && message.origin != reader;
        for message in self.messages.range_mut(self.timed..) {
            message.since = owed(message).then_some(now);
        }
        self.timed = self.messages.len();
        if self.oldest.is_none() {
            self.oldest = self.messages.iter().find(|m| owed(m)).and_then(|m| m.since);
        }
        self.oldest
    }

    fn is_owed(&self, origin: Option<Domid>) -> bool {
        origin.is_some() && origin != self.reader
    }

    /// Takes `count` bytes off the head, and hands over the origin of each message that is wholly
    /// gone.
    pub fn advance(&mut self, count: usize, mut gone: impl FnMut(Option<Domid>)) {
        let mut count = count.min(self.waiting().len());
        if count == 0 {
            return;
        }
        self.recent.clear();
        self.sent += count;
        // Positions are modulo 2³².
        self.base = self.base.wrapping_add(count as u32);
        while let Some(first) = self.messages.front_mut() {
            if first.left > count {
                first.left -= count;
                break;
            }
            count -= first.left;
            let origin = first.origin;
            self.messages.pop_front();
            self.timed = self.timed.saturating_sub(1);
            if self.is_owed(origin) {
                self.owed -= 1;
                self.oldest = None;
            }
            gone(origin);
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            if self.bytes.capacity() > Self::MERGE_BYTES {
                self.bytes = Vec::new();
            }
        } else if self.sent > Self::MERGE_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// A guest is gone: nobody answers for its messages any more.
    pub fn forget(&mut self, origin: Domid) {
        let owed = self.is_owed(Some(origin));
        self.oldest = None;
        for message in &mut self.messages {
            if message.origin == Some(origin) {
                message.origin = None;
                self.owed -= usize::from(owed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_messages_with_their_last_byte() {
        let mut queue = Queue::at(u32::MAX - 1, Some(Domid(1)));
        queue.push_reply(b"abc", Some(Domid(1)));
        assert!(queue.push_event(b"de", Some(Domid(2))));
        assert!(queue.push_event(b"de", None), "not merged while short");
        assert!(queue.holds_up_others());
        let mut gone = Vec::new();
        queue.advance(2, |origin| gone.push(origin));
        assert_eq!((queue.waiting(), queue.base(), gone.len()), (&b"cdede"[..], 0, 0));
        queue.forget(Domid(2));
        assert!(!queue.holds_up_others());
        queue.advance(3, |origin| gone.push(origin));
        assert_eq!(gone, [Some(Domid(1)), None]);
        queue.advance(100, |origin| gone.push(origin));
        assert_eq!((queue.waiting(), queue.base(), gone.len()), (&b""[..], 5, 3));
        assert_eq!(queue.messages().count(), 0);
    }

    #[test]
    fn equal_events_are_merged_only_where_nobody_can_tell() {
        let mut queue = Queue::default();
        queue.push_reply(&vec![0; Queue::MERGE_BYTES], None);
        assert!(queue.push_event(b"event", None));
        assert!(!queue.push_event(b"event", None), "an equal one waits");
        assert!(queue.push_event(b"other", None));
        assert!(!queue.push_event(b"event", None), "another event between tells nothing");
        queue.push_reply(b"reply", None);
        assert!(queue.push_event(b"event", None), "the reader may have looked before");
        queue.advance(1, |_| {});
        assert!(queue.push_event(b"event", None), "part of the first may be on its way");
    }
}
