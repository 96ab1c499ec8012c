//! The store of `xlr xenstored`, without a server.

use super::Answer;
use super::generate::{self, Asked};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xenstore::store::{ConnectionId, Outcome, Quota, Ring, State};
use xenstore::wire::{Header, Packet, Parser, Reply, RequestId, TransactionId};
use xenstore::{Domid, Gfn, Port};

/// What a change of the store spoils for the transactions that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// The node and what is asked below it.
    Node(String),
    /// The list of its children.
    Children(String),
}

fn is_below(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

impl Spoilt {
    /// Whether a request about this path might see it.
    pub fn concerns(&self, path: &str, removes: bool) -> bool {
        match self {
            Self::Node(node) => {
                node == path || is_below(path, node) || removes && is_below(node, path)
            }
            Self::Children(node) => node == path,
        }
    }
}

#[derive(Clone)]
pub struct Ours {
    state: State,
    guests: [Domid; 2],
}

fn packet(reply: &Reply, request: u32) -> Packet {
    let mut bytes = Vec::new();
    if reply.encode(RequestId(request), TransactionId::NONE, &mut bytes).is_err() {
        let error = Reply::Error(xenstore::Errno::E2big.into());
        // A name always fits.
        let _ = error.encode(RequestId(request), TransactionId::NONE, &mut bytes);
    }
    let mut input = bytes.as_slice();
    match Parser::new().advance(&mut input) {
        Ok(Some(packet)) => packet,
        _ => Packet { header: Header::default(), payload: bytes },
    }
}

impl Ours {
    pub fn new(guests: [Domid; 2]) -> Self {
        let mut state = State::new();
        state.connect_socket(0);
        state.connect_socket(1);
        // Limits of n admit n; in C those of watches and transactions admit one more, that of a node's
        // size one less.
        state.set_limit(Quota::Nodes, super::NODES);
        state.set_limit(Quota::Watches, 11);
        state.set_limit(Quota::Transactions, 4);
        state.set_limit(Quota::NodeSize, 2047);
        for domid in guests {
            state.connected(domid, Ring { gfn: Gfn(1), port: Port(1) }, Ok(()));
        }
        Self { state, guests }
    }

    fn id(&self, connection: usize) -> ConnectionId {
        match connection {
            0 | 1 => ConnectionId::Socket(connection as u32),
            guest => ConnectionId::Domain(self.guests[guest - 2]),
        }
    }

    pub fn ask(&mut self, asked: &Asked, transaction: u32) -> Answer {
        let header = Header {
            kind: asked.kind,
            request: RequestId(1),
            transaction: TransactionId(transaction),
            len: asked.payload.len() as u32,
        };
        let request = Packet { header, payload: asked.payload.clone() };
        let outcome = self.state.apply_packet(self.id(asked.connection), &request);
        self.answer(&outcome)
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        let nothing = Reply::Control(Vec::new());
        let reply = packet(outcome.reply.as_ref().unwrap_or(&nothing), 1);
        let mut events: [Vec<Packet>; super::CONNECTIONS] = Default::default();
        for event in &outcome.changes.events {
            let of = (0..super::CONNECTIONS).find(|&n| self.id(n) == event.connection);
            if let Some(of) = of {
                events[of].push(packet(&Reply::Event(event.event.clone()), 0));
            }
        }
        Answer { reply, events }
    }

    /// How many nodes a domain owns.
    pub fn nodes_of(&self, domid: Domid) -> u64 {
        self.state.usage(domid).unwrap_or_default().nodes
    }

    /// The nodes that there are.
    pub fn paths(&self) -> BTreeSet<String> {
        self.state.nodes().into_iter().map(|(path, ..)| path).collect()
    }

    /// The absolute path that a path of a connection means.
    pub fn absolute(&self, connection: usize, path: &str) -> String {
        generate::absolute(self.guests, connection, path)
    }

    /// What is different in a later state.
    pub fn changed(&self, later: &Self) -> Vec<Spoilt> {
        let nodes = |of: &Self| -> BTreeMap<_, _> {
            of.state.nodes().into_iter().map(|(path, value, acl)| (path, (value, acl))).collect()
        };
        let (before, after) = (nodes(self), nodes(later));
        let mut spoilt = Vec::new();
        for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
            match (before.get(path), after.get(path)) {
                (Some((old, of)), Some((new, by))) if Arc::ptr_eq(old, new) && of == by => {}
                (Some(_), Some(_)) => spoilt.push(Spoilt::Node(path.clone())),
                _ => {
                    let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                    let parent = if parent.is_empty() { "/" } else { parent };
                    spoilt.push(Spoilt::Children(parent.to_owned()));
                    spoilt.push(Spoilt::Node(path.clone()));
                }
            }
        }
        spoilt
    }

    /// Ends a transaction without any of it.
    pub fn discard(&mut self, asked: &Asked, transaction: u32) {
        let end = Asked { payload: b"F\0".to_vec(), ..asked.clone() };
        self.ask(&end, transaction);
    }
}
