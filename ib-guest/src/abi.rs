//! The structures of `infiniband/verbs.h` that programs share with their libibverbs, on x86-64.
//!
//! Names are the header's. Sizes and offsets are asserted here, and compared with the header itself by
//! a test.

#![allow(non_camel_case_types, missing_docs, reason = "names and fields are the header's")]

use std::ffi::{c_char, c_int, c_void};

/// A `pthread_mutex_t` and a `pthread_cond_t`, which nothing here uses: all zero they are initialised.
pub type pthread_mutex_t = [u64; 5];
pub type pthread_cond_t = [u64; 6];

#[repr(C)]
pub struct ibv_device {
    pub _ops: [*mut c_void; 2],
    pub node_type: c_int,
    pub transport_type: c_int,
    pub name: [c_char; 64],
    pub dev_name: [c_char; 64],
    pub dev_path: [c_char; 256],
    pub ibdev_path: [c_char; 256],
}

/// A function that programs are not to call.
type none = Option<unsafe extern "C" fn() -> *mut c_void>;

#[repr(C)]
pub struct ibv_context_ops {
    pub _compat_query_device: none,
    pub _compat_query_port: none,
    pub _compat_alloc_pd: none,
    pub _compat_dealloc_pd: none,
    pub _compat_reg_mr: none,
    pub _compat_rereg_mr: none,
    pub _compat_dereg_mr: none,
    pub alloc_mw: unsafe extern "C" fn(*mut ibv_pd, c_int) -> *mut c_void,
    pub bind_mw: unsafe extern "C" fn(*mut ibv_qp, *mut c_void, *mut c_void) -> c_int,
    pub dealloc_mw: unsafe extern "C" fn(*mut c_void) -> c_int,
    pub _compat_create_cq: none,
    pub poll_cq: unsafe extern "C" fn(*mut ibv_cq, c_int, *mut ibv_wc) -> c_int,
    pub req_notify_cq: unsafe extern "C" fn(*mut ibv_cq, c_int) -> c_int,
    pub _compat_cq_event: none,
    pub _compat_resize_cq: none,
    pub _compat_destroy_cq: none,
    pub _compat_create_srq: none,
    pub _compat_modify_srq: none,
    pub _compat_query_srq: none,
    pub _compat_destroy_srq: none,
    pub post_srq_recv:
        unsafe extern "C" fn(*mut c_void, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    pub _compat_create_qp: none,
    pub _compat_query_qp: none,
    pub _compat_modify_qp: none,
    pub _compat_destroy_qp: none,
    pub post_send:
        unsafe extern "C" fn(*mut ibv_qp, *mut ibv_send_wr, *mut *mut ibv_send_wr) -> c_int,
    pub post_recv:
        unsafe extern "C" fn(*mut ibv_qp, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    pub _compat_create_ah: none,
    pub _compat_destroy_ah: none,
    pub _compat_attach_mcast: none,
    pub _compat_detach_mcast: none,
    pub _compat_async_event: none,
}

#[repr(C)]
pub struct ibv_context {
    pub device: *mut ibv_device,
    pub ops: ibv_context_ops,
    pub cmd_fd: c_int,
    pub async_fd: c_int,
    pub num_comp_vectors: c_int,
    pub mutex: pthread_mutex_t,
    /// Not the value that stands for an extended context: programs then call by symbol only.
    pub abi_compat: *mut c_void,
}

#[repr(C)]
pub struct ibv_pd {
    pub context: *mut ibv_context,
    pub handle: u32,
}

#[repr(C)]
pub struct ibv_mr {
    pub context: *mut ibv_context,
    pub pd: *mut ibv_pd,
    pub addr: *mut c_void,
    pub length: usize,
    pub handle: u32,
    pub lkey: u32,
    pub rkey: u32,
}

#[repr(C)]
pub struct ibv_comp_channel {
    pub context: *mut ibv_context,
    pub fd: c_int,
    pub refcnt: c_int,
}

#[repr(C)]
pub struct ibv_cq {
    pub context: *mut ibv_context,
    pub channel: *mut ibv_comp_channel,
    pub cq_context: *mut c_void,
    pub handle: u32,
    pub cqe: c_int,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub comp_events_completed: u32,
    pub async_events_completed: u32,
}

#[repr(C)]
pub struct ibv_qp {
    pub context: *mut ibv_context,
    pub qp_context: *mut c_void,
    pub pd: *mut ibv_pd,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut c_void,
    pub handle: u32,
    pub qp_num: u32,
    pub state: u32,
    pub qp_type: u32,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub events_completed: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ibv_wc {
    pub wr_id: u64,
    pub status: u32,
    pub opcode: u32,
    pub vendor_err: u32,
    pub byte_len: u32,
    pub imm_data: u32,
    pub qp_num: u32,
    pub src_qp: u32,
    pub wc_flags: u32,
    pub pkey_index: u16,
    pub slid: u16,
    pub sl: u8,
    pub dlid_path_bits: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ibv_sge {
    pub addr: u64,
    pub length: u32,
    pub lkey: u32,
}

/// `wr.rdma` and `wr.atomic` as one: the first has its `rkey` where the second has `compare_add`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ibv_send_wr {
    pub wr_id: u64,
    pub next: *mut ibv_send_wr,
    pub sg_list: *mut ibv_sge,
    pub num_sge: c_int,
    pub opcode: u32,
    pub send_flags: u32,
    pub imm_data: u32,
    pub remote_addr: u64,
    pub rkey_or_compare_add: u64,
    pub swap: u64,
    pub atomic_rkey: u32,
    pub qp_type: u64,
    pub tail: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ibv_recv_wr {
    pub wr_id: u64,
    pub next: *mut ibv_recv_wr,
    pub sg_list: *mut ibv_sge,
    pub num_sge: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ibv_ah_attr {
    pub dgid: [u64; 2],
    pub flow_label: u32,
    pub sgid_index: u8,
    pub hop_limit: u8,
    pub traffic_class: u8,
    pub dlid: u16,
    pub sl: u8,
    pub src_path_bits: u8,
    pub static_rate: u8,
    pub is_global: u8,
    pub port_num: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ibv_qp_cap {
    pub max_send_wr: u32,
    pub max_recv_wr: u32,
    pub max_send_sge: u32,
    pub max_recv_sge: u32,
    pub max_inline_data: u32,
}

#[repr(C)]
pub struct ibv_qp_init_attr {
    pub qp_context: *mut c_void,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut c_void,
    pub cap: ibv_qp_cap,
    pub qp_type: u32,
    pub sq_sig_all: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ibv_qp_attr {
    pub qp_state: u32,
    pub cur_qp_state: u32,
    pub path_mtu: u32,
    pub path_mig_state: u32,
    pub qkey: u32,
    pub rq_psn: u32,
    pub sq_psn: u32,
    pub dest_qp_num: u32,
    pub qp_access_flags: u32,
    pub cap: ibv_qp_cap,
    pub ah_attr: ibv_ah_attr,
    pub alt_ah_attr: ibv_ah_attr,
    pub pkey_index: u16,
    pub alt_pkey_index: u16,
    pub en_sqd_async_notify: u8,
    pub sq_draining: u8,
    pub max_rd_atomic: u8,
    pub max_dest_rd_atomic: u8,
    pub min_rnr_timer: u8,
    pub port_num: u8,
    pub timeout: u8,
    pub retry_cnt: u8,
    pub rnr_retry: u8,
    pub alt_port_num: u8,
    pub alt_timeout: u8,
    pub rate_limit: u32,
}

#[repr(C)]
pub struct ibv_device_attr {
    pub fw_ver: [u8; 64],
    pub node_guid: u64,
    pub sys_image_guid: u64,
    pub max_mr_size: u64,
    pub page_size_cap: u64,
    pub vendor_id: u32,
    pub vendor_part_id: u32,
    pub hw_ver: u32,
    pub max_qp: u32,
    pub max_qp_wr: u32,
    pub device_cap_flags: u32,
    pub max_sge: u32,
    pub max_sge_rd: u32,
    pub max_cq: u32,
    pub max_cqe: u32,
    pub max_mr: u32,
    pub max_pd: u32,
    pub max_qp_rd_atom: u32,
    pub max_ee_rd_atom: u32,
    pub max_res_rd_atom: u32,
    pub max_qp_init_rd_atom: u32,
    pub max_ee_init_rd_atom: u32,
    pub atomic_cap: u32,
    /// EE contexts, domains, windows, raw QPs, multicast, address handles, SRQs: there are none.
    pub others: [u32; 14],
    pub max_pkeys: u16,
    pub local_ca_ack_delay: u8,
    pub phys_port_cnt: u8,
}

/// What `ibv_query_port` fills of a `struct ibv_port_attr`: all but the last field, which older
/// programs have no room for.
#[repr(C)]
pub struct ibv_port_attr {
    pub state: u32,
    pub max_mtu: u32,
    pub active_mtu: u32,
    pub gid_tbl_len: u32,
    pub port_cap_flags: u32,
    pub max_msg_sz: u32,
    pub bad_pkey_cntr: u32,
    pub qkey_viol_cntr: u32,
    pub pkey_tbl_len: u16,
    pub lid: u16,
    pub sm_lid: u16,
    pub lmc: u8,
    pub max_vl_num: u8,
    pub sm_sl: u8,
    pub subnet_timeout: u8,
    pub init_type_reply: u8,
    pub active_width: u8,
    pub active_speed: u8,
    pub phys_state: u8,
    pub link_layer: u8,
    pub flags: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ibv_async_event {
    /// A pointer to the QP or CQ, or the port's number.
    pub element: u64,
    pub event_type: u32,
}

#[repr(C)]
pub struct ibv_gid_entry {
    pub gid: [u8; 16],
    pub gid_index: u32,
    pub port_num: u32,
    pub gid_type: u32,
    pub ndev_ifindex: u32,
}

macro_rules! layout {
    ($($type:ident $size:literal { $($field:ident $offset:literal)* })*) => {
        $(const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(std::mem::offset_of!($type, $field) == $offset);)*
        };)*
        /// Size and offsets of each structure, for the comparison with the header.
        #[cfg(all(test, feature = "header-check"))]
        const LAYOUT: &[(&str, usize, &[(&str, usize)])] =
            &[$((stringify!($type), $size, &[$((stringify!($field), $offset)),*])),*];
    };
}

layout! {
    ibv_device 664 { node_type 16 name 24 dev_name 88 dev_path 152 ibdev_path 408 }
    ibv_context 328 { device 0 ops 8 cmd_fd 264 async_fd 268 num_comp_vectors 272 mutex 280 abi_compat 320 }
    ibv_context_ops 256 { poll_cq 88 req_notify_cq 96 post_srq_recv 160 post_send 200 post_recv 208 }
    ibv_pd 16 { context 0 handle 8 }
    ibv_mr 48 { context 0 pd 8 addr 16 length 24 handle 32 lkey 36 rkey 40 }
    ibv_comp_channel 16 { context 0 fd 8 refcnt 12 }
    ibv_cq 128 { channel 8 cq_context 16 handle 24 cqe 28 mutex 32 cond 72 comp_events_completed 120 }
    ibv_qp 160 { qp_context 8 pd 16 send_cq 24 recv_cq 32 srq 40 handle 48 qp_num 52 state 56 qp_type 60 mutex 64 cond 104 events_completed 152 }
    ibv_wc 48 { wr_id 0 status 8 opcode 12 byte_len 20 imm_data 24 qp_num 28 src_qp 32 wc_flags 36 pkey_index 40 slid 42 sl 44 dlid_path_bits 45 }
    ibv_sge 16 { addr 0 length 8 lkey 12 }
    ibv_recv_wr 32 { next 8 sg_list 16 num_sge 24 }
    ibv_qp_cap 20 { max_inline_data 16 }
    ibv_qp_init_attr 64 { send_cq 8 recv_cq 16 srq 24 cap 32 qp_type 52 sq_sig_all 56 }
    ibv_ah_attr 32 { dlid 24 sl 26 is_global 29 port_num 30 }
    ibv_qp_attr 144 { dest_qp_num 28 qp_access_flags 32 cap 36 ah_attr 56 alt_ah_attr 88 pkey_index 120 port_num 129 rate_limit 136 }
    ibv_device_attr 232 { node_guid 64 max_qp 108 max_cq 128 atomic_cap 164 others 168 max_pkeys 224 phys_port_cnt 227 }
    ibv_async_event 16 { event_type 8 }
    ibv_gid_entry 32 { gid_index 16 port_num 20 gid_type 24 ndev_ifindex 28 }
}
const _: () = assert!(size_of::<ibv_send_wr>() == 128);
const _: () = assert!(std::mem::offset_of!(ibv_send_wr, remote_addr) == 40);
const _: () = assert!(std::mem::offset_of!(ibv_send_wr, atomic_rkey) == 64);
const _: () = assert!(std::mem::offset_of!(ibv_port_attr, flags) == 47);

#[cfg(all(test, feature = "header-check"))]
mod tests {
    use super::LAYOUT;
    use std::fmt::Write as _;
    use std::path::Path;
    use std::process::Command;

    /// Compiles rdma-core's header, which is below `VERBS_HEADERS`, and compares every size and offset.
    #[test]
    fn the_header_says_the_same() {
        let headers = std::env::var("VERBS_HEADERS").expect("VERBS_HEADERS names the headers");
        let (mut source, mut expected) = (String::new(), String::new());
        source.push_str("#include <infiniband/verbs.h>\n#include <stddef.h>\n#include <stdio.h>\n");
        source.push_str("int main(void) {\n");
        let mut line = |what: &str, expression: &str, value: usize| {
            writeln!(source, "printf(\"{what} %zu\\n\", {expression});").expect("a String");
            writeln!(expected, "{what} {value}").expect("a String");
        };
        for (name, size, fields) in LAYOUT {
            line(name, &format!("sizeof(struct {name})"), *size);
            // What is summed up here under one name is none of the header's.
            for (field, offset) in fields.iter().filter(|(field, _)| !OURS.contains(field)) {
                let place = format!("offsetof(struct {name}, {field})");
                line(&format!("{name}.{field}"), &place, *offset);
            }
        }
        for (place, offset) in PLACES {
            line(place, &format!("offsetof(struct ibv_send_wr, {place})"), *offset);
        }
        line("flags", "offsetof(struct ibv_port_attr, flags)", 47);
        source.push_str("return 0; }\n");
        let directory = std::env::temp_dir().join(format!("verbs-header-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (file, program) = (directory.join("layout.c"), directory.join("layout"));
        std::fs::write(&file, source).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.arg("-I").arg(Path::new(&headers)).arg(&file).arg("-o").arg(&program);
        assert!(compiler.status().expect("cc runs").success());
        let said = Command::new(&program).output().expect("it runs").stdout;
        std::fs::remove_dir_all(&directory).expect("the directory goes");
        assert_eq!(String::from_utf8_lossy(&said), expected);
    }

    const OURS: &[&str] = &["others"];
    /// Members of the unions in a send request, which is one flat structure here.
    const PLACES: &[(&str, usize)] = &[
        ("wr.rdma.remote_addr", 40),
        ("wr.rdma.rkey", 48),
        ("wr.atomic.compare_add", 48),
        ("wr.atomic.swap", 56),
        ("wr.atomic.rkey", 64),
        ("qp_type", 72),
    ];
}
