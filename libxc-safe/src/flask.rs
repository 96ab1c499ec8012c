//! The Flask security module (XSM).

use rustix::io::Errno;
use xen_sys::xen::__HYPERVISOR_xsm_op;
use xen_sys::xsm::flask_op::{FLASK_GETENFORCE, XEN_FLASK_INTERFACE_VERSION, xen_flask_op};

use crate::error::{Error, Result};
use crate::layout::put;
use crate::xen::Xen;

impl Xen {
    /// Whether a Flask policy rules what domains may do: then every domain needs a label of its own,
    /// and 0 is none.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn has_flask(&self) -> Result<bool> {
        let mut request = [0; size_of::<xen_flask_op>()];
        put!(
            request,
            xen_flask_op { cmd: FLASK_GETENFORCE, interface_version: XEN_FLASK_INTERFACE_VERSION }
        );
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [buffer.address(), 0, 0, 0, 0];
        // SAFETY: Xen reads and writes one struct xen_flask_op, the size of `buffer`, and
        // FLASK_GETENFORCE carries no address.
        match unsafe { self.privcmd().hypercall(__HYPERVISOR_xsm_op, arguments) } {
            Ok(_) => Ok(true),
            // Another module, or none.
            Err(Errno::NOSYS) => Ok(false),
            // A policy that forbids the question is one.
            Err(Errno::ACCESS | Errno::PERM) => Ok(true),
            Err(errno) => Err(Error::hypercall("FLASK_GETENFORCE", None, errno)),
        }
    }
}
