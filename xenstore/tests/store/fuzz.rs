//! Any packets from several connections at once: nothing panics, every reply fits a message, no
//! guest gets beyond its quotas, and the state stays sound.
//!
//! Seeded and bounded, so that it runs with the other tests; `XLR_FUZZ_ITERS` scales it.

use crate::random::{Random, iterations};
use crate::script::connection;
use xenstore::Domid;
use xenstore::store::{ConnectionId, Effect, Outcome, Quota, Ring, State};
use xenstore::wire::{
    Header, MessageType, PAYLOAD_MAX, Packet, Reply, Request, RequestId, TransactionId,
};

const SEED: u64 = 0x7374_6f72_655f_6d65;
const ITERATIONS: u64 = 30_000;

const PATHS: &[&[u8]] = &[
    b"/",
    b"/local",
    b"/local/domain/1",
    b"/local/domain/1/x",
    b"/local/domain/1/x/y",
    b"/local/domain/2/x",
    b"/shared",
    b"/shared/a",
    b"/shared/a/b/c/d",
    b"/shared/b",
    b"x",
    b"x/y/z",
    b"@releaseDomain",
    b"@introduceDomain",
    b"@releaseDomain/2",
    b"/a-b/c",
    b"//",
    b"",
];

const TAILS: &[&[u8]] = &[
    b"",
    b"\0",
    b"value",
    b"t\0",
    b"other\0",
    b"t\x001\0",
    b"n0\0r1\0b2\0",
    b"b1\0",
    b"n2\0r0\0",
    b"n1\0n2\0n3\0r1\0r2\0r3\0",
    b"0\0",
    b"3\0",
    b"4000\0",
];

const WHOLE: &[&[u8]] = &[
    b"T\0",
    b"F\0",
    b"\0",
    b"1\0",
    b"2\0",
    b"3\0",
    b"1\x002\0",
    b"3\x007\x005\0",
    b"2\x007\x005\0",
    b"quota\0",
    b"quota\x001\0",
    b"check\0",
    b"quota\0set\0nodes\x0050\0",
    b"memreport\0",
    b"1\0nodes\x0020\0",
    b"nodes\x0040\0",
    b"watches\x0010\0",
    b"print\0x\0",
];

pub fn packet(random: &mut Random) -> Packet {
    let kind = MessageType::ALL[random.below(MessageType::ALL.len())];
    let mut payload = if random.below(4) == 0 {
        random.pick(WHOLE).to_vec()
    } else {
        let mut payload = random.pick(PATHS).to_vec();
        payload.push(0);
        payload.extend_from_slice(random.pick(TAILS));
        payload
    };
    if random.below(8) == 0 {
        payload.resize(payload.len() + random.below(PAYLOAD_MAX - payload.len()), b'v');
    }
    if random.below(16) == 0 && !payload.is_empty() {
        let at = random.below(payload.len());
        payload[at] = u8::try_from(random.below(256)).unwrap();
    }
    let kind = if random.below(64) == 0 { random.below(40) as u32 } else { kind.raw() };
    let transaction = TransactionId(if random.below(2) == 0 { 0 } else { random.below(6) as u32 });
    let len = u32::try_from(payload.len()).unwrap();
    Packet { header: Header { kind, request: RequestId(1), transaction, len }, payload }
}

/// The outcome, once the server has done its part.
pub fn finish(state: &mut State, random: &mut Random, outcome: Outcome) -> Outcome {
    let Some(Effect::Connect { domid, gfn, port, .. }) = outcome.changes.effects.first().cloned()
    else {
        return outcome;
    };
    let result = if random.below(4) == 0 { Err(xenstore::Errno::Einval) } else { Ok(()) };
    state.connected(domid, Ring { gfn, port }, result)
}

fn check_outcome(state: &State, outcome: &Outcome) {
    let reply = outcome.reply.as_ref().expect("an answer");
    assert!(!matches!(reply, Reply::Event(_)));
    let mut bytes = Vec::new();
    assert!(
        reply.encode(RequestId(1), TransactionId::NONE, &mut bytes).is_ok(),
        "a reply that fits no message: {reply:?}"
    );
    for event in &outcome.changes.events {
        let known = state.connections().any(|connection| connection == event.connection);
        assert!(known, "an event for nobody: {event:?}");
        let event = Reply::Event(event.event.clone());
        assert!(event.encode(RequestId(0), TransactionId::NONE, &mut bytes).is_ok());
    }
    if matches!(reply, Reply::Error(_)) {
        assert_eq!(
            outcome.changes,
            xenstore::store::Changes::default(),
            "an error changes nothing"
        );
    }
}

#[test]
fn fuzz_packets() {
    let mut random = Random(SEED);
    let callers = ["s1", "s2", "d1", "d1", "d1", "d2", "d2"].map(connection);
    let mut state = crate::script::store();
    state.connect_socket(2);
    for iteration in 0..iterations(ITERATIONS) {
        match random.below(600) {
            0 => {
                state.domain_gone(Domid(random.below(4) as u16));
            }
            1 => {
                state.domain_shut_down(Domid(random.below(4) as u16));
            }
            2 => state.domain_exists(Domid(random.below(4) as u16)),
            3 => {
                state.disconnect_socket(2);
                state.connect_socket(2);
            }
            _ => {}
        }
        let caller = callers[random.below(callers.len())];
        let packet = packet(&mut random);
        let before = guests_nodes(&state);
        let outcome = state.apply_packet(caller, &packet);
        let outcome = finish(&mut state, &mut random, outcome);
        check_outcome(&state, &outcome);
        if caller != connection("s1") && caller != connection("s2") {
            check_growth(&state, &before);
        }
        if iteration % 16 == 0 {
            assert_eq!(state.check(), Vec::<String>::new(), "after {packet:?}");
        }
    }
}

fn guests_nodes(state: &State) -> [u64; 3] {
    [1, 2, 3].map(|domid| state.usage(Domid(domid)).map_or(0, |usage| usage.nodes))
}

/// A guest's request makes no guest own more nodes than its quota admits.
fn check_growth(state: &State, before: &[u64; 3]) {
    for (number, (after, before)) in guests_nodes(state).into_iter().zip(before).enumerate() {
        let domid = Domid(number as u16 + 1);
        let limit = state.limit(domid, Quota::Nodes);
        assert!(after <= limit.max(*before), "domain {domid} owns {after} nodes of {limit}");
    }
}

/// Requests that are always well-formed reach deeper than damaged packets.
#[test]
fn fuzz_requests() {
    let mut random = Random(SEED ^ 1);
    let mut state = crate::script::store();
    let callers = ["s1", "d1", "d2"].map(connection);
    for iteration in 0..iterations(ITERATIONS) {
        let caller = callers[random.below(callers.len())];
        let text = request(&mut random);
        let request = crate::script::parse(&text);
        let transaction = TransactionId(random.below(4) as u32);
        let outcome = crate::script::apply(&mut state, caller, transaction, &request);
        check_outcome(&state, &outcome);
        if iteration % 16 == 0 {
            assert_eq!(state.check(), Vec::<String>::new(), "after {text}");
        }
        if matches!(request, Request::Rm(_)) && random.below(200) == 0 {
            let ConnectionId::Domain(domid) = caller else { continue };
            state.domain_gone(domid);
            crate::script::ask(&mut state, "s1", &format!("INTRODUCE {domid}"));
        }
    }
}

pub fn request(random: &mut Random) -> String {
    let names = ["a", "b", "c"];
    let mut path = ["/local/domain/1", "/local/domain/2", "/shared"][random.below(3)].to_owned();
    for _ in 0..random.below(4) {
        path = format!("{path}/{}", names[random.below(3)]);
    }
    match random.below(14) {
        0..=3 => format!("WRITE {path} v*{}", random.below(300) + 1),
        4 => format!("READ {path}"),
        5 => format!("MKDIR {path}"),
        6 => format!("RM {path}"),
        7 => format!("DIRECTORY {path}"),
        8 => format!("SET_PERMS {path} {}", ["n1,b2", "b2", "n0,r1,w2", "r1"][random.below(4)]),
        9 => format!("WATCH {path} t{}", random.below(3)),
        10 => format!("UNWATCH {path} t{}", random.below(3)),
        11 => "START".to_owned(),
        12 => ["COMMIT", "COMMIT", "ABORT"][random.below(3)].to_owned(),
        _ => ["RESET_WATCHES", "GET_DOMAIN_PATH 1"][random.below(2)].to_owned(),
    }
}
