//! A node: value, permissions, children; shared by snapshots, copied when it changes.

use std::sync::Arc;

use super::children::Children;
use crate::{Domid, Permissions};

/// Bytes that a node costs beside name, value and permissions, as the quotas count it.
const NODE_OVERHEAD: usize = 24;
/// Bytes that an entry of the permissions costs, as the quotas count it.
const ENTRY_COST: usize = 8;

/// Permissions and the moment from which they count.
///
/// Domain numbers are used again. An entry holds for the domain that had the number when the entry
/// was made: a domain that became known later has a later number in the same count, and the entry
/// means nothing for it. A child that inherits the entries inherits their moment too.
#[derive(Clone, Debug)]
pub(super) struct Acl {
    pub(super) permissions: Permissions,
    /// The state's generation when the entries were made.
    pub(super) since: u64,
}

impl Acl {
    pub(super) const fn new(permissions: Permissions, since: u64) -> Self {
        Self { permissions, since }
    }

    pub(super) const fn owner(&self) -> Domid {
        self.permissions.owner
    }

    /// Bytes, as the quotas count them.
    pub(super) fn cost(&self) -> usize {
        ENTRY_COST * (1 + self.permissions.grants.len())
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Arc<[u8]>,
    pub(super) acl: Arc<Acl>,
    pub(super) children: Children,
    /// The state's generation when the value was last written.
    pub(super) value_generation: u64,
    /// The state's generation when a child last came or went.
    pub(super) children_generation: u64,
}

impl Node {
    /// A node without children.
    pub(super) fn new(acl: Arc<Acl>, value: &[u8], generation: u64) -> Self {
        Self {
            value: value.into(),
            acl,
            children: Children::default(),
            value_generation: generation,
            children_generation: generation,
        }
    }

    /// The latest change of value, permissions or children.
    pub(super) fn generation(&self) -> u64 {
        self.value_generation.max(self.children_generation).max(self.acl.since)
    }

    /// What the quota on a node's size limits: permissions, value and names of children.
    pub(super) fn size(&self) -> usize {
        size(&self.acl, self.value.len(), self.children.names_len())
    }

    /// What the owner's memory account pays for the node.
    pub(super) fn cost(&self, name: &str) -> usize {
        cost(name, &self.acl, self.value.len())
    }
}

/// The size of a node with these parts, as the quota on it counts.
pub(super) fn size(acl: &Acl, value_len: usize, names_len: usize) -> usize {
    NODE_OVERHEAD + acl.cost() + value_len + names_len
}

/// What the owner's memory account pays for a node with these parts.
pub(super) fn cost(name: &str, acl: &Acl, value_len: usize) -> usize {
    NODE_OVERHEAD + name.len() + 1 + acl.cost() + value_len
}

/// Guests decide how deep the tree is, so that its end must not recurse.
impl Drop for Node {
    fn drop(&mut self) {
        let mut pending = Vec::new();
        self.children.drain_into(&mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                node.children.drain_into(&mut pending);
            }
        }
    }
}
