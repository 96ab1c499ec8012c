//! Listing domains. Mirrors `xen/sysctl.h`.

use crate::xen::domid_t;

/// `XEN_SYSCTL_getdomaininfolist`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_sysctl_getdomaininfolist {
    /// Where to begin.
    pub first_domain: domid_t,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 2],
    /// Room.
    pub max_domains: u32,
    /// Address of `xen_domctl_getdomaininfo` records, of the layout that the domctl revision has.
    pub buffer: u64,
    /// Out: records.
    pub num_domains: u32,
    /// Unnamed in the header; zero.
    pub _hole1: [u8; 4],
}
layout!(
    struct xen_sysctl_getdomaininfolist: 24, first_domain 0, _hole0 2, max_domains 4, buffer 8,
    num_domains 16, _hole1 20
);
