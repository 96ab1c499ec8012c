//! What the machine has: CPUs, memory, NUMA nodes.

use xen_sys::revision::SysctlRevision;
use xen_sys::sysctl::{
    XEN_INVALID_CORE_ID, XEN_INVALID_NODE_DIST, XEN_INVALID_NODE_ID, XEN_INVALID_SOCKET_ID,
    XEN_SYSCTL_PHYSCAP_directio, XEN_SYSCTL_PHYSCAP_gnttab_v1, XEN_SYSCTL_PHYSCAP_gnttab_v2,
    XEN_SYSCTL_PHYSCAP_hap, XEN_SYSCTL_PHYSCAP_hvm, XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share,
    XEN_SYSCTL_PHYSCAP_pv, XEN_SYSCTL_PHYSCAP_shadow, XEN_SYSCTL_PHYSCAP_vmtrace,
    XEN_SYSCTL_PHYSCAP_vpmu, XEN_SYSCTL_availheap, XEN_SYSCTL_cputopoinfo, XEN_SYSCTL_getcpuinfo,
    XEN_SYSCTL_numainfo, XEN_SYSCTL_physinfo, xen_sysctl_availheap, xen_sysctl_cpuinfo,
    xen_sysctl_cputopo, xen_sysctl_cputopoinfo, xen_sysctl_getcpuinfo, xen_sysctl_meminfo,
    xen_sysctl_numainfo, xen_sysctl_physinfo_0x13, xen_sysctl_physinfo_0x15,
};

use crate::domctl::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::{Field, get, put};
use crate::xen::Xen;

/// More CPUs or nodes than any Xen supports: an answer beyond it is nonsense.
const MOST: u32 = 1 << 16;

/// What the hypervisor can do (`XEN_SYSCTL_PHYSCAP_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The raw bits.
    pub bits: u32,
}

impl Capabilities {
    const NAMES: [(u32, &'static str); 10] = [
        (XEN_SYSCTL_PHYSCAP_pv, "pv"),
        (XEN_SYSCTL_PHYSCAP_hvm, "hvm"),
        (XEN_SYSCTL_PHYSCAP_hap, "hap"),
        (XEN_SYSCTL_PHYSCAP_shadow, "shadow"),
        (XEN_SYSCTL_PHYSCAP_directio, "directio"),
        (XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share, "iommu_hap_pt_share"),
        (XEN_SYSCTL_PHYSCAP_vmtrace, "vmtrace"),
        (XEN_SYSCTL_PHYSCAP_vpmu, "vpmu"),
        (XEN_SYSCTL_PHYSCAP_gnttab_v1, "gnttab-v1"),
        (XEN_SYSCTL_PHYSCAP_gnttab_v2, "gnttab-v2"),
    ];

    /// PV guests can run.
    #[must_use]
    pub fn pv(self) -> bool {
        self.bits & XEN_SYSCTL_PHYSCAP_pv != 0
    }

    /// HVM and PVH guests can run.
    #[must_use]
    pub fn hvm(self) -> bool {
        self.bits & XEN_SYSCTL_PHYSCAP_hvm != 0
    }

    /// Hardware-assisted paging.
    #[must_use]
    pub fn hap(self) -> bool {
        self.bits & XEN_SYSCTL_PHYSCAP_hap != 0
    }

    /// Devices can be passed through.
    #[must_use]
    pub fn directio(self) -> bool {
        self.bits & XEN_SYSCTL_PHYSCAP_directio != 0
    }

    /// Grant tables of version 2 (told since Xen 4.16).
    #[must_use]
    pub fn grants_v2(self) -> bool {
        self.bits & XEN_SYSCTL_PHYSCAP_gnttab_v2 != 0
    }

    /// The names of all that is set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(bit, _)| self.bits & bit != 0).map(|(_, name)| name)
    }
}

/// What the machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysInfo {
    /// Hardware threads per core.
    pub threads_per_core: u32,
    /// Cores per socket.
    pub cores_per_socket: u32,
    /// CPUs that are on line.
    pub cpus: u32,
    /// Highest CPU number possible.
    pub max_cpu_id: u32,
    /// NUMA nodes that are on line.
    pub nodes: u32,
    /// Highest node number possible.
    pub max_node_id: u32,
    /// Frequency, kHz.
    pub cpu_khz: u32,
    /// What the hypervisor can do.
    pub capabilities: Capabilities,
    /// The same for the architecture (Xen 4.17; 0 before).
    pub arch_capabilities: u32,
    /// Pages of the machine.
    pub total_pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Pages that are free and being scrubbed.
    pub scrub_pages: u64,
    /// Pages claimed by domains being built.
    pub outstanding_pages: u64,
    /// Highest machine frame.
    pub max_mfn: u64,
    /// CPUID feature words as xl info prints them.
    pub hw_cap: [u32; 8],
}

impl PhysInfo {
    fn decode(revision: SysctlRevision, bytes: &Payload) -> Self {
        type Head = xen_sysctl_physinfo_0x13;
        macro_rules! tail {
            ($field:ident) => {
                if revision < SysctlRevision::V0x15 {
                    get!(bytes, xen_sysctl_physinfo_0x13, $field)
                } else {
                    get!(bytes, xen_sysctl_physinfo_0x15, $field)
                }
            };
        }
        Self {
            threads_per_core: get!(bytes, Head, threads_per_core),
            cores_per_socket: get!(bytes, Head, cores_per_socket),
            cpus: get!(bytes, Head, nr_cpus),
            max_cpu_id: get!(bytes, Head, max_cpu_id),
            nodes: get!(bytes, Head, nr_nodes),
            max_node_id: get!(bytes, Head, max_node_id),
            cpu_khz: get!(bytes, Head, cpu_khz),
            capabilities: Capabilities { bits: get!(bytes, Head, capabilities) },
            arch_capabilities: if revision < SysctlRevision::V0x15 {
                0
            } else {
                get!(bytes, xen_sysctl_physinfo_0x15, arch_capabilities)
            },
            total_pages: tail!(total_pages),
            free_pages: tail!(free_pages),
            scrub_pages: tail!(scrub_pages),
            outstanding_pages: tail!(outstanding_pages),
            max_mfn: tail!(max_mfn),
            hw_cap: tail!(hw_cap),
        }
    }
}

/// Where a CPU sits. Xen does not know core and socket of every CPU: the only one of an AMD
/// machine has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuPlace {
    /// Its core, within the socket.
    pub core: Option<u32>,
    /// Its socket.
    pub socket: Option<u32>,
    /// Its NUMA node.
    pub node: Option<u32>,
}

impl CpuPlace {
    /// The place in a record; none when all of it is unknown: there is no such CPU.
    fn decode(record: &[u8]) -> Option<Self> {
        type Raw = xen_sysctl_cputopo;
        let known = |value: u32, unknown: u32| (value != unknown).then_some(value);
        let place = Self {
            core: known(get!(record, Raw, core), XEN_INVALID_CORE_ID),
            socket: known(get!(record, Raw, socket), XEN_INVALID_SOCKET_ID),
            node: known(get!(record, Raw, node), XEN_INVALID_NODE_ID),
        };
        let absent = place.core.is_none() && place.socket.is_none() && place.node.is_none();
        (!absent).then_some(place)
    }
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub id: u32,
    /// Bytes that it has.
    pub size_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Distance to each node number, 10 for itself; none to nodes that are not there.
    pub distances: Vec<Option<u32>>,
}

impl Xen {
    /// What the machine has.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn physinfo(&self) -> Result<PhysInfo> {
        let operation = "XEN_SYSCTL_physinfo";
        let mut payload = [0; PAYLOAD_BYTES];
        // SAFETY: physinfo carries no address.
        unsafe { self.sysctl(operation, XEN_SYSCTL_physinfo, &mut payload) }?;
        let info = PhysInfo::decode(self.sysctl_revision(), &payload);
        if info.max_cpu_id >= MOST || info.max_node_id >= MOST {
            let what = "more CPUs or nodes than there can be";
            return Err(Error::BadAnswer { operation, domid: None, what });
        }
        Ok(info)
    }

    /// Where each CPU sits, by CPU number; none for one that is not there.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpu_topology(&self) -> Result<Vec<Option<CpuPlace>>> {
        const RECORD: usize = size_of::<xen_sysctl_cputopo>();
        let max = self.highest_cpu()?.saturating_add(1);
        let mut buffer = self.pool().zeroed(max as usize * RECORD)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_sysctl_cputopoinfo { num_cpus: max, cputopo: buffer.address() });
        // SAFETY: Xen writes at most num_cpus records at `cputopo`, the size of `buffer`.
        unsafe { self.sysctl("XEN_SYSCTL_cputopoinfo", XEN_SYSCTL_cputopoinfo, &mut payload) }?;
        let count = get!(payload, xen_sysctl_cputopoinfo, num_cpus);
        let records = buffer.bytes().chunks_exact(RECORD).take(count as usize);
        Ok(records.map(CpuPlace::decode).collect())
    }

    /// The NUMA nodes that have memory.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn numa_nodes(&self) -> Result<Vec<NumaNode>> {
        type Raw = xen_sysctl_meminfo;
        const RECORD: usize = size_of::<Raw>();
        let max = self.physinfo()?.max_node_id.saturating_add(1);
        let mut memory = self.pool().zeroed(max as usize * RECORD)?;
        let mut distance = self.pool().zeroed(max as usize * max as usize * 4)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_sysctl_numainfo {
                num_nodes: max,
                meminfo: memory.address(),
                distance: distance.address(),
            }
        );
        // SAFETY: Xen writes at most num_nodes records at `meminfo` and num_nodes squared words of
        // 32 bits at `distance`, the sizes of the buffers.
        unsafe { self.sysctl("XEN_SYSCTL_numainfo", XEN_SYSCTL_numainfo, &mut payload) }?;
        let count = get!(payload, xen_sysctl_numainfo, num_nodes).min(max);
        let memory = memory
            .bytes()
            .chunks_exact(RECORD)
            .map(|at| (get!(at, Raw, memsize), get!(at, Raw, memfree)));
        Ok(nodes(count as usize, memory, distance.bytes()))
    }

    /// Nanoseconds that each CPU was idle, by CPU number.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpu_idle_ns(&self) -> Result<Vec<u64>> {
        const RECORD: usize = size_of::<xen_sysctl_cpuinfo>();
        let max = self.highest_cpu()?.saturating_add(1);
        let mut buffer = self.pool().zeroed(max as usize * RECORD)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_sysctl_getcpuinfo { max_cpus: max, info: buffer.address() });
        // SAFETY: Xen writes at most max_cpus records at `info`, the size of `buffer`.
        unsafe { self.sysctl("XEN_SYSCTL_getcpuinfo", XEN_SYSCTL_getcpuinfo, &mut payload) }?;
        let count = get!(payload, xen_sysctl_getcpuinfo, nr_cpus);
        let records = buffer.bytes().chunks_exact(RECORD).take(count as usize);
        Ok(records.map(|at| get!(at, xen_sysctl_cpuinfo, idletime)).collect())
    }

    /// Free bytes of one NUMA node, or of all.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn free_heap_bytes(&self, node: Option<u32>) -> Result<u64> {
        let node = node.map_or(-1, |node| i32::try_from(node).unwrap_or(i32::MAX));
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_sysctl_availheap { node: node });
        // SAFETY: availheap carries no address.
        unsafe { self.sysctl("XEN_SYSCTL_availheap", XEN_SYSCTL_availheap, &mut payload) }?;
        Ok(get!(payload, xen_sysctl_availheap, avail_bytes))
    }
}

/// Puts the two tables together; `distances` has `count` rows of `count` words.
fn nodes(
    count: usize,
    memory: impl Iterator<Item = (u64, u64)>,
    distances: &[u8],
) -> Vec<NumaNode> {
    let row = |node: usize| {
        let words = distances.chunks_exact(4).skip(node * count).take(count);
        words.map(u32::get).collect::<Vec<_>>()
    };
    let nodes = memory.take(count).enumerate().filter(|(_, (size, _))| *size != u64::MAX);
    nodes
        .map(|(node, (size_bytes, free_bytes))| NumaNode {
            id: u32::try_from(node).unwrap_or(u32::MAX),
            size_bytes,
            free_bytes,
            distances: row(node)
                .into_iter()
                .map(|distance| (distance != XEN_INVALID_NODE_DIST).then_some(distance))
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physinfo_by_revision() {
        let check = |revision: SysctlRevision, tail: usize, arch: u32| {
            let mut bytes = [0; PAYLOAD_BYTES];
            for (n, at) in (0..32).step_by(4).enumerate() {
                bytes[at..at + 4].copy_from_slice(&(n as u32 + 1).to_le_bytes());
            }
            if tail > 32 {
                bytes[32..36].copy_from_slice(&arch.to_le_bytes());
            }
            for (n, at) in (tail..tail + 40).step_by(8).enumerate() {
                bytes[at..at + 8].copy_from_slice(&(0x100 + n as u64).to_le_bytes());
            }
            bytes[tail + 40 + 28] = 9;
            let expected = PhysInfo {
                threads_per_core: 1,
                cores_per_socket: 2,
                cpus: 3,
                max_cpu_id: 4,
                nodes: 5,
                max_node_id: 6,
                cpu_khz: 7,
                capabilities: Capabilities { bits: 8 },
                arch_capabilities: arch,
                total_pages: 0x100,
                free_pages: 0x101,
                scrub_pages: 0x102,
                outstanding_pages: 0x103,
                max_mfn: 0x104,
                hw_cap: [0, 0, 0, 0, 0, 0, 0, 9],
            };
            assert_eq!(PhysInfo::decode(revision, &bytes), expected, "{revision:?}");
        };
        check(SysctlRevision::V0x13, 32, 0);
        check(SysctlRevision::V0x14, 32, 0);
        check(SysctlRevision::V0x15, 40, 0x77);
        check(SysctlRevision::V0x16, 40, 0x77);
    }

    #[test]
    fn capability_names() {
        let check = |bits, names: &[&str]| {
            assert_eq!(Capabilities { bits }.names().collect::<Vec<_>>(), names);
        };
        check(0, &[]);
        check(0b10, &["pv"]);
        check(0x30B, &["pv", "hvm", "hap", "gnttab-v1", "gnttab-v2"]);
    }

    #[test]
    fn places() {
        let check = |record: [u32; 3], expected| {
            let bytes: Vec<u8> = record.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(CpuPlace::decode(&bytes), expected);
        };
        let place = |core, socket, node| Some(CpuPlace { core, socket, node });
        check([1, 2, 3], place(Some(1), Some(2), Some(3)));
        check([u32::MAX, u32::MAX, 0], place(None, None, Some(0)));
        check([0, u32::MAX, u32::MAX], place(Some(0), None, None));
        check([u32::MAX; 3], None);
    }

    #[test]
    fn absent_nodes_are_left_out() {
        let words = [10, u32::MAX, 20, u32::MAX, u32::MAX, u32::MAX, 20, u32::MAX, 10];
        let bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let memory = [(4096, 1), (u64::MAX, u64::MAX), (8192, 2), (1, 1)];
        let found = nodes(3, memory.into_iter(), &bytes);
        let node = |id, size_bytes, free_bytes, distances| NumaNode {
            id,
            size_bytes,
            free_bytes,
            distances,
        };
        assert_eq!(
            found,
            [
                node(0, 4096, 1, vec![Some(10), None, Some(20)]),
                node(2, 8192, 2, vec![Some(20), None, Some(10)]),
            ]
        );
    }
}
