//! What a hostile guest tries, and what has to become of it: the errno that the protocol says, or the
//! end of its own context. Each opens contexts of its own, and leaves nothing.

use std::io;

use ib_protocol::{
    Completion, CompletionHeader, ControlPage, CreateQp, QpAttributes, REQUEST_SLOTS, Record,
    RegMr, Request, SendWork, Sge, WorkHeader, kind, status,
};

use super::client::{Outcome, Raw, at, fail, mail, mailbox_is_emptied};

const EINVAL: u32 = 22;
const EBUSY: u32 = 16;
const EPERM: u32 = 1;
const EDQUOT: u32 = 122;
const EOPNOTSUPP: u32 = 95;

/// Quotas of the guest that these are tried in: the case's configuration says the same.
const PAGES: usize = 64;
const MRS: usize = 4;
const CONTEXTS: usize = 16;

type Try = (&'static str, fn() -> Outcome<()>);

/// All of them.
pub const TRIES: &[Try] = &[
    ("meeting", meeting),
    ("mailbox", mailbox),
    ("requests", requests),
    ("handles", handles),
    ("directories", directories),
    ("kept", kept),
    ("quotas", quotas),
    ("contexts", contexts),
    ("indices", indices),
    ("work", work),
    ("policy", policy),
];

fn expect(what: &str, found: u32, expected: u32) -> Outcome<()> {
    if found == expected { Ok(()) } else { fail(format!("{what}: {found}, not {expected}")) }
}

/// Control pages that are none.
fn meeting() -> Outcome<()> {
    let asked = |twist: fn(&mut ControlPage)| Raw::ask(twist).map(|(_, status)| status);
    expect("version", asked(|head| head.version = 99)?, status::BAD_VERSION)?;
    let reference = asked(|head| head.async_reference = 0x7fff_ffff)?;
    expect("reference", reference, status::BAD_REFERENCE)?;
    expect("port", asked(|head| head.control_port = u32::MAX)?, status::BAD_REFERENCE)?;
    expect("port", asked(|head| head.async_port = 1)?, status::BAD_REFERENCE)?;
    expect("no lie", asked(|_| {})?, status::ACCEPTED)
}

/// A mailbox full of nonsense.
fn mailbox() -> Outcome<()> {
    let values = ["", "hello", "-1", "4294967296", "4294967295", "7", "0x10", "1 2"];
    for (index, value) in values.iter().enumerate() {
        mail(&format!("x{index}"), value)?;
        mail(&format!("y{index}/deep/er"), value)?;
    }
    mailbox_is_emptied()?;
    Raw::open().map(drop)
}

/// Requests that are none, in between others.
fn requests() -> Outcome<()> {
    let mut raw = Raw::open()?;
    for kind in [0, kind::UNMAP_PAGES + 1, u32::MAX] {
        let mut slot = [0xff; 128];
        let id = raw.next_id();
        slot[..4].copy_from_slice(&id.to_le_bytes());
        slot[4..8].copy_from_slice(&kind.to_le_bytes());
        expect("kind", raw.request_bytes(&slot)?.0, EOPNOTSUPP)?;
    }
    raw.good(&Request::QueryDevice)?;
    raw.bad(&Request::QueryPort(200), EINVAL)?;
    raw.bad(&Request::QueryPort(u32::MAX), EINVAL)?;
    raw.bad(&Request::QueryGid(1, u32::MAX), EINVAL)?;
    raw.bad(&Request::CreateChannel(u32::MAX), EINVAL)?;
    raw.good(&Request::Close).map(drop)
}

/// Handles of other types, of other contexts, of nothing.
fn handles() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pair = raw.pair(pd)?;
    for handle in [0, pair.cq, pair.qp, pd + 1, u32::MAX] {
        raw.bad(&Request::DeallocPd(handle), EINVAL)?;
    }
    for handle in [0, pd, pair.cq] {
        raw.bad(&Request::DestroyQp(handle), EINVAL)?;
        raw.bad(&Request::QueryQp(handle, 1), EINVAL)?;
        raw.bad(&Request::DeregMr(handle, false), EINVAL)?;
    }
    raw.bad(&Request::DeallocPd(pd), EBUSY)?;
    raw.bad(&Request::DestroyCq(pair.cq), EBUSY)?;
    let mut other = Raw::open()?;
    other.bad(&Request::DestroyQp(pair.qp), EINVAL)?;
    raw.good(&Request::DestroyQp(pair.qp))?;
    raw.bad(&Request::DestroyQp(pair.qp), EINVAL)?;
    raw.good(&Request::DestroyCq(pair.cq))?;
    raw.good(&Request::DeallocPd(pd)).map(drop)
}

/// Directories that name what was not granted, and regions that are longer than their pages.
fn directories() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pages = raw.pages(2)?;
    let reg = raw.registration(&pages)?;
    let refused = |raw: &mut Raw, reg: RegMr, what: &str| {
        let (errno, ..) = raw.request(&Request::RegMr(pd, reg))?;
        if errno == 0 { fail(format!("{what} was registered")) } else { Ok(()) }
    };
    refused(&mut raw, RegMr { directory: 0x7fff_ffff, ..reg }, "a directory not granted")?;
    let mixed = raw.directory(&[pages.references()[0].0, 0x7fff_ffff])?;
    refused(&mut raw, RegMr { directory: mixed, ..reg }, "a page not granted")?;
    raw.bad(&Request::RegMr(pd, RegMr { length: 8193, ..reg }), EINVAL)?;
    raw.bad(&Request::RegMr(pd, RegMr { length: 0, ..reg }), EINVAL)?;
    raw.bad(&Request::RegMr(pd, RegMr { iova: u64::MAX - 4095, ..reg }), EINVAL)?;
    raw.bad(&Request::RegMr(pd, RegMr { access: 1 << 6, ..reg }), EOPNOTSUPP)?;
    let (mr, _) = raw.good(&Request::RegMr(pd, reg))?;
    raw.good(&Request::DeregMr(mr, false)).map(drop)
}

/// Pages that stay mapped are named by whoever has them only, as they are, once at a time; and they count.
fn kept() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pages = raw.pages(PAGES)?;
    let reg = raw.registration(&pages)?;
    let (mr, _) = raw.good(&Request::RegMr(pd, reg))?;
    let (kept, _) = raw.good(&Request::DeregMr(mr, true))?;
    raw.bad(&Request::DeregMr(mr, true), EINVAL)?;
    let one = raw.pages(1)?;
    let one = raw.registration(&one)?;
    raw.bad(&Request::RegMr(pd, one), EDQUOT)?;
    raw.bad(&Request::RegMr(pd, RegMr { kept, ..one }), EINVAL)?;
    for wrong in [mr, pd, kept + 1, u32::MAX] {
        raw.bad(&Request::RegMr(pd, RegMr { kept: wrong, ..reg }), EINVAL)?;
        raw.bad(&Request::UnmapPages(wrong), EINVAL)?;
    }
    let mut other = Raw::open()?;
    let other_pd = other.pd()?;
    other.bad(&Request::RegMr(other_pd, RegMr { kept, ..reg }), EINVAL)?;
    other.bad(&Request::UnmapPages(kept), EINVAL)?;
    raw.bad(&Request::RegMr(pd, RegMr { kept, access: 1 << 6, ..reg }), EOPNOTSUPP)?;
    // None of that has cost the pages.
    let (mr, _) = raw.good(&Request::RegMr(pd, RegMr { kept, ..reg }))?;
    raw.bad(&Request::RegMr(pd, RegMr { kept, ..reg }), EINVAL)?;
    raw.bad(&Request::UnmapPages(kept), EINVAL)?;
    let (again, _) = raw.good(&Request::DeregMr(mr, true))?;
    raw.good(&Request::UnmapPages(again))?;
    raw.bad(&Request::UnmapPages(again), EINVAL)?;
    let (mr, _) = raw.good(&Request::RegMr(pd, reg))?;
    // The last ones go with the context.
    raw.good(&Request::DeregMr(mr, true))?;
    raw.good(&Request::Close).map(drop)
}

/// Quotas hold at n and at one more.
fn quotas() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let (all, more) = (raw.pages(PAGES)?, raw.pages(PAGES + 1)?);
    let too_many = raw.registration(&more)?;
    raw.bad(&Request::RegMr(pd, too_many), EDQUOT)?;
    let (mr, _) = raw.register(pd, &all)?;
    let one = raw.pages(1)?;
    let one_more = raw.registration(&one)?;
    raw.bad(&Request::RegMr(pd, one_more), EDQUOT)?;
    // Quotas are the guest's, not the context's.
    let mut other = Raw::open()?;
    let other_pd = other.pd()?;
    let others = other.pages(1)?;
    let reg = other.registration(&others)?;
    other.bad(&Request::RegMr(other_pd, reg), EDQUOT)?;
    raw.good(&Request::DeregMr(mr, false))?;
    for _ in 0..MRS {
        raw.register(pd, &one)?;
    }
    raw.bad(&Request::RegMr(pd, one_more), EDQUOT)?;
    raw.good(&Request::Close)?;
    other.good(&Request::RegMr(other_pd, reg)).map(drop)
}

/// Contexts are counted; one that ends makes room.
fn contexts() -> Outcome<()> {
    let mut open = Vec::new();
    for _ in 0..CONTEXTS {
        open.push(Raw::open()?);
    }
    expect("one more", Raw::ask(|_| {})?.1, status::TOO_MANY)?;
    if let Some(mut one) = open.pop() {
        one.good(&Request::Close)?;
    }
    Raw::open().map(drop)
}

/// Indices that cannot be end the context, and no other.
fn indices() -> Outcome<()> {
    let mut witness = Raw::open()?;
    let raw = Raw::open()?;
    raw.set(at::<ControlPage>("request_producer"), REQUEST_SLOTS + 1)?;
    raw.closed()?;
    for producer in [9, u32::MAX] {
        for receive in [false, true] {
            let mut raw = Raw::open()?;
            let pd = raw.pd()?;
            let pair = raw.pair(pd)?;
            if receive {
                initialise(&mut raw, pair.qp)?;
            }
            let ring = if receive { pair.layout.recv } else { pair.layout.send };
            let offset = ring.header + at::<WorkHeader>("producer");
            pair.work.store_u32(offset, producer).map_err(io::Error::other)?;
            raw.ring()?;
            raw.closed()?;
        }
    }
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pair = raw.pair(pd)?;
    let consumer = at::<CompletionHeader>("consumer");
    pair.completions.store_u32(consumer, 5).map_err(io::Error::other)?;
    post(&raw, &pair, 0, &SendWork { opcode: 99, ..SendWork::default() }, &[])?;
    raw.closed()?;
    witness.good(&Request::QueryDevice).map(drop)
}

/// Brings a queue pair to INIT.
fn initialise(raw: &mut Raw, qp: u32) -> Outcome<()> {
    let attributes = QpAttributes { qp_state: 1, port_num: 1, ..QpAttributes::default() };
    // State, access, P_Key index, port.
    raw.good(&Request::ModifyQp(qp, 1 | 1 << 3 | 1 << 4 | 1 << 5, attributes)).map(drop)
}

fn post(
    raw: &Raw,
    pair: &super::client::Pair,
    index: u32,
    work: &SendWork,
    entries: &[Sge],
) -> Outcome<()> {
    let mut slot = vec![0; SendWork::SIZE + entries.len() * Sge::SIZE];
    work.encode(&mut slot);
    for (entry, bytes) in entries.iter().zip(slot[SendWork::SIZE..].chunks_exact_mut(Sge::SIZE)) {
        entry.encode(bytes);
    }
    let ring = pair.layout.send;
    pair.work.write(ring.slot(index), &slot).map_err(io::Error::other)?;
    let producer = ring.header + at::<WorkHeader>("producer");
    pair.work.store_u32(producer, index + 1).map_err(io::Error::other)?;
    raw.ring()
}

/// Work that verbs would refuse completes with a failure, and the next is looked at.
fn work() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pair = raw.pair(pd)?;
    let bad = [
        SendWork { opcode: 7, ..SendWork::default() },
        SendWork { opcode: 2, send_flags: 1 << 4, ..SendWork::default() },
        SendWork { opcode: 2, sges: 3, ..SendWork::default() },
        SendWork { opcode: 2, sges: u32::MAX, ..SendWork::default() },
        SendWork { opcode: 2, send_flags: 8, inline_bytes: 33, ..SendWork::default() },
        SendWork { opcode: 4, send_flags: 8, inline_bytes: 8, ..SendWork::default() },
        // Right in itself, but the queue pair is connected to nothing.
        SendWork { opcode: 2, sges: 1, ..SendWork::default() },
    ];
    for (index, work) in bad.iter().enumerate() {
        let (index, wr_id) = (index as u32, 100 + index as u64);
        post(&raw, &pair, index, &SendWork { wr_id, ..*work }, &[Sge::default()])?;
        let producer = at::<CompletionHeader>("producer");
        raw.until("a completion", |_| {
            let there = pair.completions.load_u32(producer).map_err(io::Error::other)?;
            Ok((there == index + 1).then_some(()))
        })?;
        let mut slot = [0; Completion::SIZE];
        let from = CompletionHeader::SIZE + index as usize * Completion::SIZE;
        pair.completions.read(from, &mut slot).map_err(io::Error::other)?;
        let completion = Completion::decode(&slot);
        if completion.wr_id != wr_id || completion.status == 0 || completion.qp_num != pair.number {
            return fail(format!("{work:?} came to {completion:?}"));
        }
    }
    raw.good(&Request::QueryDevice).map(drop)
}

/// What the guest may not be, and whom it may not reach.
fn policy() -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pair = raw.pair(pd)?;
    initialise(&mut raw, pair.qp)?;
    let mut dgid = [0; 16];
    dgid[10..].copy_from_slice(&[0xff, 0xff, 10, 9, 0, 1]);
    let to = QpAttributes {
        qp_state: 2,
        path_mtu: 3,
        dest_qp_num: pair.number,
        dgid,
        is_global: 1,
        sgid_index: 1,
        hop_limit: 1,
        ah_port_num: 1,
        max_dest_rd_atomic: 1,
        min_rnr_timer: 12,
        ..QpAttributes::default()
    };
    // State, path, MTU, number and first packet of the other side, reads, time.
    let mask = 1 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 15 | 1 << 17 | 1 << 20;
    let mut elsewhere = to;
    elsewhere.dgid[15] = 77;
    elsewhere.dgid[14] = 77;
    raw.bad(&Request::ModifyQp(pair.qp, mask, elsewhere), EPERM)?;
    raw.bad(&Request::ModifyQp(pair.qp, mask, QpAttributes { sgid_index: 0, ..to }), EPERM)?;
    raw.bad(&Request::ModifyQp(pair.qp, mask, QpAttributes { is_global: 0, ..to }), EPERM)?;
    raw.bad(&Request::ModifyQp(pair.qp, mask | 1 << 14, to), EOPNOTSUPP)?;
    let (_, hidden) = raw.good(&Request::QueryGid(1, 0))?;
    let (_, shown) = raw.good(&Request::QueryGid(1, 1))?;
    if hidden[..16] != [0; 16] || shown[..16] != dgid {
        return fail("the GID table is not what the policy says");
    }
    let create = CreateQp { qp_type: 4, send_cq: pair.cq, recv_cq: pair.cq, ..CreateQp::default() };
    raw.bad(&Request::CreateQp(pd, create), EOPNOTSUPP)?;
    raw.good(&Request::ModifyQp(pair.qp, mask, to)).map(drop)
}

/// Registers memory, and when the backend is gone, registers again at the next one, so many times.
pub fn survive(rounds: u32) -> Outcome<()> {
    for round in 0..rounds {
        let mut raw = Raw::open()?;
        let pd = raw.pd()?;
        let pages = raw.pages(32)?;
        let pair = raw.pair(pd)?;
        initialise(&mut raw, pair.qp)?;
        raw.register(pd, &pages)?;
        println!("attack: registered {round}");
        raw.until("the end of the backend", |raw| Ok((!raw.is_served()?).then_some(())))?;
        let cq_alive = at::<CompletionHeader>("backend_alive");
        raw.until("the end of the completion queue", |_| {
            let alive = pair.completions.load_u8(cq_alive).map_err(io::Error::other)?;
            Ok((alive == 0).then_some(()))
        })?;
    }
    println!("attack: survived {rounds}");
    Ok(())
}

/// Registers memory, says so, and waits to be killed.
pub fn hold(pages: usize) -> Outcome<()> {
    let mut raw = Raw::open()?;
    let pd = raw.pd()?;
    let pages = raw.pages(pages)?;
    let pair = raw.pair(pd)?;
    initialise(&mut raw, pair.qp)?;
    raw.register(pd, &pages)?;
    println!("attack: holds");
    while raw.is_served()? {
        raw.channels.wait(None).map_err(io::Error::other)?;
        raw.heard()?;
    }
    Ok(())
}
