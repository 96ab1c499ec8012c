//! What the supervisor knows of each domain, and what is to be done next: pure.
//!
//! ```text
//!           seen              has ended               work is done, and it is
//!   (none) ──────▶ Runs ─────────────────────▶ Busy ──────────────▶ gone, or Kept
//!                   │ ▲                         ▲ │
//!    ended too soon,│ │ runs again              │ │ somebody else had it in hand
//!    too often      │ │ (resumed)    time comes │ ▼
//!                   └─┼─────────────────────▶ Waits
//!                     └──────────────────────── Kept
//! ```
//!
//! In: the domains as the hypervisor lists them, the restarts that were cut short, and how work ended.
//! Out: tasks. A domain that is `Busy` or `Kept` gives none, so each end is worked on once; what is
//! written down before it is done ([`crate::state`]) sees to that across a kill. A domain that
//! another command cares for is looked at again when that command has let go of its lock.

use super::pace::Pace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// Who a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its number.
    pub domid: u16,
    /// Its UUID: numbers come again.
    pub uuid: Uuid,
}

/// A domain as the hypervisor lists it.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Who it is.
    pub key: Key,
    /// Whether it has shut down.
    pub ended: bool,
    /// Whether another command does what is to be done at its end.
    pub cared_for: bool,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// What the configuration of a domain that has ended says.
    End(Key),
    /// Making the domain of a restart that was cut short.
    Restart(Uuid),
}

/// How it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The domain is gone, or another one is in its place.
    Gone,
    /// It stays as it is. After a failure, too: what failed once is for people.
    Kept,
    /// Another command has it in hand.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Waits { until: Duration },
    Busy,
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    since: Duration,
    state: State,
}

/// All domains. Times are those since the supervisor began.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: BTreeMap<Key, Entry>,
    paces: BTreeMap<Uuid, Pace>,
    /// Restarts that were cut short and that have been tried.
    tried: BTreeSet<Uuid>,
    /// When the domains were looked at.
    looked: Duration,
}

impl Book {
    /// Brings the book up to date and gives what is to be done now. `restarting` are all restarts that
    /// have not come to their end, `cut_short` those of them that nobody works on and that have no domain.
    /// `restarts` tells whether a domain that has ended will be started again; it is asked where one
    /// ended too soon.
    pub fn look(
        &mut self,
        now: Duration,
        sights: &[Sight],
        restarting: &[Uuid],
        cut_short: &[Uuid],
        mut restarts: impl FnMut(Key) -> bool,
    ) -> Vec<Task> {
        self.looked = now;
        let seen: BTreeSet<Key> = sights.iter().map(|sight| sight.key).collect();
        self.entries.retain(|key, entry| entry.state == State::Busy || seen.contains(key));
        let mut tasks = Vec::new();
        for sight in sights {
            let key = sight.key;
            let fresh = Entry { since: now, state: State::Runs };
            let entry = self.entries.entry(key).or_insert(fresh);
            let due = match entry.state {
                State::Busy => false,
                State::Runs if !sight.ended => false,
                _ if !sight.ended => {
                    *entry = fresh;
                    false
                }
                State::Kept => false,
                _ if sight.cared_for => false,
                State::Runs => {
                    let lived = now.saturating_sub(entry.since);
                    let wait = self.paces.entry(key.uuid).or_default().next(lived);
                    let waits = !wait.is_zero() && restarts(key);
                    entry.state = State::Waits { until: now.saturating_add(wait) };
                    !waits
                }
                State::Waits { until } => until <= now,
            };
            if due {
                entry.state = State::Busy;
                tasks.push(Task::End(key));
            }
        }
        let known = |uuid: &Uuid| self.entries.keys().any(|key| key.uuid == *uuid);
        self.paces.retain(|uuid, _| known(uuid));
        self.tried.retain(|uuid| restarting.contains(uuid));
        for &uuid in cut_short {
            // One that is busy has its own in hand.
            if !known(&uuid) && self.tried.insert(uuid) {
                tasks.push(Task::Restart(uuid));
            }
        }
        tasks
    }

    /// A task has ended.
    pub fn done(&mut self, task: Task, answer: Answer, now: Duration) {
        let key = match task {
            Task::End(key) => key,
            Task::Restart(uuid) => {
                if answer == Answer::Elsewhere {
                    // Whoever has it in hand may be killed, too.
                    self.tried.remove(&uuid);
                }
                return;
            }
        };
        match answer {
            Answer::Gone => drop(self.entries.remove(&key)),
            Answer::Kept | Answer::Elsewhere => {
                let Some(entry) = self.entries.get_mut(&key) else { return };
                entry.state = match answer {
                    Answer::Elsewhere => State::Waits { until: now },
                    _ => State::Kept,
                };
            }
        }
        if answer == Answer::Kept {
            // What its restart has left was told; it is not tried at once again.
            self.tried.insert(key.uuid);
        }
    }

    /// When a domain that ended too soon has its turn.
    #[must_use]
    pub fn next_turn(&self) -> Option<Duration> {
        let untils = self.entries.values().filter_map(|entry| match entry.state {
            // One whose time had come at the last look and that has had no turn is another command's.
            State::Waits { until } if until > self.looked => Some(until),
            _ => None,
        });
        untils.min()
    }

    /// How many domains there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(domid: u16) -> Key {
        Key { domid, uuid: Uuid::from_u128(domid.into()) }
    }

    fn sight(domid: u16, ended: bool, cared_for: bool) -> Sight {
        Sight { key: key(domid), ended, cared_for }
    }

    fn look(book: &mut Book, at: u32, sights: &[Sight]) -> Vec<Task> {
        book.look(SECOND * at, sights, &[], &[], |_| true)
    }

    #[test]
    fn an_end_is_worked_on_once() {
        let mut book = Book::default();
        let (one, two) = (Task::End(key(1)), Task::End(key(2)));
        assert_eq!(look(&mut book, 0, &[sight(1, false, false), sight(2, true, false)]), [two]);
        let both = [sight(1, true, false), sight(2, true, false)];
        assert_eq!(look(&mut book, 20, &both), [one]);
        assert!(look(&mut book, 21, &both).is_empty());
        book.done(one, Answer::Kept, SECOND * 22);
        book.done(two, Answer::Gone, SECOND * 22);
        assert!(look(&mut book, 23, &both[..1]).is_empty(), "one that is kept stays so");
        assert!(look(&mut book, 24, &[sight(1, false, false)]).is_empty(), "it was resumed");
        assert_eq!(look(&mut book, 25, &both[..1]), [one], "and has ended once more");
        assert_eq!(book.count(), 1);
    }

    #[test]
    fn another_commands_domain_is_left_until_it_lets_go() {
        let mut book = Book::default();
        assert!(look(&mut book, 0, &[sight(1, true, true)]).is_empty());
        assert_eq!(book.next_turn(), None);
        let task = look(&mut book, 1, &[sight(1, true, false)]);
        assert_eq!(task, [Task::End(key(1))]);
        book.done(task[0], Answer::Elsewhere, SECOND);
        assert_eq!(book.next_turn(), None, "its lock tells when");
        assert!(look(&mut book, 2, &[sight(1, true, true)]).is_empty());
        assert_eq!(look(&mut book, 3, &[sight(1, true, false)]), task);
    }

    #[test]
    fn what_ends_too_soon_waits_if_it_is_started_again() {
        let mut book = Book::default();
        let uuid = Uuid::from_u128(7);
        let mut starts = Vec::new();
        let mut at = 0;
        for domid in 1..=6 {
            let key = Key { domid, uuid };
            let sights = [Sight { key, ended: true, cared_for: false }];
            let mut tasks = book.look(SECOND * at, &sights, &[], &[], |_| true);
            while tasks.is_empty() {
                at = book.next_turn().expect("a turn").as_secs() as u32;
                tasks = book.look(SECOND * at, &sights, &[], &[], |_| true);
            }
            starts.push(at);
            // The next one stands before the last one's work is reported.
            let next = Key { domid: domid + 1, uuid };
            let sights = [Sight { key: next, ended: false, cared_for: false }];
            assert!(book.look(SECOND * at, &sights, &[], &[], |_| true).is_empty());
            book.done(tasks[0], Answer::Gone, SECOND * at);
        }
        assert_eq!(starts, [0, 0, 1, 3, 7, 15]);
        let ended = [Sight { key: Key { domid: 7, uuid }, ended: true, cared_for: false }];
        assert_eq!(
            book.look(SECOND * at, &ended, &[], &[], |_| false).len(),
            1,
            "nothing to slow down"
        );
    }

    #[test]
    fn a_restart_that_was_cut_short_is_tried_once() {
        let mut book = Book::default();
        let uuid = Uuid::from_u128(9);
        let task = [Task::Restart(uuid)];
        assert_eq!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true), task);
        assert!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true).is_empty());
        assert!(book.look(SECOND, &[], &[], &[], |_| true).is_empty());
        assert_eq!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true), task, "another one");
        // While its domain is being made it is not cut short, and yet not at its end.
        assert!(book.look(SECOND, &[], &[uuid], &[], |_| true).is_empty());
        book.done(task[0], Answer::Kept, SECOND);
        assert!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true).is_empty(), "which has failed");
        book.done(task[0], Answer::Elsewhere, SECOND);
        assert_eq!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true), task, "another's, let go");
        let own = Key { domid: 3, uuid };
        let mut book = Book::default();
        let sights = [Sight { key: own, ended: true, cared_for: false }];
        let tasks = book.look(SECOND, &sights, &[], &[], |_| true);
        assert_eq!(tasks, [Task::End(own)]);
        assert!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true).is_empty(), "its own work");
        book.done(tasks[0], Answer::Kept, SECOND);
        assert!(book.look(SECOND, &[], &[uuid], &[uuid], |_| true).is_empty(), "which has failed");
    }

    proptest! {
        /// Whatever comes: never two tasks at once for one domain, none for one that runs, is cared
        /// for or is kept; and when all is quiet every end has had its task.
        #[test]
        fn each_end_has_one_task(steps in prop::collection::vec((1_u16..5, 0_u8..8), 1..60)) {
            let mut book = Book::default();
            let mut domains: BTreeMap<u16, (bool, bool)> = BTreeMap::new();
            let mut open: BTreeSet<Task> = BTreeSet::new();
            let mut kept: BTreeSet<Key> = BTreeSet::new();
            let mut now = Duration::ZERO;
            for (domid, act) in steps {
                let answer = match act {
                    0 => { domains.entry(domid).or_insert((false, false)); None }
                    1 => { domains.entry(domid).and_modify(|domain| domain.0 = true); None }
                    2 => { domains.entry(domid).and_modify(|domain| domain.1 = true); None }
                    3 => { domains.entry(domid).and_modify(|domain| domain.1 = false); None }
                    4 => { domains.remove(&domid); kept.remove(&key(domid)); None }
                    5 => Some(Answer::Gone),
                    6 => Some(Answer::Kept),
                    _ => Some(Answer::Elsewhere),
                };
                let task = Task::End(key(domid));
                if let Some(answer) = answer && open.remove(&task) {
                    match answer {
                        Answer::Gone => drop(domains.remove(&domid)),
                        Answer::Kept if domains.contains_key(&domid) => {
                            kept.insert(key(domid));
                        }
                        _ => {}
                    }
                    book.done(task, answer, now);
                }
                now += SECOND;
                let sights: Vec<Sight> = domains
                    .iter()
                    .map(|(&domid, &(ended, cared)): (&u16, &(bool, bool))| sight(domid, ended, cared))
                    .collect();
                // One that runs again ends once more.
                kept.retain(|key| domains.get(&key.domid).is_some_and(|domain| domain.0));
                for task in book.look(now, &sights, &[], &[], |_| true) {
                    let Task::End(key) = task else { panic!("{task:?}") };
                    prop_assert!(open.insert(task), "two at once: {task:?}");
                    prop_assert_eq!(domains.get(&key.domid), Some(&(true, false)));
                    prop_assert!(!kept.contains(&key), "it is kept: {key:?}");
                }
            }
            while let Some(until) = book.next_turn() {
                now = until;
                let sights: Vec<Sight> =
                    domains.iter().map(|(&domid, &(ended, cared))| sight(domid, ended, cared)).collect();
                open.extend(book.look(now, &sights, &[], &[], |_| true));
            }
            for (&domid, &(ended, cared)) in &domains {
                let settled = open.contains(&Task::End(key(domid))) || kept.contains(&key(domid));
                prop_assert!(!ended || cared || settled, "domain {domid} is forgotten");
            }
        }
    }
}
