//! What the plan must know of the kernel and of the host, as plain data.
//!
//! In: nothing but numbers that others have read (the kernel's notes, the hypervisor's answers).
//! Out: [`KernelFacts`], [`HostFacts`]. Never opens a file and never asks the hypervisor, so that a
//! plan made for one host can be made again on another machine from the same JSON.

use super::memory_map::MapEntry;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One loadable part of the kernel, placed by where it lies in the guest's pseudo-physical memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSegment {
    /// Index into the image's segments: where the bytes come from.
    pub index: usize,
    /// First byte, counted from pseudo-physical address 0 (which `virt_base` maps).
    pub start: u64,
    /// Bytes that come from the file.
    pub file_bytes: u64,
    /// Where among them others than zeros may be, ascending: all else is zero without being read.
    pub data: Vec<Range<u64>>,
    /// Bytes in memory; those beyond `file_bytes` are zero.
    pub memory_bytes: u64,
}

impl KernelSegment {
    /// First byte after the segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.memory_bytes)
    }
}

/// What a PV kernel asks for, from its ELF headers and Xen notes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// The name the kernel gives itself (`GUEST_OS`), for messages.
    pub guest_os: String,
    /// Virtual address at which pseudo-physical address 0 is mapped (`VIRT_BASE`).
    pub virt_base: u64,
    /// Virtual address of the first instruction (`ENTRY`, else the ELF entry point).
    pub entry_vaddr: u64,
    /// Virtual address of the page Xen fills with hypercall stubs; recent kernels have none.
    pub hypercall_page_vaddr: Option<u64>,
    /// Where the kernel wants its p2m list mapped, outside of the initial mapping (`INIT_P2M`).
    pub init_p2m_vaddr: Option<u64>,
    /// Whether the ramdisk may lie outside of the initial mapping (`MOD_START_PFN`).
    pub ramdisk_by_pfn: bool,
    /// Loadable segments, ascending, without overlap, at least one.
    pub segments: Vec<KernelSegment>,
}

/// One CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLeaf {
    /// EAX on entry.
    pub leaf: u32,
    /// ECX on entry; all ones where the leaf has no subleaves.
    pub subleaf: u32,
    /// EAX.
    pub a: u32,
    /// EBX.
    pub b: u32,
    /// ECX.
    pub c: u32,
    /// EDX.
    pub d: u32,
}

/// What a PV domain's CPUID policy depends on; made by [`super::cpuid::host_cpu`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCpu {
    /// The host has more than one logical processor per package.
    pub hyper_threading: bool,
    /// AMD's flag for the same.
    pub cmp_legacy: bool,
    /// Leaves of Xen's default policy for PV guests that may have to be changed.
    pub pv_default: Vec<CpuLeaf>,
    /// The host's own leaves of which the configuration says something.
    pub host: Vec<CpuLeaf>,
}

/// What automatic placement compares of a NUMA node; see [`super::placement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Its number.
    pub id: u32,
    /// Free memory.
    pub free_kib: u64,
    /// Its CPUs, ascending.
    pub cpus: Vec<u32>,
    /// How many of them the domain's cpupool has.
    pub pool_cpus: u32,
    /// Vcpus of all domains that may run on one of those, and whose memory may come from here.
    pub vcpus: u32,
}

/// What the plan must know of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Xen's version as (major, minor).
    pub xen_version: (u16, u16),
    /// Highest grant table version Xen offers to guests: 2, 1, or 0 for none.
    pub max_grant_version: u8,
    /// Host CPU flags that the CPUID policy follows.
    pub cpu: HostCpu,
    /// Numbers of the NUMA nodes, ascending; they need not be contiguous. A host without NUMA has
    /// one.
    pub numa_nodes: Vec<u32>,
    /// What each node has to offer; empty where there is nothing to choose.
    pub node_loads: Vec<NodeLoad>,
    /// Number of physical CPUs, for checking affinities.
    pub cpus: u32,
    /// Whether a Flask policy (XSM) is active, under which every domain needs a label.
    pub flask: bool,
    /// Whether dom0 is a PVH domain rather than a PV one.
    pub pvh_dom0: bool,
    /// Whether Xen uses an IOMMU, without which no device can be assigned.
    pub iommu: bool,
    /// The memory map of the host's firmware; empty unless the domain is told of it.
    pub memory_map: Vec<MapEntry>,
    /// Domain that serves xenstore; 0 unless there is a stub domain.
    pub store_domid: u16,
    /// Domain that serves consoles; 0 unless there is a driver domain for it.
    pub console_domid: u16,
}
