//! Whether the state agrees with itself: counts made anew against counts that were kept.
//!
//! In: a state. Out: what is wrong, one line each; nothing is mended. CONTROL `check` shows it, and
//! tests ask after every step.

use std::collections::BTreeMap;

use super::State;
use super::connection_id::ConnectionId;
use super::quota::Usage;
use super::tree::{Step, walk};
use crate::Domid;

impl State {
    /// Everything that does not fit together; empty for a sound state.
    ///
    /// What the server says that it keeps ([`State::queued`]) is taken at its word.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut counted = BTreeMap::<Domid, Usage>::new();
        self.count_nodes(&mut counted, &mut findings);
        self.count_connections(&mut counted, &mut findings);
        for (domid, domain) in &self.domains {
            let (kept, counted) = (domain.usage, counted.remove(domid).unwrap_or_default());
            let same = kept.nodes == counted.nodes
                && kept.watches == counted.watches
                && kept.transactions == counted.transactions
                && kept.memory == counted.memory + domain.queued;
            if !same {
                findings.push(format!("domain {domid}: kept {kept:?}, counted {counted:?}"));
            }
        }
        for domid in counted.into_keys() {
            findings.push(format!("domain {domid} is not known and yet has something"));
        }
        findings
    }

    fn count_nodes(&self, counted: &mut BTreeMap<Domid, Usage>, findings: &mut Vec<String>) {
        let mut rooted = 0;
        walk("/", self.tree.root(), |step| {
            let Step::Enter { path, name, node, parent } = step else { return };
            let owner = node.acl.owner();
            let usage = counted.entry(owner).or_default();
            usage.nodes += 1;
            usage.memory += node.cost(name) as u64;
            let is_root = parent.is_none_or(|parent| parent.acl.owner() != owner);
            let listed = self.domains.get(&owner).is_some_and(|d| d.roots.contains(path));
            if owner != Domid::DOM0 && is_root && !listed {
                findings.push(format!("{path} is not listed with its owner {owner}"));
            }
            rooted += usize::from(listed);
            if node.generation() > self.generation {
                findings.push(format!("{path} is of the future"));
            }
        });
        let listed: usize = self.domains.values().map(|domain| domain.roots.len()).sum();
        if listed != rooted {
            findings.push(format!("{listed} nodes are listed with owners, {rooted} are theirs"));
        }
    }

    fn count_connections(&self, counted: &mut BTreeMap<Domid, Usage>, findings: &mut Vec<String>) {
        let mut watches = 0;
        for (id, connection) in &self.connections {
            watches += connection.watches.len();
            for (path, token) in connection.watches.values() {
                if !self.watches.has(*id, path, token) {
                    findings.push(format!("{id}: its watch of {path} is not known"));
                }
            }
            let ConnectionId::Domain(domid) = id else { continue };
            if !self.domains.get(domid).is_some_and(|domain| domain.introduced) {
                findings.push(format!("{id} has a connection and was not introduced"));
            }
            let usage = counted.entry(*domid).or_default();
            usage.watches += connection.watches.len() as u64;
            let costs = connection.watches.values().map(|(p, t)| p.len() + t.as_bytes().len());
            usage.memory += costs.sum::<usize>() as u64;
            usage.transactions += connection.transactions.len() as u64;
            let held = connection.transactions.values().flatten().map(|t| t.charged);
            usage.memory += held.sum::<usize>() as u64;
        }
        if watches != self.watches.len() {
            let known = self.watches.len();
            findings.push(format!("{known} watches are known, connections have {watches}"));
        }
    }
}
