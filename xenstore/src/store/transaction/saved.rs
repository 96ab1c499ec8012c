//! An open transaction as bytes. Its snapshot and its copy are named by where their roots stand among
//! the saved nodes: what they share with each other and with the store stays shared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Note, Transaction, note_cost};
use crate::Domid;
use crate::codec::{Damaged, Put, Reader};
use crate::store::tree::{Ledger, Tree};

const LIMIT: u64 = 1 << 62;

impl Transaction {
    /// The two trees that it holds.
    pub(in crate::store) const fn trees(&self) -> [&Tree; 2] {
        [&self.base, &self.copy]
    }

    /// Appends everything but the trees.
    pub(in crate::store) fn save(&self, out: &mut Vec<u8>) {
        out.put_len(self.ledger.deltas.iter().count());
        for (owner, delta) in self.ledger.deltas.iter() {
            out.put(owner.0.into());
            out.put_signed(delta.nodes);
            out.put_signed(delta.bytes);
        }
        out.put(self.ledger.replaced);
        out.put_len(self.notes.len());
        for (path, note) in &self.notes {
            out.put_bytes(path.as_bytes());
            out.put_len(note.order);
            out.put(note.observed.into());
            out.put_option(note.created);
            out.put(u64::from(note.value) | u64::from(note.acl) << 1 | u64::from(note.fires) << 2);
            out.put_len(note.held);
        }
        out.put_len(self.removed.len());
        self.removed.iter().for_each(|path| out.put_bytes(path.as_bytes()));
        out.put_len(self.owners.len());
        for (owner, since) in &self.owners {
            out.put(owner.0.into());
            out.put(*since);
        }
        out.put(self.next);
        out.put_len(self.charged);
        out.put(u64::from(self.overfull) | u64::from(self.outdated) << 1);
        out.put(self.started_at);
    }

    /// Reads a transaction with these trees.
    pub(in crate::store) fn restore(
        input: &mut Reader<'_>,
        base: Tree,
        copy: Tree,
    ) -> Result<Self, Damaged> {
        const WHAT: &str = "a transaction";
        let mut ledger = Ledger::default();
        for _ in 0..input.count(WHAT)? {
            let owner = Domid(input.narrow(WHAT)?);
            let (nodes, bytes) = (input.signed(WHAT)?, input.signed(WHAT)?);
            if nodes.unsigned_abs() > LIMIT || bytes.unsigned_abs() > LIMIT >> 16 {
                return Err(input.damaged(WHAT));
            }
            ledger.deltas.add(owner, nodes, bytes);
        }
        ledger.replaced = input.number(WHAT)?;
        let mut notes = BTreeMap::new();
        let mut held = 0_usize;
        for _ in 0..input.count(WHAT)? {
            let path: Box<str> = input.text("a path of a transaction")?.into();
            let note = restore_note(input)?;
            held = held.saturating_add(note.held).saturating_add(note_cost(&path));
            notes.insert(path, note);
        }
        let mut removed = BTreeSet::new();
        for _ in 0..input.count(WHAT)? {
            removed.insert(input.text("a path of a transaction")?.into());
        }
        let mut owners = BTreeMap::new();
        for _ in 0..input.count(WHAT)? {
            owners.insert(Domid(input.narrow(WHAT)?), input.number(WHAT)?);
        }
        let next = input.number(WHAT)?;
        let charged = input.narrow(WHAT)?;
        let flags = input.number(WHAT)?;
        let started_at = input.number(WHAT)?;
        let (overfull, outdated) = (flags & 1 != 0, flags & 2 != 0);
        if next > LIMIT || ledger.replaced > LIMIT || held as u64 > LIMIT || flags > 3 {
            return Err(input.damaged(WHAT));
        }
        Ok(Self {
            base,
            copy,
            ledger,
            notes,
            removed,
            owners,
            next,
            held,
            charged,
            overfull,
            outdated,
            started_at,
        })
    }
}

fn restore_note(input: &mut Reader<'_>) -> Result<Note, Damaged> {
    const WHAT: &str = "a note of a transaction";
    let order = input.narrow(WHAT)?;
    let observed = input.narrow(WHAT)?;
    let created = input.option(WHAT)?;
    let flags = input.number(WHAT)?;
    let held = input.narrow(WHAT)?;
    if flags > 7 || held as u64 > LIMIT >> 16 {
        return Err(input.damaged(WHAT));
    }
    let (value, acl, fires) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    Ok(Note { order, observed, created, value, acl, fires, held })
}
