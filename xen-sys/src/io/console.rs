//! The console page between a guest and its console daemon. Mirrors `xen/io/console.h`.

/// Free-running index; the low bits are the position.
pub type XENCONS_RING_IDX = u32;
/// The shared page. Each side trusts only its own two indices.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xencons_interface {
    /// Towards the guest.
    pub r#in: [u8; 1024],
    /// From the guest.
    pub out: [u8; 2048],
    /// Moved by the guest.
    pub in_cons: XENCONS_RING_IDX,
    /// Moved by the daemon.
    pub in_prod: XENCONS_RING_IDX,
    /// Moved by the daemon.
    pub out_cons: XENCONS_RING_IDX,
    /// Moved by the guest.
    pub out_prod: XENCONS_RING_IDX,
}
layout!(
    struct xencons_interface: 3088, r#in 0, out 1024, in_cons 3072, in_prod 3076, out_cons 3080,
    out_prod 3084
);
