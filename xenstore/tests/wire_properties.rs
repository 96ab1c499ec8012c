//! Properties of the wire: decoding gives back what was encoded, and chunking does not matter.
#![forbid(unsafe_code)]

use proptest::collection::vec;
use proptest::prelude::*;
use xenstore::wire::{
    MessageType, Packet, ParseError, Parser, Reply, Request, RequestId, Token, TransactionId,
    WatchEvent,
};
use xenstore::{Access, Domid, Failure, Gfn, Path, Permissions, Port};

fn path() -> impl Strategy<Value = Path> {
    let text = prop_oneof![
        "/",
        "(/[a-zA-Z0-9_@-]{1,12}){1,6}",
        "[a-zA-Z0-9_-]{1,12}(/[a-zA-Z0-9_@-]{1,12}){0,4}",
        "@[a-zA-Z]{1,20}",
    ];
    text.prop_map(|text| Path::new(text).unwrap())
}

fn token() -> impl Strategy<Value = Token> {
    vec(1..=255u8, 0..40).prop_map(|bytes| Token::new(bytes).unwrap())
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::None), Just(Access::Read), Just(Access::Write), Just(Access::Both)]
}

fn domid() -> impl Strategy<Value = Domid> {
    any::<u16>().prop_map(Domid)
}

fn permissions() -> impl Strategy<Value = Permissions> {
    (domid(), access(), vec((domid(), access()), 0..5))
        .prop_map(|(owner, others, grants)| Permissions { owner, others, grants })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..600)
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,16}"
}

fn node_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        path().prop_map(Request::Directory),
        (path(), any::<u32>()).prop_map(|(path, offset)| Request::DirectoryPart { path, offset }),
        path().prop_map(Request::Read),
        (path(), bytes()).prop_map(|(path, value)| Request::Write { path, value }),
        path().prop_map(Request::Mkdir),
        path().prop_map(Request::Rm),
        path().prop_map(Request::GetPerms),
        (path(), permissions())
            .prop_map(|(path, permissions)| Request::SetPerms { path, permissions }),
        (path(), token(), any::<Option<u32>>()).prop_map(|(path, token, depth)| Request::Watch {
            path,
            token,
            depth
        }),
        (path(), token()).prop_map(|(path, token)| Request::Unwatch { path, token }),
        any::<bool>().prop_map(|commit| Request::TransactionEnd { commit }),
        Just(Request::TransactionStart),
        Just(Request::ResetWatches),
    ]
}

fn domain_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        ("[a-z-]{1,12}", bytes())
            .prop_map(|(command, parameters)| Request::Control { command, parameters }),
        (domid(), any::<u64>(), any::<u32>()).prop_map(|(domid, gfn, port)| Request::Introduce {
            domid,
            gfn: Gfn(gfn),
            port: Port(port)
        }),
        domid().prop_map(Request::Release),
        domid().prop_map(Request::GetDomainPath),
        domid().prop_map(Request::IsDomainIntroduced),
        domid().prop_map(Request::Resume),
        (domid(), domid()).prop_map(|(domid, target)| Request::SetTarget { domid, target }),
        proptest::option::of(domid()).prop_map(Request::GetFeature),
        (domid(), any::<u32>())
            .prop_map(|(domid, features)| Request::SetFeature { domid, features }),
        Just(Request::GetQuota { domid: None, quota: None }),
        (proptest::option::of(domid()), name())
            .prop_map(|(domid, quota)| Request::GetQuota { domid, quota: Some(quota) }),
        (proptest::option::of(domid()), name(), any::<u32>())
            .prop_map(|(domid, quota, value)| Request::SetQuota { domid, quota, value }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![node_request(), domain_request()]
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        (0..16usize).prop_map(|n| Failure::Known(xenstore::Errno::ALL[n])),
        vec(1..=255u8, 0..20).prop_map(|text| Failure::from_text(&text)),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let bare: Vec<_> =
        MessageType::ALL.iter().copied().filter(|kind| Reply::is_bare(*kind)).collect();
    prop_oneof![
        proptest::sample::select(bare).prop_map(Reply::Done),
        bytes().prop_map(Reply::Control),
        vec(name(), 0..20).prop_map(Reply::Directory),
        (any::<u64>(), vec(name(), 0..20), any::<bool>()).prop_map(
            |(generation, children, last)| Reply::DirectoryPart { generation, children, last }
        ),
        bytes().prop_map(Reply::Value),
        permissions().prop_map(Reply::Permissions),
        any::<u32>().prop_map(|id| Reply::TransactionStarted(TransactionId(id))),
        path().prop_map(Reply::DomainPath),
        any::<bool>().prop_map(Reply::Introduced),
        any::<u32>().prop_map(Reply::Features),
        name().prop_map(Reply::Quota),
        (path(), token()).prop_map(|(path, token)| Reply::Event(WatchEvent { path, token })),
        failure().prop_map(Reply::Error),
    ]
}

/// All packets of a stream that arrives in chunks of these lengths, over and over.
fn parse(bytes: &[u8], chunks: &[usize]) -> (Vec<Packet>, Option<ParseError>) {
    let mut parser = Parser::new();
    let mut packets = Vec::new();
    let mut rest = bytes;
    for chunk in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut now, later) = rest.split_at((*chunk).min(rest.len()));
        rest = later;
        while !now.is_empty() {
            match parser.advance(&mut now) {
                Ok(packet) => packets.extend(packet),
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

proptest! {
    #[test]
    fn requests_come_back(requests in vec(request(), 1..12), chunks in vec(1usize..60, 1..8)) {
        let mut bytes = Vec::new();
        for (n, request) in (0u32..).zip(&requests) {
            request.encode(RequestId(n), TransactionId(!n), &mut bytes).unwrap();
        }
        let (packets, error) = parse(&bytes, &chunks);
        prop_assert_eq!(error, None);
        let decoded: Vec<_> = packets.iter().map(|p| Request::decode(p).unwrap()).collect();
        prop_assert_eq!(decoded, requests);
        for (n, packet) in (0u32..).zip(&packets) {
            prop_assert_eq!(packet.header.request, RequestId(n));
            prop_assert_eq!(packet.header.transaction, TransactionId(!n));
        }
    }

    #[test]
    fn replies_come_back(replies in vec(reply(), 1..12), chunks in vec(1usize..60, 1..8)) {
        let mut bytes = Vec::new();
        for (n, reply) in (0u32..).zip(&replies) {
            reply.encode(RequestId(n), TransactionId::NONE, &mut bytes).unwrap();
        }
        let (packets, error) = parse(&bytes, &chunks);
        prop_assert_eq!(error, None);
        let decoded: Vec<_> = packets.iter().map(|p| Reply::decode(p).unwrap()).collect();
        prop_assert_eq!(decoded, replies);
    }

    #[test]
    fn chunking_does_not_matter(
        bytes in vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..400),
        chunks in vec(1usize..40, 1..6),
    ) {
        let whole = parse(&bytes, &[usize::MAX]);
        prop_assert_eq!(parse(&bytes, &chunks), whole);
    }

    #[test]
    fn a_message_that_needs_as_much_as_it_says(request in request()) {
        // Feeding exactly what the parser asks for takes no more than two steps.
        let mut bytes = Vec::new();
        request.encode(RequestId(1), TransactionId::NONE, &mut bytes).unwrap();
        let mut parser = Parser::new();
        let mut at = 0;
        let mut steps = 0;
        let packet = loop {
            let needed = parser.needed();
            prop_assert!(needed > 0 && steps < 2);
            let mut input = &bytes[at..at + needed];
            at += needed;
            steps += 1;
            if let Some(packet) = parser.advance(&mut input).unwrap() {
                break packet;
            }
        };
        prop_assert_eq!(at, bytes.len());
        prop_assert_eq!(Request::decode(&packet), Ok(request));
    }
}
