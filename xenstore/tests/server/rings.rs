//! Honest and dishonest use of a ring.

use crate::world::*;
use xenstore::store::ConnectionId;
use xenstore::wire::{MessageType, Reply, Request};
use xenstore::{Domid, Errno};

#[test]
fn messages_longer_than_the_ring_go_both_ways_across_its_end() {
    for start in [0, 1000, u32::MAX - 700] {
        let mut setting = Setting::new(1, start);
        let value = "v".repeat(3500);
        for _ in 0..5 {
            let done = Reply::Done(MessageType::Write);
            assert_eq!(setting.control(&write("/long", &value)), done);
            let read = setting.control(&Request::Read(path("/long")));
            assert_eq!(read, Reply::Value(value.clone().into_bytes()));
        }
        assert!(setting.server.host_mut().faults.is_empty());
    }
}

#[test]
fn a_guest_begins_with_an_empty_ring_and_learns_what_it_may_use() {
    let setting = Setting::new(1, 0);
    let page = &setting.guests[1].page;
    assert_eq!((page.word(REQ_CONS), page.word(RSP_PROD), page.word(2064)), (0, 0, 7));
}

/// What a guest may find to write into its page, and what it finds there then.
#[test]
fn impossible_indices_park_the_ring_and_nobody_else() {
    let check = |offset: usize, value: u32, error: u32| {
        let mut setting = Setting::new(2, 0);
        setting.call(1, &watch("name", "token"));
        setting.rest();
        setting.guests[1].pull();
        setting.guests[1].page.set(offset, value);
        if offset == RSP_CONS {
            // Its consumer is looked at when there is something to send.
            setting.control(&write("/local/domain/1/name", "x"));
        }
        setting.server.ready(setting.guests[1].id);
        setting.server.round().unwrap();
        let page = &setting.guests[1].page;
        let id = ConnectionId::Domain(Domid(1));
        assert_eq!(page.word(ERROR), error, "{offset} {value:#x}");
        assert!(setting.server.connection(id).unwrap().is_parked());
        assert_eq!(setting.server.state().usage(Domid(1)).unwrap().watches, 0);
        assert_eq!(setting.server.host_mut().faults.len(), 1);
        // Nothing more is sent to it, and others are served.
        let before = setting.guests[1].page.bytes.borrow().clone();
        setting.control(&write("/local/domain/1/name", "y"));
        setting.server.ready(setting.guests[1].id);
        setting.rest();
        assert_eq!(*setting.guests[1].page.bytes.borrow(), before);
        assert_eq!(setting.call(2, &write("x", "y")), Reply::Done(MessageType::Write));
        assert!(setting.server.state().check().is_empty());
    };
    let sent = {
        let mut setting = Setting::new(1, 0);
        setting.call(1, &watch("name", "token"));
        setting.rest();
        setting.guests[1].page.word(REQ_PROD)
    };
    for beyond in [1025, 2048, 1 << 31, u32::MAX] {
        check(REQ_PROD, sent.wrapping_add(beyond), 2);
    }
    // Little was sent: the consumer can be neither ahead of it nor far behind.
    for value in [1000, 1 << 31, u32::MAX - 2000] {
        check(RSP_CONS, value, 2);
    }
}

/// The server's own indices are in the page for the guest to read; what it writes there counts for
/// nothing.
#[test]
fn the_servers_indices_are_never_read_back() {
    let mut setting = Setting::new(1, 0);
    for round in 0..5u32 {
        let page = &setting.guests[1].page;
        let (cons, prod) = (page.word(REQ_CONS), page.word(RSP_PROD));
        setting.guests[1].ask(0, &write("x", "y"));
        setting.guests[1].push();
        setting.guests[1].page.set(REQ_CONS, 0x1234_5678 ^ round);
        setting.guests[1].page.set(RSP_PROD, 0xdead_0000 ^ round);
        setting.server.ready(setting.guests[1].id);
        setting.server.round().unwrap();
        let page = &setting.guests[1].page;
        assert!(page.word(REQ_CONS).wrapping_sub(cons) < 100);
        assert!(page.word(RSP_PROD).wrapping_sub(prod) < 100);
        assert_eq!(setting.guests[1].pull().len(), 1);
    }
}

#[test]
fn a_message_that_is_too_long_parks_the_ring() {
    let mut setting = Setting::new(2, 0);
    let mut header = [0u8; 16];
    header[0] = 2;
    header[12..].copy_from_slice(&4097u32.to_le_bytes());
    setting.guests[1].outgoing.extend(header);
    setting.turn(1);
    assert_eq!(setting.guests[1].page.word(ERROR), 3);
    assert_eq!(setting.call(2, &write("x", "y")), Reply::Done(MessageType::Write));
}

/// A parked guest may ask for a new beginning, and so may any other.
#[test]
fn a_guest_may_begin_anew() {
    for parked in [true, false] {
        let mut setting = Setting::new(1, 0);
        setting.call(1, &watch("name", "token"));
        setting.call(1, &Request::TransactionStart);
        if parked {
            setting.guests[1].page.set(REQ_PROD, 0x8000_0000);
            setting.turn_without_push(1);
        }
        if !parked {
            // Half of a request, which is forgotten.
            setting.guests[1].ask(0, &write("x", "value"));
            setting.guests[1].outgoing.truncate(20);
            setting.turn(1);
            let held = setting.server.connection(setting.guests[1].id).unwrap().partial().len();
            assert_eq!(held, 20);
        }
        setting.guests[1].page.set(CONNECTION, 1);
        let signals = setting.guests[1].page.signals.get();
        setting.turn_without_push(1);
        let page = &setting.guests[1].page;
        let words = [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD, CONNECTION, ERROR];
        assert_eq!(words.map(|offset| page.word(offset)), [0; 6]);
        assert!(page.signals.get() > signals);
        let usage = setting.server.state().usage(Domid(1)).unwrap();
        assert_eq!((usage.watches, usage.transactions, usage.outstanding), (0, 0, 0));
        assert_eq!(setting.call(1, &write("x", "y")), Reply::Done(MessageType::Write));
    }
}

impl Setting {
    fn turn_without_push(&mut self, guest: usize) {
        self.server.ready(self.guests[guest].id);
        self.server.round().unwrap();
    }
}

#[test]
fn half_a_request_waits_for_the_other_half_and_holds_up_nobody() {
    let mut setting = Setting::new(2, 0);
    setting.guests[1].ask(0, &write("x", &"v".repeat(1500)));
    let late = setting.guests[1].outgoing.split_off(1200);
    for _ in 0..3 {
        setting.turn(1);
    }
    assert!(setting.guests[1].pull().is_empty());
    assert_eq!(setting.server.connection(setting.guests[1].id).unwrap().partial().len(), 1200);
    for _ in 0..100 {
        assert_eq!(setting.call(2, &write("x", "y")), Reply::Done(MessageType::Write));
    }
    setting.guests[1].outgoing.extend(late);
    setting.turn(1);
    assert_eq!(setting.guests[1].pull().len(), 1);
}

/// INTRODUCE of a domain whose ring cannot be mapped, and of one that is connected.
#[test]
fn introductions() {
    let mut setting = Setting::new(1, 0);
    assert_eq!(setting.introduce(9), Reply::Error(Errno::Einval.into()));
    assert!(setting.server.connection(ConnectionId::Domain(Domid(9))).is_none());
    setting.call(1, &watch("name", "token"));
    // Its ring goes out of reach, and comes back.
    let page = setting.server.host_mut().pages.remove(&Domid(1)).unwrap();
    setting.server.host_mut().existing.insert(Domid(1));
    assert_eq!(setting.introduce(1), Reply::Error(Errno::Einval.into()));
    assert_eq!(setting.server.state().usage(Domid(1)).unwrap().watches, 0, "nobody is there");
    setting.server.host_mut().pages.insert(Domid(1), page);
    assert_eq!(setting.introduce(1), Reply::Done(MessageType::Introduce));
    setting.call(1, &watch("name", "token"));
    assert_eq!(setting.introduce(1), Reply::Done(MessageType::Introduce));
    assert_eq!(setting.server.state().usage(Domid(1)).unwrap().watches, 0, "begins anew");
    assert_eq!(setting.call(1, &write("x", "y")), Reply::Done(MessageType::Write));
}
