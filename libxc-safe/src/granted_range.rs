//! Memory that this process has already, granted to another domain where it is: granted pages take the
//! place of its own, at the same addresses and with the same contents.
//!
//! The kernel grants only pages that it has made for that. So these are filled first and then moved over
//! the old ones in one step: an address always has memory behind it.

use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags};
use xen_sys::types::{Domid, GrantRef};

use crate::buffer::PAGE_BYTES;
use crate::error::{Error, Result};
use crate::gntalloc::{GrantAllocator, Held, PATH};

/// Pages of this process at addresses of its own that another domain may map. When it is dropped, the
/// references are given back once the memory is unmapped too; until then it stays as it is.
#[derive(Debug)]
pub struct GrantedRange {
    start: NonNull<u8>,
    references: Vec<GrantRef>,
    held: Held,
}

// SAFETY: it owns no reference into the memory, and the kernel's handles hang on no thread.
unsafe impl Send for GrantedRange {}

impl GrantedRange {
    /// The references to tell the other domain, one per page.
    #[must_use]
    pub fn references(&self) -> &[GrantRef] {
        &self.references
    }

    /// Where it lies in the allocator's device, in bytes: no two ranges of one allocator have the same, and
    /// `/proc/self/maps` shows it.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.held.index()
    }

    /// Puts ordinary memory back in its place, with what is in it now.
    ///
    /// # Safety
    /// The range is still the one that was granted: nothing else was mapped there since. No thread
    /// changes it meanwhile, as what it writes could be lost.
    ///
    /// # Errors
    /// [`Error::Device`]: it stays as it is.
    pub unsafe fn restore(self) -> Result<()> {
        let len = self.references.len() * PAGE_BYTES;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let fresh =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE) };
        let fresh = fresh.map_err(|errno| failed("put ordinary memory back", None, errno))?;
        // SAFETY: `fresh` is a new mapping of `len` bytes that nobody else knows. The range is mapped
        // and of that length, as the caller vouches.
        unsafe { replace(self.start, fresh.cast(), len) }
            .map_err(|errno| failed("put ordinary memory back", None, errno))
    }
}

impl GrantAllocator {
    /// Grants `pages` pages of memory at `start` to `domid`, for reading and writing.
    ///
    /// # Safety
    /// The range is private, anonymous memory of this process, all of it mapped for reading and writing,
    /// and stays mapped until the result is restored or dropped. No thread changes it meanwhile, as
    /// what it writes could be lost; this thread's own stack is not in it. Whoever accesses it afterwards
    /// bears that the other domain changes it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `start` is not the start of a page; as [`GrantAllocator::allocate`].
    pub unsafe fn grant_in_place(
        &self,
        domid: Domid,
        start: NonNull<u8>,
        pages: usize,
    ) -> Result<GrantedRange> {
        let operation = "grant memory where it is";
        if !start.addr().get().is_multiple_of(PAGE_BYTES) {
            return Err(Error::Invalid { operation, what: "not the start of a page" });
        }
        let (mapping, held, references) = self.allocate(domid, pages, true)?.into_parts();
        let len = mapping.len();
        // A child has what it had.
        mapping.inherited(true).map_err(|errno| failed(operation, Some(domid), errno))?;
        // From here on the mapping belongs to `replace`.
        let fresh = mapping.into_raw();
        // SAFETY: `fresh` is a mapping of `len` bytes that nobody else knows. The range is mapped and of
        // that length, as the caller vouches.
        unsafe { replace(start, fresh.as_ptr(), len) }
            .map_err(|errno| failed(operation, Some(domid), errno))?;
        Ok(GrantedRange { start, references, held })
    }
}

/// Gives the memory at `start` the pages at `fresh`, with the old contents. When that fails, `fresh` is
/// unmapped and nothing else is changed.
///
/// # Safety
/// `fresh` is a mapping of `len` bytes, writable, that the caller owns and gives up. `len` bytes at
/// `start` are mapped, can be read, and no Rust object is in them whose type they would break.
unsafe fn replace(start: NonNull<u8>, fresh: *mut u8, len: usize) -> Result<(), Errno> {
    // SAFETY: both are mapped and of that length, as the caller vouches, and do not overlap: the kernel
    // chose the place of `fresh` where nothing was mapped.
    unsafe { ptr::copy_nonoverlapping(start.as_ptr(), fresh, len) };
    let to = start.as_ptr().cast();
    // SAFETY: the mapping at `fresh` is the caller's and moves as a whole; what it replaces has the
    // same length, and the same contents stand there afterwards.
    match unsafe { rustix::mm::mremap_fixed(fresh.cast(), len, len, MremapFlags::MAYMOVE, to) } {
        Ok(_) => Ok(()),
        Err(errno) => {
            // SAFETY: the mapping is still where it was, and is the caller's to give up.
            let _ = unsafe { rustix::mm::munmap(fresh.cast(), len) };
            Err(errno)
        }
    }
}

fn failed(operation: &'static str, domid: Option<Domid>, errno: Errno) -> Error {
    Error::Device { operation, path: PATH, domid, errno }
}
