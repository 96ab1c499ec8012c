//! Whatever a guest writes into a slot is decided without a panic, and what is allowed lies within what the
//! device and the protocol allow.

use ib_backend::check::{self, Tables, mask};
use ib_backend::limits::Limits;
use ib_backend::policy::{Gid, Policy};
use ib_backend::work::{self, Follows};
use ib_protocol::{
    DeviceAttributes, PAGE_BYTES, QpLayout, REQUEST_BYTES, Record, Request, SLOTS_MAX, SendWork,
    Sge, kind,
};
use libxc_safe::Errno;

struct Table;

impl Tables for Table {
    fn gid(&self, port: u32, index: u32) -> Result<Gid, Errno> {
        if port == 1 && index < 4 { Ok([index as u8; 16]) } else { Err(Errno::INVAL) }
    }
    fn pkey(&self, port: u32, index: u32) -> Result<u16, Errno> {
        if port == 1 && index < 4 { Ok(index as u16) } else { Err(Errno::INVAL) }
    }
}

fn device() -> DeviceAttributes {
    let device = DeviceAttributes {
        max_qp_wr: 1 << 20,
        max_sge: 32,
        max_cqe: 1 << 22,
        ..DeviceAttributes::default()
    };
    check::device_for(&Limits::default(), &device)
}

/// The same request with what is rarely right by chance made right, or nearly so.
fn nearly_right(request: Request, chance: u64) -> Request {
    match request {
        Request::CreateQp(pd, mut create) => {
            create.qp_type = 2 + (chance & 1) as u32 * 2;
            create.max_send_sge %= 40;
            create.max_recv_sge %= 40;
            create.max_send_wr %= SLOTS_MAX + 2;
            create.max_recv_wr %= SLOTS_MAX + 2;
            create.max_inline_data %= 4100;
            Request::CreateQp(pd, create)
        }
        Request::RegMr(pd, mut reg) => {
            reg.length %= 1 << 24;
            reg.access &= 0x1f;
            let end = reg.iova % PAGE_BYTES as u64 + reg.length;
            let pages = end.div_ceil(PAGE_BYTES as u64) as u32;
            reg.pages = (pages + (chance % 3) as u32).saturating_sub(1);
            Request::RegMr(pd, reg)
        }
        Request::ModifyQp(qp, attr_mask, mut attributes) => {
            attributes.dgid[0] = 0xfd + (chance % 3) as u8;
            attributes.is_global = (chance >> 2 & 1) as u8;
            attributes.sgid_index = (chance >> 3 & 3) as u8;
            attributes.ah_port_num = 1;
            attributes.port_num = 1;
            attributes.pkey_index = (chance >> 5 & 3) as u16;
            Request::ModifyQp(qp, attr_mask & 0x3f_ffff | mask::PATH, attributes)
        }
        other => other,
    }
}

/// What a request comes to; whether it is allowed.
fn decide(request: &Request, policy: &Policy) -> bool {
    match request {
        Request::CreateCq(create) => {
            if let Ok(layout) = check::completion_queue(create, &device()) {
                assert!(layout.ring.slots >= create.entries && layout.ring.slots <= SLOTS_MAX);
                return true;
            }
        }
        Request::CreateQp(_, create) => {
            if let Ok((wanted, layout)) = check::queue_pair(create, &device()) {
                let end = layout.pages * PAGE_BYTES;
                let last = layout.recv.slots.saturating_sub(1);
                assert!(layout.send.slots >= wanted.size.send_wr);
                assert!(
                    layout.recv.slots == 0 || layout.recv.slot(last) + layout.recv.stride <= end
                );
                sends(&layout, &wanted.size);
                return true;
            }
        }
        Request::RegMr(_, reg) => {
            if let Ok(plan) = check::region(reg) {
                assert!(plan.len > 0 && plan.offset < PAGE_BYTES);
                assert!(plan.offset + plan.len <= plan.pages as usize * PAGE_BYTES);
                assert_eq!(plan.access & !0xf, 0);
                return true;
            }
        }
        Request::ModifyQp(_, attr_mask, attributes)
            if check::change(*attr_mask, attributes, 1, policy, &Table).is_ok() =>
        {
            assert_eq!(attr_mask & !mask::ALLOWED, 0);
            let path = attr_mask & mask::PATH != 0;
            assert!(!path || (attributes.is_global != 0 && attributes.dgid[0] == 0xfe));
            assert!(!path || attributes.sgid_index == 1, "another source than allowed");
            return true;
        }
        _ => {}
    }
    false
}

/// The entries of any send lie within its slot.
fn sends(layout: &QpLayout, size: &ib_protocol::QpSize) {
    for sges in [0, 1, size.send_sge, size.send_sge + 1, u32::MAX] {
        let work = SendWork { opcode: 2, sges, ..SendWork::default() };
        if let Ok(Follows::Entries(count)) = work::send(&work, size) {
            assert!(SendWork::SIZE + count * Sge::SIZE <= layout.send.stride);
        }
    }
}

#[test]
fn fuzz_decisions() {
    let rounds = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    let policy = Policy::from_nodes("/b", |name| {
        let value = match name {
            "gids" => "1",
            "pkeys" => "1,2",
            _ => "fe00::/8",
        };
        Some(value.to_owned())
    })
    .expect("a policy");
    let mut state = 5_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 24
    };
    let mut allowed = 0;
    for _ in 0..rounds.unwrap_or(50_000_u64) {
        // Few bits set, so that small numbers, which may be right, are common.
        let mut slot: [u8; REQUEST_BYTES] =
            std::array::from_fn(|_| if next() % 3 == 0 { (next() & next()) as u8 } else { 0 });
        let chosen = kind::ALL[next() as usize % kind::ALL.len()].value;
        slot[4..8].copy_from_slice(&chosen.to_le_bytes());
        if let (_, Ok(request)) = Request::decode(&slot) {
            decide(&request, &policy);
            allowed += u32::from(decide(&nearly_right(request, next()), &policy));
        }
    }
    assert!(allowed > 100, "only {allowed} requests were nearly right enough");
}
