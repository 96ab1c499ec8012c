//! Memory of domains: claims, allocation, the map that a guest is told, page table pins.

use rustix::io::Errno;
use xen_sys::hvm::e820::e820entry;
use xen_sys::memory::{
    XENMEM_add_to_physmap, XENMEM_claim_pages, XENMEM_decrease_reservation,
    XENMEM_get_sharing_freed_pages, XENMEM_get_sharing_shared_pages, XENMEM_machine_memory_map,
    XENMEM_maximum_gpfn, XENMEM_populate_physmap, XENMEM_set_memory_map, xen_add_to_physmap,
    xen_foreign_memory_map, xen_memory_map, xen_memory_reservation,
};
use xen_sys::types::{Domid, Gfn, Mfn};
use xen_sys::xen::{
    __HYPERVISOR_memory_op, __HYPERVISOR_mmuext_op, MMUEXT_CLEAR_PAGE, MMUEXT_PIN_L4_TABLE,
    MMUEXT_UNPIN_TABLE, mmuext_op,
};

use crate::error::{Error, Result};
use crate::layout::{Field, get, put};
use crate::xen::Xen;

/// Where memory is to come from (`XENMEMF_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFlags {
    bits: u32,
}

impl MemoryFlags {
    /// From wherever Xen likes: the domain's nodes first.
    pub const ANY: Self = Self { bits: 0 };

    /// From this NUMA node, from others when it has none left.
    #[must_use]
    pub const fn node(node: u8) -> Self {
        Self { bits: xen_sys::memory::XENMEMF_node(node) }
    }

    /// From this NUMA node, or not at all.
    #[must_use]
    pub const fn exact_node(node: u8) -> Self {
        Self { bits: xen_sys::memory::XENMEMF_exact_node(node) }
    }
}

/// Memory that HVM guests have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedMemory {
    /// Pages that sharing saves.
    pub freed_pages: u64,
    /// Pages that are shared.
    pub used_pages: u64,
}

/// One range of the memory map that a guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
    /// `E820_*`: 1 memory, 2 reserved.
    pub kind: u32,
}

impl E820Entry {
    fn encode(entries: &[Self]) -> Vec<u8> {
        const RECORD: usize = size_of::<e820entry>();
        let mut bytes = vec![0; entries.len() * RECORD];
        for (at, entry) in bytes.chunks_exact_mut(RECORD).zip(entries) {
            put!(at, e820entry { addr: entry.address, size: entry.bytes, r#type: entry.kind });
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<Self> {
        let records = bytes.chunks_exact(size_of::<e820entry>());
        let entry = |at: &[u8]| Self {
            address: get!(at, e820entry, addr),
            bytes: get!(at, e820entry, size),
            kind: get!(at, e820entry, r#type),
        };
        records.map(entry).collect()
    }
}

impl Xen {
    /// Makes a memory operation on a request that holds no address, or one that the caller
    /// vouches for.
    ///
    /// # Safety
    /// `request` has the size that Xen reads and writes for `command`, and the addresses in it are
    /// as [`crate::privcmd::Privcmd::hypercall`] demands.
    unsafe fn memory_op(
        &self,
        operation: &'static str,
        command: u64,
        domid: Domid,
        request: &[u8],
    ) -> Result<u32> {
        let mut buffer = self.pool().holding(request)?;
        let arguments = [command, buffer.address(), 0, 0, 0];
        // SAFETY: as the caller vouches.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_memory_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))
    }

    /// Pages that HVM guests share on this host; none of either where Xen was built without that.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn shared_memory(&self) -> Result<SharedMemory> {
        let ask = |operation, command| {
            // SAFETY: these commands read and write no memory of the caller's.
            let asked =
                unsafe { self.privcmd().hypercall(__HYPERVISOR_memory_op, [command, 0, 0, 0, 0]) };
            match asked {
                Ok(pages) => Ok(u64::from(pages)),
                Err(Errno::NOSYS) => Ok(0),
                Err(errno) => Err(Error::hypercall(operation, None, errno)),
            }
        };
        Ok(SharedMemory {
            freed_pages: ask("XENMEM_get_sharing_freed_pages", XENMEM_get_sharing_freed_pages)?,
            used_pages: ask("XENMEM_get_sharing_shared_pages", XENMEM_get_sharing_shared_pages)?,
        })
    }

    /// Allocates `frames.len()` extents of 2^`order` pages. In: the first pfn of each; out, for
    /// those done: its first machine frame (PV) or guest frame. Returns how many extents were
    /// done: fewer when memory of that order runs out, which is no error.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ESRCH when there is no such domain.
    pub fn populate_physmap(
        &self,
        domid: Domid,
        order: u32,
        flags: MemoryFlags,
        frames: &mut [u64],
    ) -> Result<usize> {
        let mut extents = self.pool().holding_words(frames)?;
        let mut request = [0; size_of::<xen_memory_reservation>()];
        put!(
            request,
            xen_memory_reservation {
                extent_start: extents.address(),
                nr_extents: frames.len() as u64,
                extent_order: order,
                mem_flags: flags.bits,
                domid: domid.0,
            }
        );
        // SAFETY: Xen reads and writes nr_extents words at extent_start, the size of `extents`.
        let done = unsafe {
            self.memory_op("XENMEM_populate_physmap", XENMEM_populate_physmap, domid, &request)
        }?;
        let done = (done as usize).min(frames.len());
        // Xen says "none done" of a domain that does not exist, too.
        if done == 0 && !frames.is_empty() && self.domain_info(domid)?.is_none() {
            return Err(Error::hypercall("XENMEM_populate_physmap", Some(domid), Errno::SRCH));
        }
        for (frame, word) in frames[..done].iter_mut().zip(extents.words()) {
            *frame = word;
        }
        Ok(done)
    }

    /// Takes extents of 2^`order` pages, named by their first frames, away from a domain. Returns
    /// how many were taken.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn decrease_reservation(&self, domid: Domid, order: u32, frames: &[Gfn]) -> Result<usize> {
        let words: Vec<u64> = frames.iter().map(|frame| frame.0).collect();
        let mut extents = self.pool().holding_words(&words)?;
        let mut request = [0; size_of::<xen_memory_reservation>()];
        put!(
            request,
            xen_memory_reservation {
                extent_start: extents.address(),
                nr_extents: words.len() as u64,
                extent_order: order,
                domid: domid.0,
            }
        );
        let operation = "XENMEM_decrease_reservation";
        // SAFETY: Xen reads nr_extents words at extent_start, the size of `extents`.
        let done =
            unsafe { self.memory_op(operation, XENMEM_decrease_reservation, domid, &request) }?;
        Ok((done as usize).min(frames.len()))
    }

    /// Reserves free memory for a domain before it is allocated, so that nobody else can take it;
    /// `pages` counts what the domain is to have in all, 0 gives the claim up.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENOMEM when that much is not free.
    pub fn claim_pages(&self, domid: Domid, pages: u64) -> Result<()> {
        let mut request = [0; size_of::<xen_memory_reservation>()];
        put!(request, xen_memory_reservation { nr_extents: pages, domid: domid.0 });
        // SAFETY: a claim carries no address.
        unsafe { self.memory_op("XENMEM_claim_pages", XENMEM_claim_pages, domid, &request) }?;
        Ok(())
    }

    /// Sets the memory map that a guest is told when it asks.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_memory_map(&self, domid: Domid, entries: &[E820Entry]) -> Result<()> {
        let operation = "XENMEM_set_memory_map";
        let Ok(count) = u32::try_from(entries.len()) else {
            return Err(Error::Invalid { operation, what: "too many entries" });
        };
        let mut map = self.pool().holding(&E820Entry::encode(entries))?;
        let mut request = [0; size_of::<xen_foreign_memory_map>()];
        put!(request, xen_foreign_memory_map {
            domid: domid.0,
            map.nr_entries: count,
            map.buffer: map.address(),
        });
        // SAFETY: Xen reads nr_entries records of 20 bytes at `buffer`, the size of `map`.
        unsafe { self.memory_op(operation, XENMEM_set_memory_map, domid, &request) }?;
        Ok(())
    }

    /// The host's own memory map, as its firmware gave it.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for more entries than a map can have.
    pub fn machine_memory_map(&self) -> Result<Vec<E820Entry>> {
        // Xen keeps no more than this many (`E820MAX`).
        const ENTRIES_MAX: u32 = 1024;
        const RECORD: usize = size_of::<e820entry>();
        let operation = "XENMEM_machine_memory_map";
        let mut map = self.pool().zeroed(ENTRIES_MAX as usize * RECORD)?;
        let mut request = [0; size_of::<xen_memory_map>()];
        put!(request, xen_memory_map { nr_entries: ENTRIES_MAX, buffer: map.address() });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [XENMEM_machine_memory_map, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads and writes one struct xen_memory_map, the size of `buffer`, and writes
        // at most nr_entries records of 20 bytes at `buffer`, the size of `map`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_memory_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, None, errno))?;
        let entries = get!(buffer.bytes(), xen_memory_map, nr_entries) as usize;
        match map.bytes().get(..entries * RECORD) {
            Some(records) => Ok(E820Entry::decode(records)),
            None => Err(Error::Invalid { operation, what: "more entries than there was room" }),
        }
    }

    /// Puts a page of Xen's (`XENMAPSPACE_*`: shared info, grant table) into a translated guest's
    /// map at `gfn`.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn add_to_physmap(&self, domid: Domid, space: u32, index: u64, gfn: Gfn) -> Result<()> {
        let mut request = [0; size_of::<xen_add_to_physmap>()];
        put!(request, xen_add_to_physmap { domid: domid.0, space: space, idx: index, gpfn: gfn.0 });
        let operation = "XENMEM_add_to_physmap";
        // SAFETY: the request carries frame numbers and no address.
        unsafe { self.memory_op(operation, XENMEM_add_to_physmap, domid, &request) }?;
        Ok(())
    }

    /// The highest guest frame of a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn maximum_gpfn(&self, domid: Domid) -> Result<Gfn> {
        let operation = "XENMEM_maximum_gpfn";
        // SAFETY: Xen reads a domid, 2 bytes.
        let gfn = unsafe {
            self.memory_op(operation, XENMEM_maximum_gpfn, domid, &domid.0.to_le_bytes())
        }?;
        Ok(Gfn(u64::from(gfn)))
    }

    /// Declares frame `mfn` of a PV guest a top-level page table: Xen checks it and everything
    /// below, and from then on the guest cannot write to these frames.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when an entry is not acceptable.
    pub fn pin_l4(&self, domid: Domid, mfn: Mfn) -> Result<()> {
        self.mmuext("MMUEXT_PIN_L4_TABLE", MMUEXT_PIN_L4_TABLE, domid, &[mfn])
    }

    /// Takes such a declaration back.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn unpin(&self, domid: Domid, mfn: Mfn) -> Result<()> {
        self.mmuext("MMUEXT_UNPIN_TABLE", MMUEXT_UNPIN_TABLE, domid, &[mfn])
    }

    /// Zeroes frames of a PV guest inside the hypervisor, which is cheaper than mapping them.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL for a frame that is not the domain's or holds a page table.
    pub fn clear_pages(&self, domid: Domid, frames: &[Mfn]) -> Result<()> {
        self.mmuext("MMUEXT_CLEAR_PAGE", MMUEXT_CLEAR_PAGE, domid, frames)
    }

    /// The same operation on every frame, in one hypercall.
    fn mmuext(
        &self,
        operation: &'static str,
        command: u32,
        domid: Domid,
        frames: &[Mfn],
    ) -> Result<()> {
        const RECORD: usize = size_of::<mmuext_op>();
        if frames.is_empty() {
            return Ok(());
        }
        let mut requests = vec![0; frames.len() * RECORD];
        for (request, mfn) in requests.chunks_exact_mut(RECORD).zip(frames) {
            put!(request, mmuext_op { cmd: command });
            mfn.0.put(&mut request[std::mem::offset_of!(mmuext_op, arg1)..]);
        }
        let mut buffer = self.pool().holding(&requests)?;
        // Nobody asks how many were done: the first failure fails the call. The last argument is
        // the domain whose frames these are.
        let count = frames.len() as u64;
        let arguments = [buffer.address(), count, 0, u64::from(domid.0), 0];
        // SAFETY: Xen reads `count` structs mmuext_op, the size of `buffer`; the operations change
        // types and contents of the guest's frames and no memory of this process.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_mmuext_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_maps_are_packed() {
        let map = [
            E820Entry { address: 0, bytes: 0x1000, kind: 1 },
            E820Entry { address: 1 << 32, bytes: 2, kind: 2 },
        ];
        let bytes = E820Entry::encode(&map);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[8..20], [0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[20..32], [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[36..], [2, 0, 0, 0]);
        assert_eq!(E820Entry::decode(&bytes), map);
    }

    #[test]
    fn flags() {
        assert_eq!(MemoryFlags::ANY.bits, 0);
        assert_eq!(MemoryFlags::node(0).bits, 0x100);
        assert_eq!(MemoryFlags::exact_node(3).bits, 0x2_0400);
    }
}
