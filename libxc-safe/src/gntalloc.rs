//! `/dev/xen/gntalloc`: pages of this process, granted to another domain.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xen_sys::ioctl::gntalloc::{
    GNTALLOC_FLAG_WRITABLE, IOCTL_GNTALLOC_ALLOC_GREF, IOCTL_GNTALLOC_DEALLOC_GREF,
    IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, ioctl_gntalloc_alloc_gref, ioctl_gntalloc_dealloc_gref,
    ioctl_gntalloc_unmap_notify,
};
use xen_sys::types::{Domid, GrantRef};

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::gntdev::UnmapNotify;
use crate::ioctl::ioctl;
use crate::layout::{Field, get, put};
use crate::mapping::{Mapping, Protection};

pub(crate) const PATH: &str = "/dev/xen/gntalloc";
/// The flag, as wide as the field that takes it.
const WRITABLE: u16 = GNTALLOC_FLAG_WRITABLE as u16;
/// Where the references start in the argument.
const IDS: usize = std::mem::offset_of!(ioctl_gntalloc_alloc_gref, gref_ids);

/// The open device. Granted pages keep it open for as long as they live.
#[derive(Clone, Debug)]
pub struct GrantAllocator {
    fd: Arc<OwnedFd>,
}

/// Zeroed pages that another domain may map. On drop they are unmapped here and the references
/// given back; the kernel frees each page when the other domain has unmapped it too.
#[derive(Debug)]
pub struct GrantedPages {
    // Dropped in this order: unmapped first, then given back.
    mapping: Mapping,
    held: Held,
    references: Vec<GrantRef>,
}

/// References that are held, and given back on drop. The kernel keeps their pages for as long as
/// somebody has them mapped.
#[derive(Debug)]
pub(crate) struct Held {
    fd: Arc<OwnedFd>,
    index: u64,
    count: u32,
}

impl Held {
    pub(crate) const fn index(&self) -> u64 {
        self.index
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut argument =
            ioctl_gntalloc_dealloc_gref { index: self.index, count: self.count, _hole0: [0; 4] };
        // SAFETY: the driver reads `argument`. What is still mapped at this index holds its pages itself.
        let outcome = unsafe { ioctl(&*self.fd, IOCTL_GNTALLOC_DEALLOC_GREF, &raw mut argument) };
        debug_assert!(outcome.is_ok(), "giving granted pages back: {outcome:?}");
    }
}

impl AsFd for GrantAllocator {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Deref for GrantedPages {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

impl GrantedPages {
    /// What it is made of.
    pub(crate) fn into_parts(self) -> (Mapping, Held, Vec<GrantRef>) {
        (self.mapping, self.held, self.references)
    }

    /// The references to tell the other domain, one per page.
    #[must_use]
    pub fn references(&self) -> &[GrantRef] {
        &self.references
    }

    /// Says what the kernel is to do when this mapping goes away; the byte must lie in the page
    /// `page`, and there is one notification per page.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Device`].
    pub fn notify_on_unmap(&self, page: usize, notify: UnmapNotify) -> Result<()> {
        if page >= self.references.len() {
            let (offset, size) = (page.saturating_mul(PAGE_BYTES), self.mapping.len());
            return Err(Error::OutOfBounds { offset, len: PAGE_BYTES, size });
        }
        notify.check(PAGE_BYTES)?;
        let (action, byte, event_channel_port) = notify.parts();
        let mut argument = ioctl_gntalloc_unmap_notify {
            index: self.held.index + (page * PAGE_BYTES) as u64 + byte,
            action,
            event_channel_port,
        };
        // SAFETY: the driver reads `argument`; the byte that it may clear later lies in the
        // mapping, checked above, to which no reference exists.
        unsafe { ioctl(&*self.held.fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &raw mut argument) }
            .map_err(|errno| device("set the unmap notification", None, errno))?;
        Ok(())
    }
}

impl GrantAllocator {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::NotDom0`].
    pub fn open() -> Result<Self> {
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::open(PATH, "xen-gntalloc", errno))?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Allocates `count` pages and grants them to `domid`, for writing too if `writable`. Here
    /// they can always be written. No child of this process has them.
    ///
    /// # Errors
    /// [`Error::Device`]; ENOSPC beyond the kernel's limit for all of them (1024 pages unless the
    /// module is told otherwise).
    pub fn allocate(&self, domid: Domid, count: usize, writable: bool) -> Result<GrantedPages> {
        let operation = "grant pages";
        let Some(pages) = u32::try_from(count).ok().filter(|count| *count > 0) else {
            return Err(Error::Invalid { operation, what: "no pages, or too many" });
        };
        let mut argument = vec![0; (IDS + count * 4).max(size_of::<ioctl_gntalloc_alloc_gref>())];
        put!(
            argument,
            ioctl_gntalloc_alloc_gref {
                domid: domid.0,
                flags: if writable { WRITABLE } else { 0 },
                count: pages,
            }
        );
        // SAFETY: the driver reads the head and writes it back with `count` references of 4 bytes
        // after it, for which `argument` has room.
        unsafe { ioctl(&*self.fd, IOCTL_GNTALLOC_ALLOC_GREF, argument.as_mut_ptr()) }
            .map_err(|errno| device(operation, Some(domid), errno))?;
        let index = get!(argument, ioctl_gntalloc_alloc_gref, index);
        let held = Held { fd: Arc::clone(&self.fd), index, count: pages };
        let ids = argument[IDS..].chunks_exact(4).take(count);
        let references = ids.map(|id| GrantRef(u32::get(id))).collect();
        let mapping = Mapping::map(&*self.fd, index, count * PAGE_BYTES, Protection::ReadWrite)
            .map_err(|errno| device(operation, Some(domid), errno))?;
        // A child that lives on would keep what tells the other domain of this process' end.
        mapping.inherited(false).map_err(|errno| device(operation, Some(domid), errno))?;
        Ok(GrantedPages { mapping, held, references })
    }
}

fn device(operation: &'static str, domid: Option<Domid>, errno: Errno) -> Error {
    Error::Device { operation, path: PATH, domid, errno }
}
