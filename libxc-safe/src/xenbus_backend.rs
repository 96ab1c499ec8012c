//! `/dev/xen/xenbus_backend`: the ring between this domain's kernel and a xenstored that runs here.

use std::ops::Deref;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xen_sys::ioctl::xenbus_backend::IOCTL_XENBUS_BACKEND_EVTCHN;
use xen_sys::types::Port;

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::ioctl::ioctl;
use crate::mapping::{Mapping, Protection};

const PATH: &str = "/dev/xen/xenbus_backend";

/// The kernel's ring page, mapped here. Unmapped on drop.
#[derive(Debug)]
pub struct KernelRing {
    mapping: Mapping,
    port: Port,
}

impl KernelRing {
    /// Maps the page.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::NotDom0`]; [`Error::Device`] with ENODEV when the kernel expects
    /// its store in another domain.
    pub fn open() -> Result<Self> {
        let failed = |operation, errno| Error::Device { operation, path: PATH, domid: None, errno };
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::open(PATH, "CONFIG_XEN_BACKEND", errno))?;
        // SAFETY: this ioctl takes no argument.
        let port = unsafe { ioctl(&fd, IOCTL_XENBUS_BACKEND_EVTCHN, &mut ()) }
            .map_err(|errno| failed("ask for the kernel's port", errno))?;
        if port == 0 {
            return Err(failed("ask for the kernel's port", Errno::NODEV));
        }
        let mapping = Mapping::map(&fd, 0, PAGE_BYTES, Protection::ReadWrite)
            .map_err(|errno| failed("map the kernel's xenstore ring", errno))?;
        Ok(Self { mapping, port: Port(port) })
    }

    /// The kernel's port, to which dom0 binds one of its own.
    #[must_use]
    pub fn port(&self) -> Port {
        self.port
    }
}

impl Deref for KernelRing {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}
