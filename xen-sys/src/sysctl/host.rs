//! The machine: CPUs, memory, topology, messages. Mirrors `xen/sysctl.h`.

/// `XEN_SYSCTL_readconsole`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_readconsole {
    /// Non-zero: forget what was read.
    pub clear: u8,
    /// Non-zero: begin at `index`, else with the oldest byte.
    pub incremental: u8,
    /// Zero.
    pub pad0: u8,
    /// Zero.
    pub pad1: u8,
    /// In: position; out: position after the last byte read.
    pub index: u32,
    /// Address of the buffer.
    pub buffer: u64,
    /// In: room; out: bytes.
    pub count: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(
    struct xen_sysctl_readconsole: 24, clear 0, incremental 1, pad0 2, pad1 3, index 4, buffer
    8, count 16, _hole0 20
);

/// HVM and PVH guests can run.
pub const XEN_SYSCTL_PHYSCAP_hvm: u32 = 1 << 0;
/// PV guests can run.
pub const XEN_SYSCTL_PHYSCAP_pv: u32 = 1 << 1;
/// Devices can be passed through.
pub const XEN_SYSCTL_PHYSCAP_directio: u32 = 1 << 2;
/// Hardware-assisted paging.
pub const XEN_SYSCTL_PHYSCAP_hap: u32 = 1 << 3;
/// Shadow paging.
pub const XEN_SYSCTL_PHYSCAP_shadow: u32 = 1 << 4;
/// IOMMU and guest can share page tables.
pub const XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share: u32 = 1 << 5;
/// Processor tracing. Since Xen 4.15.
pub const XEN_SYSCTL_PHYSCAP_vmtrace: u32 = 1 << 6;
/// Virtual PMU. Since Xen 4.16.
pub const XEN_SYSCTL_PHYSCAP_vpmu: u32 = 1 << 7;
/// Grant tables of version 1. Since Xen 4.16.
pub const XEN_SYSCTL_PHYSCAP_gnttab_v1: u32 = 1 << 8;
/// Grant tables of version 2. Since Xen 4.16.
pub const XEN_SYSCTL_PHYSCAP_gnttab_v2: u32 = 1 << 9;
/// `XEN_SYSCTL_physinfo`. Since Xen 4.14, until Xen 4.16.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_physinfo_0x13 {
    /// Threads per core.
    pub threads_per_core: u32,
    /// Cores per socket.
    pub cores_per_socket: u32,
    /// CPUs on line.
    pub nr_cpus: u32,
    /// Highest CPU number possible.
    pub max_cpu_id: u32,
    /// Nodes on line.
    pub nr_nodes: u32,
    /// Highest node number possible.
    pub max_node_id: u32,
    /// Frequency, kHz.
    pub cpu_khz: u32,
    /// `XEN_SYSCTL_PHYSCAP_*`.
    pub capabilities: u32,
    /// Memory, pages.
    pub total_pages: u64,
    /// Free, pages.
    pub free_pages: u64,
    /// Free and not yet scrubbed, pages.
    pub scrub_pages: u64,
    /// Claimed and not yet allocated, pages.
    pub outstanding_pages: u64,
    /// Highest machine frame.
    pub max_mfn: u64,
    /// CPU features.
    pub hw_cap: [u32; 8],
}
layout!(
    struct xen_sysctl_physinfo_0x13: 104, threads_per_core 0, cores_per_socket 4, nr_cpus 8,
    max_cpu_id 12, nr_nodes 16, max_node_id 20, cpu_khz 24, capabilities 28, total_pages 32,
    free_pages 40, scrub_pages 48, outstanding_pages 56, max_mfn 64, hw_cap 72
);

/// `XEN_SYSCTL_physinfo`. Since Xen 4.17.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_physinfo_0x15 {
    /// Threads per core.
    pub threads_per_core: u32,
    /// Cores per socket.
    pub cores_per_socket: u32,
    /// CPUs on line.
    pub nr_cpus: u32,
    /// Highest CPU number possible.
    pub max_cpu_id: u32,
    /// Nodes on line.
    pub nr_nodes: u32,
    /// Highest node number possible.
    pub max_node_id: u32,
    /// Frequency, kHz.
    pub cpu_khz: u32,
    /// `XEN_SYSCTL_PHYSCAP_*`.
    pub capabilities: u32,
    /// Architecture-specific; zero on x86.
    pub arch_capabilities: u32,
    /// Zero.
    pub pad: u32,
    /// Memory, pages.
    pub total_pages: u64,
    /// Free, pages.
    pub free_pages: u64,
    /// Free and not yet scrubbed, pages.
    pub scrub_pages: u64,
    /// Claimed and not yet allocated, pages.
    pub outstanding_pages: u64,
    /// Highest machine frame.
    pub max_mfn: u64,
    /// CPU features.
    pub hw_cap: [u32; 8],
}
layout!(
    struct xen_sysctl_physinfo_0x15: 112, threads_per_core 0, cores_per_socket 4, nr_cpus 8,
    max_cpu_id 12, nr_nodes 16, max_node_id 20, cpu_khz 24, capabilities 28, arch_capabilities
    32, pad 36, total_pages 40, free_pages 48, scrub_pages 56, outstanding_pages 64, max_mfn 72,
    hw_cap 80
);

/// `XEN_SYSCTL_debug_keys`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_debug_keys {
    /// Address of the keys, a byte each.
    pub keys: u64,
    /// How many.
    pub nr_keys: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct xen_sysctl_debug_keys: 16, keys 0, nr_keys 8, _hole0 12);

/// Idle time of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpuinfo {
    /// Nanoseconds.
    pub idletime: u64,
}
layout!(struct xen_sysctl_cpuinfo: 8, idletime 0);

/// `XEN_SYSCTL_getcpuinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_getcpuinfo {
    /// Room.
    pub max_cpus: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`xen_sysctl_cpuinfo`] records.
    pub info: u64,
    /// Out: records.
    pub nr_cpus: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(struct xen_sysctl_getcpuinfo: 24, max_cpus 0, _hole0 4, info 8, nr_cpus 16, _hole1 20);

/// `XEN_SYSCTL_availheap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_availheap {
    /// Lowest address width, 0 for any.
    pub min_bitwidth: u32,
    /// Highest address width, 0 for any.
    pub max_bitwidth: u32,
    /// Node, -1 for all.
    pub node: i32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Out: free, bytes.
    pub avail_bytes: u64,
}
layout!(
    struct xen_sysctl_availheap: 24, min_bitwidth 0, max_bitwidth 4, node 8, _hole0 12,
    avail_bytes 16
);

/// Take a CPU on line.
pub const XEN_SYSCTL_CPU_HOTPLUG_ONLINE: u32 = 0;
/// Take a CPU off line.
pub const XEN_SYSCTL_CPU_HOTPLUG_OFFLINE: u32 = 1;
/// Take all second threads on line.
pub const XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE: u32 = 2;
/// Take all second threads off line.
pub const XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE: u32 = 3;
/// `XEN_SYSCTL_cpu_hotplug`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpu_hotplug {
    /// The CPU.
    pub cpu: u32,
    /// `XEN_SYSCTL_CPU_HOTPLUG_*`.
    pub op: u32,
}
layout!(struct xen_sysctl_cpu_hotplug: 8, cpu 0, op 4);

/// `core` of a CPU that is not there.
pub const XEN_INVALID_CORE_ID: u32 = !0;
/// `socket` of a CPU that is not there.
pub const XEN_INVALID_SOCKET_ID: u32 = !0;
/// `node` of a CPU that is not there.
pub const XEN_INVALID_NODE_ID: u32 = !0;
/// The header's mark of a node without memory, 32 bits wide; Xen writes all 64 bits.
pub const XEN_INVALID_MEM_SZ: u32 = !0;
/// Distance to a node that is not there.
pub const XEN_INVALID_NODE_DIST: u32 = !0;
/// Node of a device that is not there.
pub const XEN_INVALID_DEV: u32 = XEN_INVALID_NODE_ID - 1;
/// Place of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cputopo {
    /// Core.
    pub core: u32,
    /// Socket.
    pub socket: u32,
    /// Node.
    pub node: u32,
}
layout!(struct xen_sysctl_cputopo: 12, core 0, socket 4, node 8);

/// `XEN_SYSCTL_cputopoinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cputopoinfo {
    /// Room; out: CPUs.
    pub num_cpus: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`xen_sysctl_cputopo`] records.
    pub cputopo: u64,
}
layout!(struct xen_sysctl_cputopoinfo: 16, num_cpus 0, _hole0 4, cputopo 8);

/// Memory of one node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_meminfo {
    /// Bytes.
    pub memsize: u64,
    /// Bytes free.
    pub memfree: u64,
}
layout!(struct xen_sysctl_meminfo: 16, memsize 0, memfree 8);

/// `XEN_SYSCTL_numainfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_numainfo {
    /// Room; out: nodes.
    pub num_nodes: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`xen_sysctl_meminfo`] records.
    pub meminfo: u64,
    /// Address of a square of distances, `u32` each.
    pub distance: u64,
}
layout!(struct xen_sysctl_numainfo: 24, num_nodes 0, _hole0 4, meminfo 8, distance 16);

/// `XEN_SYSCTL_pcitopoinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_pcitopoinfo {
    /// Devices; out: how many were done.
    pub num_devs: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`crate::physdev::physdev_pci_device`] records.
    pub devs: u64,
    /// Address of nodes, `u32` each.
    pub nodes: u64,
}
layout!(struct xen_sysctl_pcitopoinfo: 24, num_devs 0, _hole0 4, devs 8, nodes 16);

/// CPUID can be made to fault.
pub const XEN_SYSCTL_CPU_LEVELCAP_faulting: u32 = 1 << 0;
/// Leaf 1 ecx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_ecx: u32 = 1 << 1;
/// Leaf 1 edx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_edx: u32 = 1 << 2;
/// Leaf 0x80000001 ecx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_extd_ecx: u32 = 1 << 3;
/// Leaf 0x80000001 edx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_extd_edx: u32 = 1 << 4;
/// Leaf 0xD:1 eax can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_xsave_eax: u32 = 1 << 5;
/// Leaf 6 ecx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_thermal_ecx: u32 = 1 << 6;
/// Leaf 7:0 eax can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_l7s0_eax: u32 = 1 << 7;
/// Leaf 7:0 ebx can be masked.
pub const XEN_SYSCTL_CPU_LEVELCAP_l7s0_ebx: u32 = 1 << 8;
/// `XEN_SYSCTL_get_cpu_levelling_caps`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpu_levelling_caps {
    /// `XEN_SYSCTL_CPU_LEVELCAP_*`.
    pub caps: u32,
}
layout!(struct xen_sysctl_cpu_levelling_caps: 4, caps 0);

/// What the CPU says.
pub const XEN_SYSCTL_cpu_featureset_raw: u32 = 0;
/// What Xen uses.
pub const XEN_SYSCTL_cpu_featureset_host: u32 = 1;
/// What PV guests get.
pub const XEN_SYSCTL_cpu_featureset_pv: u32 = 2;
/// What HVM guests get.
pub const XEN_SYSCTL_cpu_featureset_hvm: u32 = 3;
/// What PV guests can get.
pub const XEN_SYSCTL_cpu_featureset_pv_max: u32 = 4;
/// What HVM guests can get.
pub const XEN_SYSCTL_cpu_featureset_hvm_max: u32 = 5;
/// `XEN_SYSCTL_get_cpu_featureset`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpu_featureset {
    /// `XEN_SYSCTL_cpu_featureset_*`.
    pub index: u32,
    /// Room; out: words.
    pub nr_features: u32,
    /// Address of words, `u32` each.
    pub features: u64,
}
layout!(struct xen_sysctl_cpu_featureset: 16, index 0, nr_features 4, features 8);

/// What the CPU says.
pub const XEN_SYSCTL_cpu_policy_raw: u32 = 0;
/// What Xen uses.
pub const XEN_SYSCTL_cpu_policy_host: u32 = 1;
/// What PV guests can get.
pub const XEN_SYSCTL_cpu_policy_pv_max: u32 = 2;
/// What HVM guests can get.
pub const XEN_SYSCTL_cpu_policy_hvm_max: u32 = 3;
/// What PV guests get.
pub const XEN_SYSCTL_cpu_policy_pv_default: u32 = 4;
/// What HVM guests get.
pub const XEN_SYSCTL_cpu_policy_hvm_default: u32 = 5;
/// `XEN_SYSCTL_get_cpu_policy`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_cpu_policy {
    /// `XEN_SYSCTL_cpu_policy_*`.
    pub index: u32,
    /// Room; out: leaves.
    pub nr_leaves: u32,
    /// Room; out: MSRs.
    pub nr_msrs: u32,
    /// Zero.
    pub _rsvd: u32,
    /// Address of [`crate::arch_x86::xen_cpuid_leaf`] records; null asks for the numbers.
    pub leaves: u64,
    /// Address of [`crate::arch_x86::xen_msr_entry`] records.
    pub msrs: u64,
}
layout!(
    struct xen_sysctl_cpu_policy: 32, index 0, nr_leaves 4, nr_msrs 8, _rsvd 12, leaves 16, msrs
    24
);
