//! The whole state as bytes, in pieces: an [`Image`] is taken at one moment and written while the
//! state goes on.
//!
//! In: a state. Out: bytes that [`State::restore`](super::State::restore) reads, as many at a time as
//! the caller wants. What is not a tree is put into bytes at once; the trees, which are nearly all of
//! it, are held as they were ([`Snapshot`]) and walked through bit by bit.
//!
//! Nodes stand in the image in order, children before their parents, each once however many snapshots
//! share it; permissions stand before the first node that has them. Only what several trees may share
//! is remembered by its place in memory, so that an image needs little memory of its own.
//!
//! A tree that is held makes later changes copy, and copies count in the accounts of guests. Whoever
//! does again what a server did therefore has to hold what it held, for as long.

use std::collections::HashMap;
use std::sync::Arc;

use super::State;
use super::node::{Acl, Node};
use super::saved::save_acl;
use crate::codec::Put;

/// Begins the piece of an image that is permissions.
pub(super) const ACL: u8 = 1;
/// Begins the piece of an image that is a node.
pub(super) const NODE: u8 = 2;
/// Ends permissions and nodes.
pub(super) const END: u8 = 0;

/// All trees of a state, as they were at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    roots: Vec<Arc<Node>>,
}

/// A node that is being written.
#[derive(Debug)]
struct Level {
    /// The child that comes next or is being written: its chunk, and its place there.
    next: (usize, usize),
    /// Where the children that are written stand.
    places: Vec<u64>,
    /// Whether somebody else may have the node, too.
    is_shared: bool,
}

impl Level {
    const fn new(is_shared: bool) -> Self {
        Self { next: (0, 0), places: Vec::new(), is_shared }
    }
}

/// Permissions that have been written, by where they are in memory.
#[derive(Debug, Default)]
pub(super) struct Acls {
    places: HashMap<*const Acl, u64>,
}

impl Acls {
    /// Where these permissions stand; they are appended when they are new.
    pub(super) fn place(&mut self, acl: &Arc<Acl>, out: &mut Vec<u8>) -> u64 {
        let next = self.places.len() as u64;
        *self.places.entry(Arc::as_ptr(acl)).or_insert_with(|| {
            out.push(ACL);
            save_acl(acl, out);
            next
        })
    }
}

/// A state that is being written.
#[derive(Debug)]
pub struct Image {
    snapshot: Snapshot,
    /// Where the roots that are written stand.
    roots: Vec<u64>,
    /// From the root that is being written down to the node that is.
    levels: Vec<Level>,
    /// Nodes that are written.
    nodes: u64,
    acls: Acls,
    /// Nodes that may come again, by where they are in memory.
    shared: HashMap<*const Node, u64>,
    /// Bytes for the front that are not given out yet.
    front: Vec<u8>,
    /// Everything but the trees.
    rest: Vec<u8>,
    is_done: bool,
}

impl State {
    /// Holds all trees as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let open =
            self.connections.values().flat_map(|connection| connection.transactions.values());
        let copies = open.flatten().flat_map(|transaction| transaction.trees());
        let trees = std::iter::once(&self.tree).chain(copies);
        Snapshot { roots: trees.map(|tree| Arc::clone(tree.shared_root())).collect() }
    }

    /// Everything as it is now, to be written while the state goes on.
    #[must_use]
    pub fn image(&self) -> Image {
        let (mut front, mut rest, mut acls) = (Vec::new(), Vec::new(), Acls::default());
        self.save_rest(&mut acls, &mut front, &mut rest);
        Image {
            snapshot: self.snapshot(),
            roots: Vec::new(),
            levels: Vec::new(),
            nodes: 0,
            acls,
            shared: HashMap::new(),
            front,
            rest,
            is_done: false,
        }
    }

    /// Appends everything that later answers depend on.
    pub fn save(&self, out: &mut Vec<u8>) {
        let mut image = self.image();
        while !image.write(usize::MAX, out) {}
    }
}

impl Image {
    /// Appends the next nodes, at most so many, until there are so many bytes; whether it is whole now.
    pub fn write(&mut self, nodes: usize, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.front);
        let mut left = nodes;
        while left > 0 && !self.is_done {
            let Some(root) = self.snapshot.roots.get(self.roots.len()) else {
                self.end(out);
                break;
            };
            if self.levels.is_empty() {
                match self.shared.get(&Arc::as_ptr(root)) {
                    Some(&place) => {
                        self.roots.push(place);
                        continue;
                    }
                    None => self.levels.push(Level::new(true)),
                }
            }
            let root = Arc::clone(root);
            left = self.write_tree(&root, left, out);
        }
        self.is_done
    }

    /// Goes on with a tree for so many nodes; how many are left.
    fn write_tree(&mut self, root: &Node, mut left: usize, out: &mut Vec<u8>) -> usize {
        let mut path = vec![root];
        for level in self.levels.iter().rev().skip(1).rev() {
            let Some(node) = path.last() else { break };
            let Some((child, _)) = node.children.at(&mut { level.next }) else { break };
            path.push(child);
        }
        while left > 0
            && let (Some(node), Some(level)) = (path.last().copied(), self.levels.last_mut())
        {
            if let Some((child, is_shared)) = node.children.at(&mut level.next) {
                let is_shared = is_shared || Arc::strong_count(child) > 1;
                let known = self.shared.get(&Arc::as_ptr(child)).filter(|_| is_shared);
                if let Some(&place) = known {
                    level.places.push(place);
                    level.next.1 += 1;
                } else {
                    path.push(child);
                    self.levels.push(Level::new(is_shared));
                }
                continue;
            }
            self.write_node(node, out);
            path.pop();
            left -= 1;
        }
        left
    }

    /// Appends a node whose children are written.
    fn write_node(&mut self, node: &Node, out: &mut Vec<u8>) {
        let Some(Level { places, is_shared, .. }) = self.levels.pop() else { return };
        let acl = self.acls.place(&node.acl, out);
        out.push(NODE);
        out.put(acl);
        out.put_bytes(&node.value);
        out.put(node.value_generation);
        out.put(node.children_generation);
        node.children.save(out, &places);
        let place = self.nodes;
        self.nodes += 1;
        if is_shared {
            self.shared.insert(std::ptr::from_ref(node), place);
        }
        match self.levels.last_mut() {
            Some(parent) => {
                parent.places.push(place);
                parent.next.1 += 1;
            }
            None => self.roots.push(place),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.push(END);
        out.put_len(self.roots.len());
        self.roots.iter().for_each(|&place| out.put(place));
        out.append(&mut self.rest);
        self.is_done = true;
    }
}
