//! What a guest may use up, and what it has used.
//!
//! Limits bind guests only: sockets and the control domain are free of them. The defaults are those
//! of C xenstored, and so is the answer when one is reached, with two differences: a limit of n
//! admits n (C admits one watch and one transaction more), and memory is counted by the model below
//! rather than by allocations, so that equal stores cost the same on every build.
//!
//! Memory of a guest: each node it owns with its name, value and permissions; each watch with path
//! and token; what its open transactions hold; and what the server says that it queues for it.

/// Something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// Nodes owned.
    Nodes,
    /// Watches set.
    Watches,
    /// Transactions open.
    Transactions,
    /// Requests whose replies and events the guest has not taken.
    Outstanding,
    /// Different nodes that one transaction touches.
    TransactionNodes,
    /// Bytes of all that is kept for the guest.
    Memory,
    /// Entries of the permissions of one node.
    Permissions,
    /// Bytes of a path, not counting `/local/domain/DOMID/`.
    PathMax,
    /// Bytes of one node: permissions, value, names of children.
    NodeSize,
}

impl Quota {
    /// Every quota, in the order in which they are listed.
    pub const ALL: [Self; 9] = [
        Self::Nodes,
        Self::Watches,
        Self::Transactions,
        Self::Outstanding,
        Self::TransactionNodes,
        Self::Memory,
        Self::Permissions,
        Self::PathMax,
        Self::NodeSize,
    ];

    /// The name in GET_QUOTA, SET_QUOTA and `xenstore-control quota`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Watches => "watches",
            Self::Transactions => "transactions",
            Self::Outstanding => "outstanding",
            Self::TransactionNodes => "transaction-nodes",
            Self::Memory => "memory",
            Self::Permissions => "permissions",
            Self::PathMax => "path-max",
            Self::NodeSize => "node-size",
        }
    }

    /// The quota with this name; names that releases of C xenstored used are understood too.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "node-permissions" => Some(Self::Permissions),
            "path-length" => Some(Self::PathMax),
            "size" => Some(Self::NodeSize),
            name => Self::ALL.into_iter().find(|quota| quota.name() == name),
        }
    }

    /// What is limited, in a few words.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Nodes => "nodes that a domain owns",
            Self::Watches => "watches of a domain",
            Self::Transactions => "open transactions of a domain",
            Self::Outstanding => "requests in flight of a domain",
            Self::TransactionNodes => "nodes that a transaction touches",
            Self::Memory => "bytes kept for a domain",
            Self::Permissions => "permission entries of a node",
            Self::PathMax => "bytes of a path below the domain's own",
            Self::NodeSize => "bytes of a node",
        }
    }

    /// The limit unless somebody sets another one.
    #[must_use]
    pub const fn default_limit(self) -> u32 {
        match self {
            Self::Nodes => 1000,
            Self::Watches => 128,
            Self::Transactions => 10,
            Self::Outstanding => 20,
            Self::TransactionNodes => 1024,
            Self::Memory => 2_621_440,
            Self::Permissions => 5,
            Self::PathMax | Self::NodeSize => 2048,
        }
    }
}

/// Limits; where one is absent, the next table counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits([Option<u32>; Quota::ALL.len()]);

impl Limits {
    pub(super) fn set(&mut self, quota: Quota, limit: u32) {
        self.0[quota as usize] = Some(limit);
    }

    pub(super) fn get(&self, quota: Quota) -> Option<u32> {
        self.0[quota as usize]
    }

    /// The limit for a domain with these limits of its own; 0 lifts a limit.
    pub(super) fn of(&self, own: &Self, quota: Quota) -> u64 {
        let limit = own.get(quota).or_else(|| self.get(quota)).unwrap_or(quota.default_limit());
        if limit == 0 { u64::MAX } else { u64::from(limit) }
    }
}

/// What a domain has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nodes that it owns.
    pub nodes: u64,
    /// Watches that it has set.
    pub watches: u64,
    /// Transactions that it has open.
    pub transactions: u64,
    /// Messages that wait for it.
    pub outstanding: u64,
    /// Bytes of nodes, watches, transactions and waiting messages.
    pub memory: u64,
}

impl Usage {
    /// The count that `quota` limits; 0 for those that limit a single request.
    #[must_use]
    pub const fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Nodes => self.nodes,
            Quota::Watches => self.watches,
            Quota::Transactions => self.transactions,
            Quota::Outstanding => self.outstanding,
            Quota::Memory => self.memory,
            Quota::TransactionNodes | Quota::Permissions | Quota::PathMax | Quota::NodeSize => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (index, quota) in Quota::ALL.into_iter().enumerate() {
            assert_eq!(quota as usize, index);
            assert_eq!(Quota::from_name(quota.name()), Some(quota));
            assert!(!quota.description().is_empty());
        }
        assert_eq!(Quota::from_name("node-permissions"), Some(Quota::Permissions));
        assert_eq!(Quota::from_name("nothing"), None);
    }

    #[test]
    fn the_nearest_limit_counts_and_zero_lifts_it() {
        let (mut global, mut own) = (Limits::default(), Limits::default());
        assert_eq!(global.of(&own, Quota::Nodes), 1000);
        global.set(Quota::Nodes, 7);
        assert_eq!(global.of(&own, Quota::Nodes), 7);
        own.set(Quota::Nodes, 9);
        assert_eq!(global.of(&own, Quota::Nodes), 9);
        own.set(Quota::Nodes, 0);
        assert_eq!(global.of(&own, Quota::Nodes), u64::MAX);
    }
}
