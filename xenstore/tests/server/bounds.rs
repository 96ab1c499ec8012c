//! Floods, readers that do not read, and who waits for whom.

use crate::world::*;
use std::collections::BTreeMap;
use std::time::Duration;
use xenstore::Domid;
use xenstore::server::{Found, Identity};
use xenstore::store::Quota;
use xenstore::wire::{MessageType, Reply, Request};

/// A guest whose ring is always full of requests leaves others their turns.
#[test]
fn a_flood_does_not_hold_up_others() {
    let mut setting = Setting::new(2, 0);
    for _ in 0..500 {
        setting.guests[1].ask(0, &Request::Read(path("name")));
    }
    for _ in 0..20 {
        setting.turn(1);
        setting.guests[1].pull();
    }
    assert!(!setting.guests[1].outgoing.is_empty(), "the flood goes on");
    setting.guests[1].push();
    setting.server.ready(setting.guests[1].id);
    setting.guests[2].ask(0, &write("x", "y"));
    setting.turn(2);
    assert_eq!(setting.guests[2].pull().len(), 1, "answered within the round");
}

/// Who has more requests than a turn is long waits for the next one, and others come between.
#[test]
fn a_turn_is_short() {
    let mut setting = Setting::new(1, 0);
    for _ in 0..56 {
        setting.guests[0].ask(0, &Request::Read(path("/")));
    }
    setting.guests[1].ask(0, &write("x", "y"));
    for guest in [0, 1] {
        setting.guests[guest].push();
        setting.server.ready(setting.guests[guest].id);
    }
    assert!(setting.guests[0].outgoing.is_empty(), "all of it is in the ring");
    let before = setting.notes.requests.get();
    setting.server.round().unwrap();
    let done = setting.notes.requests.get() - before;
    assert_eq!(done, TestServer::REQUESTS_PER_TURN + 1);
    assert_eq!(setting.guests[1].pull().len(), 1);
    setting.rest();
    assert_eq!(setting.guests[0].pull().len(), 56);
}

/// A guest that takes no replies is asked for no more than its quota, and goes on once it reads.
#[test]
fn who_does_not_read_is_not_asked_for_more() {
    let mut setting = Setting::new(1, 0);
    setting.call(1, &write("x", &"v".repeat(1000)));
    for _ in 0..100 {
        setting.guests[1].ask(0, &Request::Read(path("x")));
    }
    let mut left = usize::MAX;
    while setting.guests[1].outgoing.len() < left {
        left = setting.guests[1].outgoing.len();
        setting.turn(1);
        setting.rest();
    }
    let limit = setting.server.state().limit(Domid(1), Quota::Outstanding);
    let usage = setting.server.state().usage(Domid(1)).unwrap();
    assert_eq!(usage.outstanding, limit);
    let mut answers = 0;
    for _ in 0..1000 {
        answers += setting.guests[1].pull().len();
        setting.turn(1);
        setting.rest();
    }
    assert_eq!(answers, 100);
    assert_eq!(setting.server.state().usage(Domid(1)).unwrap().outstanding, 0);
}

/// Events for a guest that never reads end where its memory does.
#[test]
fn what_waits_for_a_guest_is_bounded_by_its_memory() {
    let mut setting = Setting::new(2, 0);
    let memory = Request::SetQuota { domid: Some(Domid(1)), quota: "memory".into(), value: 90_000 };
    setting.control(&memory);
    setting.call(1, &watch("/local/domain/1", "token"));
    let mut most = 0;
    for number in 0..2000 {
        setting.control(&write(&format!("/local/domain/1/n{number}"), "x"));
        let connection = setting.server.connection(setting.guests[1].id).unwrap();
        most = most.max(connection.out().waiting().len());
    }
    assert!(most > 20_000 && most <= 90_000, "{most}");
    assert_eq!(setting.call(2, &write("x", "y")), Reply::Done(MessageType::Write));
}

/// A privileged connection that never reads has no such limit, and is cut off in the end.
#[test]
fn a_privileged_reader_that_never_reads_is_cut_off() {
    let mut setting = Setting::new(0, 0);
    setting.control(&watch("/", "token"));
    setting.open_socket();
    let limit = TestServer::QUEUE_BYTES;
    let long = "n".repeat(1800);
    let mut number = 0;
    while setting.server.host_mut().faults.is_empty() {
        let connection = setting.server.connection(setting.guests[0].id).unwrap();
        assert!(connection.out().waiting().len() <= limit);
        assert!(number < 12_000);
        let done = setting.call(1, &write(&format!("/{}/{number}/{long}", number % 64), "x"));
        assert_eq!(done, Reply::Done(MessageType::Write));
        number += 1;
    }
    assert!(number > 7_000);
    assert_eq!(setting.guests[0].page.word(ERROR), 1);
    assert_eq!(setting.call(1, &write("/x", "y")), Reply::Done(MessageType::Write));
}

/// The same change over and over costs a reader that sleeps a bounded queue, and it is not cut off.
#[test]
fn equal_events_are_merged_for_a_reader_that_sleeps() {
    let mut setting = Setting::new(1, 0);
    setting.call(1, &watch("/local/domain/1", "token"));
    for _ in 0..5000 {
        setting.control(&write("/local/domain/1/name", "x"));
    }
    let connection = setting.server.connection(setting.guests[1].id).unwrap();
    assert!(!connection.is_parked());
    assert!(connection.out().waiting().len() < 17_000);
    let mut events = 0;
    loop {
        let packets = setting.guests[1].pull();
        if packets.is_empty() {
            break;
        }
        events += packets.len();
        setting.turn(1);
    }
    assert!(events > 100, "{events}");
    let usage = setting.server.state().usage(Domid(1)).unwrap();
    assert_eq!(usage.outstanding, 0);
}

/// Guest 1 writes where guest 2 watches and never reads.
fn one_floods_two(setting: &mut Setting) {
    let data = "/local/domain/1/data";
    setting.control(&Request::Mkdir(path(data)));
    let permissions = "n1,r2".parse().unwrap();
    setting.control(&Request::SetPerms { path: path(data), permissions });
    setting.call(2, &watch(data, "token"));
    for number in 0..200 {
        setting.guests[1].ask(0, &write(&format!("data/n{number}"), "x"));
    }
    for _ in 0..50 {
        setting.turn(1);
        setting.rest();
        setting.guests[1].pull();
    }
}

/// Who floods a reader waits for it, for a while; nobody else does.
#[test]
fn events_count_for_who_caused_them() {
    let mut setting = Setting::new(3, 0);
    one_floods_two(&mut setting);
    assert!(!setting.guests[1].outgoing.is_empty(), "guest 1 is held back");
    let usage = setting.server.state().usage(Domid(1)).unwrap();
    assert_eq!(usage.outstanding, setting.server.state().limit(Domid(1), Quota::Outstanding));
    assert_eq!(setting.call(3, &write("x", "y")), Reply::Done(MessageType::Write));
    assert!(setting.server.next_expiry().is_some());

    // It reads: all goes on.
    for _ in 0..500 {
        setting.turn(1);
        setting.guests[1].pull();
        setting.guests[2].pull();
        setting.turn(2);
        setting.rest();
    }
    assert!(setting.guests[1].outgoing.is_empty());
    assert_eq!(setting.server.state().usage(Domid(1)).unwrap().outstanding, 0);
    assert_eq!(setting.server.next_expiry(), None);
    assert!(setting.server.host_mut().faults.is_empty());
}

#[test]
fn who_holds_up_others_for_too_long_is_cut_off() {
    let mut setting = Setting::new(3, 0);
    one_floods_two(&mut setting);
    setting.now.set(Duration::from_secs(19));
    setting.server.expire();
    assert!(setting.server.host_mut().faults.is_empty());
    setting.now.set(setting.server.next_expiry().unwrap());
    setting.server.expire();
    assert_eq!(setting.server.host_mut().faults.len(), 1);
    assert!(setting.server.connection(setting.guests[2].id).unwrap().is_parked());
    for _ in 0..100 {
        setting.turn(1);
        setting.rest();
        setting.guests[1].pull();
    }
    assert!(setting.guests[1].outgoing.is_empty(), "guest 1 goes on");
}

/// A reader that takes a byte now and then gets no more time for what waits behind it.
#[test]
fn who_drips_is_cut_off_in_time() {
    let mut setting = Setting::new(3, 0);
    one_floods_two(&mut setting);
    for second in (0..TestServer::UNREAD_SECONDS).step_by(5) {
        setting.now.set(Duration::from_secs(second));
        let page = &setting.guests[2].page;
        page.set(RSP_CONS, page.word(RSP_CONS).wrapping_add(1));
        setting.turn(2);
        setting.server.expire();
    }
    assert!(setting.server.host_mut().faults.is_empty());
    setting.now.set(Duration::from_secs(TestServer::UNREAD_SECONDS));
    setting.server.expire();
    assert_eq!(setting.server.host_mut().faults.len(), 1);
}

/// The reader decides how many watches see a change; who makes it answers for one.
#[test]
fn many_watches_of_one_reader_count_once_per_request() {
    let mut setting = Setting::new(2, 0);
    let data = "/local/domain/1/data";
    setting.control(&Request::Mkdir(path(data)));
    let permissions = "n1,r2".parse().unwrap();
    setting.control(&Request::SetPerms { path: path(data), permissions });
    for number in 0..40 {
        setting.call(2, &watch(data, &number.to_string()));
    }
    setting.guests[2].pull();
    for count in 1..=3 {
        setting.call(1, &write("data/n", "x"));
        let usage = setting.server.state().usage(Domid(1)).unwrap();
        assert_eq!(usage.outstanding, count);
    }
    for _ in 0..100 {
        setting.guests[2].pull();
        setting.turn(2);
    }
    assert_eq!(setting.server.state().usage(Domid(1)).unwrap().outstanding, 0);
    assert_eq!(setting.server.next_expiry(), None);
}

/// The kernel of this host is never cut off for being slow: guests wait for it.
#[test]
fn the_kernel_is_waited_for() {
    let mut setting = Setting::new(2, 0);
    setting.control(&watch("/local/domain/1", "token"));
    for number in 0..200 {
        setting.guests[1].ask(0, &write(&format!("n{number}"), "x"));
    }
    for _ in 0..50 {
        setting.turn(1);
        setting.rest();
        setting.guests[1].pull();
    }
    assert!(!setting.guests[1].outgoing.is_empty(), "guest 1 is held back");
    assert_eq!(setting.server.next_expiry(), None);
    assert_eq!(setting.call(2, &write("x", "y")), Reply::Done(MessageType::Write));
}

/// A domain that takes over a number answers for nothing of the one before.
#[test]
fn a_number_that_comes_again_owes_nothing() {
    let mut setting = Setting::new(2, 0);
    one_floods_two(&mut setting);
    setting.guests[1].outgoing.clear();
    let found = Found { identity: Identity::default(), shut_down: false };
    let existing = BTreeMap::from([(Domid(2), found)]);
    setting.server.domains_changed(&existing);
    setting.rest();
    assert_eq!(setting.server.state().usage(Domid(1)), None);
    setting.guests[1].page.bytes.borrow_mut().fill(0);
    setting.introduce(1);
    setting.control(&Request::Mkdir(path("/local/domain/1")));
    let permissions = "n1".parse().unwrap();
    setting.control(&Request::SetPerms { path: path("/local/domain/1"), permissions });
    setting.call(1, &write("long", &"v".repeat(1000)));
    let limit = setting.server.state().limit(Domid(1), Quota::Outstanding);
    for _ in 0..40 {
        setting.guests[1].ask(0, &Request::Read(path("long")));
    }
    for _ in 0..100 {
        setting.turn(1);
        setting.guests[2].pull();
        setting.turn(2);
    }
    let usage = setting.server.state().usage(Domid(1)).unwrap();
    let waiting = setting.server.connection(setting.guests[1].id).unwrap();
    let waiting = waiting.out().messages().count() as u64;
    assert_eq!((usage.outstanding, waiting), (limit, limit));
}
