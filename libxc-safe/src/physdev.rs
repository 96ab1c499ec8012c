//! Interrupt lines of the host, made known to a domain.

use xen_sys::physdev::{
    MAP_PIRQ_TYPE_GSI, PHYSDEVOP_map_pirq, PHYSDEVOP_unmap_pirq, physdev_map_pirq,
    physdev_unmap_pirq,
};
use xen_sys::types::Domid;
use xen_sys::xen::__HYPERVISOR_physdev_op;

use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

impl Xen {
    /// Gives an interrupt line a number in a domain, the same if that is free; returns the number.
    /// Done already it is no error.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for a number that there cannot be.
    pub fn map_gsi(&self, domid: Domid, gsi: u32) -> Result<u32> {
        let operation = "PHYSDEVOP_map_pirq";
        let invalid = Error::Invalid { operation, what: "there is no such interrupt" };
        let Ok(line) = i32::try_from(gsi) else { return Err(invalid) };
        let mut request = [0; size_of::<physdev_map_pirq>()];
        put!(
            request,
            physdev_map_pirq {
                domid: domid.0,
                r#type: MAP_PIRQ_TYPE_GSI as i32,
                index: line,
                pirq: line,
            }
        );
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [PHYSDEVOP_map_pirq, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads and writes one struct physdev_map_pirq, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_physdev_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        u32::try_from(get!(buffer.bytes(), physdev_map_pirq, pirq)).map_err(|_| invalid)
    }

    /// Takes such a number back.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when the domain has no such number.
    pub fn unmap_pirq(&self, domid: Domid, pirq: u32) -> Result<()> {
        let operation = "PHYSDEVOP_unmap_pirq";
        let Ok(pirq) = i32::try_from(pirq) else {
            return Err(Error::Invalid { operation, what: "there is no such interrupt" });
        };
        let mut request = [0; size_of::<physdev_unmap_pirq>()];
        put!(request, physdev_unmap_pirq { domid: domid.0, pirq: pirq });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [PHYSDEVOP_unmap_pirq, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads one struct physdev_unmap_pirq, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_physdev_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        Ok(())
    }
}
