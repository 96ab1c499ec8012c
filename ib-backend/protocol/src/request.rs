//! Requests: what a guest asks over the control ring.
//!
//! In: a slot that was copied once. Out: a [`Request`], every field still unchecked, or the number that
//! names none. Which handles, sizes and policies are right is the backend's to decide.

use crate::attributes::QpAttributes;
use crate::record::{numbers, record};
use crate::{QpSize, Record};

/// Bytes of a slot.
pub const REQUEST_BYTES: usize = 128;

numbers! {
    /// Values of [`RequestHeader::kind`].
    kind {
        /// Ends the context: all its objects go, then the reply comes.
        CLOSE = 1,
        /// Reply: `DeviceAttributes`.
        QUERY_DEVICE = 2,
        /// `handle` is the port. Reply: `PortAttributes`.
        QUERY_PORT = 3,
        /// `handle` is the port, `argument` the index. Reply: `GidReply`.
        QUERY_GID = 4,
        /// `handle` is the port, `argument` the index. Reply: `PkeyReply`.
        QUERY_PKEY = 5,
        /// Reply: the handle.
        ALLOC_PD = 6,
        /// `handle` is the protection domain.
        DEALLOC_PD = 7,
        /// `argument` is the guest's unbound port. Reply: the handle.
        CREATE_CHANNEL = 8,
        /// `handle` is the channel.
        DESTROY_CHANNEL = 9,
        /// Body: `CreateCq`. Reply: the handle.
        CREATE_CQ = 10,
        /// `handle` is the CQ.
        DESTROY_CQ = 11,
        /// Body: `CreateQp`. Reply: the handle and `QpReply`.
        CREATE_QP = 12,
        /// `handle` is the QP. Body: `ModifyQp`.
        MODIFY_QP = 13,
        /// `handle` is the QP, `argument` an `enum ibv_qp_attr_mask`. Reply: `QpAttributes`.
        QUERY_QP = 14,
        /// `handle` is the QP.
        DESTROY_QP = 15,
        /// `handle` is the protection domain. Body: `RegMr`. Reply: the handle and `MrReply`.
        REG_MR = 16,
        /// `handle` is the region. With 1 for `argument` its pages may stay mapped: the reply has their handle then.
        DEREG_MR = 17,
        /// `handle` is of pages that stayed mapped. They no longer are when the reply comes.
        UNMAP_PAGES = 18,
    }
}

record! {
    /// Head of a request.
    RequestHeader, 16, {
        /// Chosen by the guest, given back in the reply.
        0 id: u32,
        /// What is asked, see `kind`.
        4 kind: u32,
        /// The object it is about, or the port.
        8 handle: u32,
        /// A number, for requests without a body.
        12 argument: u32,
    }
}

record! {
    /// Body of `CREATE_CQ`, behind the head.
    CreateCq, 112, {
        /// Completions that it holds at least.
        0 entries: u32,
        /// Completion channel; 0 for none.
        4 channel: u32,
        /// Grant reference of the directory page of its region.
        8 directory: u32,
        /// Completion vector; not looked at.
        12 vector: u32,
    }
}

record! {
    /// Body of `CREATE_QP`, behind the head; the protection domain is in the head.
    CreateQp, 112, {
        /// `enum ibv_qp_type`.
        0 qp_type: u32,
        /// CQ of sends.
        4 send_cq: u32,
        /// CQ of receives.
        8 recv_cq: u32,
        /// Whether every send makes a completion.
        12 sq_sig_all: u32,
        /// Work requests that the send queue holds.
        16 max_send_wr: u32,
        /// Work requests that the receive queue holds.
        20 max_recv_wr: u32,
        /// Scatter-gather entries of a send.
        24 max_send_sge: u32,
        /// Scatter-gather entries of a receive.
        28 max_recv_sge: u32,
        /// Bytes of inline data.
        32 max_inline_data: u32,
        /// Grant reference of the directory page of its region.
        36 directory: u32,
    }
}

record! {
    /// Body of `MODIFY_QP`, behind the head.
    ModifyQp, 112, {
        /// `enum ibv_qp_attr_mask`.
        0 attr_mask: u32,
        /// The attributes: a [`QpAttributes`].
        8 attributes: [u8; 104],
    }
}

record! {
    /// Body of `REG_MR`, behind the head.
    RegMr, 112, {
        /// The guest's address of the first byte; its page offset is that in the first page.
        0 iova: u64,
        /// Bytes.
        8 length: u64,
        /// `enum ibv_access_flags`.
        16 access: u32,
        /// Pages from the first byte's to the last one's.
        20 pages: u32,
        /// Grant reference of the first directory page.
        24 directory: u32,
        /// Pages that stayed mapped at a `DEREG_MR`, as many: in place of a directory; 0 for none.
        28 kept: u32,
    }
}

impl CreateQp {
    /// What decides how its region is laid out.
    #[must_use]
    pub const fn size(&self) -> QpSize {
        QpSize {
            send_wr: self.max_send_wr,
            recv_wr: self.max_recv_wr,
            send_sge: self.max_send_sge,
            recv_sge: self.max_recv_sge,
            inline_bytes: self.max_inline_data,
        }
    }
}

/// A request, as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`kind::CLOSE`].
    Close,
    /// See [`kind::QUERY_DEVICE`].
    QueryDevice,
    /// See [`kind::QUERY_PORT`].
    QueryPort(u32),
    /// See [`kind::QUERY_GID`]: port, index.
    QueryGid(u32, u32),
    /// See [`kind::QUERY_PKEY`]: port, index.
    QueryPkey(u32, u32),
    /// See [`kind::ALLOC_PD`].
    AllocPd,
    /// See [`kind::DEALLOC_PD`].
    DeallocPd(u32),
    /// See [`kind::CREATE_CHANNEL`]: the guest's port.
    CreateChannel(u32),
    /// See [`kind::DESTROY_CHANNEL`].
    DestroyChannel(u32),
    /// See [`kind::CREATE_CQ`].
    CreateCq(CreateCq),
    /// See [`kind::DESTROY_CQ`].
    DestroyCq(u32),
    /// See [`kind::CREATE_QP`]: protection domain, what is wanted.
    CreateQp(u32, CreateQp),
    /// See [`kind::MODIFY_QP`]: QP, mask, attributes.
    ModifyQp(u32, u32, QpAttributes),
    /// See [`kind::QUERY_QP`]: QP, mask.
    QueryQp(u32, u32),
    /// See [`kind::DESTROY_QP`].
    DestroyQp(u32),
    /// See [`kind::REG_MR`]: protection domain, what is wanted.
    RegMr(u32, RegMr),
    /// See [`kind::DEREG_MR`]: the region, and whether its pages may stay mapped.
    DeregMr(u32, bool),
    /// See [`kind::UNMAP_PAGES`].
    UnmapPages(u32),
}

/// A number that names no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRequest(pub u32);

impl Request {
    /// The request in a slot, and its id.
    ///
    /// # Errors
    /// The id and the number that names no request.
    pub fn decode(slot: &[u8; REQUEST_BYTES]) -> (u32, Result<Self, UnknownRequest>) {
        let RequestHeader { id, kind, handle, argument } = RequestHeader::decode(slot);
        let body = &slot[RequestHeader::SIZE..];
        let request = match kind {
            kind::CLOSE => Self::Close,
            kind::QUERY_DEVICE => Self::QueryDevice,
            kind::QUERY_PORT => Self::QueryPort(handle),
            kind::QUERY_GID => Self::QueryGid(handle, argument),
            kind::QUERY_PKEY => Self::QueryPkey(handle, argument),
            kind::ALLOC_PD => Self::AllocPd,
            kind::DEALLOC_PD => Self::DeallocPd(handle),
            kind::CREATE_CHANNEL => Self::CreateChannel(argument),
            kind::DESTROY_CHANNEL => Self::DestroyChannel(handle),
            kind::CREATE_CQ => Self::CreateCq(CreateCq::decode(body)),
            kind::DESTROY_CQ => Self::DestroyCq(handle),
            kind::CREATE_QP => Self::CreateQp(handle, CreateQp::decode(body)),
            kind::MODIFY_QP => {
                let ModifyQp { attr_mask, attributes } = ModifyQp::decode(body);
                Self::ModifyQp(handle, attr_mask, QpAttributes::decode(&attributes))
            }
            kind::QUERY_QP => Self::QueryQp(handle, argument),
            kind::DESTROY_QP => Self::DestroyQp(handle),
            kind::REG_MR => Self::RegMr(handle, RegMr::decode(body)),
            kind::DEREG_MR => Self::DeregMr(handle, argument == 1),
            kind::UNMAP_PAGES => Self::UnmapPages(handle),
            unknown => return (id, Err(UnknownRequest(unknown))),
        };
        (id, Ok(request))
    }

    /// The slot that asks for this.
    #[must_use]
    pub fn encode(&self, id: u32) -> [u8; REQUEST_BYTES] {
        let mut slot = [0; REQUEST_BYTES];
        let (kind, handle, argument) = match *self {
            Self::Close => (kind::CLOSE, 0, 0),
            Self::QueryDevice => (kind::QUERY_DEVICE, 0, 0),
            Self::QueryPort(port) => (kind::QUERY_PORT, port, 0),
            Self::QueryGid(port, index) => (kind::QUERY_GID, port, index),
            Self::QueryPkey(port, index) => (kind::QUERY_PKEY, port, index),
            Self::AllocPd => (kind::ALLOC_PD, 0, 0),
            Self::DeallocPd(pd) => (kind::DEALLOC_PD, pd, 0),
            Self::CreateChannel(port) => (kind::CREATE_CHANNEL, 0, port),
            Self::DestroyChannel(channel) => (kind::DESTROY_CHANNEL, channel, 0),
            Self::CreateCq(_) => (kind::CREATE_CQ, 0, 0),
            Self::DestroyCq(cq) => (kind::DESTROY_CQ, cq, 0),
            Self::CreateQp(pd, _) => (kind::CREATE_QP, pd, 0),
            Self::ModifyQp(qp, ..) => (kind::MODIFY_QP, qp, 0),
            Self::QueryQp(qp, mask) => (kind::QUERY_QP, qp, mask),
            Self::DestroyQp(qp) => (kind::DESTROY_QP, qp, 0),
            Self::RegMr(pd, _) => (kind::REG_MR, pd, 0),
            Self::DeregMr(mr, keeps) => (kind::DEREG_MR, mr, keeps.into()),
            Self::UnmapPages(kept) => (kind::UNMAP_PAGES, kept, 0),
        };
        RequestHeader { id, kind, handle, argument }.encode(&mut slot);
        let body = &mut slot[RequestHeader::SIZE..];
        match self {
            Self::CreateCq(create) => create.encode(body),
            Self::CreateQp(_, create) => create.encode(body),
            Self::RegMr(_, reg) => reg.encode(body),
            Self::ModifyQp(_, attr_mask, values) => {
                let mut attributes = [0; QpAttributes::SIZE];
                values.encode(&mut attributes);
                ModifyQp { attr_mask: *attr_mask, attributes }.encode(body);
            }
            _ => {}
        }
        slot
    }
}
