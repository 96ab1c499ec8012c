//! Memory of another domain: its frames by number, and its grant table.

use std::ops::Deref;

use rustix::io::Errno;
use xen_sys::grant_table::{
    GNTST_okay, GNTTABOP_setup_table, GTF_permit_access, gnttab_setup_table, grant_entry_v1,
};
use xen_sys::memory::{XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared};
use xen_sys::types::{Domid, Gfn, GrantRef};
use xen_sys::xen::__HYPERVISOR_grant_table_op;

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::mapping::{Mapping, Protection};
use crate::xen::Xen;

/// Frames of another domain, mapped here in the order they were asked for. Unmapped on drop, and for
/// less by [`Xen::unmap_foreign`]; unmap writable mappings of page tables before they are pinned.
#[derive(Debug)]
pub struct ForeignMapping {
    mapping: Mapping,
    domid: Domid,
}

impl ForeignMapping {
    /// The domain that the frames belong to.
    #[must_use]
    pub fn domid(&self) -> Domid {
        self.domid
    }
}

impl Deref for ForeignMapping {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

/// Pages of a domain's grant table, version 1. Unmapped on drop.
#[derive(Debug)]
pub struct GrantTableMapping {
    mapping: Mapping,
}

impl GrantTableMapping {
    /// Lets `to` map frame `gfn` by reference `reference`: what a builder does for the console and
    /// store rings before the guest runs.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] beyond the mapped pages, [`Error::Invalid`] for a frame above 32
    /// bits.
    pub fn permit(&self, reference: GrantRef, to: Domid, gfn: Gfn) -> Result<()> {
        const RECORD: usize = size_of::<grant_entry_v1>();
        let Ok(frame) = u32::try_from(gfn.0) else {
            let operation = "seed a grant entry";
            return Err(Error::Invalid { operation, what: "the frame is above 16 TiB" });
        };
        let mut entry = [0; RECORD];
        put!(entry, grant_entry_v1 { flags: GTF_permit_access, domid: to.0, frame: frame });
        // Frame before flags: an entry must never be valid with a wrong frame.
        let at = reference.0 as usize * RECORD;
        let frame_at = std::mem::offset_of!(grant_entry_v1, frame);
        self.mapping.write(at + frame_at, &entry[frame_at..])?;
        let mut head = [0; 4];
        head.copy_from_slice(&entry[..4]);
        self.mapping.store_u32(at, u32::from_le_bytes(head))
    }
}

impl Deref for GrantTableMapping {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

impl Xen {
    /// Maps frames of another domain.
    ///
    /// # Errors
    /// [`Error::ForeignFrame`] names the first frame that cannot be mapped; nothing stays mapped.
    pub fn map_foreign(
        &self,
        domid: Domid,
        frames: &[Gfn],
        protection: Protection,
    ) -> Result<ForeignMapping> {
        let mapping = self.privcmd().map_frames(domid, frames, protection)?;
        Ok(ForeignMapping { mapping, domid })
    }

    /// Maps those of `frames` that the domain has, one after the other; tells of each whether it is
    /// among them. No mapping if the domain has none of them.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::Memory`]; [`Error::Invalid`] for too many frames.
    pub fn map_foreign_present(
        &self,
        domid: Domid,
        frames: &[Gfn],
        protection: Protection,
    ) -> Result<(Option<ForeignMapping>, Vec<bool>)> {
        let (mapping, present) = self.privcmd().map_present(domid, frames, protection)?;
        Ok((mapping.map(|mapping| ForeignMapping { mapping, domid }), present))
    }

    /// Maps `count` pages of a domain's grant table, from page `first` on; the table grows when it
    /// is smaller.
    ///
    /// # Errors
    /// [`Error::Hypercall`], [`Error::Device`].
    pub fn map_grant_table(
        &self,
        domid: Domid,
        first: u32,
        count: u32,
    ) -> Result<GrantTableMapping> {
        let operation = "XENMEM_acquire_resource";
        let mapped = self.privcmd().map_resource(
            domid,
            XENMEM_resource_grant_table,
            XENMEM_resource_grant_table_id_shared,
            first,
            count as usize,
        );
        match mapped {
            Ok(mapping) => Ok(GrantTableMapping { mapping }),
            // No such ioctl (kernels before 4.18), or a hypervisor built without the resource.
            Err(Errno::NOTTY | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let frames = self.grant_table_frames(domid, first, count)?;
                let mapping = self.privcmd().map_frames(domid, &frames, Protection::ReadWrite)?;
                Ok(GrantTableMapping { mapping })
            }
            Err(errno) => Err(Error::hypercall(operation, Some(domid), errno)),
        }
    }

    /// The machine frames of a PV guest's grant table, from page `first` on; the table grows when
    /// it is smaller.
    ///
    /// # Errors
    /// [`Error::Hypercall`], [`Error::BadAnswer`].
    pub fn grant_table_frames(&self, domid: Domid, first: u32, count: u32) -> Result<Vec<Gfn>> {
        type Raw = gnttab_setup_table;
        let operation = "GNTTABOP_setup_table";
        let frames = first.checked_add(count).filter(|frames| *frames <= 1 << 16);
        let Some(frames) = frames else {
            return Err(Error::Invalid { operation, what: "too many frames" });
        };
        let mut list = self.pool().zeroed(frames as usize * 8)?;
        let mut request = [0; size_of::<Raw>()];
        put!(request, Raw { dom: domid.0, nr_frames: frames, frame_list: list.address() });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [GNTTABOP_setup_table, buffer.address(), 1, 0, 0];
        // SAFETY: Xen reads and writes one struct gnttab_setup_table, the size of `buffer`, and
        // writes nr_frames words at frame_list, the size of `list`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_grant_table_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        if get!(buffer.bytes(), Raw, status) != GNTST_okay {
            let what = "the grant table was refused";
            return Err(Error::BadAnswer { operation, domid: Some(domid), what });
        }
        Ok(list.words().skip(first as usize).map(Gfn).collect())
    }

    /// Bytes of one page, of every mapping's granularity.
    pub const PAGE_BYTES: usize = PAGE_BYTES;
}
