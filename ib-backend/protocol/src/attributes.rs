//! Attributes of device, port and QP, as queries and changes carry them.
//!
//! Numbers and flags are those of `infiniband/verbs.h`.

use crate::record::record;

record! {
    /// A `struct ibv_device_attr`, as far as the backend lets the guest have it.
    DeviceAttributes, 240, {
        /// Firmware version, text that ends with a zero.
        0 fw_ver: [u8; 64],
        /// GUID of the node, in network byte order.
        64 node_guid: [u8; 8],
        /// GUID of the system image, in network byte order.
        72 sys_image_guid: [u8; 8],
        /// Bytes of the largest region.
        80 max_mr_size: u64,
        /// Page sizes, a bit each.
        88 page_size_cap: u64,
        /// Vendor.
        96 vendor_id: u32,
        /// The vendor's part.
        100 vendor_part_id: u32,
        /// Hardware version.
        104 hw_ver: u32,
        /// QPs that the guest may have.
        108 max_qp: u32,
        /// Work requests per queue.
        112 max_qp_wr: u32,
        /// `enum ibv_device_cap_flags`.
        116 device_cap_flags: u32,
        /// Scatter-gather entries per request.
        120 max_sge: u32,
        /// Scatter-gather entries of a read.
        124 max_sge_rd: u32,
        /// CQs that the guest may have.
        128 max_cq: u32,
        /// Completions per CQ.
        132 max_cqe: u32,
        /// Regions that the guest may have.
        136 max_mr: u32,
        /// Protection domains that a context may have.
        140 max_pd: u32,
        /// Reads and atomics that a QP answers at once.
        144 max_qp_rd_atom: u32,
        /// The same for all QPs.
        148 max_res_rd_atom: u32,
        /// Reads and atomics that a QP begins at once.
        152 max_qp_init_rd_atom: u32,
        /// `enum ibv_atomic_cap`.
        156 atomic_cap: u32,
        /// Pages that the guest may have registered at once.
        160 max_pages: u32,
        /// Partitions.
        164 max_pkeys: u16,
        /// Delay of acknowledgements.
        166 local_ca_ack_delay: u8,
        /// Ports.
        167 phys_port_cnt: u8,
        /// `enum ibv_node_type`.
        168 node_type: u8,
        /// `enum ibv_transport_type`.
        169 transport_type: u8,
    }
}

record! {
    /// A `struct ibv_port_attr`.
    PortAttributes, 64, {
        /// `enum ibv_port_state`.
        0 state: u32,
        /// `enum ibv_mtu`, the largest.
        4 max_mtu: u32,
        /// `enum ibv_mtu`, now.
        8 active_mtu: u32,
        /// Entries of the GID table.
        12 gid_tbl_len: u32,
        /// Capabilities.
        16 port_cap_flags: u32,
        /// Bytes of the longest message.
        20 max_msg_sz: u32,
        /// Wrong P_Keys seen.
        24 bad_pkey_cntr: u32,
        /// Wrong Q_Keys seen.
        28 qkey_viol_cntr: u32,
        /// Entries of the P_Key table.
        32 pkey_tbl_len: u16,
        /// LID.
        34 lid: u16,
        /// LID of the subnet manager.
        36 sm_lid: u16,
        /// More capabilities.
        38 port_cap_flags2: u16,
        /// Bits of the LID that are path.
        40 lmc: u8,
        /// Virtual lanes.
        41 max_vl_num: u8,
        /// Service level of the subnet manager.
        42 sm_sl: u8,
        /// Timeout of the subnet.
        43 subnet_timeout: u8,
        /// Initialisation that the subnet manager did.
        44 init_type_reply: u8,
        /// Width of the link.
        45 active_width: u8,
        /// Speed of the link.
        46 active_speed: u8,
        /// Physical state.
        47 phys_state: u8,
        /// `IBV_LINK_LAYER_*`.
        48 link_layer: u8,
        /// `IBV_QPF_*`.
        49 flags: u8,
    }
}

record! {
    /// A `struct ibv_qp_attr` without the alternate path.
    QpAttributes, 104, {
        /// `enum ibv_qp_state`.
        0 qp_state: u32,
        /// `enum ibv_qp_state`: the state assumed.
        4 cur_qp_state: u32,
        /// `enum ibv_mtu`.
        8 path_mtu: u32,
        /// `enum ibv_mig_state`.
        12 path_mig_state: u32,
        /// UD: the Q_Key.
        16 qkey: u32,
        /// First packet number to receive.
        20 rq_psn: u32,
        /// First packet number to send.
        24 sq_psn: u32,
        /// Number of the remote QP.
        28 dest_qp_num: u32,
        /// `enum ibv_access_flags`: what the remote side may do.
        32 qp_access_flags: u32,
        /// Query: work requests that the send queue holds.
        36 max_send_wr: u32,
        /// Query: work requests that the receive queue holds.
        40 max_recv_wr: u32,
        /// Query: scatter-gather entries of a send.
        44 max_send_sge: u32,
        /// Query: scatter-gather entries of a receive.
        48 max_recv_sge: u32,
        /// Query: bytes of inline data.
        52 max_inline_data: u32,
        /// Path: GID of the destination.
        56 dgid: [u8; 16],
        /// Path: flow label.
        72 flow_label: u32,
        /// Kilobits a second.
        76 rate_limit: u32,
        /// Path: LID of the destination.
        80 dlid: u16,
        /// Index of the P_Key.
        82 pkey_index: u16,
        /// Path: index of the source GID.
        84 sgid_index: u8,
        /// Path: hop limit.
        85 hop_limit: u8,
        /// Path: traffic class.
        86 traffic_class: u8,
        /// Path: service level.
        87 sl: u8,
        /// Path: bits of the source LID.
        88 src_path_bits: u8,
        /// Path: rate.
        89 static_rate: u8,
        /// Path: whether it has the GID part.
        90 is_global: u8,
        /// Path: port.
        91 ah_port_num: u8,
        /// Port of the QP.
        92 port_num: u8,
        /// Timeout of an acknowledgement.
        93 timeout: u8,
        /// Repetitions after a timeout.
        94 retry_cnt: u8,
        /// Repetitions when the receiver is not ready.
        95 rnr_retry: u8,
        /// Time to wait when this receiver is not ready.
        96 min_rnr_timer: u8,
        /// Reads and atomics under way from here.
        97 max_rd_atomic: u8,
        /// Reads and atomics under way to here.
        98 max_dest_rd_atomic: u8,
        /// Query: whether the send queue drains.
        99 sq_draining: u8,
        /// Whether to tell when it has drained.
        100 en_sqd_async_notify: u8,
    }
}
