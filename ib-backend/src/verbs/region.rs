//! Memory regions over pages of a guest.
//!
//! The order of release is what matters most in this crate: in a PV dom0, unmapping a grant while the
//! device holds its page breaks the kernel's page tables, and no later registration works. So a region
//! owns its mapping, and gives it up only when the device has confirmed that it let go.

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use libxc_safe::{Errno, GrantMapping};

use super::ffi::ibv_mr;
use super::objects::Pd;
use super::{done, last_errno};

/// A region, and what is kept for as long as its pages are mapped.
#[derive(Debug)]
pub struct Mr<K> {
    pd: Rc<Pd>,
    raw: NonNull<ibv_mr>,
    pages: ManuallyDrop<(GrantMapping, K)>,
}

impl<K> Drop for Mr<K> {
    fn drop(&mut self) {
        if self.let_go().is_ok() {
            // SAFETY: dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.pages) };
        }
    }
}

impl<K> Mr<K> {
    /// Registers `len` bytes at `offset` of a guest's pages, which the device is to know as `iova`.
    ///
    /// # Errors
    /// What the device answers, and what was to be kept.
    pub fn register(
        pd: &Rc<Pd>,
        pages: GrantMapping,
        offset: usize,
        len: usize,
        iova: u64,
        access: u32,
        kept: K,
    ) -> Result<Self, (Errno, GrantMapping, K)> {
        let access = i32::try_from(access);
        let (true, Ok(access)) =
            (len > 0 && len <= pages.len() && offset <= pages.len() - len, access)
        else {
            return Err((Errno::INVAL, pages, kept));
        };
        let address = ptr::with_exposed_provenance_mut(pages.address() as usize + offset);
        // SAFETY: the domain is alive. The device will read and write the bytes for as long as the
        // region lives: they are mapped for that long, since the mapping is kept in `self` until
        // the device has let go; they are a guest's, outside of every Rust object, and accessed
        // by copies only.
        let raw = unsafe {
            (pd.context().library().ibv_reg_mr_iova)(pd.raw(), address, len, iova, access)
        };
        let Some(raw) = NonNull::new(raw) else { return Err((last_errno(), pages, kept)) };
        Ok(Self { pd: Rc::clone(pd), raw, pages: ManuallyDrop::new((pages, kept)) })
    }

    /// Has the device let go, and gives back the pages, which are still mapped, and what was kept.
    ///
    /// # Errors
    /// What the device answers; the pages stay mapped until this program ends.
    pub fn deregister(self) -> Result<(GrantMapping, K), Errno> {
        let mut this = ManuallyDrop::new(self);
        let outcome = this.let_go();
        // SAFETY: `this` is not dropped, so that this is the only drop of its domain, and it is not used
        // again.
        drop(unsafe { ptr::read(&raw const this.pd) });
        outcome?;
        // SAFETY: taken once only, since `this` is not dropped; the device has let go.
        Ok(unsafe { ManuallyDrop::take(&mut this.pages) })
    }

    /// Deregisters; to be called once.
    fn let_go(&self) -> Result<(), Errno> {
        // SAFETY: the region is ours, and the callers are the ends of `self`.
        let code = unsafe { (self.pd.context().library().ibv_dereg_mr)(self.raw.as_ptr()) };
        // Better a guest that does not end than a broken dom0. The guardian tries again when this program
        // ends.
        done(code).inspect_err(|errno| {
            tracing::error!(
                "{}; its pages stay mapped until xlr-ibd ends",
                self.pd.context().failed("ibv_dereg_mr", *errno)
            );
        })
    }

    /// Its local and remote key.
    #[must_use]
    pub fn keys(&self) -> (u32, u32) {
        // SAFETY: the structure is ours and readable.
        let raw = unsafe { self.raw.as_ref() };
        (raw.lkey, raw.rkey)
    }
}
