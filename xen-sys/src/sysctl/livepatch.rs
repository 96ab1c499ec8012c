//! Live patches. Mirrors `xen/sysctl.h`.
//!
//! 4.21 (sysctl 0x16) changed these operations: they hold up to 0x15.

/// Bytes of a name with its terminator.
pub const XEN_LIVEPATCH_NAME_SIZE: usize = 128;
/// Upload a patch.
pub const XEN_SYSCTL_LIVEPATCH_UPLOAD: u32 = 0;
/// Ask for a patch.
pub const XEN_SYSCTL_LIVEPATCH_GET: u32 = 1;
/// List patches.
pub const XEN_SYSCTL_LIVEPATCH_LIST: u32 = 2;
/// Act on a patch.
pub const XEN_SYSCTL_LIVEPATCH_ACTION: u32 = 3;
/// Checked, not applied.
pub const LIVEPATCH_STATE_CHECKED: u32 = 1;
/// Applied.
pub const LIVEPATCH_STATE_APPLIED: u32 = 2;
/// Unload.
pub const LIVEPATCH_ACTION_UNLOAD: u32 = 1;
/// Revert.
pub const LIVEPATCH_ACTION_REVERT: u32 = 2;
/// Apply.
pub const LIVEPATCH_ACTION_APPLY: u32 = 3;
/// Apply, revert all others.
pub const LIVEPATCH_ACTION_REPLACE: u32 = 4;
/// Do not check dependencies.
pub const LIVEPATCH_ACTION_APPLY_NODEPS: u32 = 1 << 0;
/// Skip checks of the build id. Since Xen 4.18.
pub const LIVEPATCH_FLAG_FORCE: u32 = 1 << 0;
/// Names a patch. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_livepatch_name {
    /// Address of the name.
    pub name: u64,
    /// Bytes with the terminator.
    pub size: u16,
    /// Zero.
    pub pad: [u16; 3],
}
layout!(struct xen_livepatch_name: 16, name 0, size 8, pad 10);

/// `XEN_SYSCTL_LIVEPATCH_UPLOAD`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_livepatch_upload {
    /// Name.
    pub name: xen_livepatch_name,
    /// Bytes.
    pub size: u64,
    /// Address of the ELF file.
    pub payload: u64,
}
layout!(struct xen_sysctl_livepatch_upload: 32, name 0, size 16, payload 24);

/// State of a patch. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_livepatch_status {
    /// `LIVEPATCH_STATE_*`.
    pub state: u32,
    /// 0, or a negative error; `EAGAIN` while it is busy.
    pub rc: i32,
}
layout!(struct xen_livepatch_status: 8, state 0, rc 4);

/// `XEN_SYSCTL_LIVEPATCH_GET`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_livepatch_get {
    /// Name.
    pub name: xen_livepatch_name,
    /// Out: state.
    pub status: xen_livepatch_status,
}
layout!(struct xen_sysctl_livepatch_get: 24, name 0, status 16);

/// `XEN_SYSCTL_LIVEPATCH_LIST`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_livepatch_list {
    /// Out: changes with the list.
    pub version: u32,
    /// Where to begin.
    pub idx: u32,
    /// Room; out: how many remain.
    pub nr: u32,
    /// Zero.
    pub pad: u32,
    /// Out: bytes of all names.
    pub name_total_size: u32,
    /// Out: bytes of all metadata.
    pub metadata_total_size: u32,
    /// Address of [`xen_livepatch_status`] records.
    pub status: u64,
    /// Address of names.
    pub name: u64,
    /// Address of their lengths, `u32` each.
    pub len: u64,
    /// Address of metadata.
    pub metadata: u64,
    /// Address of their lengths, `u32` each.
    pub metadata_len: u64,
}
layout!(
    struct xen_sysctl_livepatch_list: 64, version 0, idx 4, nr 8, pad 12, name_total_size 16,
    metadata_total_size 20, status 24, name 32, len 40, metadata 48, metadata_len 56
);

/// `XEN_SYSCTL_LIVEPATCH_ACTION`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_livepatch_action {
    /// Name.
    pub name: xen_livepatch_name,
    /// `LIVEPATCH_ACTION_*`.
    pub cmd: u32,
    /// Nanoseconds; 0 takes Xen's own.
    pub timeout: u32,
    /// `LIVEPATCH_ACTION_APPLY_NODEPS`.
    pub flags: u32,
    /// Zero.
    pub pad: u32,
}
layout!(struct xen_sysctl_livepatch_action: 32, name 0, cmd 16, timeout 20, flags 24, pad 28);

/// Argument by operation. In C: `struct xen_sysctl_livepatch_op::u`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub union xen_sysctl_livepatch_op_u {
    /// Upload.
    pub upload: xen_sysctl_livepatch_upload,
    /// List.
    pub list: xen_sysctl_livepatch_list,
    /// Ask.
    pub get: xen_sysctl_livepatch_get,
    /// Act.
    pub action: xen_sysctl_livepatch_action,
}
layout!(union xen_sysctl_livepatch_op_u: 64, upload, list, get, action);

/// `XEN_SYSCTL_livepatch_op`. Until Xen 4.20.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct xen_sysctl_livepatch_op {
    /// `XEN_SYSCTL_LIVEPATCH_*`.
    pub cmd: u32,
    /// `LIVEPATCH_FLAG_FORCE` from 4.18 on. Since Xen 4.18.
    pub flags: u32,
    /// Argument.
    pub u: xen_sysctl_livepatch_op_u,
}
layout!(struct xen_sysctl_livepatch_op: 72, cmd 0, flags 4, u 8);
