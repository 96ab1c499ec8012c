//! Replies: what the backend answers over the control ring.

use crate::Record;
use crate::record::record;

/// Bytes of a slot.
pub const REPLY_BYTES: usize = 256;

record! {
    /// Head of a reply. The body follows where the request has one.
    ReplyHeader, 16, {
        /// That of the request.
        0 id: u32,
        /// 0, or Linux's errno of the failure; there is no body then.
        4 errno: u32,
        /// The new object, for requests that make one.
        8 handle: u32,
    }
}

record! {
    /// Body of the reply to `QUERY_GID`.
    GidReply, 24, {
        /// The GID.
        0 gid: [u8; 16],
        /// `enum ibv_gid_type` as libibverbs counts it: 0 InfiniBand, 1 RoCE v1, 2 RoCE v2.
        16 gid_type: u32,
    }
}

record! {
    /// Body of the reply to `QUERY_PKEY`.
    PkeyReply, 8, {
        /// The P_Key, in network byte order.
        0 pkey: u16,
    }
}

record! {
    /// Body of the reply to `CREATE_QP`. The rings are as large as was asked.
    QpReply, 24, {
        /// Number of the QP.
        0 qp_num: u32,
        /// Work requests that the send queue holds: what was asked.
        4 max_send_wr: u32,
        /// Work requests that the receive queue holds: what was asked.
        8 max_recv_wr: u32,
        /// Scatter-gather entries of a send: what was asked.
        12 max_send_sge: u32,
        /// Scatter-gather entries of a receive: what was asked.
        16 max_recv_sge: u32,
        /// Bytes of inline data: what was asked.
        20 max_inline_data: u32,
    }
}

record! {
    /// Body of the reply to `REG_MR`.
    MrReply, 8, {
        /// Local key.
        0 lkey: u32,
        /// Remote key.
        4 rkey: u32,
    }
}

/// A slot with a reply. A body longer than the slot is cut.
#[must_use]
pub fn reply<B: Record>(header: ReplyHeader, body: Option<&B>) -> [u8; REPLY_BYTES] {
    let mut slot = [0; REPLY_BYTES];
    header.encode(&mut slot);
    if let Some(body) = body {
        body.encode(&mut slot[ReplyHeader::SIZE..]);
    }
    slot
}
