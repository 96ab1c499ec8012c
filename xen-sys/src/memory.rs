//! Memory operations: allocate, map, claim, share resources. Mirrors `xen/memory.h`.

use crate::physdev::physdev_pci_device;
use crate::xen::{domid_t, xen_pfn_t, xen_ulong_t};

/// Allocate frames outside the guest's map.
pub const XENMEM_increase_reservation: u64 = 0;
/// Free frames.
pub const XENMEM_decrease_reservation: u64 = 1;
/// Ask for the highest machine frame.
pub const XENMEM_maximum_ram_page: u64 = 2;
/// Ask for a domain's pages.
pub const XENMEM_current_reservation: u64 = 3;
/// Ask for a domain's limit, pages.
pub const XENMEM_maximum_reservation: u64 = 4;
/// Ask for the frames of the machine-to-physical table.
pub const XENMEM_machphys_mfn_list: u64 = 5;
/// Allocate frames at given places.
pub const XENMEM_populate_physmap: u64 = 6;
/// Put a page into a guest's map.
pub const XENMEM_add_to_physmap: u64 = 7;
/// Ask for the caller's memory map.
pub const XENMEM_memory_map: u64 = 9;
/// Ask for the host's memory map.
pub const XENMEM_machine_memory_map: u64 = 10;
/// Swap frames for others.
pub const XENMEM_exchange: u64 = 11;
/// Ask where the machine-to-physical table is mapped.
pub const XENMEM_machphys_mapping: u64 = 12;
/// Set a guest's memory map.
pub const XENMEM_set_memory_map: u64 = 13;
/// Ask for the highest guest frame.
pub const XENMEM_maximum_gpfn: u64 = 14;
/// Take a page out of a guest's map.
pub const XENMEM_remove_from_physmap: u64 = 15;
/// Set the target of populate-on-demand.
pub const XENMEM_set_pod_target: u64 = 16;
/// Ask for that target.
pub const XENMEM_get_pod_target: u64 = 17;
/// Ask for pages saved by sharing.
pub const XENMEM_get_sharing_freed_pages: u64 = 18;
/// Ask for shared pages.
pub const XENMEM_get_sharing_shared_pages: u64 = 19;
/// Page out and in.
pub const XENMEM_paging_op: u64 = 20;
/// Restrict access to pages.
pub const XENMEM_access_op: u64 = 21;
/// Share pages.
pub const XENMEM_sharing_op: u64 = 22;
/// As [`XENMEM_add_to_physmap`], many at once.
pub const XENMEM_add_to_physmap_batch: u64 = 23;
/// Stake a claim on free memory; tools only.
pub const XENMEM_claim_pages: u64 = 24;
/// As [`XENMEM_machphys_mfn_list`], 32-bit table.
pub const XENMEM_machphys_compat_mfn_list: u64 = 25;
/// Ask for the virtual NUMA topology.
pub const XENMEM_get_vnumainfo: u64 = 26;
/// Ask for memory that devices reserve.
pub const XENMEM_reserved_device_memory_map: u64 = 27;
/// Ask for frames of a resource, for mapping.
pub const XENMEM_acquire_resource: u64 = 28;
/// `mem_flags`: reserve, allocate on first touch.
pub const XENMEMF_populate_on_demand: u32 = 1 << 16;
/// `mem_flags`: fail rather than take another node.
pub const XENMEMF_exact_node_request: u32 = 1 << 17;
/// `mem_flags`: the node is a virtual one.
pub const XENMEMF_vnode: u32 = 1 << 18;
/// `mem_flags` that allocate from NUMA node `node`, preferably.
#[must_use]
pub const fn XENMEMF_node(node: u8) -> u32 {
    (node as u32 + 1) << 8
}

/// `mem_flags` that allocate from NUMA node `node` or not at all.
#[must_use]
pub const fn XENMEMF_exact_node(node: u8) -> u32 {
    XENMEMF_node(node) | XENMEMF_exact_node_request
}

/// `XENMEM_increase_reservation`, `decrease_`, `populate_physmap`. The call returns how many
/// extents were done.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_memory_reservation {
    /// Address of frame numbers: pfns in and, for a PV guest, mfns out.
    pub extent_start: u64,
    /// Extents.
    pub nr_extents: xen_ulong_t,
    /// Pages per extent, as a power of two.
    pub extent_order: u32,
    /// `XENMEMF_*`; the low 8 bits limit the address width.
    pub mem_flags: u32,
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 6],
}
layout!(
    struct xen_memory_reservation: 32, extent_start 0, nr_extents 8, extent_order 16, mem_flags
    20, domid 24, _hole0 26
);

/// `XENMEM_exchange`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_memory_exchange {
    /// Extents given up.
    pub r#in: xen_memory_reservation,
    /// Extents received.
    pub out: xen_memory_reservation,
    /// In: zero; out: input extents done.
    pub nr_exchanged: xen_ulong_t,
}
layout!(struct xen_memory_exchange: 72, r#in 0, out 32, nr_exchanged 64);

/// Names a domain. Since Xen 4.15.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_memory_domain {
    /// The domain.
    pub domid: domid_t,
}
layout!(struct xen_memory_domain: 2, domid 0);

/// `XENMEM_machphys_mfn_list`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_machphys_mfn_list {
    /// Room in the buffer.
    pub max_extents: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of the buffer of frame numbers, one per 2 MiB.
    pub extent_start: u64,
    /// Out: entries written.
    pub nr_extents: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_machphys_mfn_list: 24, max_extents 0, _hole0 4, extent_start 8, nr_extents 16,
    _hole1 20
);

/// `XENMEM_machphys_mapping`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_machphys_mapping {
    /// First virtual address.
    pub v_start: xen_ulong_t,
    /// Address after the last.
    pub v_end: xen_ulong_t,
    /// Highest frame in it.
    pub max_mfn: xen_ulong_t,
}
layout!(struct xen_machphys_mapping: 24, v_start 0, v_end 8, max_mfn 16);

/// The shared_info page.
pub const XENMAPSPACE_shared_info: u32 = 0;
/// A grant table page.
pub const XENMAPSPACE_grant_table: u32 = 1;
/// A guest frame.
pub const XENMAPSPACE_gmfn: u32 = 2;
/// A range of guest frames.
pub const XENMAPSPACE_gmfn_range: u32 = 3;
/// A frame of another domain; batch only.
pub const XENMAPSPACE_gmfn_foreign: u32 = 4;
/// Device memory.
pub const XENMAPSPACE_dev_mmio: u32 = 5;
/// Bit of an index: the page is a status page.
pub const XENMAPIDX_grant_table_status: u32 = 0x8000_0000;
/// `XENMEM_add_to_physmap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_add_to_physmap {
    /// The domain.
    pub domid: domid_t,
    /// Pages, for a range.
    pub size: u16,
    /// `XENMAPSPACE_*`.
    pub space: u32,
    /// Index in that space.
    pub idx: xen_ulong_t,
    /// Guest frame where it goes.
    pub gpfn: xen_pfn_t,
}
layout!(struct xen_add_to_physmap: 24, domid 0, size 2, space 4, idx 8, gpfn 16);

/// Detail by space. In C: `struct xen_add_to_physmap_batch::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_add_to_physmap_batch_u {
    /// Domain of the frames: gmfn_foreign.
    pub foreign_domid: domid_t,
    /// Zero otherwise.
    pub res0: u16,
}
layout!(union xen_add_to_physmap_batch_u: 2, foreign_domid, res0);

/// `XENMEM_add_to_physmap_batch`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_add_to_physmap_batch {
    /// The domain.
    pub domid: domid_t,
    /// `XENMAPSPACE_*`.
    pub space: u16,
    /// Pages.
    pub size: u16,
    /// Detail.
    pub u: xen_add_to_physmap_batch_u,
    /// Address of indices, [`xen_ulong_t`] each.
    pub idxs: u64,
    /// Address of guest frames.
    pub gpfns: u64,
    /// Address of results, `int` each.
    pub errs: u64,
}
layout!(
    struct xen_add_to_physmap_batch: 32, domid 0, space 2, size 4, u 6, idxs 8, gpfns 16, errs
    24
);

/// `XENMEM_remove_from_physmap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_remove_from_physmap {
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 6],
    /// Guest frame.
    pub gpfn: xen_pfn_t,
}
layout!(struct xen_remove_from_physmap: 16, domid 0, _hole0 2, gpfn 8);

/// `XENMEM_memory_map`, `XENMEM_machine_memory_map`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_memory_map {
    /// Room; out: entries.
    pub nr_entries: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of [`crate::hvm::e820::e820entry`] records.
    pub buffer: u64,
}
layout!(struct xen_memory_map: 16, nr_entries 0, _hole0 4, buffer 8);

/// `XENMEM_set_memory_map`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_foreign_memory_map {
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 6],
    /// Its map.
    pub map: xen_memory_map,
}
layout!(struct xen_foreign_memory_map: 24, domid 0, _hole0 2, map 8);

/// `XENMEM_set_pod_target` and `get_`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_pod_target {
    /// Target.
    pub target_pages: u64,
    /// Out: pages that the domain has.
    pub tot_pages: u64,
    /// Out: pages held back.
    pub pod_cache_pages: u64,
    /// Out: places not yet populated.
    pub pod_entries: u64,
    /// The domain.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 6],
}
layout!(
    struct xen_pod_target: 40, target_pages 0, tot_pages 8, pod_cache_pages 16, pod_entries 24,
    domid 32, _hole0 34
);

/// `flags`: all devices.
pub const XENMEM_RDM_ALL: u32 = 1;
/// One reserved range.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_reserved_device_memory {
    /// First frame.
    pub start_pfn: xen_pfn_t,
    /// Frames.
    pub nr_pages: xen_ulong_t,
}
layout!(struct xen_reserved_device_memory: 16, start_pfn 0, nr_pages 8);

/// `XENMEM_reserved_device_memory_map`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_reserved_device_memory_map {
    /// `XENMEM_RDM_ALL`.
    pub flags: u32,
    /// Room; out: entries that exist.
    pub nr_entries: u32,
    /// Address of [`xen_reserved_device_memory`] records.
    pub buffer: u64,
    /// The device. In C: `dev.pci`.
    pub dev: physdev_pci_device,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(
    struct xen_reserved_device_memory_map: 24, flags 0, nr_entries 4, buffer 8, dev 16, _hole0
    20
);

/// Pages of an I/O request server.
pub const XENMEM_resource_ioreq_server: u16 = 0;
/// Pages of a grant table.
pub const XENMEM_resource_grant_table: u16 = 1;
/// Processor trace buffer. Since Xen 4.15.
pub const XENMEM_resource_vmtrace_buf: u16 = 2;
/// `id`: the grant entries.
pub const XENMEM_resource_grant_table_id_shared: u32 = 0;
/// `id`: the status words.
pub const XENMEM_resource_grant_table_id_status: u32 = 1;
/// `frame`: the page of buffered requests.
pub const XENMEM_resource_ioreq_server_frame_bufioreq: u64 = 0;
/// `XENMEM_acquire_resource`; at most 32 frames a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_mem_acquire_resource {
    /// The domain.
    pub domid: domid_t,
    /// `XENMEM_resource_*`.
    pub r#type: u16,
    /// Which one, by type.
    pub id: u32,
    /// Frames; with a null list, out: how many the resource has.
    pub nr_frames: u32,
    /// Zero.
    pub pad: u32,
    /// First frame of the resource.
    pub frame: u64,
    /// Address of frame numbers.
    pub frame_list: u64,
}
layout!(
    struct xen_mem_acquire_resource: 32, domid 0, r#type 2, id 4, nr_frames 8, pad 12, frame 16,
    frame_list 24
);

/// One range of virtual NUMA memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_vmemrange {
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
    /// Zero.
    pub flags: u32,
    /// Virtual node.
    pub nid: u32,
}
layout!(struct xen_vmemrange: 24, start 0, end 8, flags 16, nid 20);

/// Address, 64 bits wide. In C: `struct xen_vnuma_topology_info::vdistance`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_vnuma_topology_info_vdistance {
    /// Address of distances, `u32` each.
    pub h: u64,
    /// Fixes the size.
    pub pad: u64,
}
layout!(union xen_vnuma_topology_info_vdistance: 8, h, pad);

/// Address, 64 bits wide. In C: `struct xen_vnuma_topology_info::vcpu_to_vnode`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_vnuma_topology_info_vcpu_to_vnode {
    /// Address of virtual nodes, `u32` each.
    pub h: u64,
    /// Fixes the size.
    pub pad: u64,
}
layout!(union xen_vnuma_topology_info_vcpu_to_vnode: 8, h, pad);

/// Address, 64 bits wide. In C: `struct xen_vnuma_topology_info::vmemrange`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_vnuma_topology_info_vmemrange {
    /// Address of [`xen_vmemrange`] records.
    pub h: u64,
    /// Fixes the size.
    pub pad: u64,
}
layout!(union xen_vnuma_topology_info_vmemrange: 8, h, pad);

/// `XENMEM_get_vnumainfo`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_vnuma_topology_info {
    /// The domain.
    pub domid: domid_t,
    /// Zero.
    pub pad: u16,
    /// Room; out: virtual nodes.
    pub nr_vnodes: u32,
    /// Room; out: vCPUs.
    pub nr_vcpus: u32,
    /// Room; out: ranges.
    pub nr_vmemranges: u32,
    /// Distances.
    pub vdistance: xen_vnuma_topology_info_vdistance,
    /// vCPU to node.
    pub vcpu_to_vnode: xen_vnuma_topology_info_vcpu_to_vnode,
    /// Ranges.
    pub vmemrange: xen_vnuma_topology_info_vmemrange,
}
layout!(
    struct xen_vnuma_topology_info: 40, domid 0, pad 2, nr_vnodes 4, nr_vcpus 8, nr_vmemranges
    12, vdistance 16, vcpu_to_vnode 24, vmemrange 32
);
