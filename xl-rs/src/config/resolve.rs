//! A [`DomainConfig`] on a particular host into the builder's [`DomainSpec`].
//!
//! Pure: the host's facts are handed in, and so is the UUID for a domain that names none. What the
//! host cannot give is an error at the line that asked for it.

use super::cpulist::{self, NodeOfCpu, Term};
use super::diagnostic::Problem;
use super::lower::{Affinity, DomainConfig};
use super::reader::At;
use domain_builder::spec::{CpuSet, DomainSpec, VcpuAffinity};
use uuid::Uuid;

/// What a configuration needs to know of the host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The NUMA node of every CPU, by CPU number.
    pub node_of_cpu: Vec<Option<u32>>,
    /// Name and id of every cpupool.
    pub pools: Vec<(String, u32)>,
    /// How far the host's time zone is ahead of UTC now; for `localtime`.
    pub utc_offset_seconds: i32,
}

impl DomainConfig {
    /// The specification of this domain on `host`.
    pub fn resolve(self, host: &Host, random: Uuid) -> Result<DomainSpec, Vec<Problem>> {
        let mut problems = Vec::new();
        let affinity = vcpu_affinity(&self, &host.node_of_cpu, &mut problems);
        let cpupool = match &self.pool {
            None => 0,
            Some(pool) => pool_id(pool, &host.pools).unwrap_or_else(|problem| {
                problems.push(problem);
                0
            }),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let zone_seconds = if self.local_time { i64::from(host.utc_offset_seconds) } else { 0 };
        Ok(DomainSpec {
            name: self.name.value,
            uuid: self.uuid.unwrap_or(random).into_bytes(),
            kernel: self.kernel.value,
            ramdisk: self.ramdisk.map(|ramdisk| ramdisk.value),
            cmdline: self.cmdline,
            memory_kib: self.memory_kib,
            max_memory_kib: self.max_memory_kib,
            vcpus: self.vcpus,
            max_vcpus: self.max_vcpus,
            affinity,
            numa_nodes: Vec::new(),
            sched: self.sched,
            cpupool,
            tsc_mode: self.tsc_mode,
            cpuid: self.cpuid,
            on_end: self.on_end,
            max_grant_frames: self.max_grant_frames,
            max_maptrack_frames: self.max_maptrack_frames,
            max_event_channels: self.max_event_channels,
            max_grant_version: self.max_grant_version,
            no_migrate: self.no_migrate,
            msr_relaxed: self.msr_relaxed,
            time_offset_seconds: self.time_offset_seconds + zone_seconds,
            driver_domain: self.driver_domain,
            channels: self.channels,
            no_suspend_node: self.no_suspend_node,
            hardware: self.hardware,
            store_limits: self.store_limits,
        })
    }
}

fn vcpu_affinity(
    config: &DomainConfig,
    host: &NodeOfCpu,
    problems: &mut Vec<Problem>,
) -> Vec<VcpuAffinity> {
    let vcpus = config.max_vcpus as usize;
    let hard = per_vcpu(&config.hard_affinity, vcpus, host, problems);
    let soft = per_vcpu(&config.soft_affinity, vcpus, host, problems);
    let length = hard.len().max(soft.len());
    (0..length)
        .map(|vcpu| VcpuAffinity { hard: hard.get(vcpu).cloned(), soft: soft.get(vcpu).cloned() })
        .collect()
}

fn per_vcpu(
    affinity: &Affinity,
    vcpus: usize,
    host: &NodeOfCpu,
    problems: &mut Vec<Problem>,
) -> Vec<CpuSet> {
    let mut cpus_of = |list: &At<Vec<Term>>| {
        cpulist::resolve(&list.value, host).unwrap_or_else(|why| {
            let problem = Problem::error(list.span, "the guest cannot be pinned like this", why);
            problems.push(problem.help("xlr info shows the host's CPUs and nodes"));
            CpuSet::default()
        })
    };
    match affinity {
        Affinity::Anywhere => Vec::new(),
        Affinity::Every(list) => vec![cpus_of(list); vcpus],
        Affinity::Each(lists) => lists.iter().map(cpus_of).collect(),
    }
}

fn pool_id(pool: &At<String>, pools: &[(String, u32)]) -> Result<u32, Problem> {
    if let Some((_, id)) = pools.iter().find(|(name, _)| *name == pool.value) {
        return Ok(*id);
    }
    let by_id = pool.value.parse().ok().filter(|id| pools.iter().any(|(_, known)| known == id));
    by_id.ok_or_else(|| {
        let names: Vec<&str> = pools.iter().map(|(name, _)| name.as_str()).collect();
        Problem::error(pool.span, format!("there is no cpupool {:?}", pool.value), "no such pool")
            .help(format!("the pools of this host: {}", names.join(", ")))
    })
}
