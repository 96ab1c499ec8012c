//! Queue pairs: making them, changing their state, posting work.

use super::device::{context, gone_is_done};
use super::queue::cq;
use super::{code, explain, fail, object};
use crate::abi::{
    ibv_ah_attr, ibv_pd, ibv_qp, ibv_qp_attr, ibv_qp_cap, ibv_qp_init_attr, ibv_recv_wr,
    ibv_send_wr, ibv_sge,
};
use crate::cache;
use crate::error::{Error, Result};
use crate::session::{Session, lock};
use crate::told::Told;
use crate::work::{Payload, Rings};
use ib_protocol::{CreateQp, QpAttributes, Request, SendWork, Sge, opcode};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A queue pair.
#[repr(C)]
pub struct Qp {
    abi: ibv_qp,
    session: Arc<Session>,
    handle: u32,
    /// `enum ibv_qp_state`, as it was changed to last.
    state: AtomicU32,
    rings: Mutex<Rings>,
    /// Asynchronous events about it.
    pub told: Told,
    cap: ibv_qp_cap,
    sq_sig_all: c_int,
}

/// States of a QP.
const RESET: u32 = 0;
const READY_TO_SEND: u32 = 3;
/// `enum ibv_qp_attr_mask`: its state.
const STATE: u32 = 1;
/// `enum ibv_send_flags`: the data itself is in the request.
const INLINE: u32 = 8;

/// The QP behind a pointer of the program's.
///
/// # Safety
/// The contract of [`super`]; it is not destroyed while the result lives.
pub unsafe fn qp<'a>(qp: *mut ibv_qp) -> &'a Qp {
    // SAFETY: as the caller vouches, it is one that `ibv_create_qp` made, and `Qp` begins with it.
    unsafe { &*qp.cast::<Qp>() }
}

fn make(
    pd: *mut ibv_pd,
    handle: u32,
    session: &Arc<Session>,
    wanted: &ibv_qp_init_attr,
) -> Result<Box<Qp>> {
    if wanted.send_cq.is_null() || wanted.recv_cq.is_null() || !wanted.srq.is_null() {
        return Err(Error::Invalid("a QP needs two CQs, and there are no shared receive queues"));
    }
    // SAFETY: by the contract these are CQs of ours.
    let (send_cq, recv_cq) = unsafe { (cq(wanted.send_cq).handle, cq(wanted.recv_cq).handle) };
    let cap = wanted.cap;
    let create = CreateQp {
        qp_type: wanted.qp_type,
        send_cq,
        recv_cq,
        sq_sig_all: u32::from(wanted.sq_sig_all != 0),
        max_send_wr: cap.max_send_wr,
        max_recv_wr: cap.max_recv_wr,
        max_send_sge: cap.max_send_sge,
        max_recv_sge: cap.max_recv_sge,
        max_inline_data: cap.max_inline_data,
        directory: 0,
    };
    let (rings, own, reply) = cache::or_clear(|| Rings::create(session, handle, create))?;
    // SAFETY: by the contract the protection domain is one of ours.
    let context = unsafe { (*pd).context };
    let abi = ibv_qp {
        context,
        qp_context: wanted.qp_context,
        pd,
        send_cq: wanted.send_cq,
        recv_cq: wanted.recv_cq,
        srq: std::ptr::null_mut(),
        handle: own,
        qp_num: reply.qp_num,
        state: RESET,
        qp_type: wanted.qp_type,
        mutex: [0; 5],
        cond: [0; 6],
        events_completed: 0,
    };
    Ok(Box::new(Qp {
        abi,
        session: Arc::clone(session),
        handle: own,
        state: AtomicU32::new(RESET),
        rings: Mutex::new(rings),
        told: Told::default(),
        cap,
        sq_sig_all: wanted.sq_sig_all,
    }))
}

/// Makes a queue pair.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_create_qp(
    pd: *mut ibv_pd,
    wanted: *mut ibv_qp_init_attr,
) -> *mut ibv_qp {
    // SAFETY: by the contract.
    let (owner, handle, wanted) = unsafe { (context((*pd).context), (*pd).handle, &*wanted) };
    let made = make(pd, handle, &owner.session, wanted);
    let made = object(made.inspect_err(|error| explain("ibv_create_qp", error)));
    // SAFETY: it was made just now, or is NULL.
    if let Some(qp) = unsafe { made.as_ref() } {
        lock(&owner.qps).insert(qp.handle, made.expose_provenance());
    }
    made.cast()
}

/// Destroys a queue pair.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_destroy_qp(qp: *mut ibv_qp) -> c_int {
    // SAFETY: by the contract.
    let object = unsafe { self::qp(qp) };
    let done = gone_is_done(object.session.request(&Request::DestroyQp(object.handle)).map(drop));
    if done.is_ok() {
        // SAFETY: by the contract its context is still there.
        lock(unsafe { &context(object.abi.context).qps }).remove(&object.handle);
        object.told.settle();
        // SAFETY: by the contract it is one of ours, and nobody uses it any more.
        drop(unsafe { Box::from_raw(qp.cast::<Qp>()) });
    }
    code(done)
}

/// Changes a queue pair.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_modify_qp(
    qp: *mut ibv_qp,
    attributes: *mut ibv_qp_attr,
    mask: c_int,
) -> c_int {
    // SAFETY: by the contract.
    let (object, attributes) = unsafe { (self::qp(qp), &*attributes) };
    let mask = mask.cast_unsigned();
    let request = Request::ModifyQp(object.handle, mask, to_wire(attributes));
    let done = object.session.request(&request).map(drop);
    if done.is_ok() && mask & STATE != 0 {
        object.state.store(attributes.qp_state, Ordering::Relaxed);
        // SAFETY: by the contract nobody else changes the structure meanwhile; `object` does not read it.
        unsafe { (&raw mut (*qp).state).write(attributes.qp_state) };
    }
    code(done)
}

/// Asks for the attributes of a queue pair.
///
/// # Safety
/// The contract of [`super`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_query_qp(
    qp: *mut ibv_qp,
    attributes: *mut ibv_qp_attr,
    mask: c_int,
    init: *mut ibv_qp_init_attr,
) -> c_int {
    // SAFETY: by the contract.
    let object = unsafe { self::qp(qp) };
    let request = Request::QueryQp(object.handle, mask.cast_unsigned());
    let answer: QpAttributes = match object.session.request(&request) {
        Ok(reply) => reply.body(),
        Err(error) => return fail(&error),
    };
    object.state.store(answer.qp_state, Ordering::Relaxed);
    let init_attributes = ibv_qp_init_attr {
        qp_context: object.abi.qp_context,
        send_cq: object.abi.send_cq,
        recv_cq: object.abi.recv_cq,
        srq: std::ptr::null_mut(),
        cap: object.cap,
        qp_type: object.abi.qp_type,
        sq_sig_all: object.sq_sig_all,
    };
    // SAFETY: by the contract both can be written, and nobody else changes the QP's structure.
    unsafe {
        attributes.write(from_wire(&answer, object.cap));
        init.write(init_attributes);
        (&raw mut (*qp).state).write(answer.qp_state);
    }
    0
}

fn to_wire(from: &ibv_qp_attr) -> QpAttributes {
    let path = &from.ah_attr;
    let mut dgid = [0; 16];
    for (to, half) in dgid.chunks_exact_mut(8).zip(path.dgid) {
        to.copy_from_slice(&half.to_ne_bytes());
    }
    QpAttributes {
        qp_state: from.qp_state,
        cur_qp_state: from.cur_qp_state,
        path_mtu: from.path_mtu,
        path_mig_state: from.path_mig_state,
        qkey: from.qkey,
        rq_psn: from.rq_psn,
        sq_psn: from.sq_psn,
        dest_qp_num: from.dest_qp_num,
        qp_access_flags: from.qp_access_flags,
        dgid,
        flow_label: path.flow_label,
        rate_limit: from.rate_limit,
        dlid: path.dlid,
        pkey_index: from.pkey_index,
        sgid_index: path.sgid_index,
        hop_limit: path.hop_limit,
        traffic_class: path.traffic_class,
        sl: path.sl,
        src_path_bits: path.src_path_bits,
        static_rate: path.static_rate,
        is_global: path.is_global,
        ah_port_num: path.port_num,
        port_num: from.port_num,
        timeout: from.timeout,
        retry_cnt: from.retry_cnt,
        rnr_retry: from.rnr_retry,
        min_rnr_timer: from.min_rnr_timer,
        max_rd_atomic: from.max_rd_atomic,
        max_dest_rd_atomic: from.max_dest_rd_atomic,
        en_sqd_async_notify: from.en_sqd_async_notify,
        ..QpAttributes::default()
    }
}

fn from_wire(from: &QpAttributes, cap: ibv_qp_cap) -> ibv_qp_attr {
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&from.dgid[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    ibv_qp_attr {
        qp_state: from.qp_state,
        cur_qp_state: from.cur_qp_state,
        path_mtu: from.path_mtu,
        path_mig_state: from.path_mig_state,
        qkey: from.qkey,
        rq_psn: from.rq_psn,
        sq_psn: from.sq_psn,
        dest_qp_num: from.dest_qp_num,
        qp_access_flags: from.qp_access_flags,
        cap,
        ah_attr: ibv_ah_attr {
            dgid: [half(0), half(8)],
            flow_label: from.flow_label,
            sgid_index: from.sgid_index,
            hop_limit: from.hop_limit,
            traffic_class: from.traffic_class,
            dlid: from.dlid,
            sl: from.sl,
            src_path_bits: from.src_path_bits,
            static_rate: from.static_rate,
            is_global: from.is_global,
            port_num: from.ah_port_num,
        },
        pkey_index: from.pkey_index,
        en_sqd_async_notify: from.en_sqd_async_notify,
        sq_draining: from.sq_draining,
        max_rd_atomic: from.max_rd_atomic,
        max_dest_rd_atomic: from.max_dest_rd_atomic,
        min_rnr_timer: from.min_rnr_timer,
        port_num: from.port_num,
        timeout: from.timeout,
        retry_cnt: from.retry_cnt,
        rnr_retry: from.rnr_retry,
        rate_limit: from.rate_limit,
        ..ibv_qp_attr::default()
    }
}

/// Most scatter-gather entries of one request, by the protocol.
const SGES_MAX: usize = 256;

/// The entries of a request, in the protocol's form.
///
/// # Safety
/// `count` entries can be read at `list`.
unsafe fn entries(list: *const ibv_sge, count: c_int, to: &mut Vec<Sge>) -> Result<()> {
    let wrong = Error::Invalid("no such number of scatter-gather entries");
    let count = usize::try_from(count).ok().filter(|count| *count <= SGES_MAX).ok_or(wrong)?;
    to.clear();
    for index in 0..count {
        // SAFETY: as the caller vouches.
        let sge = unsafe { list.add(index).read() };
        to.push(Sge { addr: sge.addr, length: sge.length, lkey: sge.lkey });
    }
    Ok(())
}

/// Posts one send.
///
/// # Safety
/// The request, and the memory of one that is inline, can be read as the contract of [`super`] says.
unsafe fn send(rings: &mut Rings, wr: &ibv_send_wr, sges: &mut Vec<Sge>) -> Result<()> {
    let atomic = matches!(wr.opcode, opcode::ATOMIC_CMP_AND_SWP | opcode::ATOMIC_FETCH_AND_ADD);
    let mut work = SendWork {
        wr_id: wr.wr_id,
        opcode: wr.opcode,
        send_flags: wr.send_flags,
        imm_data: wr.imm_data,
        remote_addr: wr.remote_addr,
        ..SendWork::default()
    };
    if atomic {
        work.rkey = wr.atomic_rkey;
        work.compare_add = wr.rkey_or_compare_add;
        work.swap = wr.swap;
    } else {
        // The first four bytes of the union's member.
        work.rkey = wr.rkey_or_compare_add as u32;
    }
    // SAFETY: as the caller vouches.
    unsafe { entries(wr.sg_list, wr.num_sge, sges) }?;
    if wr.send_flags & INLINE == 0 {
        return rings.send(&work, Payload::Scattered(sges));
    }
    // What is too long is refused before it is looked at: it need not be readable.
    if sges.iter().map(|sge| u64::from(sge.length)).sum::<u64>() > u64::from(rings.inline_max()) {
        return Err(Error::Invalid("more inline data than max_inline_data"));
    }
    let piece = |sge: &Sge| match sge.length {
        // Without a byte there need not be an address.
        0 => &[][..],
        length => {
            let start = std::ptr::with_exposed_provenance(sge.addr as usize);
            // SAFETY: inline data is the program's own memory, readable during the call and changed by
            // nobody meanwhile, as verbs demands; it is copied before the call returns.
            unsafe { std::slice::from_raw_parts(start, length as usize) }
        }
    };
    let pieces: Vec<&[u8]> = sges.iter().map(piece).collect();
    rings.send(&work, Payload::Inline(&pieces))
}

/// Posts sends; the first that cannot be posted ends the list.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn post_send(
    qp: *mut ibv_qp,
    mut wr: *mut ibv_send_wr,
    bad: *mut *mut ibv_send_wr,
) -> c_int {
    // SAFETY: by the contract.
    let qp = unsafe { self::qp(qp) };
    let mut outcome = Ok(());
    if qp.state.load(Ordering::Relaxed) < READY_TO_SEND {
        outcome = Err(Error::Invalid("the QP is not ready to send"));
    }
    let mut rings = lock(&qp.rings);
    let mut sges = Vec::new();
    // SAFETY: by the contract requests form a list that ends with NULL.
    while let (Ok(()), Some(now)) = (&outcome, unsafe { wr.as_ref() }) {
        // SAFETY: by the contract.
        outcome = unsafe { send(&mut rings, now, &mut sges) };
        if outcome.is_ok() {
            wr = now.next;
        }
    }
    let told = publish(qp, &mut rings);
    if outcome.is_err() {
        // SAFETY: by the contract it can be written.
        unsafe { bad.write(wr) };
    }
    code(outcome.and(told))
}

/// Posts receives; the first that cannot be posted ends the list.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn post_recv(
    qp: *mut ibv_qp,
    mut wr: *mut ibv_recv_wr,
    bad: *mut *mut ibv_recv_wr,
) -> c_int {
    // SAFETY: by the contract.
    let qp = unsafe { self::qp(qp) };
    let mut outcome = Ok(());
    if qp.state.load(Ordering::Relaxed) == RESET {
        outcome = Err(Error::Invalid("the QP is reset"));
    }
    let mut rings = lock(&qp.rings);
    let mut sges = Vec::new();
    // SAFETY: by the contract requests form a list that ends with NULL.
    while let (Ok(()), Some(now)) = (&outcome, unsafe { wr.as_ref() }) {
        // SAFETY: by the contract.
        outcome = unsafe { entries(now.sg_list, now.num_sge, &mut sges) }
            .and_then(|()| rings.receive(now.wr_id, &sges));
        if outcome.is_ok() {
            wr = now.next;
        }
    }
    let told = publish(qp, &mut rings);
    if outcome.is_err() {
        // SAFETY: by the contract it can be written.
        unsafe { bad.write(wr) };
    }
    code(outcome.and(told))
}

fn publish(qp: &Qp, rings: &mut Rings) -> Result<()> {
    match rings.publish()? {
        true => qp.session.ring(),
        false => Ok(()),
    }
}

/// There are no shared receive queues.
///
/// # Safety
/// The contract of [`super`].
pub unsafe extern "C" fn post_srq_recv(
    _: *mut c_void,
    wr: *mut ibv_recv_wr,
    bad: *mut *mut ibv_recv_wr,
) -> c_int {
    // SAFETY: by the contract it can be written.
    unsafe { bad.write(wr) };
    libc::EOPNOTSUPP
}

/// See [`post_srq_recv`].
#[unsafe(no_mangle)]
pub extern "C" fn ibv_create_srq(_: *mut ibv_pd, _: *mut c_void) -> *mut c_void {
    super::set_errno(libc::EOPNOTSUPP);
    std::ptr::null_mut()
}

/// See [`post_srq_recv`].
#[unsafe(no_mangle)]
pub extern "C" fn ibv_destroy_srq(_: *mut c_void) -> c_int {
    libc::EOPNOTSUPP
}

/// Work is posted by lists only.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_qp_to_qp_ex(_: *mut ibv_qp) -> *mut c_void {
    std::ptr::null_mut()
}
