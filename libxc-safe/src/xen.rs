//! The open hypervisor: the device, the buffers, the revisions that it speaks.

use std::sync::OnceLock;

use xen_sys::revision::{DomctlRevision, SysctlRevision};

use crate::buffer::Pool;
use crate::error::Result;
use crate::privcmd::Privcmd;

/// Control of the hypervisor, from dom0. Everything is a method of this; all take `&self` and may
/// be called from several threads. Nothing is kept in Xen by it: dropping it undoes nothing.
pub struct Xen {
    privcmd: Privcmd,
    pool: Pool,
    release: (u16, u16),
    domctl: DomctlRevision,
    sysctl: SysctlRevision,
    highest_cpu: OnceLock<u32>,
    /// Whether page table entries of this process can be cleared by hypercall.
    pub(crate) own_page_tables: OnceLock<bool>,
}

impl std::fmt::Debug for Xen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xen")
            .field("release", &self.release)
            .field("domctl", &self.domctl)
            .field("sysctl", &self.sysctl)
            .finish_non_exhaustive()
    }
}

impl Xen {
    /// Opens the hypercall devices and finds out which revisions this Xen speaks.
    ///
    /// # Errors
    /// [`crate::Error::NotRoot`], [`crate::Error::NotDom0`], [`crate::Error::NotPrivileged`],
    /// [`crate::Error::WrongRevision`]: each of them says what to do.
    pub fn open() -> Result<Self> {
        let mut xen = Self {
            privcmd: Privcmd::open()?,
            pool: Pool::open()?,
            release: (0, 0),
            // Replaced below, before anything is asked in them.
            domctl: DomctlRevision::V0x12,
            sysctl: SysctlRevision::V0x13,
            highest_cpu: OnceLock::new(),
            own_page_tables: OnceLock::new(),
        };
        xen.release = xen.read_release()?;
        xen.domctl = xen.detect_domctl()?;
        xen.sysctl = xen.detect_sysctl()?;
        Ok(xen)
    }

    /// Xen's release, major and minor.
    #[must_use]
    pub fn release(&self) -> (u16, u16) {
        self.release
    }

    /// The revision of domctl that this Xen speaks.
    #[must_use]
    pub fn domctl_revision(&self) -> DomctlRevision {
        self.domctl
    }

    /// The revision of sysctl that this Xen speaks.
    #[must_use]
    pub fn sysctl_revision(&self) -> SysctlRevision {
        self.sysctl
    }

    /// Whether hypercall buffers come from `/dev/xen/hypercall` and not from locked memory.
    #[must_use]
    pub fn has_hypercall_device(&self) -> bool {
        self.pool.has_device()
    }

    /// How many hypercall buffers wait to be used again: it stays bounded whatever is called.
    #[must_use]
    pub fn pooled_buffers(&self) -> usize {
        self.pool.waiting()
    }

    pub(crate) fn privcmd(&self) -> &Privcmd {
        &self.privcmd
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The highest CPU number that this host can have; asked once.
    pub(crate) fn highest_cpu(&self) -> Result<u32> {
        if let Some(highest) = self.highest_cpu.get() {
            return Ok(*highest);
        }
        let highest = self.physinfo()?.max_cpu_id;
        Ok(*self.highest_cpu.get_or_init(|| highest))
    }
}
