//! Asks the host what a plan needs to know of it.
//!
//! In: the open hypervisor and store, the domain to be. Out: [`HostFacts`]. The only part of the
//! planning that does I/O; two calls to the hypervisor for CPUID policies, three for what kind of host
//! this is (and one for the memory map that a guest with devices is told), one round trip to xenstored; where NUMA nodes are to be chosen among, one call for each
//! vcpu of the host.

use crate::plan::cpuid::host_cpu;
use crate::plan::facts::{CpuLeaf, HostFacts, NodeLoad};
use crate::plan::memory_map::MapEntry;
use crate::plan::placement;
use crate::spec::DomainSpec;
use libxc_safe::{CpuPolicy, DomainInfo, Domid, SystemPolicy, Xen};
use std::collections::BTreeSet;
use xenstore::client::{Client, Nodes};
use xenstore::wire::{Reply, Request};

/// Why the host's facts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The hypervisor did not answer.
    #[error("cannot ask the hypervisor about this host")]
    Xen(#[from] libxc_safe::Error),
    /// xenstored did not answer.
    #[error("cannot ask xenstored about this host")]
    Store(#[from] xenstore::client::Error),
    /// A node of xenstored's or xenconsoled's own that makes no sense.
    #[error("{path} holds {value:?}, which is no domain number; restart the daemon that wrote it")]
    Daemon {
        /// The node.
        path: &'static str,
        /// Its value.
        value: String,
    },
}

const STORE_DOMID: &str = "/tool/xenstored/domid";
const CONSOLE_DOMID: &str = "/tool/xenconsoled/domid";

impl HostFacts {
    /// Reads the facts that a plan for `spec` needs.
    ///
    /// # Errors
    /// [`HostError`]; a daemon that does not say which domain it runs in is taken to be in dom0.
    pub fn read(xen: &Xen, store: &mut Client, spec: &DomainSpec) -> Result<Self, HostError> {
        let physinfo = xen.physinfo()?;
        let host = leaves(&xen.system_cpu_policy(SystemPolicy::Host)?);
        let pv_default = leaves(&xen.system_cpu_policy(SystemPolicy::PvDefault)?);
        // On one node there is nothing to choose and nothing to ask; its number is the highest.
        let (numa_nodes, node_loads) = match physinfo.nodes {
            0 | 1 => (vec![physinfo.max_node_id], Vec::new()),
            _ => nodes(xen, spec)?,
        };
        let replies = store.batch(
            &[Request::read(STORE_DOMID), Request::read(CONSOLE_DOMID)]
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map_err(xenstore::client::Error::from)?,
        )?;
        let mut domids = [STORE_DOMID, CONSOLE_DOMID].into_iter().zip(replies).map(domid);
        let mut next = || domids.next().unwrap_or(Ok(0));
        Ok(Self {
            xen_version: xen.release(),
            // Releases before 4.16 do not say, and do not ask.
            max_grant_version: if physinfo.capabilities.grants_v2() { 2 } else { 1 },
            cpu: host_cpu(&host, &pv_default, &spec.cpuid),
            numa_nodes,
            node_loads,
            cpus: physinfo.max_cpu_id + 1,
            flask: xen.has_flask()?,
            pvh_dom0: xen.existing_domain_info(Domid::DOM0)?.hvm,
            iommu: physinfo.capabilities.directio(),
            memory_map: if spec.hardware.host_map { memory_map(xen)? } else { Vec::new() },
            store_domid: next()?,
            console_domid: next()?,
        })
    }
}

/// The numbers of the nodes, and what each has to offer. What runs on them is asked only for a
/// domain that leaves the choice to us.
fn nodes(xen: &Xen, spec: &DomainSpec) -> Result<(Vec<u32>, Vec<NodeLoad>), HostError> {
    let nodes = xen.numa_nodes()?;
    let ids = nodes.iter().map(|node| node.id).collect();
    let places = xen.cpu_topology()?;
    let node_of = |cpu: u32| {
        let place = places.get(cpu as usize).copied().flatten();
        place.and_then(|place| place.node)
    };
    let pool = xen.cpupools()?.into_iter().find(|pool| pool.id == spec.cpupool);
    let pool: BTreeSet<u32> = pool.into_iter().flat_map(|pool| pool.cpus).collect();
    let running = match placement::is_wanted(spec) {
        true => running(xen, spec.cpupool, |cpu| node_of(cpu).filter(|_| pool.contains(&cpu)))?,
        false => Vec::new(),
    };
    let loads = nodes.iter().map(|node| {
        let all = 0..u32::try_from(places.len()).unwrap_or(u32::MAX);
        let cpus: Vec<u32> = all.filter(|&cpu| node_of(cpu) == Some(node.id)).collect();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        NodeLoad {
            id: node.id,
            free_kib: node.free_bytes / 1024,
            pool_cpus: count(cpus.iter().filter(|cpu| pool.contains(cpu)).count()),
            cpus,
            vcpus: count(running.iter().filter(|&&on| on == node.id).count()),
        }
    });
    Ok((ids, loads.collect()))
}

/// For every vcpu of the pool's domains each node on which it may run and has its memory.
fn running(
    xen: &Xen,
    pool: u32,
    node_of: impl Fn(u32) -> Option<u32>,
) -> Result<Vec<u32>, HostError> {
    let nodes_of = |domain: &DomainInfo| -> Result<Vec<u32>, libxc_safe::Error> {
        let Some(last) = domain.max_vcpu_id else { return Ok(Vec::new()) };
        let memory = xen.node_affinity(domain.domid)?;
        let mut all = Vec::new();
        for vcpu in 0..=last {
            let cpus = xen.vcpu_affinity(domain.domid, vcpu)?.hard;
            let nodes: BTreeSet<u32> = cpus.into_iter().filter_map(&node_of).collect();
            all.extend(nodes.into_iter().filter(|node| memory.contains(node)));
        }
        Ok(all)
    };
    let mut found = Vec::new();
    for domain in xen.domains()?.iter().filter(|domain| domain.cpupool == pool) {
        match nodes_of(domain) {
            Ok(nodes) => found.extend(nodes),
            // It went away since the list was made, or is being built and has no vcpus yet.
            Err(error) if error.is_no_such_domain() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn memory_map(xen: &Xen) -> Result<Vec<MapEntry>, HostError> {
    let entry = |entry: &libxc_safe::E820Entry| MapEntry {
        start: entry.address,
        end: entry.address.saturating_add(entry.bytes),
        kind: entry.kind,
    };
    Ok(xen.machine_memory_map()?.iter().map(entry).collect())
}

fn leaves(policy: &CpuPolicy) -> Vec<CpuLeaf> {
    let leaf = |l: &libxc_safe::Leaf| CpuLeaf {
        leaf: l.leaf,
        subleaf: l.subleaf,
        a: l.a,
        b: l.b,
        c: l.c,
        d: l.d,
    };
    policy.leaves.iter().map(leaf).collect()
}

fn domid(
    (path, reply): (&'static str, Result<Reply, xenstore::client::Error>),
) -> Result<u16, HostError> {
    match reply {
        Ok(Reply::Value(value)) => {
            let text = String::from_utf8_lossy(&value);
            text.trim().parse().map_err(|_| HostError::Daemon { path, value: text.into_owned() })
        }
        Ok(_) => Ok(0),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error.into()),
    }
}
