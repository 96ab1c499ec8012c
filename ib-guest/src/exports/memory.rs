//! Memory regions.

use super::device::context;
use super::{explain, fail, object, set_errno};
use crate::abi::{ibv_mr, ibv_pd, ibv_qp};
use crate::cache;
use crate::error::{Error, Result};
use crate::pin::Pin;
use crate::region::Directory;
use crate::session::Session;
use ib_protocol::{MrReply, NO_HANDLE, RegMr, Request};
use libxc_safe::Errno;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// A memory region.
#[repr(C)]
struct Mr {
    abi: ibv_mr,
    session: Arc<Session>,
    handle: u32,
    pin: Pin,
}

fn register(
    pd: *mut ibv_pd,
    (addr, length): (*mut c_void, usize),
    iova: u64,
    access: u32,
) -> Result<Box<Mr>> {
    // SAFETY: by the contract of [`super`] it is a protection domain of ours.
    let (owner, domain, owning) = unsafe { ((*pd).context, (*pd).handle, context((*pd).context)) };
    let session = Arc::clone(&owning.session);
    let address = addr.expose_provenance();
    let region = RegMr { iova, length: length as u64, access, ..RegMr::default() };
    let made = match again(&session, domain, address, region) {
        Some(made) => made,
        None => cache::or_clear(|| anew(&session, domain, address, region))?,
    };
    let (pin, handle, MrReply { lkey, rkey }) = made;
    let abi = ibv_mr { context: owner, pd, addr, length, handle, lkey, rkey };
    Ok(Box::new(Mr { abi, session, handle, pin }))
}

/// What is registered: its pages, its handle and its keys.
type Registered = (Pin, u32, MrReply);

/// Registers pages that are still mapped, where there are such.
fn again(session: &Arc<Session>, pd: u32, address: usize, region: RegMr) -> Option<Registered> {
    let (pin, kept) = cache::take(session, address, usize::try_from(region.length).ok()?)?;
    let pages = u32::try_from(pin.references.len()).ok()?;
    match session.request(&Request::RegMr(pd, RegMr { pages, kept, ..region })) {
        Ok(reply) => Some((pin, reply.handle, reply.body())),
        Err(_) => {
            // Why that is, the ordinary way tells.
            cache::drop_taken(session, pin, kept);
            None
        }
    }
}

/// Registers pages that have to be granted and mapped.
fn anew(session: &Session, pd: u32, address: usize, region: RegMr) -> Result<Registered> {
    let length = usize::try_from(region.length).map_err(|_| Error::Invalid("too long a region"))?;
    let pin = Pin::new(session, address, length)?;
    let tell = || {
        let directory = Directory::new(&session.allocator, session.backend, &pin.references)?;
        let pages = u32::try_from(pin.references.len())
            .map_err(|_| Error::Invalid("a region has fewer than 2^32 pages"))?;
        let region = RegMr { pages, directory: directory.first(), ..region };
        session.request(&Request::RegMr(pd, region))
    };
    match tell() {
        Ok(reply) => Ok((pin, reply.handle, reply.body())),
        Err(error) => {
            pin.release();
            Err(error)
        }
    }
}

/// Registers memory.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr(
    pd: *mut ibv_pd,
    addr: *mut c_void,
    length: usize,
    access: c_int,
) -> *mut ibv_mr {
    let iova = addr.expose_provenance() as u64;
    // SAFETY: by the contract.
    unsafe { ibv_reg_mr_iova2(pd, addr, length, iova, access.cast_unsigned()) }
}

/// Registers memory that peers know by another address.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr_iova(
    pd: *mut ibv_pd,
    addr: *mut c_void,
    length: usize,
    iova: u64,
    access: c_int,
) -> *mut ibv_mr {
    // SAFETY: by the contract.
    unsafe { ibv_reg_mr_iova2(pd, addr, length, iova, access.cast_unsigned()) }
}

/// Flags that a device may leave alone: relaxed ordering and its kin.
const OPTIONAL_ACCESS: u32 = 0x3ff0_0000;

/// Registers memory, with optional access flags.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_reg_mr_iova2(
    pd: *mut ibv_pd,
    addr: *mut c_void,
    length: usize,
    iova: u64,
    access: u32,
) -> *mut ibv_mr {
    let made = register(pd, (addr, length), iova, access & !OPTIONAL_ACCESS);
    object(made.inspect_err(|error| explain("ibv_reg_mr", error))).cast()
}

/// Deregisters memory.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_dereg_mr(mr: *mut ibv_mr) -> c_int {
    // SAFETY: by the contract it is one that `ibv_reg_mr` made.
    let object = unsafe { &*mr.cast::<Mr>() };
    let keeps = cache::wants(&object.session, &object.pin);
    let kept = match object.session.request(&Request::DeregMr(object.handle, keeps)) {
        Ok(reply) => reply.handle,
        Err(Error::Gone) => NO_HANDLE,
        // The device did not let go when it was asked before, and the backend keeps what is left.
        Err(Error::Answer { errno: Errno::INVAL, .. }) => NO_HANDLE,
        Err(error) => return fail(&error),
    };
    // SAFETY: as above, and nobody uses it any more.
    let Mr { abi, session, pin, .. } = *unsafe { Box::from_raw(mr.cast::<Mr>()) };
    if kept == NO_HANDLE {
        pin.release();
    } else {
        cache::keep(&session, abi.addr.addr(), abi.length, pin, kept);
    }
    0
}

/// There are no memory windows.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn alloc_mw(_: *mut ibv_pd, _: c_int) -> *mut c_void {
    set_errno(libc::EOPNOTSUPP);
    std::ptr::null_mut()
}

/// See [`alloc_mw`].
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn bind_mw(_: *mut ibv_qp, _: *mut c_void, _: *mut c_void) -> c_int {
    libc::EOPNOTSUPP
}

/// See [`alloc_mw`].
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn dealloc_mw(_: *mut c_void) -> c_int {
    libc::EOPNOTSUPP
}
