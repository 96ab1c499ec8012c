//! Depth, breadth and time: no request costs more than it should, whatever guests build.

use std::fmt::Write as _;

use crate::script::{ask, connection, run, store};
use xenstore::store::{ConnectionId, State};
use xenstore::wire::{Reply, Request, TransactionId};
use xenstore::{Domid, Errno, Path};

/// A stack on which one frame per level of the deepest tree would not fit.
const SMALL_STACK: usize = 96 << 10;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(work).unwrap();
    thread.join().unwrap();
}

/// `/local/domain/1/x/x/…`, as long as a guest may make it.
fn deepest(first: &str) -> String {
    let mut path = format!("/local/domain/1/{first}");
    while path.len() < "/local/domain/1/".len() + 2046 {
        path.push_str("/x");
    }
    path
}

#[test]
fn the_deepest_trees_are_made_watched_copied_removed_and_dropped_without_recursion() {
    let mut state = store();
    run(&mut state, "s1: SET_QUOTA nodes 100000 -> OK\ns1: SET_QUOTA memory 0 -> OK");
    on_a_small_stack(move || {
        let paths: Vec<_> = ["a", "b", "c"].map(deepest).into();
        for path in &paths {
            assert_eq!(ask(&mut state, "d1", &format!("WRITE {path} 1")).0, "OK");
        }
        assert_eq!(ask(&mut state, "d1", &format!("WATCH {} t", paths[0])).0, "OK");
        assert_eq!(ask(&mut state, "d1", "START").0, "tx1");
        assert_eq!(ask(&mut state, "d1/1", &format!("WRITE {} 2", paths[1])).0, "OK");
        assert_eq!(ask(&mut state, "d1/1", "RM b/x/x/x").0, "OK");
        let (reply, events) = ask(&mut state, "d1", "RM a");
        assert_eq!((reply.as_str(), events), ("OK", format!("d1 {} t", paths[0])));
        assert_eq!(ask(&mut state, "d1/1", "COMMIT").0, "OK");
        assert_eq!(state.check(), Vec::<String>::new());
        assert_eq!(state.nodes().len(), 6 + 4 + 1025);
        let copy = state.clone();
        state.domain_gone(Domid(1));
        assert_eq!(state.nodes().len(), 7);
        drop(state);
        drop(copy);
    });
}

#[test]
fn a_path_beyond_the_guests_limit_cannot_be_made() {
    let mut state = store();
    run(&mut state, "s1: SET_QUOTA nodes 0 -> OK");
    let path = deepest("aa");
    assert_eq!(path.len(), "/local/domain/1/".len() + 2046);
    assert_eq!(ask(&mut state, "d1", &format!("WRITE {path}/xx 1")).0, "EINVAL");
}

fn make(state: &mut State, path: &str) {
    let request = Request::Mkdir(Path::new(path).unwrap());
    let outcome = state.apply(connection("s1"), TransactionId::NONE, &request);
    assert!(!matches!(outcome.reply, Some(Reply::Error(_))), "{outcome:?}");
}

/// Twenty thousand children: each request on one of them, a snapshot and a listing stay quick.
/// Without sharing or the sorted lists this takes minutes.
#[test]
fn wide_directories() {
    let mut state = store();
    for number in 0..20_000 {
        make(&mut state, &format!("/wide/{}", number * 7919 % 20_000));
    }
    for number in 0..2_000 {
        let (reply, _) = ask(&mut state, "s1", "START");
        let id = reply.trim_start_matches("tx").to_owned();
        let caller = format!("s1/{id}");
        assert_eq!(ask(&mut state, &caller, &format!("WRITE /wide/{number} x")).0, "OK");
        assert_eq!(ask(&mut state, &caller, "COMMIT").0, "OK");
    }
    let (mut offset, mut listed) = (0, 0);
    loop {
        let path = Path::new("/wide").unwrap();
        let request = Request::DirectoryPart { path, offset };
        let outcome = state.apply(connection("s1"), TransactionId::NONE, &request);
        let Some(Reply::DirectoryPart { children, last, .. }) = outcome.reply else { panic!() };
        listed += children.len();
        offset += children.iter().map(|name| name.len() as u32 + 1).sum::<u32>();
        if last {
            break;
        }
    }
    assert_eq!(listed, 20_000);
    assert_eq!(ask(&mut state, "s1", "RM /wide").0, "OK");
    assert_eq!(state.check(), Vec::<String>::new());
}

/// Snapshots that guests hold while others rewrite the store do not grow without end.
#[test]
fn old_versions_are_given_up() {
    let mut state = store();
    run(
        &mut state,
        "s1: WRITE /a 1 -> OK
         s1: SET_PERMS /a r0 -> OK
         d1: START -> tx1
         d1/1: READ /a -> =1
         s1: START -> tx1
         s1/1: READ /a -> =1
         s1: WRITE /a 2 -> OK
         d1/1: READ /a -> =1",
    );
    let rewritten = 2 * State::SNAPSHOT_BYTES / 4000;
    for number in 0..rewritten {
        // Each write leaves the old version to a snapshot of another guest.
        if number % 3 == 0 {
            ask(&mut state, "d2", "START");
            ask(&mut state, "d2", "RESET_WATCHES");
            ask(&mut state, "d2", "START");
        }
        let value = format!("WRITE /b{} v*4000", number % 50);
        assert_eq!(ask(&mut state, "s1", &value).0, "OK");
    }
    run(
        &mut state,
        "s1/1: READ /a -> =1
         s1/1: COMMIT -> EAGAIN
         d1/1: READ /a -> =2
         d1/1: WRITE x 1 -> OK
         d1/1: READ x -> =1
         d1/1: COMMIT -> EAGAIN
         d1: READ x -> ENOENT",
    );
}

/// A flood by one guest does not take the transactions of others from them.
#[test]
fn a_snapshot_survives_what_a_guest_can_do_in_its_time() {
    let mut state = store();
    run(&mut state, "d1: START -> tx1\nd1/1: READ a -> ENOENT");
    for _ in 0..2000 {
        ask(&mut state, "d2", "WRITE a v*1900");
    }
    run(&mut state, "d1/1: WRITE a 1 -> OK\nd1/1: COMMIT -> OK");
}

/// Watches of a thousand domains: an event finds its own and touches no other.
#[test]
fn many_watches_elsewhere() {
    let mut state = store();
    for domid in 10..1010 {
        run_unchecked(&mut state, "s1", &format!("INTRODUCE {domid}"));
        for number in 0..100 {
            run_unchecked(&mut state, &format!("d{domid}"), &format!("WATCH x/{number} t"));
        }
    }
    for number in 0..20_000 {
        let (_, events) = ask(&mut state, "d1", &format!("WRITE x/{} 1", number % 10));
        assert_eq!(events, "");
    }
    let (_, events) = ask(&mut state, "s1", "RM /local/domain/500");
    assert_eq!(events, "");
    assert_eq!(state.check(), Vec::<String>::new());
}

fn run_unchecked(state: &mut State, caller: &str, request: &str) {
    let (reply, _) = ask(state, caller, request);
    assert_eq!(reply, "OK", "{caller}: {request}");
}

/// The same calls give the same outcomes: a log of calls restores a store.
#[test]
fn the_same_calls_give_the_same_outcomes() {
    let mut requests = String::new();
    for number in 0..300 {
        let _ = writeln!(requests, "WRITE /a/{} {number}", number * 7 % 40);
        let _ = writeln!(requests, "WATCH /a/{} t{number}", number % 20);
        let _ = writeln!(requests, "RM /a/{}", number * 3 % 40);
        let _ = writeln!(requests, "PART /a 0");
    }
    let outcomes = |state: &mut State| {
        let caller = ConnectionId::Socket(1);
        let all = requests
            .lines()
            .map(|line| state.apply(caller, TransactionId::NONE, &crate::script::parse(line)));
        all.collect::<Vec<_>>()
    };
    let mut first = store();
    let mut second = first.clone();
    assert_eq!(outcomes(&mut first), outcomes(&mut second));
    assert_eq!(first.nodes(), second.nodes());
    let unknown = first.apply(
        ConnectionId::Socket(77),
        TransactionId::NONE,
        &crate::script::parse("READ /a"),
    );
    assert_eq!(unknown.reply, Some(Reply::Error(Errno::Einval.into())));
}
