//! What Xen says about a domain's grant table.

use xen_sys::grant_table::{GNTST_okay, GNTTABOP_query_size, gnttab_query_size};
use xen_sys::types::Domid;
use xen_sys::xen::__HYPERVISOR_grant_table_op;

use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// How large a grant table is, in frames of 512 entries (of version 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantTableSize {
    /// Frames in use.
    pub frames: u32,
    /// Its limit.
    pub max_frames: u32,
}

impl Xen {
    /// The size of a domain's grant table.
    ///
    /// # Errors
    /// [`Error::Hypercall`], [`Error::BadAnswer`] when there is no such domain.
    pub fn grant_table_size(&self, domid: Domid) -> Result<GrantTableSize> {
        let operation = "GNTTABOP_query_size";
        let mut request = [0; size_of::<gnttab_query_size>()];
        put!(request, gnttab_query_size { dom: domid.0 });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [GNTTABOP_query_size, buffer.address(), 1, 0, 0];
        // SAFETY: Xen reads and writes one struct gnttab_query_size, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_grant_table_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        if get!(buffer.bytes(), gnttab_query_size, status) != GNTST_okay {
            let what = "no grant table is found";
            return Err(Error::BadAnswer { operation, domid: Some(domid), what });
        }
        Ok(GrantTableSize {
            frames: get!(buffer.bytes(), gnttab_query_size, nr_frames),
            max_frames: get!(buffer.bytes(), gnttab_query_size, max_nr_frames),
        })
    }
}
