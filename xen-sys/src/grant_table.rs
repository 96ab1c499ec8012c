//! Grants: a domain's permission for another to map or copy a page. Mirrors `xen/grant_table.h`.

use crate::xen::{domid_t, xen_pfn_t};

/// Index into the granting domain's table; [`crate::types::GrantRef`] above this crate.
pub type grant_ref_t = u32;
/// Names a mapping to its mapper.
pub type grant_handle_t = u32;
/// Status word of a version 2 entry.
pub type grant_status_t = u16;
/// Entry is free.
pub const GTF_invalid: u16 = 0;
/// The other domain may map or copy.
pub const GTF_permit_access: u16 = 1;
/// The other domain may give a page.
pub const GTF_accept_transfer: u16 = 2;
/// The grant passes on another one (version 2).
pub const GTF_transitive: u16 = 3;
/// Mask of the type.
pub const GTF_type_mask: u16 = 3;
/// Only reading is allowed.
pub const GTF_readonly: u16 = 1 << 2;
/// Xen: it is mapped for reading.
pub const GTF_reading: u16 = 1 << 3;
/// Xen: it is mapped for writing.
pub const GTF_writing: u16 = 1 << 4;
/// Write-through.
pub const GTF_PWT: u16 = 1 << 5;
/// Uncached.
pub const GTF_PCD: u16 = 1 << 6;
/// PAT bit.
pub const GTF_PAT: u16 = 1 << 7;
/// Part of a page (version 2).
pub const GTF_sub_page: u16 = 1 << 8;
/// Xen: a transfer began.
pub const GTF_transfer_committed: u16 = 1 << 2;
/// Xen: a transfer ended.
pub const GTF_transfer_completed: u16 = 1 << 3;
/// References that the toolstack may use.
pub const GNTTAB_NR_RESERVED_ENTRIES: u32 = 8;
/// Reference of the console ring.
pub const GNTTAB_RESERVED_CONSOLE: u32 = 0;
/// Reference of the xenstore ring.
pub const GNTTAB_RESERVED_XENSTORE: u32 = 1;
/// Entry of a version 1 table. Write `flags` last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct grant_entry_v1 {
    /// `GTF_*`.
    pub flags: u16,
    /// Domain that may use it.
    pub domid: domid_t,
    /// Frame granted, or given by a transfer.
    pub frame: u32,
}
layout!(struct grant_entry_v1: 8, flags 0, domid 2, frame 4);

/// Head of a version 2 entry. In C: `grant_entry_header_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct grant_entry_header {
    /// `GTF_*`.
    pub flags: u16,
    /// Domain that may use it.
    pub domid: domid_t,
}
layout!(struct grant_entry_header: 4, flags 0, domid 2);

/// Version 2, a whole page. In C: `union grant_entry_v2::full_page`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct grant_entry_v2_full_page {
    /// Head.
    pub hdr: grant_entry_header,
    /// Zero.
    pub pad0: u32,
    /// Frame.
    pub frame: u64,
}
layout!(struct grant_entry_v2_full_page: 16, hdr 0, pad0 4, frame 8);

/// Version 2, part of a page, for copies only. In C: `union grant_entry_v2::sub_page`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct grant_entry_v2_sub_page {
    /// Head.
    pub hdr: grant_entry_header,
    /// Offset in the page, bytes.
    pub page_off: u16,
    /// Bytes.
    pub length: u16,
    /// Frame.
    pub frame: u64,
}
layout!(struct grant_entry_v2_sub_page: 16, hdr 0, page_off 4, length 6, frame 8);

/// Version 2, another domain's grant. In C: `union grant_entry_v2::transitive`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct grant_entry_v2_transitive {
    /// Head.
    pub hdr: grant_entry_header,
    /// The other domain.
    pub trans_domid: domid_t,
    /// Zero.
    pub pad0: u16,
    /// Its reference.
    pub gref: grant_ref_t,
}
layout!(struct grant_entry_v2_transitive: 12, hdr 0, trans_domid 4, pad0 6, gref 8);

/// Entry of a version 2 table. In C: `union grant_entry_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union grant_entry_v2 {
    /// Head.
    pub hdr: grant_entry_header,
    /// Whole page.
    pub full_page: grant_entry_v2_full_page,
    /// Part.
    pub sub_page: grant_entry_v2_sub_page,
    /// Passed on.
    pub transitive: grant_entry_v2_transitive,
    /// Fixes the size.
    pub __spacer: [u32; 4],
}
layout!(union grant_entry_v2: 16, hdr, full_page, sub_page, transitive, __spacer);

/// Map.
pub const GNTTABOP_map_grant_ref: u64 = 0;
/// Unmap.
pub const GNTTABOP_unmap_grant_ref: u64 = 1;
/// Size the table and ask for its frames.
pub const GNTTABOP_setup_table: u64 = 2;
/// Print the table to Xen's log.
pub const GNTTABOP_dump_table: u64 = 3;
/// Give a page.
pub const GNTTABOP_transfer: u64 = 4;
/// Copy bytes.
pub const GNTTABOP_copy: u64 = 5;
/// Ask for the table's size.
pub const GNTTABOP_query_size: u64 = 6;
/// Unmap, put another page in its place.
pub const GNTTABOP_unmap_and_replace: u64 = 7;
/// Choose version 1 or 2.
pub const GNTTABOP_set_version: u64 = 8;
/// Ask for the status frames.
pub const GNTTABOP_get_status_frames: u64 = 9;
/// Ask for the version.
pub const GNTTABOP_get_version: u64 = 10;
/// Swap two entries.
pub const GNTTABOP_swap_grant_ref: u64 = 11;
/// Flush caches of a granted page (Arm).
pub const GNTTABOP_cache_flush: u64 = 12;
/// Map for devices.
pub const GNTMAP_device_map: u32 = 1 << 0;
/// Map for CPUs.
pub const GNTMAP_host_map: u32 = 1 << 1;
/// Map read-only.
pub const GNTMAP_readonly: u32 = 1 << 2;
/// Map for user mode.
pub const GNTMAP_application_map: u32 = 1 << 3;
/// The address is of a page table entry.
pub const GNTMAP_contains_pte: u32 = 1 << 4;
/// `GNTTABOP_map_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_map_grant_ref {
    /// Where to.
    pub host_addr: u64,
    /// `GNTMAP_*`.
    pub flags: u32,
    /// Reference.
    pub r#ref: grant_ref_t,
    /// Granting domain.
    pub dom: domid_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: names the mapping.
    pub handle: grant_handle_t,
    /// Out: address for devices.
    pub dev_bus_addr: u64,
}
layout!(
    struct gnttab_map_grant_ref: 32, host_addr 0, flags 8, r#ref 12, dom 16, status 18, handle
    20, dev_bus_addr 24
);

/// `GNTTABOP_unmap_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_unmap_grant_ref {
    /// Where it is mapped.
    pub host_addr: u64,
    /// Address for devices, or 0.
    pub dev_bus_addr: u64,
    /// The mapping.
    pub handle: grant_handle_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(
    struct gnttab_unmap_grant_ref: 24, host_addr 0, dev_bus_addr 8, handle 16, status 20, _hole0
    22
);

/// `GNTTABOP_setup_table`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_setup_table {
    /// The domain.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Frames wanted.
    pub nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 6],
    /// Address of frame numbers.
    pub frame_list: u64,
}
layout!(
    struct gnttab_setup_table: 24, dom 0, _hole0 2, nr_frames 4, status 8, _hole1 10, frame_list
    16
);

/// `GNTTABOP_dump_table`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_dump_table {
    /// The domain.
    pub dom: domid_t,
    /// Out: `GNTST_*`.
    pub status: i16,
}
layout!(struct gnttab_dump_table: 4, dom 0, status 2);

/// `GNTTABOP_transfer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_transfer {
    /// Frame to give.
    pub mfn: xen_pfn_t,
    /// Receiver.
    pub domid: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Its reference.
    pub r#ref: grant_ref_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 6],
}
layout!(struct gnttab_transfer: 24, mfn 0, domid 8, _hole0 10, r#ref 12, status 16, _hole1 18);

/// The source is a reference.
pub const GNTCOPY_source_gref: u16 = 1 << 0;
/// The destination is a reference.
pub const GNTCOPY_dest_gref: u16 = 1 << 1;
/// A reference or a frame. In C: `struct gnttab_copy_ptr::u`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union gnttab_copy_ptr_u {
    /// Reference.
    pub r#ref: grant_ref_t,
    /// Frame.
    pub gmfn: xen_pfn_t,
}
layout!(union gnttab_copy_ptr_u: 8, r#ref, gmfn);

/// One end of a copy.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct gnttab_copy_ptr {
    /// Which page.
    pub u: gnttab_copy_ptr_u,
    /// Whose.
    pub domid: domid_t,
    /// Offset in the page, bytes.
    pub offset: u16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 4],
}
layout!(struct gnttab_copy_ptr: 16, u 0, domid 8, offset 10, _hole0 12);

/// `GNTTABOP_copy`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct gnttab_copy {
    /// From.
    pub source: gnttab_copy_ptr,
    /// To.
    pub dest: gnttab_copy_ptr,
    /// Bytes; must stay within both pages.
    pub len: u16,
    /// `GNTCOPY_*`.
    pub flags: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(struct gnttab_copy: 40, source 0, dest 16, len 32, flags 34, status 36, _hole0 38);

/// `GNTTABOP_query_size`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_query_size {
    /// The domain.
    pub dom: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Out: frames in use.
    pub nr_frames: u32,
    /// Out: limit.
    pub max_nr_frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 2],
}
layout!(
    struct gnttab_query_size: 16, dom 0, _hole0 2, nr_frames 4, max_nr_frames 8, status 12,
    _hole1 14
);

/// `GNTTABOP_unmap_and_replace`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_unmap_and_replace {
    /// Where it is mapped.
    pub host_addr: u64,
    /// Where the page to put there is mapped.
    pub new_addr: u64,
    /// The mapping.
    pub handle: grant_handle_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(
    struct gnttab_unmap_and_replace: 24, host_addr 0, new_addr 8, handle 16, status 20, _hole0
    22
);

/// `GNTTABOP_swap_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_swap_grant_ref {
    /// One entry.
    pub ref_a: grant_ref_t,
    /// The other.
    pub ref_b: grant_ref_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
}
layout!(struct gnttab_swap_grant_ref: 12, ref_a 0, ref_b 4, status 8, _hole0 10);

/// `GNTTABOP_set_version`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_set_version {
    /// In: wanted; out: the version in force.
    pub version: u32,
}
layout!(struct gnttab_set_version: 4, version 0);

/// `GNTTABOP_get_status_frames`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_get_status_frames {
    /// Frames.
    pub nr_frames: u32,
    /// The domain.
    pub dom: domid_t,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Address of frame numbers, 64 bits each.
    pub frame_list: u64,
}
layout!(struct gnttab_get_status_frames: 16, nr_frames 0, dom 4, status 6, frame_list 8);

/// `GNTTABOP_get_version`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct gnttab_get_version {
    /// The domain.
    pub dom: domid_t,
    /// Zero.
    pub pad: u16,
    /// Out: the version.
    pub version: u32,
}
layout!(struct gnttab_get_version: 8, dom 0, pad 2, version 4);

/// Done.
pub const GNTST_okay: i16 = 0;
/// Refused, no detail.
pub const GNTST_general_error: i16 = -1;
/// No such domain.
pub const GNTST_bad_domain: i16 = -2;
/// No such reference.
pub const GNTST_bad_gntref: i16 = -3;
/// No such mapping.
pub const GNTST_bad_handle: i16 = -4;
/// Address not usable.
pub const GNTST_bad_virt_addr: i16 = -5;
/// Device address not usable.
pub const GNTST_bad_dev_addr: i16 = -6;
/// No room in the IOMMU.
pub const GNTST_no_device_space: i16 = -7;
/// Not permitted.
pub const GNTST_permission_denied: i16 = -8;
/// Frame not usable.
pub const GNTST_bad_page: i16 = -9;
/// Copy crosses a page.
pub const GNTST_bad_copy_arg: i16 = -10;
/// Frame does not fit.
pub const GNTST_address_too_big: i16 = -11;
/// Try again: the page is paged out.
pub const GNTST_eagain: i16 = -12;
/// No room. Since Xen 4.16.
pub const GNTST_no_space: i16 = -13;
