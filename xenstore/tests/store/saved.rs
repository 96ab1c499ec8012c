//! A state that was saved and read back answers as the saved one does, from any moment on.
//!
//! Histories are those of the fuzz tests: any packets, transactions that stay open, domains that come
//! and go. The bytes say everything, so equal bytes mean equal states.

use crate::fuzz::{finish, packet, request};
use crate::random::{Random, iterations};
use crate::script::{apply, connection, parse, store};
use xenstore::Domid;
use xenstore::store::{Outcome, State};
use xenstore::wire::TransactionId;

fn save(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.save(&mut bytes);
    bytes
}

/// One thing that happens; the same numbers make the same thing.
fn step(state: &mut State, random: &mut Random) -> Option<Outcome> {
    let callers = ["s1", "s2", "d1", "d1", "d2", "d2", "d3"].map(connection);
    match random.below(300) {
        0 => drop(state.domain_gone(Domid(random.below(4) as u16))),
        1 => drop(state.domain_shut_down(Domid(random.below(4) as u16))),
        2 => state.domain_exists(Domid(random.below(6) as u16)),
        3 => {
            state.disconnect_socket(2);
            state.connect_socket(2);
        }
        4 => state.queued(Domid(1), 1, 20),
        number => {
            let caller = callers[random.below(callers.len())];
            if number < 100 {
                let packet = packet(random);
                let outcome = state.apply_packet(caller, &packet);
                return Some(finish(state, random, outcome));
            }
            let transaction = TransactionId(random.below(5) as u32);
            return Some(apply(state, caller, transaction, &parse(&request(random))));
        }
    }
    None
}

fn started() -> State {
    let mut state = store();
    state.connect_socket(2);
    state
}

#[test]
fn a_restored_state_goes_on_as_the_saved_one() {
    let mut random = Random(0x7361_7665);
    let mut original = started();
    let mut restored = started();
    for iteration in 0..iterations(20_000) {
        if random.below(50) == 0 {
            let bytes = save(&original);
            restored = State::restore(&bytes).unwrap();
            assert_eq!(save(&restored), bytes, "at step {iteration}");
        }
        let mut same = Random(random.0);
        let outcome = step(&mut original, &mut random);
        assert_eq!(step(&mut restored, &mut same), outcome, "step {iteration}");
        if random.below(20) == 0 {
            assert_eq!(save(&restored), save(&original), "after step {iteration}");
        }
    }
}

#[test]
fn snapshots_of_transactions_are_saved_once() {
    let mut state = started();
    for number in 0..500 {
        apply(
            &mut state,
            connection("s1"),
            TransactionId::NONE,
            &parse(&format!("WRITE /many/n{number} v*100")),
        );
    }
    let alone = save(&state).len();
    for number in 1..=5 {
        apply(&mut state, connection("d1"), TransactionId::NONE, &parse("START"));
        apply(&mut state, connection("d1"), TransactionId(number), &parse("WRITE x 1"));
        apply(&mut state, connection("s1"), TransactionId::NONE, &parse("WRITE /many/n7 2"));
    }
    let bytes = save(&state);
    assert!(bytes.len() < alone + alone / 2 + 20_000, "{} after {alone}", bytes.len());
    let mut restored = State::restore(&bytes).unwrap();
    let commit = parse("COMMIT");
    for state in [&mut state, &mut restored] {
        let ended = apply(state, connection("d1"), TransactionId(3), &commit);
        assert!(ended.reply.is_some());
    }
    assert_eq!(save(&state), save(&restored));
}

#[test]
fn fuzz_restore() {
    let mut random = Random(0x0064_616d_6167_6564);
    let mut state = started();
    for _ in 0..400 {
        step(&mut state, &mut random);
    }
    let bytes = save(&state);
    for _ in 0..iterations(3_000) {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            match random.below(4) {
                0 => damaged.truncate(at),
                1 => drop(damaged.drain(at..(at + random.below(9)).min(damaged.len()))),
                2 => damaged.insert(at, random.below(256) as u8),
                _ => damaged[at] = random.below(256) as u8,
            }
            if damaged.is_empty() {
                break;
            }
        }
        if let Ok(mut state) = State::restore(&damaged) {
            assert_eq!(state.check(), Vec::<String>::new());
            for _ in 0..20 {
                step(&mut state, &mut random);
            }
        }
    }
}
