//! A transaction: a snapshot to read from, a copy to write to, and what must still hold at its end.
//!
//! All requests of a transaction answer from its own copy of the tree. What they saw of the store
//! is noted per node and per aspect: its permissions, its value, its list of children, or that it
//! is not there. The end compares those notes with the store as it is then. When all still hold, the
//! outcome is as if the whole transaction had run at that moment, so it is applied; else the answer
//! is EAGAIN. Two transactions that make different children of one node, or write a node that
//! nobody reads, are no conflict.

mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::node::{Acl, Node};
use super::tree::{Ledger, Tree, from, signed, split};
use crate::Domid;

/// Bytes that the note of a touched node costs beside its path.
const NOTE_COST: usize = 64;

/// What the note of a node costs the holder of the transaction.
pub(super) const fn note_cost(path: &str) -> usize {
    path.len() + NOTE_COST
}

/// An aspect of a node that a request depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    /// That the node exists, and its permissions.
    Acl,
    /// Its value.
    Value,
    /// Its list of children.
    Children,
    /// That it does not exist, and which node above it is the nearest one that does.
    Absence,
}

impl Aspect {
    const fn bit(self) -> u8 {
        match self {
            Self::Acl => 1,
            Self::Value => 2,
            Self::Children => 4,
            Self::Absence => 8,
        }
    }
}

/// What a transaction did with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Made it, and perhaps others below it.
    Created,
    Value,
    Acl,
}

/// The note of a node.
#[derive(Clone, Debug, Default)]
struct Note {
    /// Place in the order of first contact, in which events are sent.
    order: usize,
    observed: u8,
    created: Option<u64>,
    value: bool,
    acl: bool,
    fires: bool,
    /// Bytes of the value that the copy holds for it.
    held: usize,
}

/// A change of a node that was there before the transaction.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) path: Box<str>,
    pub(super) value: Option<Arc<[u8]>>,
    pub(super) acl: Option<Arc<Acl>>,
}

/// What the end of a transaction is to do, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Subtrees to take away.
    pub(super) removed: Vec<Box<str>>,
    /// Nodes to change.
    pub(super) written: Vec<Written>,
    /// Subtrees to put in place.
    pub(super) created: Vec<(Box<str>, Arc<Node>)>,
    /// Paths whose watchers want to know.
    pub(super) fires: Vec<Box<str>>,
}

/// A transaction that is open.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    base: Tree,
    pub(super) copy: Tree,
    /// What the copy changed so far.
    pub(super) ledger: Ledger,
    notes: BTreeMap<Box<str>, Note>,
    removed: BTreeSet<Box<str>>,
    /// Domains that became owners, and since when the store knows them.
    pub(super) owners: BTreeMap<Domid, u64>,
    next: u64,
    /// Bytes that notes and written values hold.
    held: usize,
    /// Bytes that the holder's account is charged with.
    pub(super) charged: usize,
    /// Beyond a limit: the end is ENOMEM.
    pub(super) overfull: bool,
    /// Its snapshot was given up: the end is EAGAIN.
    pub(super) outdated: bool,
    /// The store's count of replaced bytes when the snapshot was taken.
    pub(super) started_at: u64,
}

impl Transaction {
    pub(super) fn new(tree: &Tree, started_at: u64) -> Self {
        Self {
            base: tree.clone(),
            copy: tree.clone(),
            ledger: Ledger::default(),
            notes: BTreeMap::new(),
            removed: BTreeSet::new(),
            owners: BTreeMap::new(),
            next: 0,
            held: 0,
            charged: 0,
            overfull: false,
            outdated: false,
            started_at,
        }
    }

    /// Lets the snapshot go and continues on the present tree; it can only end with EAGAIN.
    pub(super) fn give_up_snapshot(&mut self, tree: &Tree, replaced: u64) {
        let charged = self.charged;
        *self = Self { outdated: true, charged, ..Self::new(tree, replaced) };
    }

    /// How many bytes more (or less) than it is charged with the transaction holds; from here on it
    /// is charged with them.
    pub(super) fn settle(&mut self) -> i64 {
        // What the copy means for lists of owned nodes is found out when it is applied.
        self.ledger.roots.clear();
        let new =
            self.ledger.deltas.iter().map(|(_, delta)| delta.bytes.max(0).unsigned_abs()).sum();
        let copied = self.ledger.replaced.saturating_add(new);
        let holds = self.held.saturating_add(usize::try_from(copied).unwrap_or(usize::MAX));
        let before = std::mem::replace(&mut self.charged, holds);
        signed(holds) - signed(before)
    }

    /// How many different nodes were touched.
    pub(super) fn touched(&self) -> usize {
        self.notes.len()
    }

    /// Whether this path was touched before.
    pub(super) fn has_touched(&self, path: &str) -> bool {
        self.notes.contains_key(path)
    }

    fn note(&mut self, path: &str) -> &mut Note {
        let order = self.notes.len();
        if !self.notes.contains_key(path) {
            self.held += note_cost(path);
        }
        self.notes.entry(path.into()).or_insert_with(|| Note { order, ..Note::default() })
    }

    /// Notes that a request depends on an aspect of a node, unless the transaction made that aspect
    /// itself.
    pub(super) fn observe(&mut self, path: &str, aspect: Aspect) {
        let (base, copy) = (self.base.get(path), self.copy.get(path));
        let of_the_store = match (aspect, base, copy) {
            (Aspect::Absence, base, _) => base.is_none(),
            (Aspect::Acl, Some(base), Some(copy)) => Arc::ptr_eq(&base.acl, &copy.acl),
            (Aspect::Value, Some(base), Some(copy)) => {
                base.value_generation == copy.value_generation
            }
            (Aspect::Children, Some(_), Some(_)) => true,
            _ => false,
        };
        let note = self.note(path);
        if of_the_store {
            note.observed |= aspect.bit();
        }
    }

    /// Notes a write of the copy, for the end. `len` is the length of the value now.
    pub(super) fn wrote(&mut self, path: &str, write: Write, len: usize) {
        let number = self.next;
        self.next += 1;
        let note = self.note(path);
        match write {
            Write::Created => note.created = Some(number),
            Write::Value => note.value = true,
            Write::Acl => note.acl = true,
        }
        let before = std::mem::replace(&mut note.held, len);
        self.held = self.held + len - before;
    }

    /// Notes that watchers of this path are to be told at the end.
    pub(super) fn fires(&mut self, path: &str) {
        self.note(path).fires = true;
    }

    /// Notes that the copy lost a subtree: what was written there does not count any more.
    pub(super) fn removed(&mut self, path: &str) {
        let below = format!("{path}/");
        let mut freed = 0;
        let mut forget = |note: &mut Note| {
            freed += std::mem::take(&mut note.held);
            (note.created, note.value, note.acl, note.fires) = (None, false, false, false);
        };
        let inner = self.notes.range_mut::<str, _>(from(&below));
        inner.take_while(|(key, _)| key.starts_with(&below)).for_each(|(_, note)| forget(note));
        forget(self.note(path));
        self.held -= freed;
        if self.base.get(path).is_some() {
            let inner = self.removed.range::<str, _>(from(&below));
            let inner: Vec<_> = inner.take_while(|key| key.starts_with(&below)).cloned().collect();
            for key in inner {
                self.removed.remove(&key);
            }
            self.removed.insert(path.into());
            self.fires(path);
        }
    }

    /// Whether everything that was observed still holds.
    pub(super) fn still_holds(&self, now: &Tree) -> bool {
        self.base.is(now) || self.notes.iter().all(|(path, note)| self.note_holds(path, note, now))
    }

    fn note_holds(&self, path: &str, note: &Note, now: &Tree) -> bool {
        if note.observed == 0 {
            return true;
        }
        let saw = |aspect: Aspect| note.observed & aspect.bit() != 0;
        match (self.base.get(path), now.get(path)) {
            (Some(then), Some(now)) => {
                (!saw(Aspect::Acl) || Arc::ptr_eq(&then.acl, &now.acl))
                    && (!saw(Aspect::Value) || then.value_generation == now.value_generation)
                    && (!saw(Aspect::Children)
                        || then.children_generation == now.children_generation)
            }
            (None, None) => self.base.nearest(path).0 == now.nearest(path).0,
            _ => false,
        }
    }

    /// Whether the transaction made this node of its copy: it is not in the snapshot, or the
    /// transaction removed it there.
    fn is_new(&self, path: &str) -> bool {
        let removed = || {
            let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
            ends.into_iter().any(|end| path.get(..end).is_some_and(|p| self.removed.contains(p)))
        };
        self.base.get(path).is_none() || (!self.removed.is_empty() && removed())
    }

    /// What the end is to do. The snapshot and the copy are let go, so that the store changes in
    /// place.
    pub(super) fn into_plan(self) -> Plan {
        let mut fires: Vec<_> = self.notes.iter().filter(|(_, note)| note.fires).collect();
        fires.sort_unstable_by_key(|(_, note)| note.order);
        let mut plan = Plan {
            fires: fires.into_iter().map(|(path, _)| path.clone()).collect(),
            removed: self.removed.iter().cloned().collect(),
            ..Plan::default()
        };
        let mut made = Vec::new();
        for (path, note) in self.notes.iter().filter(|(_, note)| note.writes()) {
            let Some(node) = self.copy.get(path) else { continue };
            if !self.is_new(path) {
                plan.written.push(Written {
                    path: path.clone(),
                    value: note.value.then(|| Arc::clone(&node.value)),
                    acl: note.acl.then(|| Arc::clone(&node.acl)),
                });
            } else if split(path).is_some_and(|(parent, _)| !self.is_new(parent)) {
                // Everything below a new node is new as well, and comes with it.
                made.push((note.created, path.clone(), Arc::clone(node)));
            }
        }
        // Siblings keep the order in which they were made.
        made.sort_unstable_by_key(|(number, ..)| *number);
        plan.created = made.into_iter().map(|(_, path, node)| (path, node)).collect();
        plan
    }
}

impl Note {
    const fn writes(&self) -> bool {
        self.created.is_some() || self.value || self.acl
    }
}
