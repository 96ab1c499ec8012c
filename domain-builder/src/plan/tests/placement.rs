//! A plan on a host with NUMA nodes.

use super::*;
use crate::plan::facts::NodeLoad;
use crate::plan::plan_facts;
use crate::plan::steps::Step;
use crate::spec::{CpuSet, VcpuAffinity};

/// Nodes 0 and 2, each with two CPUs; the second has more memory.
fn two_nodes() -> HostFacts {
    let node = |id: u32, free_kib, cpus: [u32; 2]| NodeLoad {
        id,
        free_kib,
        cpus: cpus.to_vec(),
        pool_cpus: 2,
        vcpus: 1,
    };
    let node_loads = vec![node(0, 1 << 20, [0, 1]), node(2, 1 << 21, [2, 3])];
    HostFacts { numa_nodes: vec![0, 2], node_loads, ..host() }
}

#[test]
fn the_steps_say_where_a_guest_lies_and_prefers_to_run() {
    fn check(
        change: impl FnOnce(&mut DomainSpec),
        nodes: Option<&[u32]>,
        from: Option<u32>,
        soft: Option<&[u32]>,
    ) {
        let mut wanted = spec(64 * 1024, 2);
        change(&mut wanted);
        let plan = plan_facts(&wanted, &micro(), None, &two_nodes()).unwrap();
        let (mut found, mut prefers) = (None, Vec::new());
        for step in &plan.steps {
            match step {
                Step::NodeAffinity { nodes } => found = Some(nodes.clone()),
                Step::VcpuAffinity { vcpus } => prefers = vcpus.clone(),
                Step::PopulateMemory { node, .. } => assert_eq!(*node, from),
                _ => {}
            }
        }
        assert_eq!(found.as_deref(), nodes);
        for vcpu in &prefers {
            assert_eq!(vcpu.soft.as_deref(), soft, "{vcpu:?}");
        }
        assert_eq!(prefers.is_empty(), soft.is_none() && wanted.affinity.is_empty());
    }
    let pinned =
        |cpus: &[u32]| vec![VcpuAffinity { hard: Some(CpuSet(cpus.to_vec())), soft: None }; 2];
    check(|_| {}, Some(&[2]), Some(2), Some(&[2, 3]));
    check(|s| s.max_vcpus = 3, Some(&[0, 2]), None, Some(&[0, 1, 2, 3]));
    check(|s| s.max_vcpus = 5, None, None, None);
    check(|s| s.numa_nodes = vec![0], Some(&[0]), Some(0), None);
    check(|s| s.affinity = pinned(&[0]), None, Some(0), None);
    check(|s| s.affinity = pinned(&[3, 2]), None, Some(2), None);
    check(|s| s.affinity = pinned(&[1, 2]), None, None, None);
    check(|s| s.affinity = pinned(&[0])[..1].to_vec(), None, None, None);
    check(|s| (s.affinity, s.numa_nodes) = (pinned(&[0]), vec![2]), Some(&[2]), Some(2), None);
}
