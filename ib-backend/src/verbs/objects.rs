//! Protection domains, completion channels, completion queues, queue pairs.
//!
//! Each holds what it was made of, so that it is destroyed before.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use ib_protocol::{QpAttributes, QpSize};
use libxc_safe::Errno;

use super::device::Context;
use super::ffi::{
    Plain, ibv_ah_attr, ibv_comp_channel, ibv_cq, ibv_gid, ibv_global_route, ibv_pd, ibv_qp,
    ibv_qp_attr, ibv_qp_cap, ibv_qp_init_attr, ibv_wc,
};
use super::{done, last_errno};

/// A handle of the guest, as the context of an object: found again in its events.
fn tag(handle: u32) -> *mut c_void {
    ptr::without_provenance_mut(handle as usize)
}

fn report(verb: &'static str, context: &Context, code: c_int) {
    if let Err(errno) = done(code) {
        tracing::error!("{}", context.failed(verb, errno));
    }
}

/// A protection domain.
#[derive(Debug)]
pub struct Pd {
    context: Rc<Context>,
    raw: NonNull<ibv_pd>,
}

impl Drop for Pd {
    fn drop(&mut self) {
        // SAFETY: ours, and what was made of it is gone: it holds an Rc of this.
        let code = unsafe { (self.context.library().ibv_dealloc_pd)(self.raw.as_ptr()) };
        report("ibv_dealloc_pd", &self.context, code);
    }
}

impl Pd {
    /// Makes one.
    ///
    /// # Errors
    /// What the device answers.
    pub fn alloc(context: &Rc<Context>) -> Result<Rc<Self>, Errno> {
        // SAFETY: the context is open.
        let raw = unsafe { (context.library().ibv_alloc_pd)(context.raw()) };
        let raw = NonNull::new(raw).ok_or_else(last_errno)?;
        Ok(Rc::new(Self { context: Rc::clone(context), raw }))
    }

    pub(super) fn raw(&self) -> *mut ibv_pd {
        self.raw.as_ptr()
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }
}

/// A completion channel of the device: wakes this program, not the guest.
#[derive(Debug)]
pub struct Channel {
    context: Rc<Context>,
    raw: NonNull<ibv_comp_channel>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: ours, and its queues are gone: they hold an Rc of this.
        let code = unsafe { (self.context.library().ibv_destroy_comp_channel)(self.raw.as_ptr()) };
        report("ibv_destroy_comp_channel", &self.context, code);
    }
}

impl Channel {
    /// Makes one that does not block.
    ///
    /// # Errors
    /// What the device answers.
    pub fn create(context: &Rc<Context>) -> Result<Rc<Self>, Errno> {
        // SAFETY: the context is open.
        let raw = unsafe { (context.library().ibv_create_comp_channel)(context.raw()) };
        let raw = NonNull::new(raw).ok_or_else(last_errno)?;
        let channel = Self { context: Rc::clone(context), raw };
        let flags = rustix::fs::fcntl_getfl(channel.fd())?;
        rustix::fs::fcntl_setfl(channel.fd(), flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Rc::new(channel))
    }

    /// Poll it for reading: a queue has completions.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the structure is ours and readable; the descriptor is open as long as the channel.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }

    /// The handle of a queue that has told this channel, if one has; it tells again when it is armed
    /// again.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let (mut cq, mut context) = (ptr::null_mut(), ptr::null_mut());
        let library = self.context.library();
        // SAFETY: the channel is open and does not block; the function writes a queue of it and that
        // queue's context when it returns 0. The queue is alive, as destroying it waits for this
        // acknowledgement, and happens in this thread.
        unsafe {
            let raw = self.raw.as_ptr();
            if (library.ibv_get_cq_event)(raw, &raw mut cq, &raw mut context) != 0 {
                return None;
            }
            (library.ibv_ack_cq_events)(cq, 1);
        }
        Some(context.addr() as u32)
    }
}

/// A completion queue.
#[derive(Debug)]
pub struct Cq {
    channel: Rc<Channel>,
    raw: NonNull<ibv_cq>,
}

impl Drop for Cq {
    fn drop(&mut self) {
        // SAFETY: ours, and its queue pairs are gone: they hold an Rc of this.
        let code = unsafe { (self.channel.context.library().ibv_destroy_cq)(self.raw.as_ptr()) };
        report("ibv_destroy_cq", &self.channel.context, code);
    }
}

impl Cq {
    /// Makes one for `entries` completions, which the guest calls `handle`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn create(channel: &Rc<Channel>, entries: u32, handle: u32) -> Result<Rc<Self>, Errno> {
        let entries = c_int::try_from(entries).map_err(|_| Errno::INVAL)?;
        let context = &channel.context;
        // SAFETY: context and channel are open, and the channel lives as long as the queue.
        let raw = unsafe {
            let create = context.library().ibv_create_cq;
            create(context.raw(), entries, tag(handle), channel.raw.as_ptr(), 0)
        };
        let raw = NonNull::new(raw).ok_or_else(last_errno)?;
        Ok(Rc::new(Self { channel: Rc::clone(channel), raw }))
    }

    /// Takes completions that are there; returns how many were written to `into`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn poll(
        &self,
        into: &mut [ib_protocol::Completion; 16],
        most: usize,
    ) -> Result<usize, Errno> {
        let mut raw = [ibv_wc::zeroed(); 16];
        let most = most.min(raw.len()) as c_int;
        // SAFETY: the context is open, so its table is filled in; the function writes at most `most`
        // completions, for which there is room.
        let got = unsafe {
            let context = &*self.channel.context.raw();
            let poll = context.ops.poll_cq.ok_or(Errno::NOSYS)?;
            poll(self.raw.as_ptr(), most, raw.as_mut_ptr())
        };
        let got = usize::try_from(got).map_err(|_| Errno::IO)?;
        for (to, from) in into.iter_mut().zip(&raw).take(got) {
            *to = completion(from);
        }
        Ok(got)
    }

    /// Lets it tell its channel of the next completion.
    ///
    /// # Errors
    /// What the device answers.
    pub fn arm(&self) -> Result<(), Errno> {
        // SAFETY: as in `poll`.
        done(unsafe {
            let context = &*self.channel.context.raw();
            let arm = context.ops.req_notify_cq.ok_or(Errno::NOSYS)?;
            arm(self.raw.as_ptr(), 0)
        })
    }
}

fn completion(raw: &ibv_wc) -> ib_protocol::Completion {
    ib_protocol::Completion {
        wr_id: raw.wr_id,
        status: raw.status,
        opcode: raw.opcode,
        vendor_err: raw.vendor_err,
        byte_len: raw.byte_len,
        imm_data: raw.imm_data,
        qp_num: raw.qp_num,
        src_qp: raw.src_qp,
        wc_flags: raw.wc_flags,
        pkey_index: raw.pkey_index,
        slid: raw.slid,
        sl: raw.sl,
        dlid_path_bits: raw.dlid_path_bits,
    }
}

/// A queue pair.
#[derive(Debug)]
pub struct Qp {
    // Held so that they go after it.
    pd: Rc<Pd>,
    _send_cq: Rc<Cq>,
    _recv_cq: Rc<Cq>,
    raw: NonNull<ibv_qp>,
}

/// What a queue pair is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QpWanted {
    /// `enum ibv_qp_type`.
    pub qp_type: u32,
    /// Whether every send makes a completion.
    pub signal_all: bool,
    /// How much its queues hold.
    pub size: QpSize,
}

impl Drop for Qp {
    fn drop(&mut self) {
        // SAFETY: ours; nothing is made of it.
        let code = unsafe { (self.pd.context().library().ibv_destroy_qp)(self.raw.as_ptr()) };
        report("ibv_destroy_qp", self.pd.context(), code);
    }
}

impl Qp {
    /// Makes one, which the guest calls `handle`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn create(
        pd: &Rc<Pd>,
        send_cq: &Rc<Cq>,
        recv_cq: &Rc<Cq>,
        wanted: &QpWanted,
        handle: u32,
    ) -> Result<Self, Errno> {
        let mut attr = ibv_qp_init_attr {
            qp_context: tag(handle),
            send_cq: send_cq.raw.as_ptr(),
            recv_cq: recv_cq.raw.as_ptr(),
            srq: ptr::null_mut(),
            cap: ibv_qp_cap {
                max_send_wr: wanted.size.send_wr,
                max_recv_wr: wanted.size.recv_wr,
                max_send_sge: wanted.size.send_sge,
                max_recv_sge: wanted.size.recv_sge,
                max_inline_data: wanted.size.inline_bytes,
            },
            qp_type: wanted.qp_type,
            sq_sig_all: c_int::from(wanted.signal_all),
        };
        // SAFETY: protection domain and queues are of the same context, all alive; the function reads
        // and writes one struct ibv_qp_init_attr.
        let raw = unsafe { (pd.context().library().ibv_create_qp)(pd.raw(), &raw mut attr) };
        let raw = NonNull::new(raw).ok_or_else(last_errno)?;
        let (_send_cq, _recv_cq) = (Rc::clone(send_cq), Rc::clone(recv_cq));
        Ok(Self { pd: Rc::clone(pd), _send_cq, _recv_cq, raw })
    }

    pub(super) fn raw(&self) -> *mut ibv_qp {
        self.raw.as_ptr()
    }

    pub(super) fn context(&self) -> &Context {
        self.pd.context()
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        // SAFETY: the structure is ours and readable.
        unsafe { (*self.raw()).qp_num }
    }

    /// Changes the attributes that `mask` names.
    ///
    /// # Errors
    /// What the device answers.
    pub fn modify(&self, mask: u32, attributes: &QpAttributes) -> Result<(), Errno> {
        let mut attr = to_c(attributes);
        let mask = c_int::try_from(mask).map_err(|_| Errno::INVAL)?;
        // SAFETY: the queue pair is alive; the function reads one struct ibv_qp_attr.
        done(unsafe { (self.context().library().ibv_modify_qp)(self.raw(), &raw mut attr, mask) })
    }

    /// Its attributes.
    ///
    /// # Errors
    /// What the device answers.
    pub fn query(&self, mask: u32) -> Result<QpAttributes, Errno> {
        let (mut attr, mut init) = (ibv_qp_attr::zeroed(), ibv_qp_init_attr::zeroed());
        let mask = c_int::try_from(mask).map_err(|_| Errno::INVAL)?;
        let query = self.context().library().ibv_query_qp;
        // SAFETY: the queue pair is alive; the function writes one structure of each type.
        done(unsafe { query(self.raw(), &raw mut attr, mask, &raw mut init) })?;
        Ok(from_c(&attr, &init.cap))
    }
}

fn to_c(from: &QpAttributes) -> ibv_qp_attr {
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
        ah_attr: ibv_ah_attr {
            grh: ibv_global_route {
                dgid: ibv_gid(from.dgid),
                flow_label: from.flow_label,
                sgid_index: from.sgid_index,
                hop_limit: from.hop_limit,
                traffic_class: from.traffic_class,
            },
            dlid: from.dlid,
            sl: from.sl,
            src_path_bits: from.src_path_bits,
            static_rate: from.static_rate,
            is_global: from.is_global,
            port_num: from.ah_port_num,
        },
        pkey_index: from.pkey_index,
        en_sqd_async_notify: from.en_sqd_async_notify,
        max_rd_atomic: from.max_rd_atomic,
        max_dest_rd_atomic: from.max_dest_rd_atomic,
        min_rnr_timer: from.min_rnr_timer,
        port_num: from.port_num,
        timeout: from.timeout,
        retry_cnt: from.retry_cnt,
        rnr_retry: from.rnr_retry,
        rate_limit: from.rate_limit,
        ..ibv_qp_attr::zeroed()
    }
}

fn from_c(attr: &ibv_qp_attr, cap: &ibv_qp_cap) -> QpAttributes {
    let path = &attr.ah_attr;
    QpAttributes {
        qp_state: attr.qp_state,
        cur_qp_state: attr.cur_qp_state,
        path_mtu: attr.path_mtu,
        path_mig_state: attr.path_mig_state,
        qkey: attr.qkey,
        rq_psn: attr.rq_psn,
        sq_psn: attr.sq_psn,
        dest_qp_num: attr.dest_qp_num,
        qp_access_flags: attr.qp_access_flags,
        max_send_wr: cap.max_send_wr,
        max_recv_wr: cap.max_recv_wr,
        max_send_sge: cap.max_send_sge,
        max_recv_sge: cap.max_recv_sge,
        max_inline_data: cap.max_inline_data,
        dgid: path.grh.dgid.0,
        flow_label: path.grh.flow_label,
        rate_limit: attr.rate_limit,
        dlid: path.dlid,
        pkey_index: attr.pkey_index,
        sgid_index: path.grh.sgid_index,
        hop_limit: path.grh.hop_limit,
        traffic_class: path.grh.traffic_class,
        sl: path.sl,
        src_path_bits: path.src_path_bits,
        static_rate: path.static_rate,
        is_global: path.is_global,
        ah_port_num: path.port_num,
        port_num: attr.port_num,
        timeout: attr.timeout,
        retry_cnt: attr.retry_cnt,
        rnr_retry: attr.rnr_retry,
        min_rnr_timer: attr.min_rnr_timer,
        max_rd_atomic: attr.max_rd_atomic,
        max_dest_rd_atomic: attr.max_dest_rd_atomic,
        sq_draining: attr.sq_draining,
        en_sqd_async_notify: attr.en_sqd_async_notify,
    }
}
