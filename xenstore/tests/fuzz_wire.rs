//! Any bytes through the parser, the decoders and the session: nothing panics, memory stays bounded,
//! and what is understood encodes to something that is understood the same way.
//!
//! Seeded and bounded, so that it runs with the other tests; `XLR_FUZZ_ITERS` scales it.
#![forbid(unsafe_code)]

mod random;

use random::{Random, iterations};
use xenstore::client::{Session, Waiting};
use xenstore::wire::{
    HEADER_LEN, Header, MessageType, PAYLOAD_MAX, Packet, Parser, Reply, Request, RequestId,
    TransactionId,
};

const SEED: u64 = 0x7865_6e73_746f_7265;
const ITERATIONS: u64 = 100_000;

/// Payloads that reach deep into the decoders.
const PAYLOADS: &[&[u8]] = &[
    b"",
    b"\0",
    b"OK\0",
    b"/local/domain/0\0",
    b"/a\0token\0",
    b"/a\0token\x003\0",
    b"/a\0n0\0r5\0",
    b"n0\0b65535\0",
    b"T\0",
    b"1\x00123456\x007\0",
    b"77\0child\0other\0",
    b"77\0child\0\0",
    b"ENOENT\0",
    b"EAGAIN\0",
    b"4294967295\0",
    b"live-update\0-s\0",
    b"nodes\x00100\0",
    b"@releaseDomain/5\0t\0",
];

/// A packet with a payload of the corpus, then some damage.
fn damaged(random: &mut Random) -> Vec<u8> {
    let mut payload = random.pick(PAYLOADS).to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(payload.len() + 1);
        match random.below(4) {
            0 if at < payload.len() => payload[at] = u8::try_from(random.below(256)).unwrap(),
            1 => payload.insert(at, [0, b'/', b'9', 0xff][random.below(4)]),
            2 if at < payload.len() => drop(payload.remove(at)),
            _ => payload.extend_from_slice(random.pick(PAYLOADS)),
        }
    }
    if random.below(50) == 0 {
        payload.resize(PAYLOAD_MAX - random.below(3), b'/');
    }
    let kind = u32::try_from(random.below(29)).unwrap();
    let mut len = u32::try_from(payload.len()).unwrap();
    match random.below(60) {
        0 => len = len.wrapping_add(1),
        1 => len = u32::MAX,
        2 => len = 4097,
        _ => {}
    }
    let request = RequestId(u32::try_from(random.below(12)).unwrap());
    let header = Header { kind, request, transaction: TransactionId(0), len };
    let mut bytes = header.encode().to_vec();
    bytes.extend(payload);
    bytes
}

/// What a decoder understands survives another round of encoding and decoding.
fn settle(packet: &Packet) {
    let (id, tx) = (packet.header.request, packet.header.transaction);
    let again = |bytes: &[u8]| Parser::new().advance(&mut &bytes[..]).unwrap().unwrap();
    if let Ok(request) = Request::decode(packet) {
        let mut bytes = Vec::new();
        if request.encode(id, tx, &mut bytes).is_ok() {
            assert_eq!(Request::decode(&again(&bytes)), Ok(request));
        }
    }
    if let Ok(reply) = Reply::decode(packet) {
        let mut bytes = Vec::new();
        if reply.encode(id, tx, &mut bytes).is_ok() {
            assert_eq!(Reply::decode(&again(&bytes)), Ok(reply));
        }
    }
}

#[test]
fn fuzz_wire() {
    let mut random = Random(SEED);
    let mut parser = Parser::new();
    for _ in 0..iterations(ITERATIONS) {
        let bytes = damaged(&mut random);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let cut = (1 + random.below(rest.len())).min(rest.len());
            let (mut now, later) = rest.split_at(cut);
            rest = later;
            while !now.is_empty() {
                match parser.advance(&mut now) {
                    Ok(Some(packet)) => {
                        assert!(packet.payload.len() <= PAYLOAD_MAX);
                        assert_eq!(packet.payload.len(), packet.header.len as usize);
                        settle(&packet);
                    }
                    Ok(None) => assert!(now.is_empty()),
                    Err(_) => {
                        assert_eq!(parser.needed(), 0);
                        (parser, now, rest) = (Parser::new(), &[], &[]);
                    }
                }
                assert!(parser.needed() <= HEADER_LEN + PAYLOAD_MAX);
            }
        }
    }
}

#[test]
fn fuzz_session() {
    let mut random = Random(SEED ^ 1);
    let mut session = Session::new();
    session.events.set_limit(100);
    let mut out = Vec::new();
    let (mut sent, mut answered, mut lost, mut events) = (0u64, 0u64, 0u64, 0u64);
    let mut asked = Vec::new();
    for _ in 0..iterations(ITERATIONS) {
        if random.below(2) == 0 {
            let kinds = [2u32, 4, 5, 6, 11, 21, 22];
            let payload = random.pick(PAYLOADS).to_vec();
            let kind = kinds[random.below(kinds.len())];
            let len = u32::try_from(payload.len()).unwrap();
            let header = Header { kind, len, ..Header::default() };
            if let Ok(request) = Request::decode(&Packet { header, payload }) {
                asked.push(session.request(&request, TransactionId::NONE, &mut out).unwrap());
                sent += 1;
            }
            out.clear();
        }
        let mut bytes = damaged(&mut random);
        // Mostly, answer something that was asked, or send an event.
        if let (Some(id), true) = (asked.get(random.below(asked.len())), random.below(8) > 0) {
            bytes[4..8].copy_from_slice(&id.0.to_le_bytes());
        } else if random.below(4) > 0 {
            bytes[..4].copy_from_slice(&MessageType::WatchEvent.raw().to_le_bytes());
        }
        let waiting = session.waiting();
        if session.receive(&bytes).is_err() {
            lost += 1;
            session = Session::new();
            session.events.set_limit(100);
            asked.clear();
            continue;
        }
        assert!(session.waiting() <= waiting);
        asked.retain(|id| {
            let outcome = session.take(*id);
            answered += u64::from(outcome.is_some());
            assert!(session.take(*id).is_none(), "an outcome is given once");
            outcome.is_none()
        });
        assert_eq!(session.waiting(), asked.len());
        assert!(session.events.len() <= 101);
        if random.below(20) == 0 {
            while let Some(waiting) = session.pop_event() {
                events += u64::from(matches!(waiting, Waiting::Event(_)));
            }
        }
    }
    // The run reached what it is about.
    if iterations(ITERATIONS) >= ITERATIONS {
        let reached = (sent, answered, lost, events);
        assert!(sent > 5000 && answered > 5000 && lost > 1000 && events > 1000, "{reached:?}");
    }
}

#[test]
fn fuzz_every_type_with_every_payload() {
    for raw in 0..30 {
        for payload in PAYLOADS {
            for cut in 0..=payload.len() {
                let payload = payload[..cut].to_vec();
                let len = u32::try_from(payload.len()).unwrap();
                settle(&Packet { header: Header { kind: raw, len, ..Header::default() }, payload });
            }
        }
    }
    assert_eq!(MessageType::ALL.len(), 26);
}
