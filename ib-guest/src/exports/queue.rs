//! Completion channels and completion queues.

use super::device::{context, gone_is_done};
use super::{code, fail, object};
use crate::abi::{ibv_comp_channel, ibv_context, ibv_cq, ibv_wc};
use crate::bell::Bell;
use crate::cache;
use crate::completions::Completions;
use crate::error::{Error, Result};
use crate::session::{Session, lock};
use crate::told::Told;
use ib_protocol::Request;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

/// A completion channel.
#[repr(C)]
pub struct Channel {
    abi: ibv_comp_channel,
    session: Arc<Session>,
    handle: u32,
    bell: Bell,
    /// Its CQs, and where the program has the objects.
    cqs: Mutex<Vec<(Arc<Shared>, usize)>>,
}

/// A completion queue.
#[repr(C)]
pub struct Cq {
    abi: ibv_cq,
    session: Arc<Session>,
    /// Its handle at the backend.
    pub handle: u32,
    /// Asynchronous events about it.
    pub told: Told,
    shared: Arc<Shared>,
}

/// What a CQ shares with its channel.
#[derive(Debug)]
struct Shared {
    ring: Mutex<Completions>,
    /// Completion events.
    told: Told,
}

/// The CQ behind a pointer of the program's.
///
/// # Safety
/// The contract of [`super`]; it is not destroyed while the result lives.
pub unsafe fn cq<'a>(cq: *mut ibv_cq) -> &'a Cq {
    // SAFETY: as the caller vouches, it is one that `ibv_create_cq` made, and `Cq` begins with it.
    unsafe { &*cq.cast::<Cq>() }
}

/// Makes a completion channel.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_comp_channel(
    context: *mut ibv_context,
) -> *mut ibv_comp_channel {
    // SAFETY: by the contract.
    let session = Arc::clone(unsafe { &self::context(context).session });
    let make = || {
        let bell = Bell::new(session.backend)?;
        let handle = session.request(&Request::CreateChannel(bell.port().0))?.handle;
        let abi = ibv_comp_channel { context, fd: bell.descriptor(), refcnt: 0 };
        Ok(Box::new(Channel { abi, session, handle, bell, cqs: Mutex::default() }))
    };
    object(make()).cast()
}

/// Destroys a completion channel.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_comp_channel(channel: *mut ibv_comp_channel) -> c_int {
    // SAFETY: by the contract it is one that `ibv_create_comp_channel` made.
    let object = unsafe { &*channel.cast::<Channel>() };
    if !lock(&object.cqs).is_empty() {
        return libc::EBUSY;
    }
    let done = object.session.request(&Request::DestroyChannel(object.handle)).map(drop);
    let done = gone_is_done(done);
    if done.is_ok() {
        // SAFETY: as above, and nobody uses it any more.
        drop(unsafe { Box::from_raw(channel.cast::<Channel>()) });
    }
    code(done)
}

/// Makes a completion queue.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_cq(
    context: *mut ibv_context,
    entries: c_int,
    cq_context: *mut c_void,
    channel: *mut ibv_comp_channel,
    vector: c_int,
) -> *mut ibv_cq {
    // SAFETY: by the contract.
    let owner = unsafe { self::context(context) };
    // SAFETY: by the contract it is NULL or one that `ibv_create_comp_channel` made.
    let told = unsafe { channel.cast::<Channel>().as_ref() };
    let session = Arc::clone(&owner.session);
    let make = || {
        let entries = u32::try_from(entries).map_err(|_| Error::Invalid("no such size of a CQ"))?;
        let told = told.map_or(0, |channel| channel.handle);
        let (ring, handle) = cache::or_clear(|| {
            Completions::create(&session, entries, told, vector.cast_unsigned())
        })?;
        let abi = ibv_cq {
            context,
            channel,
            cq_context,
            handle,
            cqe: ring.slots().cast_signed(),
            mutex: [0; 5],
            cond: [0; 6],
            comp_events_completed: 0,
            async_events_completed: 0,
        };
        let shared = Arc::new(Shared { ring: Mutex::new(ring), told: Told::default() });
        Ok::<_, Error>(Box::new(Cq { abi, session, handle, told: Told::default(), shared }))
    };
    let made = make().map(|made| (made.handle, Arc::clone(&made.shared), Box::into_raw(made)));
    match made {
        Ok((handle, shared, made)) => {
            lock(&owner.cqs).insert(handle, made.expose_provenance());
            if let Some(told) = told {
                lock(&told.cqs).push((shared, made.expose_provenance()));
            }
            made.cast()
        }
        Err(error) => {
            fail(&error);
            std::ptr::null_mut()
        }
    }
}

/// Destroys a completion queue.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_cq(cq: *mut ibv_cq) -> c_int {
    // SAFETY: by the contract.
    let object = unsafe { self::cq(cq) };
    let done = object.session.request(&Request::DestroyCq(object.handle)).map(drop);
    let done = gone_is_done(done);
    if done.is_ok() {
        // SAFETY: by the contract its context and its channel, if it has one, are still there.
        let (owner, told) =
            unsafe { (context(object.abi.context), object.abi.channel.cast::<Channel>().as_ref()) };
        lock(&owner.cqs).remove(&object.handle);
        if let Some(told) = told {
            lock(&told.cqs).retain(|(shared, _)| !Arc::ptr_eq(shared, &object.shared));
        }
        // Nothing tells of it any more.
        object.shared.told.settle();
        object.told.settle();
        // SAFETY: by the contract it is one of ours, and nobody uses it any more.
        drop(unsafe { Box::from_raw(cq.cast::<Cq>()) });
    }
    code(done)
}

/// Takes completions, at most `entries`.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn poll_cq(cq: *mut ibv_cq, entries: c_int, to: *mut ibv_wc) -> c_int {
    // SAFETY: by the contract.
    let cq = unsafe { self::cq(cq) };
    let most = u32::try_from(entries).unwrap_or(0);
    let polled = lock(&cq.shared.ring).poll(most, |index, completion| {
        let wc = ibv_wc {
            wr_id: completion.wr_id,
            status: completion.status,
            opcode: completion.opcode,
            vendor_err: completion.vendor_err,
            byte_len: completion.byte_len,
            imm_data: completion.imm_data,
            qp_num: completion.qp_num,
            src_qp: completion.src_qp,
            wc_flags: completion.wc_flags,
            pkey_index: completion.pkey_index,
            slid: completion.slid,
            sl: completion.sl,
            dlid_path_bits: completion.dlid_path_bits,
        };
        // SAFETY: by the contract there are `entries` of them to be written, and index is below that.
        unsafe { to.add(index as usize).write(wc) };
    });
    let rung = polled.and_then(|(count, was_full)| match was_full {
        true => cq.session.ring().map(|()| count),
        false => Ok(count),
    });
    match rung {
        Ok(count) => count.cast_signed(),
        Err(error) => {
            fail(&error);
            -1
        }
    }
}

/// Asks for an event at the next completion.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn req_notify_cq(cq: *mut ibv_cq, solicited_only: c_int) -> c_int {
    // SAFETY: by the contract.
    let cq = unsafe { self::cq(cq) };
    code(lock(&cq.shared.ring).arm(solicited_only != 0))
}

impl Channel {
    /// The CQ whose event is the next to be told, which is waited for.
    fn next_event(&self) -> Result<usize> {
        loop {
            self.bell.take()?;
            let cqs = lock(&self.cqs);
            let mut found = None;
            for (shared, address) in cqs.iter() {
                let mut ring = lock(&shared.ring);
                if found.is_some() {
                    if ring.has_event()? {
                        self.bell.keep();
                    }
                } else if ring.take_event()? {
                    shared.told.tell();
                    found = Some(*address);
                }
            }
            if let Some(address) = found {
                return Ok(address);
            }
            drop(cqs);
            if !self.session.is_alive() {
                return Err(Error::Gone);
            }
            self.bell.wait()?;
        }
    }
}

/// Waits for an event, and tells whose it is.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_get_cq_event(
    channel: *mut ibv_comp_channel,
    cq: *mut *mut ibv_cq,
    cq_context: *mut *mut c_void,
) -> c_int {
    // SAFETY: by the contract it is one that `ibv_create_comp_channel` made.
    let channel = unsafe { &*channel.cast::<Channel>() };
    match channel.next_event() {
        Ok(address) => {
            let found: *mut ibv_cq = std::ptr::with_exposed_provenance_mut(address);
            // SAFETY: by the contract both can be written, and the CQ is not destroyed meanwhile.
            unsafe {
                cq.write(found);
                cq_context.write((*found).cq_context);
            }
            0
        }
        Err(error) => {
            fail(&error);
            -1
        }
    }
}

/// Completion events were dealt with; until all are, a CQ cannot be destroyed.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_ack_cq_events(cq: *mut ibv_cq, events: u32) {
    // SAFETY: by the contract; one with unacknowledged events is not destroyed yet.
    unsafe { self::cq(cq) }.shared.told.acknowledge(events);
}

/// CQs keep their size.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_resize_cq(_: *mut ibv_cq, _: c_int) -> c_int {
    libc::EOPNOTSUPP
}
