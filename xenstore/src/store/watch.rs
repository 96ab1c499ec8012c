//! WATCH, UNWATCH and RESET_WATCHES, and which watches an event reaches.
//!
//! An event says that something happened at a path. It goes to those connections only that may know:
//! they can read the node as it was or as it is, or the node above it.

use super::State;
use super::changes::{Changes, Event};
use super::connection_id::ConnectionId;
use super::connections::Rights;
use super::domains::{INTRODUCE, RELEASE};
use super::node::Acl;
use super::nodes::relative_base;
use super::perform::{Context, Failed};
use super::quota::Quota;
use super::tree::{Step, Visit, walk};
use super::watches::Match;
use crate::wire::{PAYLOAD_MAX, Token, WatchEvent};
use crate::{Domid, Errno, Path};
use std::sync::Arc;

impl State {
    pub(super) fn watch(
        &mut self,
        context: &mut Context,
        path: &Path,
        token: &Token,
        depth: Option<u32>,
    ) -> Result<(), Failed> {
        let absolute = self.absolute(context, path)?;
        // At a special node a depth of 1 asks for the domain's number; nothing else has a meaning.
        if path.is_special() && depth.is_some_and(|depth| depth != 1) {
            return Err(Errno::Einval.into());
        }
        let relative = !path.is_absolute() && !path.is_special();
        let prefix_len = if relative { relative_base(context).len() } else { 0 };
        let cost = watch_cost(&absolute, token);
        if self.watches.has(context.caller, &absolute, token) {
            return Err(Errno::Eexist.into());
        }
        if let Some(domid) = context.subject.bound() {
            let usage = self.usage(domid).unwrap_or_default();
            if usage.watches >= self.limit(domid, Quota::Watches) {
                return Err(Errno::E2big.into());
            }
            if usage.memory + cost > self.limit(domid, Quota::Memory) {
                return Err(Errno::Enomem.into());
            }
        }
        let Some(connection) = self.connections.get_mut(&context.caller) else {
            return Err(Errno::Einval.into());
        };
        let held = &mut connection.watches;
        self.watches.add(context.caller, held, &absolute, token, depth, prefix_len);
        self.account_watch(context.caller, 1, cost.cast_signed());
        // The first event comes at once, whether or not there is a node and may it be read: it says
        // nothing that the caller did not say itself.
        let matched = Match::new(context.caller, token.clone(), prefix_len);
        self.push_event(&absolute, matched, &mut context.changes);
        Ok(())
    }

    pub(super) fn unwatch(
        &mut self,
        context: &mut Context,
        path: &Path,
        token: &Token,
    ) -> Result<(), Failed> {
        let absolute = self.absolute(context, path)?;
        let Some(connection) = self.connections.get_mut(&context.caller) else {
            return Err(Errno::Einval.into());
        };
        if !self.watches.remove(context.caller, &mut connection.watches, &absolute, token) {
            return Err(Errno::Enoent.into());
        }
        self.account_watch(context.caller, -1, -watch_cost(&absolute, token).cast_signed());
        Ok(())
    }

    pub(super) fn reset_watches(&mut self, context: &mut Context, number: u32) {
        if let Some(transaction) = context.transaction.take() {
            self.put_transaction(context.caller, number, transaction);
        }
        self.reset(context.caller);
    }

    /// Drops all watches of a connection.
    pub(super) fn drop_watches(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let count = connection.watches.len() as u64;
        let cost: u64 = connection.watches.values().map(|(p, t)| watch_cost(p, t)).sum();
        self.watches.remove_all(id, &mut connection.watches);
        self.account_watch(id, -count.cast_signed(), -cost.cast_signed());
    }

    fn account_watch(&mut self, id: ConnectionId, count: i64, bytes: i64) {
        let ConnectionId::Domain(domid) = id else { return };
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.usage.watches = domain.usage.watches.saturating_add_signed(count);
            domain.usage.memory = domain.usage.memory.saturating_add_signed(bytes);
        }
    }

    /// A node was made or changed: tells those who watch, or notes it for the transaction's end.
    pub(super) fn changed(&mut self, context: &mut Context, path: &str, before: Option<&Arc<Acl>>) {
        match &mut context.transaction {
            Some(transaction) => transaction.fires(path),
            None => self.fire_change(path, before, &mut context.changes),
        }
    }

    /// Tells those who watch that a node changed. `before` are permissions that it had and has no
    /// more.
    pub(super) fn fire_change(&self, path: &str, before: Option<&Arc<Acl>>, changes: &mut Changes) {
        let matches = self.watches.above(path);
        if matches.is_empty() {
            return;
        }
        let (node, parent) = self.tree.with_parent(path);
        let now = node.into_iter().chain(parent).map(|node| &node.acl);
        let acls = before.into_iter().chain(now).map(|acl| &**acl);
        self.tell(path, matches, &acls.collect::<Vec<_>>(), changes);
    }

    /// Tells those who watch something below a path (not the path itself) that it is about to go.
    pub(super) fn removal_events(&self, path: &str, order: Visit, changes: &mut Changes) {
        let Some(top) = self.tree.get(path).filter(|_| self.watches.any_below(path)) else {
            return;
        };
        walk(path, top, |step| {
            let (visit, below, node, parent) = match step {
                Step::Enter { path, node, parent, .. } => (Visit::Before, path, node, parent),
                Step::Leave { path, node, parent } => (Visit::After, path, node, parent),
            };
            if let Some(parent) = parent
                && visit == order
            {
                let matches = self.watches.at(below);
                self.tell(below, matches, &[&node.acl, &parent.acl], changes);
            }
        });
    }

    /// Tells those who watch a special node that something happened with a domain.
    pub(super) fn fire_special(&self, special: &str, domid: Domid, changes: &mut Changes) {
        let own = format!("{special}/{domid}");
        let Some(acl) = self.special_acl(&own) else { return };
        for matched in self.watches.at(special) {
            // Those who asked for a depth get the domain's number with the event.
            let path = if matched.depth.is_some() { &own } else { special };
            self.tell(path, vec![matched], &[acl], changes);
        }
        self.tell(&own, self.watches.at(&own), &[acl], changes);
    }

    /// The permissions of a special node, for a caller that has a right to it.
    pub(super) fn special(
        &self,
        context: &Context,
        path: &str,
        wanted: Rights,
    ) -> Result<Arc<Acl>, Failed> {
        let acl = self.special_acl(path);
        match acl {
            Some(acl) if context.subject.rights(acl).all_of(wanted) => Ok(Arc::clone(acl)),
            None if context.subject.bound().is_none() => Err(Errno::Enoent.into()),
            _ => Err(Errno::Eacces.into()),
        }
    }

    /// The permissions that hold at a special path: of its own, or of the node for all domains.
    fn special_acl(&self, path: &str) -> Option<&Arc<Acl>> {
        self.specials.get(path).or_else(|| {
            let (special, domid) = path.split_once('/')?;
            let domid = Domid(crate::wire::decimal(domid.as_bytes())?);
            let known =
                self.domains.contains_key(&domid) && [INTRODUCE, RELEASE].contains(&special);
            if known { self.specials.get(special) } else { None }
        })
    }

    fn tell(&self, path: &str, matches: Vec<Match>, acls: &[&Acl], changes: &mut Changes) {
        for matched in matches {
            let may_know = self.subject(matched.connection).is_some_and(|subject| {
                acls.iter().any(|acl| subject.rights(acl).all_of(Rights::READ))
            });
            if may_know {
                self.push_event(path, matched, changes);
            }
        }
    }

    /// Adds an event, if it fits into a message. A guest that has so much waiting that its memory is
    /// used up gets none: others could fill the server's memory by it.
    fn push_event(&self, path: &str, matched: Match, changes: &mut Changes) {
        let Match { connection, token, prefix_len, .. } = matched;
        let Some(shown) = path.get(prefix_len..) else { return };
        let len = shown.len() + token.as_bytes().len() + 2;
        if len > PAYLOAD_MAX {
            return;
        }
        if let ConnectionId::Domain(domid) = connection {
            let used = self.usage(domid).map_or(0, |usage| usage.memory);
            if used.saturating_add(len as u64) > self.limit(domid, Quota::Memory) {
                return;
            }
        }
        let event = WatchEvent { path: Path::unchecked(shown.to_owned()), token };
        changes.events.push(Event { connection, event });
    }
}

/// What a watch costs its connection's memory account.
fn watch_cost(path: &str, token: &Token) -> u64 {
    (path.len() + token.as_bytes().len()) as u64
}
