//! Domains: which the store knows, which are connected, what they own, and what happens when they
//! go.

mod saved;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::changes::{Changes, Effect, Outcome};
use super::connection_id::ConnectionId;
use super::connections::{Connection, Guest, Subject};
use super::node::Acl;
use super::perform::Failed;
use super::quota::{Limits, Quota, Usage};
use super::tree::{Ledger, RootChange};
use super::{State, tree};
use crate::wire::{MessageType, Reply, Request};
use crate::{Domid, Errno, Gfn, Permissions, Port};

/// The special node of new connections.
pub(super) const INTRODUCE: &str = "@introduceDomain";
/// The special node of domains that crash, shut down or go.
pub(super) const RELEASE: &str = "@releaseDomain";

/// Feature bits of a ring that the store can serve: reconnection, error indicator, watch depth.
pub(super) const FEATURES: u32 = 1 | 2 | 4;

/// The ring of a connected domain, as INTRODUCE named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The frame of the ring page.
    pub gfn: Gfn,
    /// The domain's event channel port.
    pub port: Port,
}

/// What the store knows of a domain.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    /// The generation at which it became known; permissions older than this meant another domain.
    pub(super) since: u64,
    pub(super) introduced: bool,
    pub(super) ring: Option<Ring>,
    /// Whether its shutdown has been told.
    shutdown: bool,
    /// The domain whose rights it has too.
    pub(super) target: Option<Domid>,
    features: u32,
    /// Limits of its own.
    pub(super) limits: Limits,
    pub(super) usage: Usage,
    /// Bytes of its memory that are the server's.
    pub(super) queued: u64,
    /// Nodes that it owns and whose parent it does not own (and perhaps a few that it does).
    pub(super) roots: BTreeSet<Box<str>>,
}

impl Domain {
    fn new(since: u64) -> Self {
        Self {
            since,
            introduced: false,
            ring: None,
            shutdown: false,
            target: None,
            features: FEATURES,
            limits: Limits::default(),
            usage: Usage::default(),
            queued: 0,
            roots: BTreeSet::new(),
        }
    }

    /// Domain 0, which is always connected.
    pub(super) fn control() -> Self {
        Self { introduced: true, ..Self::new(0) }
    }
}

impl State {
    /// The domains named in a request whose existence the store cannot know. Before such a request
    /// the server asks the hypervisor and tells those that exist ([`State::domain_exists`]): entries
    /// of permissions for domains that do not exist mean nothing, and nobody can own nodes for them.
    /// Where the request will be refused anyway, nobody needs to be asked for.
    #[must_use]
    pub fn unknown_domains(&self, caller: ConnectionId, request: &Request) -> BTreeSet<Domid> {
        let guest = self.subject(caller).and_then(Subject::bound);
        let most = guest.map_or(u64::MAX, |domid| self.limit(domid, Quota::Permissions));
        let named: Vec<Domid> = match request {
            Request::SetPerms { permissions, .. }
                if permissions.entries().count() as u64 <= most =>
            {
                permissions.entries().map(|(domid, _)| domid).collect()
            }
            _ if guest.is_some() => Vec::new(),
            Request::SetFeature { domid, .. }
            | Request::SetQuota { domid: Some(domid), .. }
            | Request::GetQuota { domid: Some(domid), .. } => vec![*domid],
            _ => Vec::new(),
        };
        let unknown = |domid: &Domid| domid.is_ordinary() && !self.domains.contains_key(domid);
        named.into_iter().filter(unknown).collect()
    }

    /// Notes that a domain exists, connected or not.
    pub fn domain_exists(&mut self, domid: Domid) {
        if domid.is_ordinary() && !self.domains.contains_key(&domid) {
            let since = self.next_generation();
            self.domains.insert(domid, Domain::new(since));
        }
    }

    /// Every domain that the store knows, and whether it is connected. When the hypervisor says
    /// that some domain changed, these are to be looked at.
    pub fn domains(&self) -> impl Iterator<Item = (Domid, bool)> {
        self.domains.iter().map(|(&domid, domain)| (domid, domain.introduced))
    }

    /// The ring of a connected domain.
    #[must_use]
    pub fn ring(&self, domid: Domid) -> Option<Ring> {
        self.domains.get(&domid)?.ring
    }

    /// The feature bits that a domain's ring advertises.
    #[must_use]
    pub fn ring_features(&self, domid: Domid) -> u32 {
        self.domains.get(&domid).map_or(FEATURES, |domain| domain.features)
    }

    /// What a domain has used, if the store knows it.
    #[must_use]
    pub fn usage(&self, domid: Domid) -> Option<Usage> {
        self.domains.get(&domid).map(|domain| domain.usage)
    }

    /// A domain's limit; `u64::MAX` for none.
    #[must_use]
    pub fn limit(&self, domid: Domid, quota: Quota) -> u64 {
        if domid == Domid::DOM0 {
            return u64::MAX;
        }
        match self.domains.get(&domid) {
            Some(domain) => self.limits.of(&domain.limits, quota),
            None => self.limits.of(&Limits::default(), quota),
        }
    }

    /// Counts messages and bytes that the server begins (or ceases, when negative) to keep for a
    /// domain: replies and events that wait, requests half received.
    pub fn queued(&mut self, domid: Domid, messages: i64, bytes: i64) {
        if let Some(domain) = self.domains.get_mut(&domid) {
            let usage = &mut domain.usage;
            usage.outstanding = usage.outstanding.saturating_add_signed(messages);
            usage.memory = usage.memory.saturating_add_signed(bytes);
            domain.queued = domain.queued.saturating_add_signed(bytes);
        }
    }

    /// Whether the server should take further requests of this connection: a guest with too many
    /// replies waiting, or too much memory in use, first has to read.
    #[must_use]
    pub fn may_ask(&self, connection: ConnectionId) -> bool {
        let ConnectionId::Domain(domid) = connection else { return true };
        let usage = self.usage(domid).unwrap_or_default();
        usage.outstanding < self.limit(domid, Quota::Outstanding)
            && usage.memory < self.limit(domid, Quota::Memory)
    }

    /// Whether a shutdown of a domain has been told, or there is nobody to tell of.
    #[must_use]
    pub fn has_shut_down(&self, domid: Domid) -> bool {
        self.domains.get(&domid).is_none_or(|domain| domain.shutdown || !domain.introduced)
    }

    /// Says that a domain has shut down or crashed.
    pub fn domain_shut_down(&mut self, domid: Domid) -> Changes {
        let mut changes = Changes::default();
        if let Some(domain) = self.domains.get_mut(&domid)
            && domain.introduced
            && !std::mem::replace(&mut domain.shutdown, true)
        {
            self.fire_special(RELEASE, domid, &mut changes);
        }
        changes
    }

    /// Says that a domain is no more: its connection, its nodes and its account go with it.
    pub fn domain_gone(&mut self, domid: Domid) -> Changes {
        let mut changes = Changes::default();
        if domid != Domid::DOM0 {
            self.leave(domid, &mut changes);
        }
        changes
    }

    /// The result of an [`Effect::Connect`]: the domain is connected, or why not.
    pub fn connected(&mut self, domid: Domid, ring: Ring, result: Result<(), Errno>) -> Outcome {
        let mut changes = Changes::default();
        if let Err(errno) = result {
            return Outcome { reply: Some(Reply::Error(errno.into())), changes };
        }
        self.domain_exists(domid);
        let connection = ConnectionId::Domain(domid);
        self.reset(connection);
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.ring = Some(ring);
            let features = domain.features;
            changes.effects.push(Effect::Reset { connection, features });
            if !std::mem::replace(&mut domain.introduced, true) {
                self.connections.insert(connection, Connection::default());
                self.fire_special(INTRODUCE, domid, &mut changes);
            }
        }
        Outcome { reply: Some(Reply::Done(MessageType::Introduce)), changes }
    }

    pub(super) fn introduce(
        &self,
        introducer: ConnectionId,
        domid: Domid,
        gfn: Gfn,
        port: Port,
        changes: &mut Changes,
    ) -> Result<(), Failed> {
        if domid == Domid::DOM0 || !domid.is_ordinary() || port.0 == 0 {
            return Err(Errno::Einval.into());
        }
        changes.effects.push(Effect::Connect { introducer, domid, gfn, port });
        Ok(())
    }

    pub(super) fn release(&mut self, domid: Domid, changes: &mut Changes) -> Result<(), Failed> {
        self.connected_guest(domid)?;
        self.leave(domid, changes);
        Ok(())
    }

    pub(super) fn resume(&mut self, domid: Domid) -> Result<(), Failed> {
        self.connected_guest(domid)?.shutdown = false;
        Ok(())
    }

    pub(super) fn set_target(&mut self, domid: Domid, target: Domid) -> Result<(), Failed> {
        self.connected_guest(target)?;
        self.connected_guest(domid)?.target = Some(target);
        Ok(())
    }

    pub(super) fn is_introduced(&self, domid: Domid) -> bool {
        domid == Domid::SELF || self.domains.get(&domid).is_some_and(|domain| domain.introduced)
    }

    pub(super) fn features(&self, domid: Option<Domid>) -> Result<u32, Failed> {
        let Some(domid) = domid else { return Ok(FEATURES) };
        Ok(self.domains.get(&domid).ok_or(Errno::Enoent)?.features)
    }

    pub(super) fn set_features(&mut self, domid: Domid, features: u32) -> Result<(), Failed> {
        if features & !FEATURES != 0 {
            return Err(Errno::Einval.into());
        }
        let domain = self.domains.get_mut(&domid).ok_or(Errno::Enoent)?;
        if domain.introduced {
            return Err(Errno::Ebusy.into());
        }
        domain.features = features;
        Ok(())
    }

    fn connected_guest(&mut self, domid: Domid) -> Result<&mut Domain, Failed> {
        if domid == Domid::DOM0 {
            return Err(Errno::Einval.into());
        }
        let domain = self.domains.get_mut(&domid).filter(|domain| domain.introduced);
        Ok(domain.ok_or(Errno::Enoent)?)
    }

    /// Whose rights a connection has; `None` when there is no such connection.
    pub(super) fn subject(&self, connection: ConnectionId) -> Option<Subject> {
        let ConnectionId::Domain(domid) = connection else { return Some(Subject::Privileged) };
        if domid == Domid::DOM0 {
            return Some(Subject::Privileged);
        }
        let guest = |domid: Domid| {
            self.domains.get(&domid).map(|domain| Guest { domid, since: domain.since })
        };
        let target = self.domains.get(&domid)?.target.and_then(guest);
        Some(Subject::Guest { own: guest(domid)?, target })
    }

    /// Carries what a change of the tree means into the accounts of owners.
    pub(super) fn settle(&mut self, ledger: Ledger) {
        for (owner, delta) in ledger.deltas.iter() {
            if let Some(domain) = self.domains.get_mut(&owner) {
                let usage = &mut domain.usage;
                usage.nodes = usage.nodes.saturating_add_signed(delta.nodes);
                usage.memory = usage.memory.saturating_add_signed(delta.bytes);
            }
        }
        for change in ledger.roots {
            self.settle_root(change);
        }
        self.replaced = self.replaced.saturating_add(ledger.replaced);
        self.expire_snapshots();
    }

    fn settle_root(&mut self, change: RootChange) {
        let (RootChange::Add(owner, _)
        | RootChange::Remove(owner, _)
        | RootChange::RemoveSubtree(owner, _)) = &change;
        // Domain 0 never goes, so nobody asks for its nodes.
        if *owner == Domid::DOM0 {
            return;
        }
        let Some(domain) = self.domains.get_mut(owner) else { return };
        match change {
            RootChange::Add(_, path) => {
                domain.roots.insert(path);
            }
            RootChange::Remove(_, path) => {
                domain.roots.remove(&path);
            }
            RootChange::RemoveSubtree(_, path) => {
                domain.roots.remove(&path);
                let below = format!("{path}/");
                let range = domain.roots.range::<str, _>(tree::from(&below));
                let gone: Vec<_> = range.take_while(|p| p.starts_with(&below)).cloned().collect();
                for path in gone {
                    domain.roots.remove(&path);
                }
            }
        }
    }

    /// Everything that the end of a domain, or of its connection, means.
    fn leave(&mut self, domid: Domid, changes: &mut Changes) {
        let connection = ConnectionId::Domain(domid);
        self.reset(connection);
        self.connections.remove(&connection);
        self.remove_nodes_of(domid, changes);
        let introduced = self.domains.get(&domid).is_some_and(|domain| domain.introduced);
        if introduced {
            self.fire_special(RELEASE, domid, changes);
            changes.effects.push(Effect::Disconnect(domid));
        }
        self.domains.remove(&domid);
        // Whoever acted for it loses its rights: the number may come back for another domain.
        for other in self.domains.values_mut() {
            if other.target == Some(domid) {
                other.target = None;
            }
        }
        self.specials.remove(&format!("{RELEASE}/{domid}"));
        self.specials.remove(&format!("{INTRODUCE}/{domid}"));
    }

    /// Removes the nodes that a domain owns, with all below them; what cannot go falls to domain 0.
    fn remove_nodes_of(&mut self, domid: Domid, changes: &mut Changes) {
        while let Some(path) = self.domains.get_mut(&domid).and_then(|d| d.roots.pop_first()) {
            let mut ledger = Ledger::default();
            let generation = self.next_generation();
            if path.as_ref() == "/" {
                let acl = orphaned(&self.tree.root().acl);
                self.tree.set_acl("/", acl, &mut ledger);
            } else {
                self.removal_events(&path, tree::Visit::After, changes);
                self.fire_change(&path, None, changes);
                self.tree.remove(&path, generation, &mut ledger);
            }
            self.settle(ledger);
        }
        for acl in self.specials.values_mut().filter(|acl| acl.owner() == domid) {
            *acl = orphaned(acl);
        }
    }
}

/// The same permissions with domain 0 as owner.
fn orphaned(acl: &Acl) -> Arc<Acl> {
    let permissions = Permissions { owner: Domid::DOM0, ..acl.permissions.clone() };
    Arc::new(Acl::new(permissions, acl.since))
}
