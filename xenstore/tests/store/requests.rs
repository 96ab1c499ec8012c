//! Requests about nodes and domains, one by one.

use crate::script::{ask, connection, parse, run, store};
use xenstore::store::{ConnectionId, Effect, State};
use xenstore::wire::{Header, MessageType, Packet, Reply, RequestId, TransactionId};
use xenstore::{Domid, Errno};

#[test]
fn nodes_come_and_go() {
    run(
        &mut store(),
        "s1: READ /a/b -> ENOENT
         s1: WRITE /a/b/c one -> OK
         s1: READ /a/b/c -> =one
         s1: READ /a/b -> =
         s1: WRITE /a/b/c two -> OK
         s1: READ /a/b/c -> =two
         s1: MKDIR /a/b/c -> OK
         s1: READ /a/b/c -> =two
         s1: MKDIR /a/d/e -> OK
         s1: DIRECTORY /a -> b d
         s1: RM /a/b -> OK
         s1: READ /a/b/c -> ENOENT
         s1: RM /a/b -> OK
         s1: RM /a/b/c -> ENOENT
         s1: DIRECTORY /a -> d
         s1: RM / -> EINVAL
         s1: DIRECTORY / -> tool local a",
    );
}

#[test]
fn children_are_listed_in_the_order_of_their_creation() {
    run(
        &mut store(),
        "s1: WRITE /a/z 1 -> OK
         s1: WRITE /a/m 1 -> OK
         s1: WRITE /a/a 1 -> OK
         s1: WRITE /a/m 2 -> OK
         s1: DIRECTORY /a -> z m a
         s1: RM /a/z -> OK
         s1: WRITE /a/z 1 -> OK
         s1: DIRECTORY /a -> m a z
         s1: START -> tx1
         s1/1: WRITE /a/y 1 -> OK
         s1/1: WRITE /a/b 1 -> OK
         s1/1: RM /a/m -> OK
         s1/1: DIRECTORY /a -> a z y b
         s1/1: COMMIT -> OK
         s1: DIRECTORY /a -> a z y b",
    );
}

#[test]
fn long_lists_come_in_parts() {
    let mut state = store();
    for number in 0..2000 {
        assert_eq!(ask(&mut state, "s1", &format!("MKDIR /big/n{number}")).0, "OK");
    }
    assert_eq!(ask(&mut state, "s1", "DIRECTORY /big").0, "E2BIG");
    let (mut offset, mut names, mut parts) = (0, Vec::new(), 0);
    loop {
        let (part, _) = ask(&mut state, "s1", &format!("PART /big {offset}"));
        let last = part.ends_with('.');
        let part = part.trim_matches(['[', ']', '.']);
        names.extend(part.split(' ').map(String::from));
        offset += part.len() + 1;
        parts += 1;
        if last {
            break;
        }
    }
    assert_eq!(names, (0..2000).map(|number| format!("n{number}")).collect::<Vec<_>>());
    assert_eq!(parts, 3, "each part is as full as a message can be");
    run(
        &mut state,
        "s1: PART /big 11000 -> [].
         s1: MKDIR /small/abc -> OK
         s1: MKDIR /small/d -> OK
         s1: PART /small 0 -> [abc d].
         s1: PART /small 1 -> [bc d].
         s1: PART /small 3 -> [ d].
         s1: PART /small 4 -> [d].
         s1: PART /small 6 -> [].",
    );
}

#[test]
fn the_generation_of_a_part_changes_with_the_node() {
    let mut state = store();
    let mut generation = |request: &str| {
        ask(&mut state, "s1", request);
        let request = parse("PART /a 0");
        let socket = ConnectionId::Socket(1);
        match state.apply(socket, TransactionId::NONE, &request).reply {
            Some(Reply::DirectoryPart { generation, .. }) => generation,
            other => panic!("{other:?}"),
        }
    };
    let mut before = generation("MKDIR /a");
    for request in ["MKDIR /a/b", "WRITE /a x", "SET_PERMS /a r0", "RM /a/b"] {
        let after = generation(request);
        assert!(after > before, "{request}");
        before = after;
    }
    assert_eq!(generation("READ /a"), before);
    assert_eq!(generation("WRITE /c x"), before);
}

#[test]
fn permissions_say_who_may_what() {
    run(
        &mut store(),
        "s1: WRITE /a x -> OK
         s1: SET_PERMS /a n0,r1,w2,b3 -> OK
         d1: READ /a -> =x
         d1: WRITE /a y -> EACCES
         d1: DIRECTORY /a -> -
         d1: GET_PERMS /a -> n0,r1,w2,b3
         d1: SET_PERMS /a n1 -> EACCES
         d1: RM /a -> EACCES
         d2: READ /a -> EACCES
         d2: WRITE /a y -> OK
         d2: MKDIR /a -> OK
         d3: READ /a -> =y
         d3: SET_PERMS /a n3 -> EACCES
         d3: WRITE /a/child z -> OK
         s1: GET_PERMS /a/child -> n3,r1,w2,b3
         d1: READ /a/child -> =z
         d2: RM /a -> OK
         s1: READ /a -> ENOENT",
    );
}

#[test]
fn who_may_not_know_hears_eacces() {
    run(
        &mut store(),
        "d1: READ /local/domain/2/x -> EACCES
         d1: READ /nothing -> EACCES
         d1: READ x -> ENOENT
         d1: WRITE /nothing x -> EACCES
         d1: RM /nothing -> EACCES
         d1: RM x -> OK
         d1: RM x/y -> ENOENT
         d1: WRITE x/y/z 1 -> OK
         d1: READ /local/domain/1/x/y/z -> =1
         d1: DIRECTORY /local/domain/1 -> x
         d1: GET_PERMS x/y -> n1",
    );
}

#[test]
fn owners_change_permissions_but_not_owners() {
    run(
        &mut store(),
        "d1: WRITE x 1 -> OK
         d1: SET_PERMS x n1,r2 -> OK
         d2: READ /local/domain/1/x -> =1
         d1: SET_PERMS x n2 -> EPERM
         s1: SET_PERMS /local/domain/1/x n2 -> OK
         d1: READ x -> EACCES
         d2: WRITE /local/domain/1/x 2 -> OK
         s1: SET_PERMS /local/domain/1/x n77 -> ENOENT
         s1: SET_PERMS /local/domain/1/x n0,r77 -> OK
         d1: SET_PERMS nothing n1 -> ENOENT",
    );
}

#[test]
fn special_nodes_have_permissions_only() {
    run(
        &mut store(),
        "s1: GET_PERMS @releaseDomain -> n0
         s1: SET_PERMS @releaseDomain n0,r1 -> OK
         d1: GET_PERMS @releaseDomain -> n0,r1
         d2: GET_PERMS @releaseDomain -> EACCES
         d1: SET_PERMS @releaseDomain n1 -> EACCES
         s1: GET_PERMS @releaseDomain/2 -> n0,r1
         s1: SET_PERMS @releaseDomain/2 n0,r3 -> OK
         d3: GET_PERMS @releaseDomain/2 -> n0,r3
         d1: GET_PERMS @releaseDomain/2 -> EACCES
         s1: GET_PERMS @releaseDomain/9 -> ENOENT
         s1: GET_PERMS @other -> ENOENT
         d1: GET_PERMS @other -> EACCES
         s1: READ @releaseDomain -> EINVAL
         s1: WRITE @releaseDomain x -> EINVAL
         s1: RM @releaseDomain -> EINVAL",
    );
}

#[test]
fn domains_are_introduced_and_released() {
    run(
        &mut store(),
        "s1: IS_DOMAIN_INTRODUCED 0 -> T
         s1: IS_DOMAIN_INTRODUCED 7 -> F
         s1: IS_DOMAIN_INTRODUCED 32752 -> T
         s1: INTRODUCE 7 -> OK
         s1: IS_DOMAIN_INTRODUCED 7 -> T
         s1: GET_DOMAIN_PATH 7 -> /local/domain/7
         d1: GET_DOMAIN_PATH 65535 -> /local/domain/65535
         s1: INTRODUCE 0 -> EINVAL
         s1: INTRODUCE 32752 -> EINVAL
         s1: INTRODUCE 8 0 -> EINVAL
         s1: RELEASE 0 -> EINVAL
         s1: RELEASE 8 -> ENOENT
         s1: RESUME 8 -> ENOENT
         s1: RESUME 7 -> OK
         s1: SET_TARGET 7 8 -> ENOENT
         s1: SET_TARGET 7 0 -> EINVAL
         s1: RELEASE 7 -> OK
         s1: IS_DOMAIN_INTRODUCED 7 -> F",
    );
}

#[test]
fn what_is_prepared_before_an_introduction_holds_after_it() {
    run(
        &mut store(),
        "world: EXISTS 9 -> -
         s1: WRITE /local/domain/9 home -> OK
         s1: SET_PERMS /local/domain/9 n0,r9 -> OK
         s1: WRITE /local/domain/9/data x -> OK
         s1: SET_PERMS /local/domain/9/data n9 -> OK
         s1: START -> tx1
         s1/1: WRITE /local/domain/9/attr x -> OK
         s1/1: SET_PERMS /local/domain/9/attr n9 -> OK
         s1: INTRODUCE 9 -> OK
         s1/1: COMMIT -> OK
         d9: READ /local/domain/9 -> =home
         d9: WRITE data/x 1 -> OK
         d9: WRITE attr 1 -> OK
         world: EXISTS 10 -> -
         s1: WRITE /local/domain/10 home -> OK
         s1: SET_PERMS /local/domain/10 n10 -> OK
         world: GONE 10 -> -
         s1: READ /local/domain/10 -> ENOENT",
    );
}

#[test]
fn privileged_requests_are_refused_to_guests() {
    for request in [
        "CONTROL check",
        "INTRODUCE 9",
        "RELEASE 1",
        "RELEASE 2",
        "IS_DOMAIN_INTRODUCED 1",
        "RESUME 1",
        "SET_TARGET 1 2",
        "GET_FEATURE",
        "SET_FEATURE 1 0",
        "GET_QUOTA",
        "SET_QUOTA nodes 0",
        "SET_QUOTA 1 nodes 0",
    ] {
        let mut state = store();
        run(&mut state, &format!("d1: {request} -> EACCES\nd1/9: {request} -> EACCES"));
    }
}

#[test]
fn a_ring_that_cannot_be_mapped_introduces_nobody() {
    let mut state = store();
    let request = parse("INTRODUCE 9");
    let outcome = state.apply(ConnectionId::Socket(1), TransactionId::NONE, &request);
    assert_eq!(outcome.reply, None);
    let Effect::Connect { domid, gfn, port, introducer } = outcome.changes.effects[0].clone()
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((domid, introducer), (Domid(9), ConnectionId::Socket(1)));
    let ring = xenstore::store::Ring { gfn, port };
    let outcome = state.connected(domid, ring, Err(Errno::Einval));
    assert_eq!(outcome.reply, Some(Reply::Error(Errno::Einval.into())));
    assert_eq!(ask(&mut state, "s1", "IS_DOMAIN_INTRODUCED 9").0, "F");
    assert_eq!(state.ring(Domid(9)), None);
}

#[test]
fn a_second_introduction_begins_the_connection_anew() {
    let mut state = store();
    run(
        &mut state,
        "d1: WATCH a t -> OK | d1 a t
         d1: START -> tx1
         d1: WRITE a 1 -> OK | d1 a t
         s1: INTRODUCE 1 -> OK
         d1: WRITE a 2 -> OK
         d1/1: COMMIT -> ENOENT",
    );
    assert_eq!(
        state.usage(Domid(1)).map(|usage| (usage.watches, usage.transactions)),
        Some((0, 0))
    );
}

#[test]
fn a_target_lends_its_rights() {
    run(
        &mut store(),
        "s1: WRITE /a x -> OK
         s1: SET_PERMS /a n0,r2 -> OK
         d1: READ /a -> EACCES
         d1: READ /local/domain/2 -> EACCES
         s1: SET_TARGET 1 2 -> OK
         d1: READ /a -> =x
         d1: WRITE /local/domain/2/new y -> OK
         d1: SET_PERMS /local/domain/2 n2,r3 -> OK
         s1: GET_PERMS /local/domain/2/new -> n1
         d2: READ /local/domain/1 -> EACCES",
    );
}

#[test]
fn features_of_rings() {
    run(
        &mut store(),
        "s1: GET_FEATURE -> 7
         s1: GET_FEATURE 1 -> 7
         s1: SET_FEATURE 1 1 -> EBUSY
         s1: SET_FEATURE 9 1 -> ENOENT
         world: EXISTS 9 -> -
         s1: SET_FEATURE 9 8 -> EINVAL
         s1: SET_FEATURE 9 1 -> OK
         s1: GET_FEATURE 9 -> 1
         s1: INTRODUCE 9 -> OK
         s1: GET_FEATURE 9 -> 1",
    );
}

#[test]
fn control_commands() {
    let mut state = store();
    run(
        &mut state,
        "s1: CONTROL check -> OK
         s1: CONTROL check x -> EINVAL
         s1: CONTROL log on -> OK
         s1: CONTROL log maybe -> EINVAL
         s1: CONTROL logfile /tmp/x -> OK
         s1: CONTROL print hello -> OK
         s1: CONTROL memreport -> OK
         s1: CONTROL memreport /tmp/x -> OK
         s1: CONTROL quota set nodes 7 -> OK
         s1: GET_QUOTA nodes -> 7
         s1: CONTROL quota set nodes 0 -> EINVAL
         s1: CONTROL quota set nothing 1 -> EINVAL
         s1: CONTROL quota 99 -> ENOENT
         s1: CONTROL quota-soft set memory 100 -> OK
         s1: CONTROL live-update -s -> EINVAL
         s1: CONTROL nonsense -> EINVAL",
    );
    let (table, _) = ask(&mut state, "s1", "CONTROL quota");
    assert!(table.starts_with("Quota settings:\nnodes            :        7 "), "{table}");
    let (table, _) = ask(&mut state, "s1", "CONTROL quota 1");
    assert!(table.starts_with("Domain 1:\nnodes            :        1\n"), "{table}");
    assert!(ask(&mut state, "s1", "CONTROL help").0.contains("quota-soft"));
    assert!(ask(&mut state, "s1", "CONTROL quota-soft").0.contains("memory           :      100"));
}

/// A packet, its transaction and payload; the error's name or OK.
fn check_packet(state: &mut State, kind: u32, transaction: u32, payload: &[u8], wanted: &str) {
    let len = u32::try_from(payload.len()).unwrap();
    let header =
        Header { kind, request: RequestId(1), transaction: TransactionId(transaction), len };
    let packet = Packet { header, payload: payload.to_vec() };
    let found = match state.apply_packet(ConnectionId::Domain(Domid(1)), &packet).reply {
        Some(Reply::Error(failure)) => String::from_utf8(failure.text().to_vec()).unwrap(),
        _ => "OK".to_owned(),
    };
    assert_eq!(found, wanted, "type {kind}, transaction {transaction}, {payload:?}");
}

#[test]
fn errors_of_packets_have_an_order() {
    let mut state = store();
    let raw = |kind: MessageType| kind.raw();
    check_packet(&mut state, 99, 0, b"", "ENOSYS");
    check_packet(&mut state, 99, 7, b"", "ENOSYS");
    check_packet(&mut state, raw(MessageType::WatchEvent), 7, b"", "ENOSYS");
    check_packet(&mut state, raw(MessageType::Error), 0, b"", "ENOSYS");
    check_packet(&mut state, raw(MessageType::Introduce), 7, b"", "EACCES");
    check_packet(&mut state, raw(MessageType::Read), 7, b"", "ENOENT");
    check_packet(&mut state, raw(MessageType::Read), 0, b"", "EINVAL");
    check_packet(&mut state, raw(MessageType::Read), 0, b"//\0", "EINVAL");
    check_packet(&mut state, raw(MessageType::Watch), 7, b"a\0t\0", "OK");
    check_packet(&mut state, raw(MessageType::Mkdir), 0, b"a\0", "OK");
    check_packet(&mut state, raw(MessageType::TransactionEnd), 0, b"T\0", "ENOENT");
}

#[test]
fn sockets_are_closed_with_all_they_had() {
    run(
        &mut store(),
        "s2: WATCH /a t -> OK | s2 /a t
         s2: START -> tx1
         s2/1: WRITE /a x -> OK
         world: CLOSE 2 -> -
         s1: WRITE /a y -> OK
         s2/1: READ /a -> ENOENT
         s2: READ /a -> =y",
    );
}

#[test]
fn only_named_domains_that_nobody_knows_are_asked_for() {
    let state = store();
    let unknown = |caller: &str, text: &str| {
        let unknown = state.unknown_domains(connection(caller), &parse(text));
        unknown.iter().map(|domid| domid.0).collect::<Vec<_>>()
    };
    assert_eq!(unknown("s1", "SET_PERMS /a n0,r1,w9,b8,r9,n65535"), [8, 9]);
    assert_eq!(unknown("d1", "SET_PERMS /a n1,r8"), [8]);
    assert_eq!(unknown("d1", "SET_PERMS /a n0,r1,w9,b8,r9,n65535"), [0u16; 0], "too many entries");
    assert_eq!(unknown("s1", "SET_QUOTA 9 nodes 1"), [9]);
    assert_eq!(unknown("d1", "SET_QUOTA 9 nodes 1"), [0u16; 0], "not for guests");
    assert_eq!(unknown("s1", "READ /a"), [0u16; 0]);
}
