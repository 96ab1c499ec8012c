//! Memory of a domain: limits, frame types, dirty tracking, paging pool. Mirrors `xen/domctl.h`.

/// `XEN_DOMCTL_max_mem`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_max_mem {
    /// Limit, KiB.
    pub max_memkb: u64,
}
layout!(struct xen_domctl_max_mem: 8, max_memkb 0);

/// Position of the type in a frame's word.
pub const XEN_DOMCTL_PFINFO_LTAB_SHIFT: u32 = 28;
/// No page table.
pub const XEN_DOMCTL_PFINFO_NOTAB: u32 = 0x0 << 28;
/// Page table of level 1.
pub const XEN_DOMCTL_PFINFO_L1TAB: u32 = 0x1 << 28;
/// Page table of level 2.
pub const XEN_DOMCTL_PFINFO_L2TAB: u32 = 0x2 << 28;
/// Page table of level 3.
pub const XEN_DOMCTL_PFINFO_L3TAB: u32 = 0x3 << 28;
/// Page table of level 4.
pub const XEN_DOMCTL_PFINFO_L4TAB: u32 = 0x4 << 28;
/// Mask of the level.
pub const XEN_DOMCTL_PFINFO_LTABTYPE_MASK: u32 = 0x7 << 28;
/// The table is pinned.
pub const XEN_DOMCTL_PFINFO_LPINTAB: u32 = 0x1 << 31;
/// No such frame.
pub const XEN_DOMCTL_PFINFO_XTAB: u32 = 0xf << 28;
/// Allocated only.
pub const XEN_DOMCTL_PFINFO_XALLOC: u32 = 0xe << 28;
/// Broken memory.
pub const XEN_DOMCTL_PFINFO_BROKEN: u32 = 0xd << 28;
/// Mask of the whole type.
pub const XEN_DOMCTL_PFINFO_LTAB_MASK: u32 = 0xf << 28;
/// `XEN_DOMCTL_getpageframeinfo3`. Xen changes both fields where it is interrupted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_getpageframeinfo3 {
    /// Frames.
    pub num: u64,
    /// Address of 64-bit words: frame in, type in the top bits out.
    pub array: u64,
}
layout!(struct xen_domctl_getpageframeinfo3: 16, num 0, array 8);

/// Leave shadow mode.
pub const XEN_DOMCTL_SHADOW_OP_OFF: u32 = 0;
/// Enter shadow mode with `mode`.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE: u32 = 32;
/// Return and clear the dirty bitmap.
pub const XEN_DOMCTL_SHADOW_OP_CLEAN: u32 = 11;
/// Return the dirty bitmap, keep it.
pub const XEN_DOMCTL_SHADOW_OP_PEEK: u32 = 12;
/// Ask for the shadow memory, MiB.
pub const XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION: u32 = 30;
/// Set the shadow memory, MiB; `set_paging_mempool_size` from 4.17 on.
pub const XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION: u32 = 31;
/// Enter shadow mode, no flags.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE_TEST: u32 = 1;
/// Start to track dirty pages.
pub const XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY: u32 = 2;
/// `mode`: page tables are counted by Xen.
pub const XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT: u32 = 1 << 1;
/// `mode`: track dirty pages.
pub const XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY: u32 = 1 << 2;
/// `mode`: translate guest frames.
pub const XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE: u32 = 1 << 3;
/// `mode`: Xen takes no guest addresses.
pub const XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL: u32 = 1 << 4;
/// `mode` of clean and peek: last round.
pub const XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL: u32 = 1 << 0;
/// Counts that shadow operations return.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_shadow_op_stats {
    /// Faults since the last clean.
    pub fault_count: u32,
    /// Pages dirtied since the last clean.
    pub dirty_count: u32,
}
layout!(struct xen_domctl_shadow_op_stats: 8, fault_count 0, dirty_count 4);

/// `XEN_DOMCTL_shadow_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_shadow_op {
    /// `XEN_DOMCTL_SHADOW_OP_*`.
    pub op: u32,
    /// Flags of the operation.
    pub mode: u32,
    /// Shadow memory, MiB.
    pub mb: u32,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
    /// Address of the bitmap.
    pub dirty_bitmap: u64,
    /// Pages that the bitmap holds; out: pages written.
    pub pages: u64,
    /// Counts.
    pub stats: xen_domctl_shadow_op_stats,
}
layout!(
    struct xen_domctl_shadow_op: 40, op 0, mode 4, mb 8, _hole0 12, dirty_bitmap 16, pages 24,
    stats 32
);

/// `XEN_DOMCTL_set_paging_mempool_size` and `get_`. Since Xen 4.17.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_paging_mempool {
    /// Bytes.
    pub size: u64,
}
layout!(struct xen_domctl_paging_mempool: 8, size 0);

/// `XEN_DOMCTL_audit_p2m`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_audit_p2m {
    /// Out: pages in no p2m.
    pub orphans: u64,
    /// Out: wrong machine-to-physical entries.
    pub m2p_bad: u64,
    /// Out: wrong p2m entries.
    pub p2m_bad: u64,
}
layout!(struct xen_domctl_audit_p2m: 24, orphans 0, m2p_bad 8, p2m_bad 16);

/// `XEN_DOMCTL_set_broken_page_p2m`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_set_broken_page_p2m {
    /// Guest frame.
    pub pfn: u64,
}
layout!(struct xen_domctl_set_broken_page_p2m: 8, pfn 0);

/// `XEN_DOMCTL_cacheflush`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_cacheflush {
    /// First guest frame.
    pub start_pfn: u64,
    /// Frames.
    pub nr_pfns: u64,
}
layout!(struct xen_domctl_cacheflush: 16, start_pfn 0, nr_pfns 8);

/// `XEN_DOMCTL_setvnumainfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_vnuma {
    /// Virtual nodes.
    pub nr_vnodes: u32,
    /// Ranges.
    pub nr_vmemranges: u32,
    /// vCPUs.
    pub nr_vcpus: u32,
    /// Zero.
    pub pad: u32,
    /// Address of distances, `u32` each, a square.
    pub vdistance: u64,
    /// Address of virtual nodes, `u32` each.
    pub vcpu_to_vnode: u64,
    /// Address of nodes, `u32` each; all ones for any.
    pub vnode_to_pnode: u64,
    /// Address of [`crate::memory::xen_vmemrange`] records.
    pub vmemrange: u64,
}
layout!(
    struct xen_domctl_vnuma: 48, nr_vnodes 0, nr_vmemranges 4, nr_vcpus 8, pad 12, vdistance 16,
    vcpu_to_vnode 24, vnode_to_pnode 32, vmemrange 40
);

/// `XEN_DOMCTL_set_llc_colors`. Since Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_domctl_set_llc_colors {
    /// Colours.
    pub num_llc_colors: u32,
    /// Zero.
    pub pad: u32,
    /// Address of colours, `u32` each.
    pub llc_colors: u64,
}
layout!(struct xen_domctl_set_llc_colors: 16, num_llc_colors 0, pad 4, llc_colors 8);
