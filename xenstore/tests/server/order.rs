//! Nobody hears of anything before it is committed.

use crate::world::*;
use xenstore::wire::Request;
use xenstore::{Domid, Gfn, Port};

#[test]
fn the_commit_comes_before_the_indices_move() {
    let mut setting = Setting::new(1, 0);
    let page = setting.guests[1].page.clone();
    setting.notes.pages.borrow_mut().push((page.clone(), 0, 0));
    for number in 0..20 {
        let before = (page.word(REQ_CONS), page.word(RSP_PROD));
        setting.guests[1].ask(0, &write("x", "value"));
        setting.turn(1);
        let (_, request, reply) = setting.notes.pages.borrow()[0].clone();
        assert_eq!((request, reply), before, "in the moment of commit {number}");
        assert_ne!((page.word(REQ_CONS), page.word(RSP_PROD)), before);
        setting.guests[1].pull();
    }
}

#[test]
fn one_commit_serves_all_that_a_round_did() {
    let mut setting = Setting::new(2, 0);
    let (commits, requests) = (setting.notes.commits.get(), setting.notes.requests.get());
    for guest in [1, 2] {
        for _ in 0..5 {
            setting.guests[guest].ask(0, &write("x", "value"));
        }
        setting.guests[guest].push();
        setting.server.ready(setting.guests[guest].id);
    }
    setting.server.round().unwrap();
    assert_eq!(setting.notes.commits.get() - commits, 1);
    assert_eq!(setting.notes.requests.get() - requests, 10);
}

/// A ring that is introduced once more is what it was until the journal has it.
#[test]
fn without_a_commit_no_ring_begins_anew() {
    let mut setting = Setting::new(1, 0);
    setting.call(1, &write("x", "value"));
    let page = setting.guests[1].page.clone();
    let before = page.bytes.borrow().clone();
    let (domid, gfn, port) = (Domid(1), Gfn(1), Port(1));
    setting.guests[0].ask(0, &Request::Introduce { domid, gfn, port });
    setting.guests[0].push();
    setting.notes.broken.set(true);
    setting.server.ready(setting.guests[0].id);
    assert!(setting.server.round().is_err());
    assert!(*page.bytes.borrow() == before);
}

/// However small the pieces of a request are, each byte is noted once.
#[test]
fn what_came_before_is_not_noted_again() {
    let mut setting = Setting::new(1, 0);
    setting.guests[1].ask(0, &write("x", &"v".repeat(900)));
    let all = std::mem::take(&mut setting.guests[1].outgoing);
    for byte in &all[..all.len() - 1] {
        setting.guests[1].outgoing.push(*byte);
        setting.turn(1);
    }
    assert_eq!(setting.notes.partial_bytes.get(), all.len() - 1);
}

#[test]
fn without_a_commit_nothing_is_told() {
    let mut setting = Setting::new(1, 0);
    let page = setting.guests[1].page.clone();
    setting.guests[1].ask(0, &write("x", "value"));
    setting.guests[1].push();
    let before = page.bytes.borrow().clone();
    setting.notes.broken.set(true);
    setting.server.ready(setting.guests[1].id);
    assert!(setting.server.round().is_err());
    assert_eq!(*page.bytes.borrow(), before);
}
