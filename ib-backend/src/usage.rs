//! What a guest has and did: its quotas in use, and counters.
//!
//! Shared by the threads of a guest's contexts. What is taken is given back when its [`Taken`] is
//! dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::limits::Limits;

/// What is counted against a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Mapped pages.
    Pages,
    /// Queue pairs.
    Qps,
    /// Completion queues.
    Cqs,
    /// Memory regions.
    Mrs,
    /// Contexts.
    Contexts,
    /// Completion channels, each a port of the host: as many as completion queues.
    Channels,
}

/// One guest's use of its device.
#[derive(Debug)]
pub struct Usage {
    limits: Limits,
    used: [AtomicU32; 6],
    operations: AtomicU64,
    bytes: AtomicU64,
}

/// Something that was taken of a quota; given back on drop.
#[derive(Debug)]
pub struct Taken {
    usage: Arc<Usage>,
    resource: Resource,
    count: u32,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.usage.used[self.resource as usize].fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Usage {
    /// Nothing used yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let (operations, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { limits, used: Default::default(), operations, bytes })
    }

    /// The quotas.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes `count`, or nothing where that is more than is left.
    #[must_use]
    pub fn take(self: &Arc<Self>, resource: Resource, count: u32) -> Option<Taken> {
        let limit = match resource {
            Resource::Pages => self.limits.pages,
            Resource::Qps => self.limits.qps,
            Resource::Cqs => self.limits.cqs,
            Resource::Mrs => self.limits.mrs,
            Resource::Contexts => self.limits.contexts,
            Resource::Channels => self.limits.cqs,
        };
        let more = |used: u32| used.checked_add(count).filter(|sum| *sum <= limit);
        let used = &self.used[resource as usize];
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Taken { usage: Arc::clone(self), resource, count })
    }

    /// How much is in use.
    #[must_use]
    pub fn used(&self, resource: Resource) -> u32 {
        self.used[resource as usize].load(Ordering::Relaxed)
    }

    /// Counts work that was done.
    pub fn count(&self, operations: u64, bytes: u64) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Operations and bytes so far.
    #[must_use]
    pub fn done(&self) -> (u64, u64) {
        (self.operations.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_hold_at_n_and_one_more() {
        let usage = Usage::new(Limits { pages: 10, qps: 1, ..Limits::default() });
        let all = usage.take(Resource::Pages, 10).unwrap();
        assert!(usage.take(Resource::Pages, 1).is_none());
        assert!(usage.take(Resource::Pages, u32::MAX).is_none());
        drop(all);
        assert!(usage.take(Resource::Pages, 11).is_none());
        assert_eq!(usage.used(Resource::Pages), 0);
        let one = usage.take(Resource::Qps, 1);
        assert!(one.is_some() && usage.take(Resource::Qps, 1).is_none());
        drop(one);
        assert!(usage.take(Resource::Qps, 1).is_some());
    }
}
