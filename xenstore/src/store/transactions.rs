//! TRANSACTION_START and TRANSACTION_END.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use super::changes::Changes;
use super::connection_id::ConnectionId;
use super::connections::Subject;
use super::node::{Acl, cost};
use super::perform::{Context, Failed};
use super::quota::Quota;
use super::transaction::{Plan, Transaction};
use super::tree::{Deltas, Ledger, Step, Visit, signed, split, walk};
use crate::Errno;
use crate::wire::{Reply, TransactionId};

impl State {
    pub(super) fn transaction_start(&mut self, context: &Context) -> Result<Reply, Failed> {
        if context.transaction.is_some() {
            return Err(Errno::Ebusy.into());
        }
        if let Some(domid) = context.subject.bound() {
            let open = self.usage(domid).map_or(0, |usage| usage.transactions);
            if open >= self.limit(domid, Quota::Transactions) {
                return Err(Errno::Enospc.into());
            }
        }
        let transaction = Box::new(Transaction::new(&self.tree, self.replaced));
        let Some(connection) = self.connections.get_mut(&context.caller) else {
            return Err(Errno::Einval.into());
        };
        let number = connection.free_transaction();
        connection.transactions.insert(number, Some(transaction));
        self.account_transaction(context.caller, 1, 0);
        if context.subject.bound().is_some() {
            self.snapshots.insert((self.replaced, context.caller, number));
        }
        Ok(Reply::TransactionStarted(TransactionId(number)))
    }

    pub(super) fn transaction_end(
        &mut self,
        context: &mut Context,
        number: u32,
        commit: bool,
    ) -> Result<(), Failed> {
        let Some(transaction) = context.transaction.take() else {
            return Err(Errno::Enoent.into());
        };
        self.forget_transaction(context.caller, number, &transaction);
        if !commit {
            return Ok(());
        }
        if transaction.overfull {
            return Err(Errno::Enomem.into());
        }
        let owners_live = transaction.owners.iter().all(|(owner, since)| {
            self.domains.get(owner).is_some_and(|domain| domain.since == *since)
        });
        if transaction.outdated || !owners_live || !transaction.still_holds(&self.tree) {
            return Err(Errno::Eagain.into());
        }
        let plan = transaction.into_plan();
        self.plan_fits(context.subject, &plan)?;
        self.carry_out(plan, &mut context.changes);
        Ok(())
    }

    /// Takes a transaction out for a request.
    pub(super) fn take_transaction(
        &mut self,
        id: ConnectionId,
        number: u32,
    ) -> Option<Box<Transaction>> {
        self.connections.get_mut(&id)?.transactions.get_mut(&number)?.take()
    }

    /// Puts a transaction back after a request, and settles what it holds now.
    pub(super) fn put_transaction(
        &mut self,
        id: ConnectionId,
        number: u32,
        mut transaction: Box<Transaction>,
    ) {
        let grown = transaction.settle();
        self.account_transaction(id, 0, grown);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transactions.insert(number, Some(transaction));
        }
    }

    /// Drops all transactions of a connection.
    pub(super) fn drop_transactions(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for (number, transaction) in std::mem::take(&mut connection.transactions) {
            if let Some(transaction) = transaction {
                self.forget_transaction(id, number, &transaction);
            }
        }
    }

    fn forget_transaction(&mut self, id: ConnectionId, number: u32, transaction: &Transaction) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transactions.remove(&number);
        }
        self.snapshots.remove(&(transaction.started_at, id, number));
        self.account_transaction(id, -1, -signed(transaction.charged));
    }

    fn account_transaction(&mut self, id: ConnectionId, count: i64, bytes: i64) {
        let ConnectionId::Domain(domid) = id else { return };
        if let Some(domain) = self.domains.get_mut(&domid) {
            let usage = &mut domain.usage;
            usage.transactions = usage.transactions.saturating_add_signed(count);
            usage.memory = usage.memory.saturating_add_signed(bytes);
        }
    }

    /// Takes the snapshots from those transactions of guests that keep too many old versions alive.
    pub(super) fn expire_snapshots(&mut self) {
        while let Some(&oldest) = self.snapshots.first()
            && self.replaced - oldest.0 > Self::SNAPSHOT_BYTES
        {
            self.snapshots.remove(&oldest);
            let (_, id, number) = oldest;
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let Some(Some(transaction)) = connection.transactions.get_mut(&number) else {
                continue;
            };
            transaction.give_up_snapshot(&self.tree, self.replaced);
            let grown = transaction.settle();
            self.snapshots.insert((self.replaced, id, number));
            self.account_transaction(id, 0, grown);
        }
    }

    /// Whether a guest may apply this. What it asked inside the transaction was checked then, but
    /// the store has changed since.
    fn plan_fits(&self, subject: Subject, plan: &Plan) -> Result<(), Failed> {
        if subject.bound().is_none() {
            return Ok(());
        }
        for (owner, delta) in self.plan_deltas(plan).iter() {
            let usage = self.usage(owner).unwrap_or_default();
            let nodes = usage.nodes.saturating_add_signed(delta.nodes);
            if delta.nodes > 0 && nodes > self.limit(owner, Quota::Nodes) {
                return Err(Errno::Enospc.into());
            }
            let memory = usage.memory.saturating_add_signed(delta.bytes);
            if delta.bytes > 0 && memory > self.limit(owner, Quota::Memory) {
                return Err(Errno::Enomem.into());
            }
        }
        Ok(())
    }

    fn plan_deltas(&self, plan: &Plan) -> Deltas {
        let mut deltas = Deltas::default();
        for path in &plan.removed {
            let Some(node) = self.tree.get(path) else { continue };
            walk(path, node, |step| {
                if let Step::Enter { name, node, .. } = step {
                    deltas.add(node.acl.owner(), -1, -signed(node.cost(name)));
                }
            });
        }
        for (path, node) in &plan.created {
            walk(path, node, |step| {
                if let Step::Enter { name, node, .. } = step {
                    deltas.add(node.acl.owner(), 1, signed(node.cost(name)));
                }
            });
        }
        for written in &plan.written {
            let Some(node) = self.tree.get(&written.path) else { continue };
            let name = split(&written.path).map_or("", |(_, name)| name);
            let acl = written.acl.as_ref().unwrap_or(&node.acl);
            let value_len = written.value.as_ref().map_or(node.value.len(), |v| v.len());
            deltas.add(
                acl.owner(),
                0,
                signed(cost(name, acl, value_len)) - signed(node.cost(name)),
            );
        }
        deltas
    }

    /// Applies a transaction and tells those who watch.
    fn carry_out(&mut self, plan: Plan, changes: &mut Changes) {
        let before: BTreeMap<Box<str>, Arc<Acl>> = plan
            .fires
            .iter()
            .filter_map(|path| Some((path.clone(), Arc::clone(&self.tree.get(path)?.acl))))
            .collect();
        // Who may know of what goes is decided while it is there.
        let mut removals: BTreeMap<Box<str>, Changes> = BTreeMap::new();
        for path in &plan.removed {
            let mut events = Changes::default();
            self.removal_events(path, Visit::Before, &mut events);
            removals.insert(path.clone(), events);
        }
        let mut ledger = Ledger::default();
        for path in &plan.removed {
            let generation = self.next_generation();
            self.tree.remove(path, generation, &mut ledger);
        }
        for written in plan.written {
            let generation = self.next_generation();
            if let Some(acl) = written.acl {
                self.tree.set_acl(&written.path, acl, &mut ledger);
            }
            if let Some(value) = written.value {
                self.tree.set_value(&written.path, &value, generation, &mut ledger);
            }
        }
        for (path, node) in plan.created {
            let generation = self.next_generation();
            self.tree.graft(&path, node, generation, &mut ledger);
        }
        self.settle(ledger);
        for path in &plan.fires {
            self.fire_change(path, before.get(path), changes);
            if let Some(mut below) = removals.remove(path) {
                changes.events.append(&mut below.events);
            }
        }
    }
}
