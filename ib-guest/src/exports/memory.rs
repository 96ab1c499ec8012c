//! Memory regions.

use super::device::{context, gone_is_done};
use super::{code, explain, object, set_errno};
use crate::abi::{ibv_mr, ibv_pd, ibv_qp};
use crate::error::{Error, Result};
use crate::pin::Pin;
use crate::region::Directory;
use crate::session::Session;
use ib_protocol::{MrReply, RegMr, Request};
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
    let pin = Pin::new(&session, addr.expose_provenance(), length)?;
    let reply = tell(&session, domain, &pin, (iova, length as u64), access);
    let (handle, keys) = match reply {
        Ok(reply) => reply,
        Err(error) => {
            pin.release();
            return Err(error);
        }
    };
    let MrReply { lkey, rkey } = keys;
    let abi = ibv_mr { context: owner, pd, addr, length, handle, lkey, rkey };
    Ok(Box::new(Mr { abi, session, handle, pin }))
}

fn tell(
    session: &Session,
    domain: u32,
    pin: &Pin,
    (iova, length): (u64, u64),
    access: u32,
) -> Result<(u32, MrReply)> {
    let directory = Directory::new(&session.allocator, session.backend, &pin.references)?;
    let pages = u32::try_from(pin.references.len())
        .map_err(|_| Error::Invalid("a region has fewer than 2^32 pages"))?;
    let region = RegMr { iova, length, access, pages, directory: directory.first() };
    let reply = session.request(&Request::RegMr(domain, region))?;
    Ok((reply.handle, reply.body()))
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
    let done = gone_is_done(object.session.request(&Request::DeregMr(object.handle)).map(drop));
    if done.is_ok() {
        // SAFETY: as above, and nobody uses it any more.
        let object = unsafe { Box::from_raw(mr.cast::<Mr>()) };
        object.pin.release();
    }
    code(done)
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
