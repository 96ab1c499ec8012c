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
