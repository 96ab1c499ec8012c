//! Watches that are set, and events that wait to be taken.
//!
//! In: watches as they are asked for and taken back; events as they arrive. Out: events in their
//! order. The queue is bounded; what does not fit is counted and reported in its place, never
//! dropped in silence.

use std::collections::VecDeque;

use crate::path::Path;
use crate::wire::{RequestId, Token, WatchEvent};

/// Events that may wait, by default.
pub const EVENTS_MAX: usize = 65_536;
/// Bytes of paths and tokens that may wait.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Debug)]
struct Watched {
    path: Path,
    token: Token,
    depth: Option<u32>,
    /// The request that set it, so that a refusal takes the right one away.
    request: RequestId,
}

impl Watched {
    /// Whether the event lies at or below the watched path, and within the depth.
    fn covers(&self, event: &WatchEvent) -> Option<bool> {
        if self.token != event.token {
            return None;
        }
        let levels = event.path.levels_below(&self.path)?;
        Some(self.depth.is_none_or(|depth| levels <= depth as usize))
    }
}

/// A watch as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub path: Path,
    pub token: Token,
    pub depth: Option<u32>,
}

/// What waits in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// An event.
    Event(WatchEvent),
    /// This many events came here and found no room.
    Lost(u64),
}

/// What became of an event that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits to be taken.
    Queued,
    /// It lies deeper than its watch wants.
    Outside,
    /// There was no room; the loss is noted in its place.
    Lost,
}

/// The watches of a connection and their events.
#[derive(Debug)]
pub struct Events {
    watches: Vec<Watched>,
    queue: VecDeque<Waiting>,
    bytes: usize,
    limit: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { watches: Vec::new(), queue: VecDeque::new(), bytes: 0, limit: EVENTS_MAX }
    }
}

impl Events {
    /// Sets how many events may wait (at least one).
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// How many events may wait.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// How many entries wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A watch was asked for. It counts from here on, for its first event may overtake the reply.
    pub fn watch(&mut self, path: Path, token: Token, depth: Option<u32>, request: RequestId) {
        self.watches.push(Watched { path, token, depth, request });
    }

    /// Forgets the watches, and gives them.
    pub(super) fn take_watches(&mut self) -> Vec<Watch> {
        let all = std::mem::take(&mut self.watches).into_iter();
        all.map(|Watched { path, token, depth, .. }| Watch { path, token, depth }).collect()
    }

    /// Watches that were set on a connection that is no more. They are not set, and are not to be
    /// forgotten.
    pub(super) fn put_back(&mut self, watches: Vec<Watch>) {
        // No request is under way that could be refused.
        let request = RequestId(0);
        let back = |Watch { path, token, depth }| Watched { path, token, depth, request };
        self.watches = watches.into_iter().map(back).collect();
    }

    /// The server refused the watch that this request asked for.
    pub fn refused(&mut self, request: RequestId) {
        self.watches.retain(|watched| watched.request != request);
    }

    /// The server took the watch back: its waiting events go too, unless another watch with the
    /// same token covers them.
    pub fn unwatch(&mut self, path: &Path, token: &Token) {
        let same = |w: &Watched| w.path == *path && w.token == *token;
        if let Some(index) = self.watches.iter().position(same) {
            self.watches.remove(index);
        }
        let gone = |event: &WatchEvent, watches: &[Watched]| {
            event.token == *token
                && event.path.levels_below(path).is_some()
                && !watches.iter().any(|w| w.covers(event) == Some(true))
        };
        let (watches, bytes) = (&self.watches, &mut self.bytes);
        self.queue.retain(|waiting| match waiting {
            Waiting::Event(event) if gone(event, watches) => {
                *bytes -= size(event);
                false
            }
            _ => true,
        });
    }

    /// The server dropped all watches.
    pub fn reset(&mut self) {
        self.watches.clear();
        self.queue.clear();
        self.bytes = 0;
    }

    /// An event arrived.
    pub fn push(&mut self, event: WatchEvent) -> Fate {
        let mut outside = false;
        for watched in &self.watches {
            match watched.covers(&event) {
                Some(true) => return self.enqueue(event),
                Some(false) => outside = true,
                None => {}
            }
        }
        // An event of no watch that is known here is passed on: losing one is worse than one more.
        if outside { Fate::Outside } else { self.enqueue(event) }
    }

    /// An event arrived that cannot be read.
    pub fn lost_one(&mut self) {
        if let Some(Waiting::Lost(count)) = self.queue.back_mut() {
            *count += 1;
        } else {
            self.queue.push_back(Waiting::Lost(1));
        }
    }

    /// Takes what has waited longest.
    pub fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        if let Waiting::Event(event) = &waiting {
            self.bytes -= size(event);
        }
        Some(waiting)
    }

    fn enqueue(&mut self, event: WatchEvent) -> Fate {
        let bytes = self.bytes + size(&event);
        if self.queue.len() >= self.limit || bytes > EVENT_BYTES_MAX {
            self.lost_one();
            return Fate::Lost;
        }
        self.bytes = bytes;
        self.queue.push_back(Waiting::Event(event));
        Fate::Queued
    }
}

/// Bytes that an event is charged with.
fn size(event: &WatchEvent) -> usize {
    event.path.as_str().len() + event.token.as_bytes().len() + size_of::<Waiting>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text).unwrap()
    }

    fn token(text: &str) -> Token {
        Token::new(text).unwrap()
    }

    fn event(p: &str, t: &str) -> WatchEvent {
        WatchEvent { path: path(p), token: token(t) }
    }

    fn drain(events: &mut Events) -> Vec<String> {
        std::iter::from_fn(|| events.pop())
            .map(|waiting| match waiting {
                Waiting::Event(event) => format!("{} {}", event.path, event.token),
                Waiting::Lost(count) => format!("lost {count}"),
            })
            .collect()
    }

    #[test]
    fn overflow_is_reported_in_its_place() {
        let mut events = Events::default();
        events.set_limit(2);
        for name in ["/a", "/b", "/c", "/d"] {
            events.push(event(name, "t"));
        }
        assert_eq!(events.pop(), Some(Waiting::Event(event("/a", "t"))));
        assert_eq!(events.pop(), Some(Waiting::Event(event("/b", "t"))));
        events.push(event("/e", "t"));
        assert_eq!(drain(&mut events), ["lost 2", "/e t"]);
    }

    #[test]
    fn the_limit_holds_at_n_and_n_plus_1() {
        let mut events = Events::default();
        events.set_limit(3);
        for _ in 0..3 {
            assert_eq!(events.push(event("/a", "t")), Fate::Queued);
        }
        assert_eq!(events.push(event("/a", "t")), Fate::Lost);
        assert_eq!(drain(&mut events).last().unwrap(), "lost 1");
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let mut events = Events::default();
        let long = token(&"t".repeat(4000));
        let mut pushed = 0;
        while events.push(WatchEvent { path: path("/a"), token: long.clone() }) == Fate::Queued {
            pushed += 1;
        }
        assert!(pushed < EVENTS_MAX && pushed * 4000 <= EVENT_BYTES_MAX);
        drain(&mut events);
        assert_eq!(events.bytes, 0);
    }

    #[test]
    fn unwatch_drains_only_its_own() {
        let mut events = Events::default();
        events.watch(path("/a"), token("t"), None, RequestId(1));
        events.watch(path("/a/b"), token("t"), None, RequestId(2));
        events.watch(path("/a"), token("u"), None, RequestId(3));
        for (p, t) in [("/a", "t"), ("/a/b", "t"), ("/a/b/c", "t"), ("/a", "u")] {
            assert_eq!(events.push(event(p, t)), Fate::Queued);
        }
        events.unwatch(&path("/a"), &token("t"));
        assert_eq!(drain(&mut events), ["/a/b t", "/a/b/c t", "/a u"]);
        assert_eq!(events.bytes, 0);
    }

    #[test]
    fn depth_is_kept_here_too() {
        let mut events = Events::default();
        events.watch(path("/a"), token("t"), Some(1), RequestId(1));
        for (p, fate) in [("/a", Fate::Queued), ("/a/b", Fate::Queued), ("/a/b/c", Fate::Outside)] {
            assert_eq!(events.push(event(p, "t")), fate, "{p}");
        }
        events.watch(path("/a/b"), token("t"), None, RequestId(2));
        assert_eq!(events.push(event("/a/b/c", "t")), Fate::Queued, "another watch covers it");
        events.refused(RequestId(2));
        assert_eq!(events.push(event("/a/b/c", "t")), Fate::Outside);
    }
}
