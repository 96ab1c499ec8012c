//! Work requests and completions, as they lie in the rings.
//!
//! Numbers of opcodes, flags and statuses are those of `infiniband/verbs.h`. Addresses are the guest's
//! own: memory regions are registered with them as I/O virtual addresses; keys are the device's.

use crate::record::{numbers, record};

numbers! {
    /// Values of [`SendWork::opcode`]: `enum ibv_wr_opcode`.
    opcode {
        /// RDMA write.
        RDMA_WRITE = 0,
        /// RDMA write with immediate data.
        RDMA_WRITE_WITH_IMM = 1,
        /// Send.
        SEND = 2,
        /// Send with immediate data.
        SEND_WITH_IMM = 3,
        /// RDMA read.
        RDMA_READ = 4,
        /// Compare and swap.
        ATOMIC_CMP_AND_SWP = 5,
        /// Fetch and add.
        ATOMIC_FETCH_AND_ADD = 6,
    }
}

record! {
    /// Head of a slot of a send ring: a `struct ibv_send_wr`. Scatter-gather entries ([`Sge`]) or the inline data follow.
    SendWork, 64, {
        /// Given back in the completion.
        0 wr_id: u64,
        /// `enum ibv_wr_opcode`.
        8 opcode: u32,
        /// `enum ibv_send_flags`: fence 1, signaled 2, solicited 4, inline 8.
        12 send_flags: u32,
        /// Immediate data, as it goes over the wire.
        16 imm_data: u32,
        /// Scatter-gather entries that follow; not looked at for inline data.
        20 sges: u32,
        /// Write, read, atomics: the remote address.
        24 remote_addr: u64,
        /// Write, read, atomics: the remote key.
        32 rkey: u32,
        /// With the inline flag: bytes that follow.
        36 inline_bytes: u32,
        /// Atomics: what to add, or to compare with.
        40 compare_add: u64,
        /// Atomics: what to swap in.
        48 swap: u64,
    }
}

record! {
    /// Head of a slot of a receive ring: a `struct ibv_recv_wr`. Scatter-gather entries ([`Sge`]) follow.
    Receive, 16, {
        /// Given back in the completion.
        0 wr_id: u64,
        /// Scatter-gather entries that follow.
        8 sges: u32,
    }
}

record! {
    /// A scatter-gather entry: a `struct ibv_sge`.
    Sge, 16, {
        /// The guest's address.
        0 addr: u64,
        /// Bytes.
        8 length: u32,
        /// The region's local key.
        12 lkey: u32,
    }
}

record! {
    /// A slot of a completion ring: a `struct ibv_wc`.
    Completion, 64, {
        /// That of the work request.
        0 wr_id: u64,
        /// `enum ibv_wc_status`.
        8 status: u32,
        /// `enum ibv_wc_opcode`; not valid when the status is an error.
        12 opcode: u32,
        /// The device's own error code.
        16 vendor_err: u32,
        /// Bytes received.
        20 byte_len: u32,
        /// Immediate data, as it came over the wire.
        24 imm_data: u32,
        /// Number of the QP, not its handle.
        28 qp_num: u32,
        /// UD: number of the sending QP.
        32 src_qp: u32,
        /// `enum ibv_wc_flags`.
        36 wc_flags: u32,
        /// UD: index of the P_Key.
        40 pkey_index: u16,
        /// UD: source LID.
        42 slid: u16,
        /// UD: service level.
        44 sl: u8,
        /// UD: path bits of the destination LID.
        45 dlid_path_bits: u8,
    }
}
