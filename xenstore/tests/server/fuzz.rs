//! Guests that write anything anywhere into their pages, at any time.

use crate::random::{Random, iterations};
use crate::world::*;
use xenstore::Domid;
use xenstore::store::Quota;
use xenstore::wire::{MessageType, Reply, Request};

fn any_request(random: &mut Random) -> Request {
    let names = ["a", "b", "a/c", "/local/domain/2/x", "/", "@releaseDomain", "/local/domain/1"];
    let choose = |random: &mut Random| path(random.pick(&names));
    match random.below(9) {
        0 => Request::Read(choose(random)),
        1 => Request::Directory(choose(random)),
        2 => watch(choose(random).as_str(), "token"),
        3 => Request::Rm(choose(random)),
        4 => Request::TransactionStart,
        5 => Request::TransactionEnd { commit: true },
        6 => Request::SetPerms { path: choose(random), permissions: "n1,r2,b3".parse().unwrap() },
        7 => Request::Mkdir(choose(random)),
        _ => Request::Write { path: path("a"), value: vec![0; random.below(2000)] },
    }
}

/// Whatever two guests do to their pages, the third is served, and the accounts are right.
#[test]
fn fuzz_pages() {
    let mut random = Random(0x7061_6765_735f_7365);
    for _ in 0..iterations(4000).div_ceil(100) {
        let mut setting = Setting::new(3, random.below(1 << 32) as u32);
        for _ in 0..100 {
            for guest in [1, 2] {
                disturb(&mut setting, guest, &mut random);
                setting.server.ready(setting.guests[guest].id);
            }
            if random.below(20) == 0 {
                setting.introduce(1 + random.below(2) as u16);
            }
            setting.server.round().unwrap();
            let done = setting.call(3, &write("x", "y"));
            assert_eq!(done, Reply::Done(MessageType::Write));
        }
        let problems = setting.server.state().check();
        assert!(problems.is_empty(), "{problems:?}");
        for number in [1, 2] {
            let state = setting.server.state();
            let usage = state.usage(Domid(number)).unwrap();
            assert!(usage.outstanding <= state.limit(Domid(number), Quota::Outstanding) + 40);
        }
        // A new beginning leaves nothing owed.
        for number in [1, 2] {
            setting.introduce(number);
            let usage = setting.server.state().usage(Domid(number)).unwrap();
            assert_eq!((usage.outstanding, usage.watches), (0, 0), "domain {number}");
        }
    }
}

fn disturb(setting: &mut Setting, guest: usize, random: &mut Random) {
    let page = setting.guests[guest].page.clone();
    match random.below(12) {
        0..=4 => {
            let request = any_request(random);
            let transaction = random.below(3) as u32;
            setting.guests[guest].ask(transaction, &request);
            push_whatever(setting, guest);
        }
        5 => {
            let index = [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD, CONNECTION, ERROR];
            let offset = random.pick(&index);
            let near = page.word(offset).wrapping_add(random.below(3000) as u32);
            let value = if random.below(2) == 0 { near } else { random.below(1 << 32) as u32 };
            page.set(offset, value);
        }
        6 => {
            for _ in 0..random.below(200) {
                let at = random.below(4096);
                page.bytes.borrow_mut()[at] = random.below(256) as u8;
            }
        }
        7 => page.set(CONNECTION, 1),
        8 => {
            let junk = random.below(64);
            let bytes: Vec<u8> = (0..junk).map(|_| random.below(256) as u8).collect();
            setting.guests[guest].outgoing.extend(bytes);
            push_whatever(setting, guest);
        }
        _ => page.set(RSP_CONS, page.word(RSP_PROD)),
    }
}

/// As much as fits by the page's own words, which may be lies.
fn push_whatever(setting: &mut Setting, guest: usize) {
    let page = setting.guests[guest].page.clone();
    if page.word(REQ_PROD).wrapping_sub(page.word(REQ_CONS)) <= 1024 {
        setting.guests[guest].push();
    }
}
