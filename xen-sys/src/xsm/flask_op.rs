//! Questions to the Flask security module, by `__HYPERVISOR_xsm_op`. Mirrors `xen/xsm/flask_op.h`.

/// What [`xen_flask_op::interface_version`] must be.
pub const XEN_FLASK_INTERFACE_VERSION: u32 = 1;
/// Returns whether the policy is enforced (1) or only reported (0).
pub const FLASK_GETENFORCE: u32 = 2;

/// One question.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_flask_op {
    /// `FLASK_*`.
    pub cmd: u32,
    /// [`XEN_FLASK_INTERFACE_VERSION`].
    pub interface_version: u32,
    /// By `cmd`.
    pub u: [u64; 4],
}
layout!(struct xen_flask_op: 40, cmd 0, interface_version 4, u 8);
