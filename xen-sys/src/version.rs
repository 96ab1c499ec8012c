//! Version, build and features of the running Xen. Mirrors `xen/version.h`.

use crate::xen::xen_ulong_t;

/// Returns major << 16 | minor.
pub const XENVER_version: u64 = 0;
/// What follows the minor number: [`xen_extraversion_t`].
pub const XENVER_extraversion: u64 = 1;
/// [`xen_compile_info`].
pub const XENVER_compile_info: u64 = 2;
/// Guest types: [`xen_capabilities_info_t`].
pub const XENVER_capabilities: u64 = 3;
/// Revision of the source: [`xen_changeset_info_t`].
pub const XENVER_changeset: u64 = 4;
/// [`xen_platform_parameters`].
pub const XENVER_platform_parameters: u64 = 5;
/// [`xen_feature_info`].
pub const XENVER_get_features: u64 = 6;
/// Returns the page size, bytes.
pub const XENVER_pagesize: u64 = 7;
/// The caller's UUID.
pub const XENVER_guest_handle: u64 = 8;
/// Xen's command line: [`xen_commandline_t`].
pub const XENVER_commandline: u64 = 9;
/// [`xen_build_id`]; the call returns its length.
pub const XENVER_build_id: u64 = 10;
/// As the call without 2, any length. Since Xen 4.18.
pub const XENVER_extraversion2: u64 = 11;
/// As the call without 2, any length. Since Xen 4.18.
pub const XENVER_capabilities2: u64 = 12;
/// As the call without 2, any length. Since Xen 4.18.
pub const XENVER_changeset2: u64 = 13;
/// As the call without 2, any length. Since Xen 4.18.
pub const XENVER_commandline2: u64 = 14;

/// Terminated text.
pub type xen_extraversion_t = [u8; 16];
/// Terminated text, words separated by spaces.
pub type xen_capabilities_info_t = [u8; 1024];
/// Terminated text.
pub type xen_changeset_info_t = [u8; 64];
/// Terminated text.
pub type xen_commandline_t = [u8; 1024];

/// How Xen was built; terminated texts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_compile_info {
    /// Compiler.
    pub compiler: [u8; 64],
    /// User.
    pub compile_by: [u8; 16],
    /// Host.
    pub compile_domain: [u8; 32],
    /// Date.
    pub compile_date: [u8; 32],
}
layout!(
    struct xen_compile_info: 144, compiler 0, compile_by 64, compile_domain 80, compile_date 112
);

/// `XENVER_platform_parameters`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_platform_parameters {
    /// First virtual address that Xen keeps.
    pub virt_start: xen_ulong_t,
}
layout!(struct xen_platform_parameters: 8, virt_start 0);

/// `XENVER_get_features`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_feature_info {
    /// In: which 32 features.
    pub submap_idx: u32,
    /// Out: bit per `XENFEAT_*`.
    pub submap: u32,
}
layout!(struct xen_feature_info: 8, submap_idx 0, submap 4);

/// Head of the build id; `len` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_build_id {
    /// Bytes.
    pub len: u32,
}
layout!(struct xen_build_id: 4, len 0);

/// Head of a text; `len` bytes follow. Since Xen 4.18.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_varbuf {
    /// Bytes.
    pub len: u32,
}
layout!(struct xen_varbuf: 4, len 0);
