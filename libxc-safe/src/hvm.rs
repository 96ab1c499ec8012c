//! What HVM and PVH guests add: their parameters.

use xen_sys::hvm::hvm_op::{HVMOP_get_param, HVMOP_set_param, xen_hvm_param};
use xen_sys::types::Domid;
use xen_sys::xen::__HYPERVISOR_hvm_op;

use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

impl Xen {
    /// Sets a parameter (`HVM_PARAM_*`) of an HVM or PVH guest.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL for a PV guest, EEXIST for what can be set only once.
    pub fn set_hvm_param(&self, domid: Domid, index: u32, value: u64) -> Result<()> {
        self.hvm_param_call("HVMOP_set_param", HVMOP_set_param, domid, index, value)?;
        Ok(())
    }

    /// A parameter (`HVM_PARAM_*`) of an HVM or PVH guest.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL for a PV guest.
    pub fn hvm_param(&self, domid: Domid, index: u32) -> Result<u64> {
        self.hvm_param_call("HVMOP_get_param", HVMOP_get_param, domid, index, 0)
    }

    fn hvm_param_call(
        &self,
        operation: &'static str,
        command: u64,
        domid: Domid,
        index: u32,
        value: u64,
    ) -> Result<u64> {
        let mut request = [0; size_of::<xen_hvm_param>()];
        put!(request, xen_hvm_param { domid: domid.0, index: index, value: value });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [command, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads and writes one struct xen_hvm_param, the size of `buffer`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_hvm_op, arguments) }
            .map_err(|errno| Error::hypercall(operation, Some(domid), errno))?;
        Ok(get!(buffer.bytes(), xen_hvm_param, value))
    }
}
