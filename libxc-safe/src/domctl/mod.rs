//! Control of one domain: life cycle, limits, context.
//!
//! A request is 128 bytes, encoded for the revision that the running Xen speaks; layouts that
//! differ between revisions are told apart in `create` and `info` and nowhere else.

mod create;
mod device;
mod info;
mod policy;
mod sched;
mod vcpu;

pub use create::CreateDomain;
pub use info::{DomainInfo, ShutdownReason};
pub use policy::{CpuPolicy, Leaf, Msr, SystemPolicy};
pub use sched::{RtdsParameters, SchedulerParameters, VcpuRtdsParameters};
pub use vcpu::{Affinity, VcpuInfo};

use rustix::io::Errno;
use xen_sys::domctl::{
    XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, XEN_DOMCTL_destroydomain, XEN_DOMCTL_disable_migrate,
    XEN_DOMCTL_get_address_size, XEN_DOMCTL_get_paging_mempool_size, XEN_DOMCTL_getnodeaffinity,
    XEN_DOMCTL_gettscinfo, XEN_DOMCTL_hypercall_init, XEN_DOMCTL_max_mem, XEN_DOMCTL_max_vcpus,
    XEN_DOMCTL_pausedomain, XEN_DOMCTL_resumedomain, XEN_DOMCTL_set_address_size,
    XEN_DOMCTL_set_paging_mempool_size, XEN_DOMCTL_setdomainhandle, XEN_DOMCTL_setnodeaffinity,
    XEN_DOMCTL_settimeoffset, XEN_DOMCTL_settscinfo, XEN_DOMCTL_shadow_op,
    XEN_DOMCTL_unpausedomain, xen_domctl, xen_domctl_address_size, xen_domctl_disable_migrate,
    xen_domctl_hypercall_init, xen_domctl_max_mem, xen_domctl_max_vcpus, xen_domctl_nodeaffinity,
    xen_domctl_paging_mempool, xen_domctl_setdomainhandle, xen_domctl_settimeoffset,
    xen_domctl_shadow_op, xen_domctl_tsc_info,
};
use xen_sys::revision::DomctlRevision;
use xen_sys::types::{Domid, Mfn};
use xen_sys::xen::__HYPERVISOR_domctl;

use crate::bitmap;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// Size of the argument, the same for every operation and revision.
pub(crate) const PAYLOAD_BYTES: usize = 128;
/// The argument of one domctl.
pub(crate) type Payload = [u8; PAYLOAD_BYTES];

/// What a domctl answered beside its payload.
pub(crate) struct Answer {
    pub(crate) domid: Domid,
}

/// Time stamp counter of a domain (`XEN_DOMCTL_settscinfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscInfo {
    /// 0 default, 1 always emulate, 2 native.
    pub mode: u32,
    /// Frequency that the guest is to see, kHz; 0 the host's.
    pub khz: u32,
    /// Counts restores.
    pub incarnation: u32,
    /// Guest time, nanoseconds.
    pub elapsed_ns: u64,
}

impl Xen {
    /// Makes one domctl in the revision that this Xen speaks. The payload is updated by the
    /// answer, whether it succeeds or fails.
    ///
    /// # Safety
    /// The addresses in `payload` are as [`crate::privcmd::Privcmd::hypercall`] demands.
    pub(crate) unsafe fn domctl(
        &self,
        operation: &'static str,
        command: u32,
        domid: Domid,
        payload: &mut Payload,
    ) -> Result<Answer> {
        // SAFETY: as the caller vouches.
        unsafe { self.domctl_raw(self.domctl_revision().raw(), command, domid, payload) }?
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))
    }

    /// Makes a domctl with a given interface version; the outer error is about memory for it.
    ///
    /// # Safety
    /// As [`Xen::domctl`].
    pub(crate) unsafe fn domctl_raw(
        &self,
        revision: u32,
        command: u32,
        domid: Domid,
        payload: &mut Payload,
    ) -> Result<Result<Answer, Errno>> {
        const HEAD: usize = std::mem::offset_of!(xen_domctl, u);
        let mut buffer = self.pool().zeroed(size_of::<xen_domctl>())?;
        put!(
            buffer.bytes_mut(),
            xen_domctl { cmd: command, interface_version: revision, domain: domid.0 }
        );
        buffer.bytes_mut()[HEAD..HEAD + PAYLOAD_BYTES].copy_from_slice(payload);
        let arguments = [buffer.address(), 0, 0, 0, 0];
        // SAFETY: Xen reads and writes a struct xen_domctl at the first argument, which is the
        // size of `buffer`; the caller vouches for the addresses inside.
        let outcome = unsafe { self.privcmd().hypercall(__HYPERVISOR_domctl, arguments) };
        payload.copy_from_slice(&buffer.bytes()[HEAD..HEAD + PAYLOAD_BYTES]);
        let domid = Domid(get!(buffer.bytes(), xen_domctl, domain));
        Ok(outcome.map(|_| Answer { domid }))
    }

    /// Destroys a domain and frees its memory; returns when that is done.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ESRCH when there is no such domain.
    pub fn destroy(&self, domid: Domid) -> Result<()> {
        let operation = "XEN_DOMCTL_destroydomain";
        if !domid.is_ordinary() || domid == Domid::DOM0 {
            return Err(Error::Invalid { operation, what: "this domain cannot be destroyed" });
        }
        loop {
            let mut payload = [0; PAYLOAD_BYTES];
            // SAFETY: destroydomain carries no address.
            let answer =
                unsafe { self.domctl(operation, XEN_DOMCTL_destroydomain, domid, &mut payload) };
            match answer {
                Ok(_) => return Ok(()),
                // Xen frees a batch of pages at a time and says so: each call gets further.
                Err(Error::Hypercall { errno, .. })
                    if errno == Errno::AGAIN || errno == RESTART => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Pauses a domain; calls are counted, each needs one [`Xen::unpause`].
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn pause(&self, domid: Domid) -> Result<()> {
        self.simple_domctl("XEN_DOMCTL_pausedomain", XEN_DOMCTL_pausedomain, domid)
    }

    /// Takes back one pause; a new domain starts to run.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when it is not paused.
    pub fn unpause(&self, domid: Domid) -> Result<()> {
        self.simple_domctl("XEN_DOMCTL_unpausedomain", XEN_DOMCTL_unpausedomain, domid)
    }

    /// Lets a domain that shut down for suspend run on.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn resume(&self, domid: Domid) -> Result<()> {
        self.simple_domctl("XEN_DOMCTL_resumedomain", XEN_DOMCTL_resumedomain, domid)
    }

    /// Allocates the vCPUs; `count` is that of [`CreateDomain::max_vcpus`].
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn max_vcpus(&self, domid: Domid, count: u32) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_max_vcpus { max: count });
        // SAFETY: max_vcpus carries no address.
        unsafe { self.domctl("XEN_DOMCTL_max_vcpus", XEN_DOMCTL_max_vcpus, domid, &mut payload) }?;
        Ok(())
    }

    /// Limits the memory of a domain, KiB.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_max_mem_kib(&self, domid: Domid, max_kib: u64) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_max_mem { max_memkb: max_kib });
        // SAFETY: max_mem carries no address.
        unsafe { self.domctl("XEN_DOMCTL_max_mem", XEN_DOMCTL_max_mem, domid, &mut payload) }?;
        Ok(())
    }

    /// Changes the handle (UUID) of a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_uuid(&self, domid: Domid, uuid: [u8; 16]) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_setdomainhandle { handle: uuid });
        let command = XEN_DOMCTL_setdomainhandle;
        // SAFETY: setdomainhandle carries no address.
        unsafe { self.domctl("XEN_DOMCTL_setdomainhandle", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Sets the width of a PV guest in bits, 32 or 64, before it has memory.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_address_size(&self, domid: Domid, bits: u32) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_address_size { size: bits });
        let command = XEN_DOMCTL_set_address_size;
        // SAFETY: set_address_size carries no address.
        unsafe { self.domctl("XEN_DOMCTL_set_address_size", command, domid, &mut payload) }?;
        Ok(())
    }

    /// The width of a guest in bits.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn address_size(&self, domid: Domid) -> Result<u32> {
        let mut payload = [0; PAYLOAD_BYTES];
        let command = XEN_DOMCTL_get_address_size;
        // SAFETY: get_address_size carries no address.
        unsafe { self.domctl("XEN_DOMCTL_get_address_size", command, domid, &mut payload) }?;
        Ok(get!(payload, xen_domctl_address_size, size))
    }

    /// Fills frame `mfn` of a PV guest with hypercall stubs.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn hypercall_init(&self, domid: Domid, mfn: Mfn) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_hypercall_init { gmfn: mfn.0 });
        let command = XEN_DOMCTL_hypercall_init;
        // SAFETY: hypercall_init names a frame of the guest, no address of this process.
        unsafe { self.domctl("XEN_DOMCTL_hypercall_init", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Shifts the wall clock that a domain sees, seconds.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_time_offset(&self, domid: Domid, seconds: i64) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_settimeoffset { time_offset_seconds: seconds });
        let command = XEN_DOMCTL_settimeoffset;
        // SAFETY: settimeoffset carries no address.
        unsafe { self.domctl("XEN_DOMCTL_settimeoffset", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Marks a domain as one that is never moved to another host (Xen 4.14; later releases leave
    /// that to the toolstack).
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENOSYS from 4.15 on.
    pub fn disable_migrate(&self, domid: Domid) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_disable_migrate { disable: 1 });
        let command = XEN_DOMCTL_disable_migrate;
        // SAFETY: disable_migrate carries no address.
        unsafe { self.domctl("XEN_DOMCTL_disable_migrate", command, domid, &mut payload) }?;
        Ok(())
    }

    /// Sets how the time stamp counter of a domain behaves.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_tsc_info(&self, domid: Domid, info: TscInfo) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_domctl_tsc_info {
                tsc_mode: info.mode,
                gtsc_khz: info.khz,
                incarnation: info.incarnation,
                elapsed_nsec: info.elapsed_ns,
            }
        );
        // SAFETY: settscinfo carries no address.
        unsafe {
            self.domctl("XEN_DOMCTL_settscinfo", XEN_DOMCTL_settscinfo, domid, &mut payload)
        }?;
        Ok(())
    }

    /// How the time stamp counter of a domain behaves.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn tsc_info(&self, domid: Domid) -> Result<TscInfo> {
        let mut payload = [0; PAYLOAD_BYTES];
        // SAFETY: gettscinfo carries no address.
        unsafe {
            self.domctl("XEN_DOMCTL_gettscinfo", XEN_DOMCTL_gettscinfo, domid, &mut payload)
        }?;
        Ok(TscInfo {
            mode: get!(payload, xen_domctl_tsc_info, tsc_mode),
            khz: get!(payload, xen_domctl_tsc_info, gtsc_khz),
            incarnation: get!(payload, xen_domctl_tsc_info, incarnation),
            elapsed_ns: get!(payload, xen_domctl_tsc_info, elapsed_nsec),
        })
    }

    /// Says from which NUMA nodes memory is to come when a call names none.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_node_affinity(&self, domid: Domid, nodes: &[u32]) -> Result<()> {
        let operation = "XEN_DOMCTL_setnodeaffinity";
        let map = bitmap::encode(operation, nodes)?;
        let mut buffer = self.pool().holding(&map)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_nodeaffinity {
            nodemap.bitmap: buffer.address(),
            nodemap.nr_bits: bitmap::bits(&map),
        });
        // SAFETY: Xen reads nr_bits bits at `bitmap`, the size of `buffer`.
        unsafe { self.domctl(operation, XEN_DOMCTL_setnodeaffinity, domid, &mut payload) }?;
        Ok(())
    }

    /// The NUMA nodes that [`Xen::set_node_affinity`] set.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn node_affinity(&self, domid: Domid) -> Result<Vec<u32>> {
        const NODES: usize = 256;
        let mut buffer = self.pool().zeroed(NODES / 8)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_nodeaffinity {
            nodemap.bitmap: buffer.address(),
            nodemap.nr_bits: bitmap::bits(buffer.bytes()),
        });
        let command = XEN_DOMCTL_getnodeaffinity;
        // SAFETY: Xen writes at most nr_bits bits at `bitmap`, the size of `buffer`.
        unsafe { self.domctl("XEN_DOMCTL_getnodeaffinity", command, domid, &mut payload) }?;
        Ok(bitmap::decode(buffer.bytes()))
    }

    /// Sets the size of the pool for nested or shadow page tables of an HVM or PVH guest, bytes;
    /// after [`Xen::max_vcpus`], as Xen before 4.17 demands.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENOMEM when the host has not that much free.
    pub fn set_paging_pool_bytes(&self, domid: Domid, bytes: u64) -> Result<()> {
        const MIB: u64 = 1 << 20;
        let mut payload = [0; PAYLOAD_BYTES];
        if self.domctl_revision() < DomctlRevision::V0x15 {
            let operation = "XEN_DOMCTL_shadow_op";
            let Ok(mb) = u32::try_from(bytes.div_ceil(MIB)) else {
                return Err(Error::Invalid { operation, what: "too much memory" });
            };
            put!(payload, xen_domctl_shadow_op { op: XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, mb: mb });
            // SAFETY: this sub-operation takes the number of MiB and no address.
            unsafe { self.domctl(operation, XEN_DOMCTL_shadow_op, domid, &mut payload) }?;
            return Ok(());
        }
        put!(payload, xen_domctl_paging_mempool { size: bytes });
        let command = XEN_DOMCTL_set_paging_mempool_size;
        // SAFETY: set_paging_mempool_size carries no address.
        unsafe { self.domctl("XEN_DOMCTL_set_paging_mempool_size", command, domid, &mut payload) }?;
        Ok(())
    }

    /// The size of that pool, bytes (Xen 4.17).
    ///
    /// # Errors
    /// [`Error::Unsupported`] before Xen 4.17, [`Error::Hypercall`].
    pub fn paging_pool_bytes(&self, domid: Domid) -> Result<u64> {
        if self.domctl_revision() < DomctlRevision::V0x15 {
            return Err(Error::Unsupported { what: "the paging pool's size", since: "4.17" });
        }
        let mut payload = [0; PAYLOAD_BYTES];
        let command = XEN_DOMCTL_get_paging_mempool_size;
        // SAFETY: get_paging_mempool_size carries no address.
        unsafe { self.domctl("XEN_DOMCTL_get_paging_mempool_size", command, domid, &mut payload) }?;
        Ok(get!(payload, xen_domctl_paging_mempool, size))
    }

    /// A domctl without an argument.
    fn simple_domctl(&self, operation: &'static str, command: u32, domid: Domid) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        // SAFETY: the payload is zero: no address in it.
        unsafe { self.domctl(operation, command, domid, &mut payload) }?;
        Ok(())
    }
}

/// ERESTART, as Xen numbers it: an errno that system calls never return to user space.
const RESTART: Errno = Errno::from_raw_os_error(85);
