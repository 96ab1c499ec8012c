//! The store itself: what a xenstored knows and answers, without sockets, rings or hypercalls.
//!
//! ```text
//! (State, caller, request) ──▶ reply, events, effects
//! ```
//!
//! In: requests of connections, and what the server learns of domains (connected, shut down, gone).
//! Out: an [`Outcome`]: the reply, watch events for other connections, and [`Effect`]s that only
//! the server can bring about. [`State`] has no clock, no randomness and does no I/O. The same calls
//! in the same order give the same outcomes and the same state, so a log of calls restores a store.
//!
//! # Rules
//!
//! * **Nodes** form a tree of immutable, shared pieces: a snapshot is a pointer. A node lists its
//!   children in the order of their creation, as C xenstored does.
//! * **Permissions.** The owner of a node and privileged callers (sockets, domain 0) may do
//!   everything. Of the other entries the first one that names the caller or its target counts, else
//!   the first letter. An entry holds for the domain that had the number when the entry was made, not
//!   for a later one. What a guest creates belongs to it; the rest is inherited from the parent. Only
//!   privileged callers give nodes away. A caller learns that a node does not exist only when it has
//!   the right in question at the nearest node above, else it hears EACCES.
//! * **Transactions** work on a copy and end with EAGAIN only when something they saw has changed,
//!   per node and aspect. No other request of a transaction ever fails because of others.
//! * **Watches** hear of changes at and below their path, after the commit, when their connection may
//!   read the node (before or after the change) or the node above. Where a subtree goes, a watch
//!   below it hears of its own path. Special events go to those who may read the special node.
//! * **Quotas** bind guests (see [`Quota`]); a request that would exceed one changes nothing.
//! * **Death.** When a domain goes, so do its connection, its nodes with all below them, its account,
//!   and the rights that others had through it. A later domain with its number starts from nothing.
//!
//! # Bounds
//!
//! A request costs a walk along its path (at most 1536 levels) and, per level, the search in a
//! sorted list; a change adds one search among the watches per watched level above it. Where more is
//! touched, it is what somebody's quota has paid for: RM and the death of a domain visit the nodes
//! that go, the end of a transaction the nodes that it touched, an event costs per watch that matches.
//! DIRECTORY answers E2BIG before it collects names. Nothing recurses on depth, not even dropping a
//! tree. Old versions that transactions of guests keep alive are bounded for all guests together by
//! [`State::SNAPSHOT_BYTES`]: a transaction that would hold more loses its snapshot and ends with
//! EAGAIN.
//!
//! # Differences from C xenstored
//!
//! Limits of n admit n; children made by two transactions below one node are no conflict; a special
//! event needs the right to read the special node (C accepts the root node's instead); INTRODUCE
//! and SET_TARGET refuse domain 0; a node that a transaction both made and removed causes no event;
//! the reply to a request goes before the events that it causes (in C only that of WATCH does).
//! Requests that 4.17 does not know are served as Xen's later documentation has them: a depth in WATCH,
//! `@releaseDomain/DOMID`, GET_FEATURE, SET_FEATURE, GET_QUOTA and SET_QUOTA.

mod changes;
mod check;
mod children;
mod connection_id;
mod connections;
mod control;
mod domains;
mod image;
mod node;
mod nodes;
mod perform;
mod quota;
mod saved;
mod transaction;
mod transactions;
mod tree;
mod watch;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use changes::{Changes, Effect, Event, Outcome};
pub use connection_id::ConnectionId;
pub use domains::Ring;
pub use image::{Image, Snapshot};
pub use quota::{Quota, Usage};

use crate::{Domid, Permissions};
use children::Children;
use connections::Connection;
use domains::Domain;
use node::{Acl, Node};
use quota::Limits;
use tree::Tree;
use watches::Watches;

/// Everything that a store knows.
#[derive(Clone, Debug)]
pub struct State {
    tree: Tree,
    /// Permissions of `@introduceDomain`, `@releaseDomain` and of `@releaseDomain/DOMID` where set.
    specials: BTreeMap<String, Arc<Acl>>,
    /// Counts changes; each gets a number of its own.
    generation: u64,
    domains: BTreeMap<Domid, Domain>,
    connections: BTreeMap<ConnectionId, Connection>,
    watches: Watches,
    limits: Limits,
    /// Bytes above which a guest's memory is worth a warning (CONTROL `quota-soft`).
    soft_memory: u32,
    /// Bytes of old versions that changes have left to snapshots, ever.
    replaced: u64,
    /// Transactions of guests by the value of `replaced` at their start.
    snapshots: BTreeSet<(u64, ConnectionId, u32)>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Bytes of old versions that the transactions of all guests together may keep alive.
    pub const SNAPSHOT_BYTES: u64 = 16 << 20;

    /// A store as a xenstored finds it at boot: the root, `/tool/xenstored`, the two special nodes,
    /// and the connection of domain 0.
    #[must_use]
    pub fn new() -> Self {
        let acl = Arc::new(Acl::new(Permissions::private(Domid::DOM0), 1));
        let mut state = Self {
            tree: Tree::new(Node::new(Arc::clone(&acl), &[], 1)),
            specials: BTreeMap::new(),
            generation: 1,
            domains: BTreeMap::from([(Domid::DOM0, Domain::control())]),
            connections: BTreeMap::new(),
            watches: Watches::default(),
            limits: Limits::default(),
            soft_memory: 2 << 20,
            replaced: 0,
            snapshots: BTreeSet::new(),
        };
        state.connections.insert(ConnectionId::Domain(Domid::DOM0), Connection::default());
        let mut ledger = tree::Ledger::with_root(state.tree.root());
        state.tree.create("/", "/tool/xenstored", &acl, &[], 1, &mut ledger);
        state.settle(ledger);
        for special in [domains::INTRODUCE, domains::RELEASE] {
            state.specials.insert(special.to_owned(), Arc::clone(&acl));
        }
        state
    }

    /// Takes up the connection of a socket; `false` when the number is in use.
    pub fn connect_socket(&mut self, number: u32) -> bool {
        let id = ConnectionId::Socket(number);
        if self.connections.contains_key(&id) {
            return false;
        }
        self.connections.insert(id, Connection::default());
        true
    }

    /// Forgets the connection of a socket with its watches and transactions.
    pub fn disconnect_socket(&mut self, number: u32) {
        self.reset(ConnectionId::Socket(number));
        self.connections.remove(&ConnectionId::Socket(number));
    }

    /// Drops all watches and transactions of a connection, which stays: its ring was found broken,
    /// or it asked for a new beginning.
    pub fn reset(&mut self, connection: ConnectionId) {
        self.drop_transactions(connection);
        self.drop_watches(connection);
    }

    /// Every connection.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Every node, parents before children and children in their order: path, value, permissions.
    #[must_use]
    pub fn nodes(&self) -> Vec<(String, Arc<[u8]>, Permissions)> {
        let mut nodes = Vec::new();
        tree::walk("/", self.tree.root(), |step| {
            if let tree::Step::Enter { path, node, .. } = step {
                let permissions = node.acl.permissions.clone();
                nodes.push((path.to_owned(), Arc::clone(&node.value), permissions));
            }
        });
        nodes
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}
