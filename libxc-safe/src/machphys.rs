//! The hypervisor's table from machine frames to pages of their domains, which PV guests may read.

use std::collections::BTreeMap;

use xen_sys::memory::{XENMEM_machphys_mfn_list, XENMEM_maximum_ram_page, xen_machphys_mfn_list};
use xen_sys::types::{Domid, Gfn, Mfn, Pfn};
use xen_sys::xen::{__HYPERVISOR_memory_op, DOMID_XEN};

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::mapping::Protection;
use crate::xen::Xen;

/// Entries in a page of the table.
const PER_PAGE: u64 = (PAGE_BYTES / 8) as u64;
/// Pages of the table in one extent, whose frames follow each other.
const PER_EXTENT: u64 = 512;
/// Pages of the table that are mapped at once.
const AT_ONCE: usize = 256;
/// Entries beyond this stand for no page.
const NO_PAGE: u64 = 1 << 40;

impl Xen {
    /// Which page of its domain each of `frames` is, as a PV guest has last said; none for one that is
    /// no page of any.
    ///
    /// # Errors
    /// [`Error::Hypercall`], [`Error::ForeignFrame`].
    pub fn pages_of_frames(&self, frames: &[Mfn]) -> Result<Vec<Option<Pfn>>> {
        let extents = self.machphys_extents()?;
        let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, mfn) in frames.iter().enumerate() {
            places.entry(mfn.0 / PER_PAGE).or_default().push(index);
        }
        let page_frame = |page: &u64| {
            let extent = usize::try_from(page / PER_EXTENT).ok().and_then(|at| extents.get(at));
            extent.map(|first| Gfn(first + page % PER_EXTENT))
        };
        let mut pages = vec![None; frames.len()];
        let known: Vec<_> =
            places.iter().filter_map(|(page, places)| Some((page_frame(page)?, places))).collect();
        for part in known.chunks(AT_ONCE) {
            let table: Vec<Gfn> = part.iter().map(|(gfn, _)| *gfn).collect();
            let mapping = self.map_foreign(Domid(DOMID_XEN), &table, Protection::Read)?;
            for (at, (_, places)) in part.iter().enumerate() {
                for &place in *places {
                    let entry = (frames[place].0 % PER_PAGE) as usize;
                    let mut word = [0; 8];
                    mapping.read(at * PAGE_BYTES + entry * 8, &mut word)?;
                    let pfn = u64::from_le_bytes(word);
                    pages[place] = (pfn < NO_PAGE).then_some(Pfn(pfn));
                }
            }
        }
        Ok(pages)
    }

    /// The first frame of each extent of the table.
    fn machphys_extents(&self) -> Result<Vec<u64>> {
        type Raw = xen_machphys_mfn_list;
        let operation = "XENMEM_maximum_ram_page";
        let arguments = [XENMEM_maximum_ram_page, 0, 0, 0, 0];
        // SAFETY: this command reads and writes no memory of the caller's.
        let last = unsafe { self.privcmd().hypercall(__HYPERVISOR_memory_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, None, errno))?;
        let room = u64::from(last) / (PER_PAGE * PER_EXTENT) + 1;
        let operation = "XENMEM_machphys_mfn_list";
        let Ok(max_extents) = u32::try_from(room) else {
            return Err(Error::BadAnswer { operation, domid: None, what: "too much memory" });
        };
        let mut list = self.pool().zeroed(room as usize * 8)?;
        let mut request = [0; size_of::<Raw>()];
        put!(request, Raw { max_extents: max_extents, extent_start: list.address() });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [XENMEM_machphys_mfn_list, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads and writes one struct xen_machphys_mfn_list, the size of `buffer`, and
        // writes at most max_extents words at extent_start, the size of `list`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_memory_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, None, errno))?;
        let written = get!(buffer.bytes(), Raw, nr_extents).min(max_extents);
        Ok(list.words().take(written as usize).collect())
    }
}
