//! Requests and replies against pinned bytes of the wire, one row per shape in the specification.
#![forbid(unsafe_code)]

use xenstore::wire::{
    DecodeError, HEADER_LEN, Header, MessageType, Packet, Parser, Reply, Request, RequestId, Token,
    TransactionId, WatchEvent,
};
use xenstore::{Access, Domid, Errno, Failure, Gfn, Path, Permissions, Port};

const ID: RequestId = RequestId(0x0102_0304);
const TX: TransactionId = TransactionId(9);

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

fn token(text: &str) -> Token {
    Token::new(text).unwrap()
}

/// Header fields as little-endian words, then the payload.
fn wire(kind: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    let mut bytes: Vec<u8> =
        [kind, 0x0102_0304, 9, len].iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(payload);
    bytes
}

fn parse(bytes: &[u8]) -> Packet {
    let mut input = bytes;
    let packet = Parser::new().advance(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    packet
}

fn check_request(request: &Request, kind: u32, payload: &[u8]) {
    let mut bytes = Vec::new();
    request.encode(ID, TX, &mut bytes).unwrap();
    assert_eq!(bytes, wire(kind, payload), "{request:?}");
    assert_eq!(request.payload_len(), payload.len(), "{request:?}");
    let packet = parse(&bytes);
    assert_eq!((packet.header.request, packet.header.transaction), (ID, TX));
    assert_eq!(Request::decode(&packet).as_ref(), Ok(request));
}

fn check_reply(reply: &Reply, kind: u32, payload: &[u8]) {
    let mut bytes = Vec::new();
    reply.encode(ID, TX, &mut bytes).unwrap();
    assert_eq!(bytes, wire(kind, payload), "{reply:?}");
    assert_eq!(Reply::decode(&parse(&bytes)).as_ref(), Ok(reply));
}

#[test]
fn requests() {
    let rows: &[(Request, u32, &[u8])] = &[
        (Request::Control { command: "check".into(), parameters: Vec::new() }, 0, b"check\0"),
        (
            Request::Control { command: "live-update".into(), parameters: b"-s\0-F\0".to_vec() },
            0,
            b"live-update\0-s\0-F\0",
        ),
        (Request::Directory(path("/")), 1, b"/\0"),
        (Request::Read(path("/local/domain/0/name")), 2, b"/local/domain/0/name\0"),
        (Request::GetPerms(path("/vm")), 3, b"/vm\0"),
        (
            Request::Watch { path: path("@releaseDomain"), token: token("t k"), depth: None },
            4,
            b"@releaseDomain\0t k\0",
        ),
        (Request::Watch { path: path("/a"), token: token(""), depth: Some(2) }, 4, b"/a\0\x002\0"),
        (Request::Unwatch { path: path("/a"), token: token("t") }, 5, b"/a\0t\0"),
        (Request::TransactionStart, 6, b"\0"),
        (Request::TransactionEnd { commit: true }, 7, b"T\0"),
        (Request::TransactionEnd { commit: false }, 7, b"F\0"),
        (
            Request::Introduce { domid: Domid(5), gfn: Gfn(0x1_2345), port: Port(3) },
            8,
            b"5\x0074565\x003\0",
        ),
        (
            Request::Introduce { domid: Domid(5), gfn: Gfn(u64::MAX), port: Port(3) },
            8,
            b"5\0-1\x003\0",
        ),
        (Request::Release(Domid(5)), 9, b"5\0"),
        (Request::GetDomainPath(Domid(65535)), 10, b"65535\0"),
        (Request::Write { path: path("/a"), value: b"v\0w".to_vec() }, 11, b"/a\0v\0w"),
        (Request::Write { path: path("a/b"), value: Vec::new() }, 11, b"a/b\0"),
        (Request::Mkdir(path("/a")), 12, b"/a\0"),
        (Request::Rm(path("/a")), 13, b"/a\0"),
        (
            Request::SetPerms {
                path: path("/a"),
                permissions: Permissions::private(Domid(0))
                    .grant(Domid(5), Access::Read)
                    .grant(Domid(6), Access::Write)
                    .grant(Domid(7), Access::Both),
            },
            14,
            b"/a\0n0\0r5\0w6\0b7\0",
        ),
        (Request::IsDomainIntroduced(Domid(1)), 17, b"1\0"),
        (Request::Resume(Domid(1)), 18, b"1\0"),
        (Request::SetTarget { domid: Domid(1), target: Domid(2) }, 19, b"1\x002\0"),
        (Request::ResetWatches, 21, b"\0"),
        (Request::DirectoryPart { path: path("/a"), offset: 4000 }, 22, b"/a\x004000\0"),
        (Request::GetFeature(None), 23, b""),
        (Request::GetFeature(Some(Domid(3))), 23, b"3\0"),
        (Request::SetFeature { domid: Domid(3), features: 7 }, 24, b"3\x007\0"),
        (Request::GetQuota { domid: None, quota: None }, 25, b""),
        (Request::GetQuota { domid: None, quota: Some("nodes".into()) }, 25, b"nodes\0"),
        (
            Request::GetQuota { domid: Some(Domid(3)), quota: Some("nodes".into()) },
            25,
            b"3\0nodes\0",
        ),
        (Request::SetQuota { domid: None, quota: "nodes".into(), value: 0 }, 26, b"nodes\x000\0"),
        (
            Request::SetQuota { domid: Some(Domid(3)), quota: "nodes".into(), value: 9 },
            26,
            b"3\0nodes\x009\0",
        ),
    ];
    for (request, kind, payload) in rows {
        check_request(request, *kind, payload);
    }
    // Every type that a client may send has a row.
    for kind in MessageType::ALL {
        let server_only = matches!(kind, MessageType::WatchEvent | MessageType::Error);
        let has_row = rows.iter().any(|(request, _, _)| request.message_type() == *kind);
        assert_eq!(has_row, !server_only, "{kind}");
    }
}

#[test]
fn replies() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let event = WatchEvent { path: path("@introduceDomain"), token: token("t") };
    let rows: Vec<(Reply, u32, &[u8])> = vec![
        (Reply::Control(b"OK\0".to_vec()), 0, b"OK\0"),
        (Reply::Directory(names(&["a", "b-c"])), 1, b"a\0b-c\0"),
        (Reply::Directory(Vec::new()), 1, b""),
        (Reply::Value(b"v\0".to_vec()), 2, b"v\0"),
        (Reply::Value(Vec::new()), 2, b""),
        (Reply::Permissions(Permissions::private(Domid(4))), 3, b"n4\0"),
        (Reply::Done(MessageType::Watch), 4, b"OK\0"),
        (Reply::TransactionStarted(TransactionId(u32::MAX)), 6, b"4294967295\0"),
        (Reply::DomainPath(path("/local/domain/7")), 10, b"/local/domain/7\0"),
        (Reply::Done(MessageType::Write), 11, b"OK\0"),
        (Reply::Event(event), 15, b"@introduceDomain\0t\0"),
        (Reply::Error(Failure::Known(Errno::Enoent)), 16, b"ENOENT\0"),
        (Reply::Error(Failure::Unknown(b"EQUOTA".to_vec())), 16, b"EQUOTA\0"),
        (Reply::Introduced(true), 17, b"T\0"),
        (Reply::Introduced(false), 17, b"F\0"),
        (
            Reply::DirectoryPart { generation: 77, children: names(&["a", "b"]), last: false },
            22,
            b"77\0a\0b\0",
        ),
        (
            Reply::DirectoryPart { generation: 77, children: names(&["c"]), last: true },
            22,
            b"77\0c\0\0",
        ),
        (Reply::DirectoryPart { generation: 77, children: Vec::new(), last: true }, 22, b"77\0\0"),
        (Reply::Features(6), 23, b"6\0"),
        (Reply::Quota("nodes watches".into()), 25, b"nodes watches\0"),
    ];
    for (reply, kind, payload) in &rows {
        check_reply(reply, *kind, payload);
    }
    for kind in MessageType::ALL {
        if Reply::is_bare(*kind) {
            check_reply(&Reply::Done(*kind), kind.raw(), b"OK\0");
        } else {
            assert!(rows.iter().any(|(r, raw, _)| r.message_type() == *kind && *raw == kind.raw()));
        }
    }
}

fn packet(kind: u32, payload: &[u8]) -> Packet {
    parse(&wire(kind, payload))
}

#[test]
fn requests_that_are_none() {
    let check = |kind: u32, payload: &[u8], errno: Errno, part: &str| {
        let error = Request::decode(&packet(kind, payload)).unwrap_err();
        assert_eq!(error.errno(), errno, "{kind} {}", payload.escape_ascii());
        assert!(error.to_string().contains(part), "{error} lacks {part}");
    };
    check(20, b"", Errno::Enosys, "type 20 is not known");
    check(27, b"", Errno::Enosys, "type 27");
    check(0xffff, b"", Errno::Enosys, "type 65535");
    check(15, b"/a\0t\0", Errno::Enosys, "WATCH_EVENT does not travel");
    check(16, b"EINVAL\0", Errno::Enosys, "ERROR does not travel");
    check(2, b"", Errno::Einval, "field path");
    check(2, b"/a", Errno::Einval, "no terminating NUL");
    check(2, b"/a\0x", Errno::Einval, "1 bytes follow");
    check(2, b"/a\0\0", Errno::Einval, "1 bytes follow");
    check(2, b"\0", Errno::Einval, "empty");
    check(2, b"/a//b\0", Errno::Einval, "empty component");
    check(2, b"/\xff\0", Errno::Einval, "0xff");
    check(11, b"/a", Errno::Einval, "field path");
    check(14, b"/a\0", Errno::Einval, "at least one entry");
    check(14, b"/a\0n0", Errno::Einval, "perm-as-string");
    check(14, b"/a\0n0\0\0", Errno::Einval, "no permission");
    check(4, b"/a\0t", Errno::Einval, "field token");
    check(4, b"/a\0t\0x\0", Errno::Einval, "field depth");
    check(4, b"/a\0t\x001", Errno::Einval, "1 bytes follow");
    check(4, b"/a\0t\x001\0x\0", Errno::Einval, "2 bytes follow");
    check(7, b"X\0", Errno::Einval, "\"X\"");
    check(7, b"", Errno::Einval, "T|F");
    check(8, b"65536\x001\x001\0", Errno::Einval, "\"65536\"");
    check(8, b"1\0--1\x001\0", Errno::Einval, "\"--1\"");
    check(8, b"1\0-9223372036854775809\x001\0", Errno::Einval, "gfn");
    check(8, b"1\x001\0-1\0", Errno::Einval, "evtchn");
    check(9, b" 1\0", Errno::Einval, "\" 1\"");
    check(9, b"+1\0", Errno::Einval, "\"+1\"");
    check(22, b"/a\x004294967296\0", Errno::Einval, "offset");
    check(25, b"3\0nodes\0x\0", Errno::Einval, "follow");
    check(26, b"nodes\0", Errno::Einval, "value");
    check(0, b"\xff\0", Errno::Einval, "command");
}

#[test]
fn replies_that_are_none() {
    let check = |kind: u32, payload: &[u8], part: &str| {
        let error = Reply::decode(&packet(kind, payload)).unwrap_err();
        assert!(error.to_string().contains(part), "{error} lacks {part}");
    };
    check(20, b"OK\0", "type 20");
    check(11, b"NO\0", "\"NO\"");
    check(11, b"OK", "no terminating NUL");
    check(1, b"a", "no terminating NUL");
    check(1, b"a\0\0", "field child");
    check(1, b"a/b\0", "\"a/b\"");
    check(1, b"\x01\0", "child");
    check(3, b"", "at least one");
    check(6, b"-1\0", "transid");
    check(6, b"4294967296\0", "transid");
    check(10, b"\0", "empty");
    check(15, b"/a\0", "token");
    check(16, b"ENOENT", "error");
    check(17, b"t\0", "\"t\"");
    check(22, b"x\0a\0", "gencnt");
    check(22, b"1\0\0a\0", "child");
    check(23, b"\0", "value");
}

#[test]
fn reserved_fields_and_payloads_at_their_limits() {
    // What TRANSACTION_START and RESET_WATCHES carry is not looked at.
    for payload in [b"".as_slice(), b"\0", b"x", b"x\0y\0"] {
        assert_eq!(Request::decode(&packet(6, payload)), Ok(Request::TransactionStart));
        assert_eq!(Request::decode(&packet(21, payload)), Ok(Request::ResetWatches));
    }
    // An event's header fields mean nothing.
    let event = packet(15, b"/a\0t\0");
    assert!(matches!(Reply::decode(&event), Ok(Reply::Event(_))));
    let write = |len: usize| Request::Write { path: path("/a"), value: vec![0; len] };
    let mut out = b"kept".to_vec();
    assert_eq!(write(4094).encode(ID, TX, &mut out), Err(4097));
    assert_eq!(out, b"kept", "a refused request leaves nothing behind");
    assert_eq!(write(4093).encode(ID, TX, &mut out), Ok(()));
    assert_eq!(out.len(), 4 + HEADER_LEN + 4096);
    let mut out = Vec::new();
    assert_eq!(Reply::Value(vec![0; 4097]).encode(ID, TX, &mut out), Err(4097));
    assert!(out.is_empty());
    assert_eq!(Reply::Value(vec![0; 4096]).encode(ID, TX, &mut out), Ok(()));
}

#[test]
fn a_wrong_direction_is_told_from_an_unknown_type() {
    let error = Request::decode(&packet(16, b"")).unwrap_err();
    assert_eq!(error, DecodeError::WrongDirection(MessageType::Error));
    let header = Header { kind: 99, ..Header::default() };
    assert_eq!(header.message_type(), None);
}
