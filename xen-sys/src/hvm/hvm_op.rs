//! Operations on HVM and PVH guests. Mirrors `xen/hvm/hvm_op.h`.

use crate::xen::domid_t;

/// Set a parameter: [`xen_hvm_param`].
pub const HVMOP_set_param: u64 = 0;
/// Ask for a parameter: [`xen_hvm_param`].
pub const HVMOP_get_param: u64 = 1;
/// Flush TLBs.
pub const HVMOP_flush_tlbs: u64 = 5;
/// A page table is about to go.
pub const HVMOP_pagetable_dying: u64 = 9;
/// [`xen_hvm_get_time`].
pub const HVMOP_get_time: u64 = 10;
/// [`xen_hvm_get_mem_type`].
pub const HVMOP_get_mem_type: u64 = 15;
/// [`xen_hvm_evtchn_upcall_vector`].
pub const HVMOP_set_evtchn_upcall_vector: u64 = 23;
/// The guest asks for a VM event.
pub const HVMOP_guest_request_vm_event: u64 = 24;
/// Alternate p2ms.
pub const HVMOP_altp2m: u64 = 25;
/// Memory.
pub const HVMMEM_ram_rw: u16 = 0;
/// Memory, writes are dropped.
pub const HVMMEM_ram_ro: u16 = 1;
/// Emulated by the device model.
pub const HVMMEM_mmio_dm: u16 = 2;
/// Memory whose writes a device model sees.
pub const HVMMEM_ioreq_server: u16 = 4;

/// `HVMOP_set_param` and `HVMOP_get_param`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_hvm_param {
    /// The domain.
    pub domid: domid_t,
    /// Zero.
    pub pad: u16,
    /// `HVM_PARAM_*`.
    pub index: u32,
    /// Value.
    pub value: u64,
}
layout!(struct xen_hvm_param: 16, domid 0, pad 2, index 4, value 8);

/// `HVMOP_get_time`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_hvm_get_time {
    /// Out: system time, nanoseconds.
    pub now: u64,
}
layout!(struct xen_hvm_get_time: 8, now 0);

/// `HVMOP_get_mem_type`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_hvm_get_mem_type {
    /// The domain.
    pub domid: domid_t,
    /// Out: `HVMMEM_*`.
    pub mem_type: u16,
    /// Zero.
    pub pad: [u16; 2],
    /// Guest frame.
    pub pfn: u64,
}
layout!(struct xen_hvm_get_mem_type: 16, domid 0, mem_type 2, pad 4, pfn 8);

/// `HVMOP_set_evtchn_upcall_vector`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xen_hvm_evtchn_upcall_vector {
    /// The vCPU.
    pub vcpu: u32,
    /// Vector.
    pub vector: u8,
    /// Unnamed in the header; zero.
    pub _hole0: [u8; 3],
}
layout!(struct xen_hvm_evtchn_upcall_vector: 8, vcpu 0, vector 4, _hole0 5);
