//! Which NUMA nodes a domain gets whose configuration says nothing about its CPUs.
//!
//! In: the domain's size and what each node of the host has. Out: the nodes its memory shall come
//! from, and with them the CPUs its vcpus prefer. The rules are xl's (xl-numa-placement(7)), so that
//! guests of both spread over a host alike. Pure; never asks the host.

use super::facts::{HostFacts, NodeLoad};
use crate::spec::{CpuSet, DomainSpec, VcpuAffinity};
use std::borrow::Cow;
use std::cmp::Reverse;

/// What xl adds to a PV domain's memory before it looks for room.
const EXTRA_KIB: u64 = 1024;
/// Room is looked for in pieces of this size.
const STEP_KIB: u64 = 2048;
/// Most sets of nodes of one size that are compared. Hosts with up to 16 nodes have fewer; on a
/// larger one the best of the first so many is taken rather than a create held up.
const MOST_SETS: usize = 1 << 14;

/// `spec` with the nodes and the preferred CPUs that placement gives it: as it is where the
/// configuration decided already, where the host offers no choice, and where nothing fits.
#[must_use]
pub fn placed<'a>(spec: &'a DomainSpec, host: &HostFacts) -> Cow<'a, DomainSpec> {
    if !is_wanted(spec) {
        return Cow::Borrowed(spec);
    }
    let chosen = place(spec.memory_kib, spec.max_vcpus, &host.node_loads);
    if chosen.is_empty() {
        return Cow::Borrowed(spec);
    }
    let mut cpus: Vec<u32> = chosen.iter().flat_map(|node| node.cpus.iter().copied()).collect();
    cpus.sort_unstable();
    let prefers = VcpuAffinity { hard: None, soft: Some(CpuSet(cpus)) };
    Cow::Owned(DomainSpec {
        numa_nodes: chosen.iter().map(|node| node.id).collect(),
        affinity: vec![prefers; spec.max_vcpus as usize],
        ..spec.clone()
    })
}

/// Whether placement is left to us: neither nodes nor CPUs were asked for.
#[must_use]
pub fn is_wanted(spec: &DomainSpec) -> bool {
    spec.numa_nodes.is_empty() && spec.affinity.is_empty()
}

/// The node that memory is asked from: the only one given or chosen, or the one that has all CPUs the
/// vcpus are pinned to. Xen knows of the pinning, too, but takes clean memory of another node before
/// memory of this one that it has yet to scrub.
#[must_use]
pub fn memory_node(spec: &DomainSpec, host: &HostFacts) -> Option<u32> {
    match spec.numa_nodes[..] {
        [node] => return Some(node),
        [] => {}
        _ => return None,
    }
    let pinned = spec.affinity.iter().filter_map(|vcpu| vcpu.hard.as_ref());
    if pinned.clone().count() < spec.max_vcpus as usize {
        return None;
    }
    let mut cpus = pinned.flat_map(|set| &set.0);
    let first = cpus.next()?;
    let node = host.node_loads.iter().find(|node| node.cpus.contains(first))?;
    cpus.all(|cpu| node.cpus.contains(cpu)).then_some(node.id)
}

/// The smallest set of nodes with room for the memory and a CPU for every vcpu; among sets of one
/// size the one on which the fewest vcpus can run already, then the one with the most free memory,
/// then the one with the lowest numbers. Empty when nothing fits or there is no choice.
fn place(memory_kib: u64, vcpus: u32, nodes: &[NodeLoad]) -> Vec<&NodeLoad> {
    if nodes.len() < 2 {
        return Vec::new();
    }
    let needed_kib =
        memory_kib.saturating_add(EXTRA_KIB).div_ceil(STEP_KIB).saturating_mul(STEP_KIB);
    let usable: Vec<&NodeLoad> = nodes.iter().filter(|node| node.pool_cpus > 0).collect();
    // Sizes that cannot do, even with the best nodes, are not looked at.
    let least = least_size(usable.iter().map(|node| node.free_kib), needed_kib)
        .max(least_size(usable.iter().map(|node| u64::from(node.pool_cpus)), vcpus.into()));
    let fits = |set: &[&NodeLoad]| {
        let free_kib = set.iter().fold(0u64, |sum, node| sum.saturating_add(node.free_kib));
        let cpus: u64 = set.iter().map(|node| u64::from(node.pool_cpus)).sum();
        free_kib >= needed_kib && cpus >= u64::from(vcpus)
    };
    let order = |set: &[&NodeLoad]| {
        let running: u64 = set.iter().map(|node| u64::from(node.vcpus)).sum();
        let free_kib = set.iter().fold(0u64, |sum, node| sum.saturating_add(node.free_kib));
        (running, Reverse(free_kib))
    };
    (least..=usable.len())
        .find_map(|size| {
            let sets = Sets::new(&usable, size).take(MOST_SETS);
            // The first of equals, which is the one with the lowest numbers.
            sets.filter(|set| fits(set)).min_by_key(|set| order(set))
        })
        .unwrap_or_default()
}

/// How many of the largest values it takes to reach `needed`; one more than there are when all do
/// not.
fn least_size(values: impl Iterator<Item = u64>, needed: u64) -> usize {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable_by_key(|&value| Reverse(value));
    let sums = values.iter().scan(0u64, |sum, value| {
        *sum = sum.saturating_add(*value);
        Some(*sum)
    });
    1 + sums.take_while(|&sum| sum < needed).count()
}

/// Every set of `size` elements, in ascending order of their places.
struct Sets<'a, T> {
    of: &'a [T],
    /// Places of the next set; `None` after the last one.
    next: Option<Vec<usize>>,
}

impl<'a, T> Sets<'a, T> {
    fn new(of: &'a [T], size: usize) -> Self {
        Self { of, next: (size <= of.len()).then(|| (0..size).collect()) }
    }
}

impl<T: Copy> Iterator for Sets<'_, T> {
    type Item = Vec<T>;

    fn next(&mut self) -> Option<Vec<T>> {
        let mut places = self.next.take()?;
        let set = places.iter().filter_map(|&place| self.of.get(place).copied()).collect();
        let spare = self.of.len() - places.len();
        // The last place that can still move, and all behind it close up.
        let moves = (0..places.len()).rev().find(|&at| places[at] < at + spare);
        if let Some(at) = moves {
            let first = places[at] + 1;
            for (step, place) in places[at..].iter_mut().enumerate() {
                *place = first + step;
            }
            self.next = Some(places);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 20;

    fn node(id: u32, free_kib: u64, pool_cpus: u32, vcpus: u32) -> NodeLoad {
        let cpus = (id * 8..id * 8 + pool_cpus).collect();
        NodeLoad { id, free_kib, cpus, pool_cpus, vcpus }
    }

    #[test]
    fn as_xl_places() {
        let check = |what: &str, memory_kib, vcpus, nodes: &[NodeLoad], wanted: &[u32]| {
            let ids: Vec<u32> = place(memory_kib, vcpus, nodes).iter().map(|n| n.id).collect();
            assert_eq!(ids, wanted, "{what}");
        };
        let n = node;
        check("no node", GIB, 1, &[], &[]);
        check("no choice", GIB, 1, &[n(0, 8 * GIB, 8, 0)], &[]);
        check("most free memory", GIB, 1, &[n(0, 8 * GIB, 8, 1), n(1, 9 * GIB, 8, 1)], &[1]);
        check("fewest vcpus first", GIB, 1, &[n(0, 8 * GIB, 8, 1), n(1, 9 * GIB, 8, 2)], &[0]);
        check("equals: the first", GIB, 1, &[n(0, 8 * GIB, 8, 1), n(2, 8 * GIB, 8, 1)], &[0]);
        check("enough memory", 4 * GIB, 1, &[n(0, GIB, 8, 0), n(1, 9 * GIB, 8, 50)], &[1]);
        check("enough cpus", GIB, 6, &[n(0, 9 * GIB, 4, 0), n(1, 2 * GIB, 8, 50)], &[1]);
        check("not all to the KiB", GIB, 1, &[n(0, GIB, 8, 0), n(1, GIB + 2048, 8, 9)], &[1]);
        let both = [n(0, 3 * GIB, 4, 3), n(1, 3 * GIB, 4, 3)];
        check("two for the memory", 4 * GIB, 1, &both, &[0, 1]);
        check("two for the cpus", GIB, 6, &both, &[0, 1]);
        check("too much memory", 9 * GIB, 1, &both, &[]);
        check("more vcpus than cpus", GIB, 9, &both, &[]);
        check("outside of the pool", GIB, 1, &[n(0, 9 * GIB, 0, 0), n(1, 2 * GIB, 4, 9)], &[1]);
        check("sparse numbers", GIB, 1, &[n(1, 2 * GIB, 4, 9), n(5, 2 * GIB, 4, 8)], &[5]);
        let four =
            [n(0, 2 * GIB, 4, 9), n(1, 3 * GIB, 4, 2), n(2, 4 * GIB, 4, 9), n(3, 2 * GIB, 4, 2)];
        check("the pair with the fewest", 4 * GIB, 2, &four, &[1, 3]);
        check("the pair that fits", 6 * GIB, 2, &four, &[1, 2]);
        check("three", 8 * GIB, 2, &four, &[1, 2, 3]);
        check("memory beyond numbers", u64::MAX, 1, &four, &[]);
        let many: Vec<NodeLoad> = (0..64).map(|id| n(id, GIB, 1, id)).collect();
        let half: Vec<u32> = (0..32).collect();
        check("half of a large host", GIB, 32, &many, &half);
    }

    proptest! {
        /// Against every subset, looked at one by one.
        #[test]
        fn the_best_of_all(
            nodes in proptest::collection::vec((0u64..8, 0u32..5, 0u32..6), 2..7),
            memory in 0u64..16,
            vcpus in 1u32..12,
        ) {
            let nodes: Vec<NodeLoad> = (0..)
                .zip(nodes)
                .map(|(id, (gib, cpus, vcpus))| node(id, gib * GIB, cpus, vcpus))
                .collect();
            let needed = (memory * GIB + EXTRA_KIB).next_multiple_of(STEP_KIB);
            let mut best = None;
            for bits in 1u32..1 << nodes.len() {
                let set: Vec<&NodeLoad> =
                    nodes.iter().filter(|node| bits >> node.id & 1 == 1).collect();
                let free: u64 = set.iter().map(|node| node.free_kib).sum();
                let cpus: u32 = set.iter().map(|node| node.pool_cpus).sum();
                if free < needed || cpus < vcpus || set.iter().any(|node| node.pool_cpus == 0) {
                    continue;
                }
                let running: u32 = set.iter().map(|node| node.vcpus).sum();
                let ids: Vec<u32> = set.iter().map(|node| node.id).collect();
                let rank = (set.len(), running, Reverse(free), ids);
                if best.as_ref().is_none_or(|best| rank < *best) {
                    best = Some(rank);
                }
            }
            let found: Vec<u32> =
                place(memory * GIB, vcpus, &nodes).iter().map(|node| node.id).collect();
            prop_assert_eq!(found, best.map(|rank| rank.3).unwrap_or_default());
        }
    }
}
