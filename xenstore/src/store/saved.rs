//! The whole state as bytes, and back.
//!
//! In: a state, or bytes of any content. Out: bytes that say everything the state's answers depend
//! on, or a state that answers as the saved one would; damaged bytes are an error with its place.
//!
//! Nodes and permissions come first ([`Image`](super::Image)), then where the roots of all trees stand
//! among them, then the rest. What two trees shared is shared again, since conflicts are found by
//! asking whether two pieces are the same one; even the shape of lists is kept, because quotas count
//! what a change copies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::connection_id::ConnectionId;
use super::connections::Connection;
use super::domains::Domain;
use super::image::{self, Acls};
use super::node::{Acl, Node};
use super::quota::Limits;
use super::transaction::Transaction;
use super::tree::Tree;
use super::watches::Watches;
use super::{Children, State};
use crate::codec::{Damaged, Put, Reader};
use crate::{Access, Domid, Permissions};

/// No count of anything gets so far.
const LIMIT: u64 = 1 << 62;

pub(super) fn save_acl(acl: &Acl, out: &mut Vec<u8>) {
    out.put(acl.since);
    out.put_len(acl.permissions.grants.len());
    for (domid, access) in acl.permissions.entries() {
        out.push(access.letter() as u8);
        out.put(domid.0.into());
    }
}

fn restore_acl(input: &mut Reader<'_>) -> Result<Acl, Damaged> {
    const WHAT: &str = "permissions";
    let since = input.number(WHAT)?;
    let grants = input.count(WHAT)?;
    let mut entry = || {
        let access = match input.number(WHAT)? {
            letter if letter == u64::from(b'n') => Access::None,
            letter if letter == u64::from(b'r') => Access::Read,
            letter if letter == u64::from(b'w') => Access::Write,
            letter if letter == u64::from(b'b') => Access::Both,
            _ => return Err(input.damaged(WHAT)),
        };
        Ok((Domid(input.narrow(WHAT)?), access))
    };
    let (owner, others) = entry()?;
    let grants = (0..grants).map(|_| entry()).collect::<Result<_, _>>()?;
    Ok(Acl::new(Permissions { owner, others, grants }, since))
}

/// Nodes and permissions that have been read.
struct Read {
    acls: Vec<Arc<Acl>>,
    nodes: Vec<Arc<Node>>,
    /// Nodes at and below each.
    sizes: Vec<u64>,
    /// The trees that were saved, the last one first, as far as nobody took them.
    trees: Vec<Tree>,
}

impl Read {
    fn new(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (acls, nodes, sizes, trees) = Default::default();
        let mut read = Self { acls, nodes, sizes, trees };
        loop {
            match input.narrow("a piece of an image")? {
                image::ACL => read.acls.push(Arc::new(restore_acl(input)?)),
                image::NODE => read.node(input)?,
                image::END => break,
                _ => return Err(input.damaged("a piece of an image")),
            }
        }
        for _ in 0..input.count("the number of trees")? {
            let tree = read.root(input)?;
            read.trees.push(tree);
        }
        read.trees.reverse();
        Ok(read)
    }

    /// The tree that was saved next.
    fn tree(&mut self, input: &Reader<'_>) -> Result<Tree, Damaged> {
        self.trees.pop().ok_or(input.damaged("the number of trees"))
    }

    fn node(&mut self, input: &mut Reader<'_>) -> Result<(), Damaged> {
        const WHAT: &str = "a node";
        let acl = Arc::clone(self.acl(input)?);
        let value = input.bytes("the value of a node")?.into();
        let (value_generation, children_generation) = (input.number(WHAT)?, input.number(WHAT)?);
        let mut size = 1_u64;
        let children = Children::restore(input, |place| {
            let place = usize::try_from(place).ok()?;
            size = size.saturating_add(*self.sizes.get(place)?);
            self.nodes.get(place)
        })?;
        let node = Node { value, acl, children, value_generation, children_generation };
        self.nodes.push(Arc::new(node));
        self.sizes.push(size);
        Ok(())
    }

    fn acl(&self, input: &mut Reader<'_>) -> Result<&Arc<Acl>, Damaged> {
        let place: usize = input.narrow("permissions")?;
        self.acls.get(place).ok_or(input.damaged("permissions"))
    }

    /// A tree whose root stands at the place that is read. No node stands twice in one tree, so a
    /// tree that counts more than there are is none.
    fn root(&self, input: &mut Reader<'_>) -> Result<Tree, Damaged> {
        let place: usize = input.narrow("the root of a tree")?;
        match (self.nodes.get(place), self.sizes.get(place)) {
            (Some(root), Some(&size)) if size <= self.nodes.len() as u64 => {
                Ok(Tree::shared(Arc::clone(root)))
            }
            _ => Err(input.damaged("the root of a tree")),
        }
    }
}

fn put_connection(id: ConnectionId, out: &mut Vec<u8>) {
    let (kind, number) = match id {
        ConnectionId::Socket(number) => (0, number),
        ConnectionId::Domain(domid) => (1, domid.0.into()),
    };
    out.push(kind);
    out.put(number.into());
}

fn connection(input: &mut Reader<'_>) -> Result<ConnectionId, Damaged> {
    Ok(match input.flag("a connection")? {
        false => ConnectionId::Socket(input.narrow("the number of a socket")?),
        true => ConnectionId::Domain(Domid(input.narrow("a domain's number")?)),
    })
}

impl State {
    /// Appends everything but the trees to `rest`; `front` gets the permissions that stand there.
    pub(super) fn save_rest(&self, acls: &mut Acls, front: &mut Vec<u8>, rest: &mut Vec<u8>) {
        for count in [self.generation, self.replaced, self.soft_memory.into()] {
            rest.put(count);
        }
        self.limits.save(rest);
        rest.put_len(self.specials.len());
        for (path, acl) in &self.specials {
            rest.put_bytes(path.as_bytes());
            rest.put(acls.place(acl, front));
        }
        rest.put_len(self.domains.len());
        for (domid, domain) in &self.domains {
            rest.put(domid.0.into());
            domain.save(rest);
        }
        self.watches.save_next(rest);
        rest.put_len(self.connections.len());
        for (id, connection) in &self.connections {
            put_connection(*id, rest);
            self.watches.save(*id, &connection.watches, rest);
            connection.save(rest);
        }
    }

    /// Reads a state that was saved.
    ///
    /// # Errors
    /// The bytes are no such state.
    pub fn restore(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut input = Reader::new(bytes);
        let state = Self::restore_from(&mut input)?;
        input.end()?;
        Ok(state)
    }

    /// Reads a state off the front of something that was saved.
    pub(crate) fn restore_from(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut read = Read::new(input)?;
        let tree = read.tree(input)?;
        let (generation, replaced) = (input.number("a count")?, input.number("a count")?);
        let soft_memory = input.narrow("a quota")?;
        let limits = Limits::restore(input)?;
        let mut specials = BTreeMap::new();
        for _ in 0..input.count("the number of special nodes")? {
            let path = input.text("a special path")?.to_owned();
            specials.insert(path, Arc::clone(read.acl(input)?));
        }
        let mut domains = BTreeMap::new();
        for _ in 0..input.count("the number of domains")? {
            let domid = Domid(input.narrow("a domain's number")?);
            domains.insert(domid, Domain::restore(input)?);
        }
        let mut watches = Watches::restore_next(input)?;
        let mut connections = BTreeMap::new();
        let mut snapshots = BTreeSet::new();
        for _ in 0..input.count("the number of connections")? {
            let id = connection(input)?;
            let held = watches.restore(id, input)?;
            let connection = Connection::restore(held, &mut read, input)?;
            if matches!(id, ConnectionId::Domain(domid) if domid != Domid::DOM0) {
                let open = connection.transactions.iter();
                let open = open.filter_map(|(number, t)| Some((*number, t.as_ref()?.started_at)));
                snapshots.extend(open.map(|(number, started_at)| (started_at, id, number)));
            }
            connections.insert(id, connection);
        }
        let state = Self {
            tree,
            specials,
            generation,
            domains,
            connections,
            watches,
            limits,
            soft_memory,
            replaced,
            snapshots,
        };
        let oldest = state.snapshots.last().map_or(0, |(started_at, ..)| *started_at);
        let sound =
            generation < LIMIT && replaced < LIMIT && oldest <= replaced && read.trees.is_empty();
        if !sound || !state.domains.contains_key(&Domid::DOM0) || !state.check().is_empty() {
            return Err(input.damaged("a state that agrees with itself"));
        }
        Ok(state)
    }
}

impl Connection {
    fn save(&self, out: &mut Vec<u8>) {
        out.put(self.next_transaction.into());
        // None is in use between requests.
        let open =
            || self.transactions.iter().filter_map(|(number, t)| Some((number, t.as_ref()?)));
        out.put_len(open().count());
        for (number, transaction) in open() {
            out.put((*number).into());
            transaction.save(out);
        }
    }

    fn restore(
        watches: super::watches::Held,
        read: &mut Read,
        input: &mut Reader<'_>,
    ) -> Result<Self, Damaged> {
        let next_transaction = input.narrow("the number of transactions")?;
        let mut transactions = BTreeMap::new();
        for _ in 0..input.count("the number of transactions")? {
            let number = input.narrow("the number of a transaction")?;
            let (base, copy) = (read.tree(input)?, read.tree(input)?);
            let transaction = Transaction::restore(input, base, copy)?;
            transactions.insert(number, Some(Box::new(transaction)));
        }
        Ok(Self { watches, transactions, next_transaction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node has the one below twice: few bytes, and a tree that nobody could walk through.
    #[test]
    fn no_node_stands_twice_in_a_tree() {
        let levels = 60;
        let mut bytes = vec![image::ACL];
        save_acl(&Acl::new(Permissions::private(Domid::DOM0), 1), &mut bytes);
        for level in 0..levels {
            bytes.extend_from_slice(&[image::NODE, 0, 0, 1, 1]);
            bytes.put(u64::from(level > 0));
            if level > 0 {
                bytes.put(2);
                for (number, name) in [(0, b"a"), (1, b"b")] {
                    bytes.put_bytes(name);
                    bytes.put(number);
                    bytes.put(level - 1);
                }
                bytes.extend_from_slice(&[2, 1, 2]);
            }
        }
        bytes.extend_from_slice(&[image::END, 0]);
        let mut input = Reader::new(&bytes);
        let read = Read::new(&mut input).unwrap();
        assert!(input.is_empty());
        for (place, sound) in [(0, true), (1, true), (6, false), (levels - 1, false)] {
            let mut bytes = Vec::new();
            bytes.put(place);
            assert_eq!(read.root(&mut Reader::new(&bytes)).is_ok(), sound, "{place}");
        }
    }
}
