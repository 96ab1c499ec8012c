//! Foreign frames, unmapped by the hypervisor, hundreds in one call.
//!
//! In: a mapping. Out: its address range, free again. `munmap` lets Linux clear one page table entry
//! after the other, and in a PV dom0 each of these writes traps into Xen, which decodes and emulates
//! it. Asked by hypercall, Xen clears the same entries without, and `munmap` finds nothing left to do.
//! Where that cannot be done `munmap` does all of it. Never touches entries of anything but mappings
//! that `Privcmd::map_frames` has filled: those of granted frames have a keeper of their own in Linux.

use rustix::io::Errno;
use xen_sys::features::XENFEAT_auto_translated_physmap;
use xen_sys::xen::{
    __HYPERVISOR_mmuext_op, __HYPERVISOR_multicall, __HYPERVISOR_update_va_mapping, DOMID_SELF,
    MMUEXT_TLB_FLUSH_ALL, UVMF_NONE, mmuext_op, multicall_entry,
};

use crate::buffer::{Buffer, PAGE_BYTES};
use crate::error::{Error, Result};
use crate::foreign::ForeignMapping;
use crate::layout::{get, put};
use crate::xen::Xen;

/// Bytes of one call in the list.
const CALL: usize = size_of::<multicall_entry>();
/// Most calls in one list: what a pooled buffer holds.
const MOST_CALLS: usize = 1024;
/// Calls of a list that clear nothing: the flush, and the room of its argument.
const OTHER_CALLS: usize = 2;
/// Fewer pages are cheaper to unmap one by one.
const LEAST_PAGES: usize = 4;
/// What no call has answered yet.
const UNANSWERED: u64 = u64::MAX;

impl Xen {
    /// Unmaps frames of another domain. So does dropping the mapping, which costs a PV dom0 several
    /// times as much.
    ///
    /// # Errors
    /// [`Error::Hypercall`] when Xen has cleared entries and then does not flush them: the addresses
    /// stay taken, and some frames may stay mapped until the process ends.
    pub fn unmap_foreign(&self, mapping: ForeignMapping) -> Result<()> {
        let pages = mapping.len() / PAGE_BYTES;
        if pages < LEAST_PAGES || !self.has_own_page_tables() {
            return Ok(());
        }
        let cleared = self.clear_entries(mapping.address(), pages);
        if cleared.is_err() {
            // An address that a CPU may still translate to a guest's frame must not be used again.
            std::mem::forget(mapping);
        }
        cleared
    }

    /// Whether this domain's page tables hold machine frames and are changed through Xen: a PV
    /// dom0's are, a PVH dom0's are not.
    fn has_own_page_tables(&self) -> bool {
        *self.own_page_tables.get_or_init(|| {
            let translated = 1 << XENFEAT_auto_translated_physmap;
            self.features(0).is_ok_and(|features| features & translated == 0)
        })
    }

    /// Clears the page table entries of `pages` pages from address `start` on, and flushes them from
    /// the TLBs of all CPUs. Entries that Xen refuses to clear stay, for `munmap`.
    fn clear_entries(&self, start: u64, pages: usize) -> Result<()> {
        let most = pages.min(MOST_CALLS - OTHER_CALLS);
        let mut list = self.pool().zeroed((most + OTHER_CALLS) * CALL)?;
        let mut done = 0;
        while done < pages {
            let count = most.min(pages - done);
            fill(&mut list, start + (done * PAGE_BYTES) as u64, count);
            let arguments = [list.address(), count as u64 + 1, 0, 0, 0];
            // SAFETY: Xen reads count + 1 structs multicall_entry, with which the list begins, and
            // writes their results. The last call reads one struct mmuext_op, behind them in the
            // list, and flushes TLBs. The others each clear the page table entry of one page of
            // [start, start + pages), in the address space that the calling CPU has loaded. In an
            // ioctl that is this process's: it loads no other, a thread that is preempted gets it
            // back before it goes on, and threads share it.
            //
            // The range belongs to a mapping that the caller has taken over, so that nothing here
            // refers to its bytes any more and no thread makes or unmaps mappings in it. As the
            // mapping lives, so do the page table pages below it. Linux writes to these entries on
            // its own initiative for no mapping of this kind (VM_PFNMAP, VM_IO): it neither moves
            // such pages nor reclaims, shares, tracks or copies them. It counts none of them and
            // holds no reference to them; the only one is Xen's, which Xen gives up as it clears an
            // entry, by the same function and lock as for Linux' own request.
            let called = unsafe { self.privcmd().hypercall(__HYPERVISOR_multicall, arguments) };
            check(&list, count, called)?;
            done += count;
        }
        Ok(())
    }
}

/// Makes the list: `count` calls that clear an entry each, the flush, and the flush's argument.
fn fill(list: &mut Buffer<'_>, start: u64, count: usize) {
    let flush_at = count * CALL;
    let argument_at = flush_at + CALL;
    let argument = list.address() + argument_at as u64;
    let (calls, rest) = list.bytes_mut().split_at_mut(flush_at);
    let mut address = start;
    for call in calls.chunks_exact_mut(CALL) {
        let args = [address, 0, UVMF_NONE, 0, 0, 0];
        let op = __HYPERVISOR_update_va_mapping;
        put!(call, multicall_entry { op: op, result: UNANSWERED, args: args });
        address += PAGE_BYTES as u64;
    }
    let args = [argument, 1, 0, u64::from(DOMID_SELF), 0, 0];
    put!(rest, multicall_entry { op: __HYPERVISOR_mmuext_op, result: UNANSWERED, args: args });
    rest[CALL..CALL + size_of::<mmuext_op>()].fill(0);
    put!(rest[CALL..], mmuext_op { cmd: MMUEXT_TLB_FLUSH_ALL });
}

/// Whether what was cleared is flushed, by the answers in the list and that of the whole.
fn check(list: &Buffer<'_>, count: usize, called: Result<u32, Errno>) -> Result<()> {
    let result = |call: &[u8]| get!(call, multicall_entry, result);
    let (calls, rest) = list.bytes().split_at(count * CALL);
    let flushed = result(rest);
    if flushed == 0 || calls.chunks_exact(CALL).all(|call| result(call) != 0) {
        return Ok(());
    }
    let unflushed = i32::try_from(flushed.cast_signed().wrapping_neg()).unwrap_or_default();
    let errno = called.err().unwrap_or(Errno::from_raw_os_error(unflushed));
    Err(Error::hypercall("MMUEXT_TLB_FLUSH_ALL", None, errno))
}
