//! The tree of nodes: lookups and changes by absolute path; a copy is a pointer.
//!
//! A change copies the nodes from the root to its place as far as a snapshot shares them, and works
//! in place otherwise. Nothing recurses: depth is the guests' choice. Each change tells a [`Ledger`]
//! what it means for the owners of nodes; whether it is allowed has been decided before.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::children::Iter;
use super::node::{Acl, Node};
use crate::Domid;

/// Nodes and bytes more (or less) than before, per owner. Most changes concern one owner only.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas {
    first: Option<(Domid, Delta)>,
    others: BTreeMap<Domid, Delta>,
}

impl Deltas {
    pub(super) fn add(&mut self, owner: Domid, nodes: i64, bytes: i64) {
        let delta = match &mut self.first {
            Some((first, delta)) if *first == owner => delta,
            Some(_) => self.others.entry(owner).or_default(),
            None => &mut self.first.insert((owner, Delta::default())).1,
        };
        delta.nodes += nodes;
        delta.bytes += bytes;
    }

    pub(super) fn get(&self, owner: Domid) -> Delta {
        match self.first {
            Some((first, delta)) if first == owner => delta,
            _ => self.others.get(&owner).copied().unwrap_or_default(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Domid, Delta)> {
        self.first.into_iter().chain(self.others.iter().map(|(owner, delta)| (*owner, *delta)))
    }
}

/// What changes did to the accounts of owners.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) deltas: Deltas,
    /// Changes to the lists of owned nodes, in order.
    pub(super) roots: Vec<RootChange>,
    /// Bytes that were copied, or left behind, because a snapshot has them too.
    pub(super) replaced: u64,
}

/// A change of an owner's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) nodes: i64,
    pub(super) bytes: i64,
}

/// A change of an owner's list of nodes whose parent has another owner.
#[derive(Clone, Debug)]
pub(super) enum RootChange {
    Add(Domid, Box<str>),
    /// This path alone.
    Remove(Domid, Box<str>),
    /// This path and all below it.
    RemoveSubtree(Domid, Box<str>),
}

impl Ledger {
    /// The account of a tree that is its root and nothing else.
    pub(super) fn with_root(root: &Node) -> Self {
        let mut ledger = Self::default();
        ledger.add(root.acl.owner(), 1, signed(root.cost("")));
        ledger
    }

    fn add(&mut self, owner: Domid, nodes: i64, bytes: i64) {
        self.deltas.add(owner, nodes, bytes);
    }
}

/// Bytes as the signed number that deltas are made of; no count of bytes in memory is beyond it.
pub(super) fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// All keys of a sorted collection from this one on.
pub(super) fn from(key: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(key), Bound::Unbounded)
}

/// The names along an absolute path.
pub(super) fn components(path: &str) -> Components<'_> {
    Components { rest: path.strip_prefix('/').unwrap_or(path) }
}

/// Names along a path. Every request walks some, so this does no more than look for slashes.
#[derive(Clone, Debug)]
pub(super) struct Components<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Components<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.bytes().position(|byte| byte == b'/').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or("");
        Some(name)
    }
}

/// The path above an absolute path, and the last name; `None` for the root.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", name) => Some(("/", name)),
        (parent, name) => Some((parent, name)),
    }
}

/// The path of a child.
pub(super) fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

/// All nodes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Arc<Node>,
}

impl Tree {
    pub(super) fn new(root: Node) -> Self {
        Self { root: Arc::new(root) }
    }

    /// The tree below a root that others may share.
    pub(super) const fn shared(root: Arc<Node>) -> Self {
        Self { root }
    }

    /// The root with its place in memory, by which sharing is found.
    pub(super) const fn shared_root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Whether the other tree is this one, unchanged.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    pub(super) fn get(&self, path: &str) -> Option<&Arc<Node>> {
        components(path).try_fold(&self.root, |node, name| node.children.get(name))
    }

    /// The node and the one above it, as far as they exist.
    pub(super) fn with_parent(&self, path: &str) -> (Option<&Arc<Node>>, Option<&Arc<Node>>) {
        let (mut node, mut parent) = (Some(&self.root), None);
        for name in components(path) {
            let Some(above) = node else { return (None, None) };
            parent = node;
            node = above.children.get(name);
        }
        (node, parent)
    }

    /// The deepest node that exists on the way to `path`, and its path.
    pub(super) fn nearest<'p>(&self, path: &'p str) -> (&'p str, &Node) {
        let mut node = &*self.root;
        let mut end = 0;
        for name in components(path) {
            let Some(child) = node.children.get(name) else { break };
            node = child;
            end += 1 + name.len();
        }
        (path.get(..end).filter(|found| !found.is_empty()).unwrap_or("/"), node)
    }

    /// The node, to be changed. What a snapshot shares on the way to it is copied and counted.
    fn get_mut(&mut self, path: &str, replaced: &mut u64) -> Option<&mut Node> {
        let mut shared = Arc::strong_count(&self.root) > 1;
        let mut node = Arc::make_mut(&mut self.root);
        for name in components(path) {
            if shared {
                *replaced += node.children.copy_cost();
            }
            let child = node.children.get_mut(name)?;
            shared = Arc::strong_count(child) > 1;
            node = Arc::make_mut(child);
        }
        if shared {
            *replaced += node.children.copy_cost() + node.value.len() as u64;
        }
        Some(node)
    }

    /// Makes a node that does not exist, and all that are missing above it; `nearest` is the deepest
    /// one that does exist. The last one gets the value.
    pub(super) fn create(
        &mut self,
        nearest: &str,
        path: &str,
        acl: &Arc<Acl>,
        value: &[u8],
        generation: u64,
        ledger: &mut Ledger,
    ) {
        let mut names = components(path).skip(components(nearest).count());
        let Some(first) = names.next() else { return };
        let rest: Vec<_> = names.collect();
        let mut node = Node::new(Arc::clone(acl), value, generation);
        for name in rest.iter().rev() {
            ledger.add(acl.owner(), 1, signed(node.cost(name)));
            let mut parent = Node::new(Arc::clone(acl), &[], generation);
            parent.children.insert(name, Arc::new(node));
            node = parent;
        }
        ledger.add(acl.owner(), 1, signed(node.cost(first)));
        let Some(parent) = self.get_mut(nearest, &mut ledger.replaced) else { return };
        if parent.acl.owner() != acl.owner() {
            ledger.roots.push(RootChange::Add(acl.owner(), join(nearest, first).into()));
        }
        parent.children.insert(first, Arc::new(node));
        parent.children_generation = generation;
    }

    /// Puts a subtree in a place where nothing is; the node above it exists.
    pub(super) fn graft(
        &mut self,
        path: &str,
        node: Arc<Node>,
        generation: u64,
        ledger: &mut Ledger,
    ) {
        let Some((above, name)) = split(path) else { return };
        let Some(parent) = self.get_mut(above, &mut ledger.replaced) else { return };
        let parent_owner = parent.acl.owner();
        walk(path, &node, |step| {
            let Step::Enter { path, name, node, parent } = step else { return };
            let owner = node.acl.owner();
            ledger.add(owner, 1, signed(node.cost(name)));
            if parent.map_or(parent_owner, |parent| parent.acl.owner()) != owner {
                ledger.roots.push(RootChange::Add(owner, path.into()));
            }
        });
        parent.children.insert(name, node);
        parent.children_generation = generation;
    }

    /// Replaces the value of a node that exists.
    pub(super) fn set_value(
        &mut self,
        path: &str,
        value: &Arc<[u8]>,
        generation: u64,
        ledger: &mut Ledger,
    ) {
        let Some(node) = self.get_mut(path, &mut ledger.replaced) else { return };
        ledger.add(node.acl.owner(), 0, signed(value.len()) - signed(node.value.len()));
        node.value = Arc::clone(value);
        node.value_generation = generation;
    }

    /// Replaces the permissions of a node that exists. Where the owner changes, the work grows with
    /// the number of its children; only a privileged caller can do that.
    pub(super) fn set_acl(&mut self, path: &str, acl: Arc<Acl>, ledger: &mut Ledger) {
        let parent = split(path).and_then(|(parent, _)| self.get(parent)).map(|p| p.acl.owner());
        let name = split(path).map_or("", |(_, name)| name);
        let Some(node) = self.get_mut(path, &mut ledger.replaced) else { return };
        let (old, new) = (node.acl.owner(), acl.owner());
        let before = signed(node.cost(name));
        node.acl = acl;
        let after = signed(node.cost(name));
        if old == new {
            ledger.add(old, 0, after - before);
            return;
        }
        ledger.add(old, -1, -before);
        ledger.add(new, 1, after);
        ledger.roots.push(RootChange::Remove(old, path.into()));
        // The old owner's children lose the parent that stood for them.
        let left = node.children.iter().filter(|(_, child)| child.acl.owner() == old);
        ledger.roots.extend(left.map(|(name, _)| RootChange::Add(old, join(path, name).into())));
        if parent != Some(new) {
            ledger.roots.push(RootChange::Add(new, path.into()));
        }
    }

    /// Takes a node and all below it away; says whether it was there. The root stays.
    pub(super) fn remove(&mut self, path: &str, generation: u64, ledger: &mut Ledger) -> bool {
        let Some((parent, name)) = split(path) else { return false };
        if self.get(path).is_none() {
            return false;
        }
        let Some(parent) = self.get_mut(parent, &mut ledger.replaced) else { return false };
        let Some(removed) = parent.children.remove(name) else { return false };
        parent.children_generation = generation;
        let mut owners = Deltas::default();
        let shared = Arc::strong_count(&removed) > 1;
        walk(path, &removed, |step| {
            if let Step::Enter { name, node, .. } = step {
                owners.add(node.acl.owner(), 1, signed(node.cost(name)));
            }
        });
        for (owner, delta) in owners.iter() {
            if shared {
                ledger.replaced += delta.bytes.unsigned_abs();
            }
            ledger.add(owner, -delta.nodes, -delta.bytes);
            ledger.roots.push(RootChange::RemoveSubtree(owner, path.into()));
        }
        true
    }
}

/// When a node is visited: before its children or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Before,
    After,
}

/// A step of a [`walk`].
pub(super) enum Step<'a, 'w> {
    /// Before the children of a node.
    Enter { path: &'w str, name: &'w str, node: &'a Node, parent: Option<&'a Node> },
    /// After the children of a node.
    Leave { path: &'w str, node: &'a Node, parent: Option<&'a Node> },
}

/// Visits a node and all below it, children in the order of their creation.
pub(super) fn walk<'a>(path: &str, node: &'a Node, mut visit: impl FnMut(Step<'a, '_>)) {
    struct Level<'a> {
        node: &'a Node,
        rest: Iter<'a>,
        /// Length of this node's path.
        len: usize,
    }
    let mut text = path.to_owned();
    let name = split(path).map_or("", |(_, name)| name);
    visit(Step::Enter { path, name, node, parent: None });
    let mut levels = vec![Level { node, rest: node.children.iter(), len: text.len() }];
    while let Some(level) = levels.last_mut() {
        text.truncate(level.len);
        if let Some((name, child)) = level.rest.next() {
            if !text.ends_with('/') {
                text.push('/');
            }
            text.push_str(name);
            let parent = Some(level.node);
            visit(Step::Enter { path: &text, name, node: child, parent });
            levels.push(Level { node: child, rest: child.children.iter(), len: text.len() });
        } else {
            let node = level.node;
            levels.pop();
            let parent = levels.last().map(|level| level.node);
            visit(Step::Leave { path: &text, node, parent });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permissions;

    #[test]
    fn paths_and_their_parts() {
        for (path, names, halves) in [
            ("/", &[][..], None),
            ("/a", &["a"], Some(("/", "a"))),
            ("/a/b-c/d", &["a", "b-c", "d"], Some(("/a/b-c", "d"))),
        ] {
            assert_eq!(components(path).collect::<Vec<_>>(), names);
            assert_eq!(split(path), halves);
            if let Some((parent, name)) = halves {
                assert_eq!(join(parent, name), path);
            }
        }
    }

    #[test]
    fn what_is_near_a_path() {
        let acl = Arc::new(Acl::new(Permissions::private(Domid::DOM0), 1));
        let mut tree = Tree::new(Node::new(Arc::clone(&acl), &[], 1));
        tree.create("/", "/a/b", &acl, b"value", 2, &mut Ledger::default());
        for (path, nearest, exists, has_parent) in [
            ("/", "/", true, false),
            ("/x", "/", false, true),
            ("/x/y", "/", false, false),
            ("/a", "/a", true, true),
            ("/a/b", "/a/b", true, true),
            ("/a/bc", "/a", false, true),
            ("/a/b/c/d", "/a/b", false, false),
        ] {
            assert_eq!(tree.nearest(path).0, nearest, "{path}");
            assert_eq!(tree.get(path).is_some(), exists, "{path}");
            let (node, parent) = tree.with_parent(path);
            assert_eq!((node.is_some(), parent.is_some()), (exists, has_parent), "{path}");
        }
    }

    #[test]
    fn a_snapshot_makes_changes_copy_and_count() {
        let acl = Arc::new(Acl::new(Permissions::private(Domid::DOM0), 1));
        let mut tree = Tree::new(Node::new(Arc::clone(&acl), &[], 1));
        let mut ledger = Ledger::default();
        tree.create("/", "/a/b", &acl, b"one", 2, &mut ledger);
        tree.set_value("/a/b", &b"two"[..].into(), 3, &mut ledger);
        assert_eq!(ledger.replaced, 0, "nobody else has it");
        let snapshot = tree.clone();
        assert!(snapshot.is(&tree));
        tree.set_value("/a/b", &b"three"[..].into(), 4, &mut ledger);
        assert!(ledger.replaced > 0 && !snapshot.is(&tree));
        assert_eq!(&*snapshot.get("/a/b").unwrap().value, b"two");
        let copied = ledger.replaced;
        tree.set_value("/a/b", &b"four"[..].into(), 5, &mut ledger);
        assert_eq!(ledger.replaced, copied, "copied once");
        assert_eq!(ledger.deltas.get(Domid::DOM0).nodes, 2);
        assert!(tree.remove("/a", 6, &mut ledger));
        assert!(!tree.remove("/a", 7, &mut ledger));
        assert_eq!(ledger.deltas.get(Domid::DOM0), Delta::default());
        assert!(snapshot.get("/a/b").is_some());
    }
}
