//! Requests and records go to bytes and back, and no bytes make the decoder fail.

use ib_protocol::{
    CreateCq, CreateQp, QpAttributes, QpLayout, REQUEST_BYTES, Record, RegMr, Request, kind,
};
use std::collections::BTreeSet;

/// A small generator, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

#[test]
fn requests_come_back_as_they_were() {
    let mut random = Random(1);
    let attributes = QpAttributes::decode(&random.bytes::<104>());
    let requests = [
        Request::Close,
        Request::QueryDevice,
        Request::QueryPort(1),
        Request::QueryGid(1, 7),
        Request::QueryPkey(2, 9),
        Request::AllocPd,
        Request::DeallocPd(3),
        Request::CreateChannel(44),
        Request::DestroyChannel(4),
        Request::CreateCq(CreateCq::decode(&random.bytes::<112>())),
        Request::DestroyCq(5),
        Request::CreateQp(6, CreateQp::decode(&random.bytes::<112>())),
        Request::ModifyQp(7, 0xffff, attributes),
        Request::QueryQp(7, 1),
        Request::DestroyQp(7),
        Request::RegMr(6, RegMr::decode(&random.bytes::<112>())),
        Request::DeregMr(8, false),
        Request::DeregMr(8, true),
        Request::UnmapPages(9),
    ];
    let kinds: BTreeSet<[u8; 4]> =
        requests.iter().map(|request| request.encode(0)[4..8].try_into().unwrap()).collect();
    assert_eq!(kinds.len(), kind::ALL.len(), "every kind");
    for (id, request) in (90..).zip(requests) {
        assert_eq!(Request::decode(&request.encode(id)), (id, Ok(request)));
    }
}

#[test]
fn fuzz_requests() {
    let rounds = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    let mut random = Random(7);
    for _ in 0..rounds.unwrap_or(20_000) {
        let mut slot = random.bytes::<REQUEST_BYTES>();
        // Half of them with a kind that may exist.
        if random.next() & 1 == 0 {
            slot[4..8].copy_from_slice(&((random.next() % 20) as u32).to_le_bytes());
        }
        let (id, request) = Request::decode(&slot);
        let Ok(request) = request else { continue };
        assert_eq!(Request::decode(&request.encode(id)), (id, Ok(request)));
        if let Request::CreateQp(_, create) = request {
            let _ = QpLayout::new(create.size());
        }
    }
}
