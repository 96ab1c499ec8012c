//! Nobody hears of anything before it is committed.

use crate::world::*;

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
