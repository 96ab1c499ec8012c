//! Connections: who calls, with which rights.

use std::collections::BTreeMap;

use super::node::Acl;
use super::transaction::Transaction;
use super::watches::Held;
use crate::{Access, Domid};

/// What the store keeps for a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    pub(super) watches: Held,
    /// Open transactions; `None` only while one is in use.
    pub(super) transactions: BTreeMap<u32, Option<Box<Transaction>>>,
    pub(super) next_transaction: u32,
}

impl Connection {
    /// A transaction number that is not 0 and not in use.
    pub(super) fn free_transaction(&mut self) -> u32 {
        loop {
            self.next_transaction = self.next_transaction.wrapping_add(1);
            let number = self.next_transaction;
            if number != 0 && !self.transactions.contains_key(&number) {
                return number;
            }
        }
    }
}

/// What a caller may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights(u8);

impl Rights {
    const NONE: Self = Self(0);
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    /// Write, and change the permissions.
    pub(super) const CHANGE: Self = Self(2 | 4);
    const ALL: Self = Self(1 | 2 | 4);

    pub(super) const fn all_of(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    pub(super) const fn any_of(self, wanted: Self) -> bool {
        self.0 & wanted.0 != 0
    }

    const fn from_access(access: Access) -> Self {
        match access {
            Access::None => Self::NONE,
            Access::Read => Self::READ,
            Access::Write => Self::WRITE,
            Access::Both => Self(1 | 2),
        }
    }
}

/// A guest as permissions see it: its number, and since when it is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) domid: Domid,
    pub(super) since: u64,
}

/// Whose rights a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A socket or the control domain: may do everything.
    Privileged,
    /// A guest, and the guest for which it acts (SET_TARGET).
    Guest { own: Guest, target: Option<Guest> },
}

impl Subject {
    /// The guest whose quotas count; `None` for those whom none binds.
    pub(super) const fn bound(self) -> Option<Domid> {
        match self {
            Self::Privileged => None,
            Self::Guest { own, .. } => Some(own.domid),
        }
    }

    /// What the caller may do with a node that has these permissions.
    ///
    /// The owner may do everything; of the other entries the first one that names the caller or its
    /// target counts; else what holds for everybody. Entries that are older than the domain were
    /// meant for another one that had its number.
    pub(super) fn rights(self, acl: &Acl) -> Rights {
        let Self::Guest { own, target } = self else { return Rights::ALL };
        let owner = acl.owner();
        if owner == own.domid || target.is_some_and(|target| owner == target.domid) {
            return Rights::ALL;
        }
        let means = |guest: Guest, domid: Domid| guest.domid == domid && guest.since < acl.since;
        let named = |&&(domid, _): &&(Domid, Access)| {
            means(own, domid) || target.is_some_and(|target| means(target, domid))
        };
        let entry = acl.permissions.grants.iter().find(named);
        Rights::from_access(entry.map_or(acl.permissions.others, |&(_, access)| access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permissions;

    #[test]
    fn rights_of_a_guest() {
        let guest = |domid, since| Guest { domid: Domid(domid), since };
        let one = Subject::Guest { own: guest(1, 10), target: None };
        let both = Subject::Guest { own: guest(1, 10), target: Some(guest(2, 10)) };
        let check = |subject: Subject, permissions: &str, since: u64, wanted: Rights| {
            let acl = Acl::new(permissions.parse::<Permissions>().unwrap(), since);
            assert_eq!(subject.rights(&acl), wanted, "{subject:?} {permissions} {since}");
        };
        check(Subject::Privileged, "n9", 0, Rights::ALL);
        check(one, "n1", 0, Rights::ALL);
        check(one, "n0", 20, Rights::NONE);
        check(one, "r0", 20, Rights::READ);
        check(one, "n0,r1", 20, Rights::READ);
        check(one, "n0,w1,b1", 20, Rights::WRITE);
        check(one, "r0,n1", 20, Rights::NONE);
        check(one, "n0,b1", 10, Rights::NONE);
        check(one, "n0,b2", 20, Rights::NONE);
        check(both, "n2", 20, Rights::ALL);
        check(both, "n0,r2,b1", 20, Rights::READ);
        check(both, "n0,r2", 10, Rights::NONE);
    }

    #[test]
    fn numbers_of_transactions_skip_zero_and_those_in_use() {
        let mut connection = Connection { next_transaction: u32::MAX - 1, ..Default::default() };
        connection.transactions.insert(u32::MAX, None);
        connection.transactions.insert(1, None);
        assert_eq!(connection.free_transaction(), 2);
    }
}
