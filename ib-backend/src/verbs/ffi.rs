//! Structures of `infiniband/verbs.h`, as far as they are used, under their own names.
//!
//! x86-64, rdma-core's stable ABI (IBVERBS_1.1). Structures that libibverbs makes are declared up to the
//! last field that is read; those that are made here are whole.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use std::ffi::{c_char, c_int, c_void};

/// A structure whose bytes may all be zero.
///
/// # Safety
/// All zeros is a value of the type.
pub(super) unsafe trait Plain: Sized {
    fn zeroed() -> Self {
        // SAFETY: what the trait promises.
        unsafe { std::mem::zeroed() }
    }
}

/// A structure's name, size (none: it is declared in part), and fields: name in C, offset, size.
pub type Layout = (&'static str, Option<usize>, &'static [(&'static str, usize, usize)]);

macro_rules! structures {
    ($( $whole:ident $name:ident { $( $field:ident : $type:ty = $c:literal ),* $(,)? } )*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub struct $name { $( pub $field: $type ),* }
            // SAFETY: integers, addresses and optional functions, for which zeros are valid.
            unsafe impl Plain for $name {}
        )*
        /// Every structure, for the comparison with the C headers.
        pub const LAYOUTS: &[Layout] = &[ $( (
            stringify!($name),
            structures!(@size $whole $name),
            &[ $( ($c, std::mem::offset_of!($name, $field), {
                const fn size<T, F>(_: fn(&T) -> &F) -> usize { size_of::<F>() }
                size(|value: &$name| &value.$field)
            }) ),* ],
        ) ),* ];
    };
    (@size whole $name:ident) => { Some(size_of::<$name>()) };
    (@size part $name:ident) => { None };
}

/// `union ibv_gid`, which C aligns as its 64-bit halves.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct ibv_gid(pub [u8; 16]);

pub type poll_cq = unsafe extern "C" fn(*mut ibv_cq, c_int, *mut ibv_wc) -> c_int;
pub type req_notify_cq = unsafe extern "C" fn(*mut ibv_cq, c_int) -> c_int;
pub type post_send =
    unsafe extern "C" fn(*mut ibv_qp, *mut ibv_send_wr, *mut *mut ibv_send_wr) -> c_int;
pub type post_recv =
    unsafe extern "C" fn(*mut ibv_qp, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int;

structures! {
    part ibv_device {
        operations: [usize; 2] = "_ops",
        node_type: c_int = "node_type",
        transport_type: c_int = "transport_type",
    }
    whole ibv_context_ops {
        before_poll: [usize; 11] = "",
        poll_cq: Option<poll_cq> = "poll_cq",
        req_notify_cq: Option<req_notify_cq> = "req_notify_cq",
        before_send: [usize; 12] = "",
        post_send: Option<post_send> = "post_send",
        post_recv: Option<post_recv> = "post_recv",
        rest: [usize; 5] = "",
    }
    whole ibv_context {
        device: *mut ibv_device = "device",
        ops: ibv_context_ops = "ops",
        cmd_fd: c_int = "cmd_fd",
        async_fd: c_int = "async_fd",
        num_comp_vectors: c_int = "num_comp_vectors",
        mutex: [u64; 5] = "mutex",
        abi_compat: *mut c_void = "abi_compat",
    }
    whole ibv_pd { context: *mut ibv_context = "context", handle: u32 = "handle" }
    whole ibv_comp_channel {
        context: *mut ibv_context = "context", fd: c_int = "fd", refcnt: c_int = "refcnt",
    }
    part ibv_cq {
        context: *mut ibv_context = "context",
        channel: *mut ibv_comp_channel = "channel",
        cq_context: *mut c_void = "cq_context",
    }
    part ibv_qp {
        context: *mut ibv_context = "context",
        qp_context: *mut c_void = "qp_context",
        pd: *mut ibv_pd = "pd",
        send_cq: *mut ibv_cq = "send_cq",
        recv_cq: *mut ibv_cq = "recv_cq",
        srq: *mut c_void = "srq",
        handle: u32 = "handle",
        qp_num: u32 = "qp_num",
    }
    whole ibv_mr {
        context: *mut ibv_context = "context",
        pd: *mut ibv_pd = "pd",
        addr: *mut c_void = "addr",
        length: usize = "length",
        handle: u32 = "handle",
        lkey: u32 = "lkey",
        rkey: u32 = "rkey",
    }
    whole ibv_sge { addr: u64 = "addr", length: u32 = "length", lkey: u32 = "lkey" }
    whole ibv_send_wr {
        wr_id: u64 = "wr_id",
        next: *mut ibv_send_wr = "next",
        sg_list: *mut ibv_sge = "sg_list",
        num_sge: c_int = "num_sge",
        opcode: u32 = "opcode",
        send_flags: u32 = "send_flags",
        imm_data: u32 = "imm_data",
        remote_addr: u64 = "wr.rdma.remote_addr",
        // With write and read the remote key lies here, in the lower half.
        compare_add: u64 = "wr.atomic.compare_add",
        swap: u64 = "wr.atomic.swap",
        atomic_rkey: u32 = "wr.atomic.rkey",
        rest: [u64; 7] = "",
    }
    whole ibv_recv_wr {
        wr_id: u64 = "wr_id",
        next: *mut ibv_recv_wr = "next",
        sg_list: *mut ibv_sge = "sg_list",
        num_sge: c_int = "num_sge",
    }
    whole ibv_wc {
        wr_id: u64 = "wr_id",
        status: u32 = "status",
        opcode: u32 = "opcode",
        vendor_err: u32 = "vendor_err",
        byte_len: u32 = "byte_len",
        imm_data: u32 = "imm_data",
        qp_num: u32 = "qp_num",
        src_qp: u32 = "src_qp",
        wc_flags: u32 = "wc_flags",
        pkey_index: u16 = "pkey_index",
        slid: u16 = "slid",
        sl: u8 = "sl",
        dlid_path_bits: u8 = "dlid_path_bits",
    }
    whole ibv_qp_cap {
        max_send_wr: u32 = "max_send_wr",
        max_recv_wr: u32 = "max_recv_wr",
        max_send_sge: u32 = "max_send_sge",
        max_recv_sge: u32 = "max_recv_sge",
        max_inline_data: u32 = "max_inline_data",
    }
    whole ibv_qp_init_attr {
        qp_context: *mut c_void = "qp_context",
        send_cq: *mut ibv_cq = "send_cq",
        recv_cq: *mut ibv_cq = "recv_cq",
        srq: *mut c_void = "srq",
        cap: ibv_qp_cap = "cap",
        qp_type: u32 = "qp_type",
        sq_sig_all: c_int = "sq_sig_all",
    }
    whole ibv_global_route {
        dgid: ibv_gid = "dgid",
        flow_label: u32 = "flow_label",
        sgid_index: u8 = "sgid_index",
        hop_limit: u8 = "hop_limit",
        traffic_class: u8 = "traffic_class",
    }
    whole ibv_ah_attr {
        grh: ibv_global_route = "grh",
        dlid: u16 = "dlid",
        sl: u8 = "sl",
        src_path_bits: u8 = "src_path_bits",
        static_rate: u8 = "static_rate",
        is_global: u8 = "is_global",
        port_num: u8 = "port_num",
    }
    whole ibv_qp_attr {
        qp_state: u32 = "qp_state",
        cur_qp_state: u32 = "cur_qp_state",
        path_mtu: u32 = "path_mtu",
        path_mig_state: u32 = "path_mig_state",
        qkey: u32 = "qkey",
        rq_psn: u32 = "rq_psn",
        sq_psn: u32 = "sq_psn",
        dest_qp_num: u32 = "dest_qp_num",
        qp_access_flags: u32 = "qp_access_flags",
        cap: ibv_qp_cap = "cap",
        ah_attr: ibv_ah_attr = "ah_attr",
        alt_ah_attr: ibv_ah_attr = "alt_ah_attr",
        pkey_index: u16 = "pkey_index",
        alt_pkey_index: u16 = "alt_pkey_index",
        en_sqd_async_notify: u8 = "en_sqd_async_notify",
        sq_draining: u8 = "sq_draining",
        max_rd_atomic: u8 = "max_rd_atomic",
        max_dest_rd_atomic: u8 = "max_dest_rd_atomic",
        min_rnr_timer: u8 = "min_rnr_timer",
        port_num: u8 = "port_num",
        timeout: u8 = "timeout",
        retry_cnt: u8 = "retry_cnt",
        rnr_retry: u8 = "rnr_retry",
        alt_port_num: u8 = "alt_port_num",
        alt_timeout: u8 = "alt_timeout",
        rate_limit: u32 = "rate_limit",
    }
    whole ibv_device_attr {
        fw_ver: [c_char; 64] = "fw_ver",
        node_guid: u64 = "node_guid",
        sys_image_guid: u64 = "sys_image_guid",
        max_mr_size: u64 = "max_mr_size",
        page_size_cap: u64 = "page_size_cap",
        vendor_id: u32 = "vendor_id",
        vendor_part_id: u32 = "vendor_part_id",
        hw_ver: u32 = "hw_ver",
        max_qp: c_int = "max_qp",
        max_qp_wr: c_int = "max_qp_wr",
        device_cap_flags: u32 = "device_cap_flags",
        max_sge: c_int = "max_sge",
        max_sge_rd: c_int = "max_sge_rd",
        max_cq: c_int = "max_cq",
        max_cqe: c_int = "max_cqe",
        max_mr: c_int = "max_mr",
        max_pd: c_int = "max_pd",
        max_qp_rd_atom: c_int = "max_qp_rd_atom",
        max_ee_rd_atom: c_int = "max_ee_rd_atom",
        max_res_rd_atom: c_int = "max_res_rd_atom",
        max_qp_init_rd_atom: c_int = "max_qp_init_rd_atom",
        max_ee_init_rd_atom: c_int = "max_ee_init_rd_atom",
        atomic_cap: u32 = "atomic_cap",
        max_ee: c_int = "max_ee",
        max_rdd: c_int = "max_rdd",
        max_mw: c_int = "max_mw",
        max_raw_ipv6_qp: c_int = "max_raw_ipv6_qp",
        max_raw_ethy_qp: c_int = "max_raw_ethy_qp",
        max_mcast_grp: c_int = "max_mcast_grp",
        max_mcast_qp_attach: c_int = "max_mcast_qp_attach",
        max_total_mcast_qp_attach: c_int = "max_total_mcast_qp_attach",
        max_ah: c_int = "max_ah",
        max_fmr: c_int = "max_fmr",
        max_map_per_fmr: c_int = "max_map_per_fmr",
        max_srq: c_int = "max_srq",
        max_srq_wr: c_int = "max_srq_wr",
        max_srq_sge: c_int = "max_srq_sge",
        max_pkeys: u16 = "max_pkeys",
        local_ca_ack_delay: u8 = "local_ca_ack_delay",
        phys_port_cnt: u8 = "phys_port_cnt",
    }
    whole ibv_port_attr {
        state: u32 = "state",
        max_mtu: u32 = "max_mtu",
        active_mtu: u32 = "active_mtu",
        gid_tbl_len: c_int = "gid_tbl_len",
        port_cap_flags: u32 = "port_cap_flags",
        max_msg_sz: u32 = "max_msg_sz",
        bad_pkey_cntr: u32 = "bad_pkey_cntr",
        qkey_viol_cntr: u32 = "qkey_viol_cntr",
        pkey_tbl_len: u16 = "pkey_tbl_len",
        lid: u16 = "lid",
        sm_lid: u16 = "sm_lid",
        lmc: u8 = "lmc",
        max_vl_num: u8 = "max_vl_num",
        sm_sl: u8 = "sm_sl",
        subnet_timeout: u8 = "subnet_timeout",
        init_type_reply: u8 = "init_type_reply",
        active_width: u8 = "active_width",
        active_speed: u8 = "active_speed",
        phys_state: u8 = "phys_state",
        link_layer: u8 = "link_layer",
        flags: u8 = "flags",
        port_cap_flags2: u16 = "port_cap_flags2",
    }
    whole ibv_gid_entry {
        gid: ibv_gid = "gid",
        gid_index: u32 = "gid_index",
        port_num: u32 = "port_num",
        gid_type: u32 = "gid_type",
        ndev_ifindex: u32 = "ndev_ifindex",
    }
    whole ibv_async_event { element: *mut c_void = "element", event_type: u32 = "event_type" }
}
