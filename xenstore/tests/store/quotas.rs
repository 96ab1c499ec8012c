//! Quotas: at n all is well, at n + 1 the error of C xenstored; who is bound and who is not.

use crate::script::{ask, connection, run, store};
use xenstore::Domid;
use xenstore::store::Quota;

/// With `quota` at 3, the fourth of these requests fails with `error`; `undo` makes room for it
/// again; sockets are free.
fn check(quota: &str, request: impl Fn(u32) -> String, undo: &str, error: &str) {
    let mut state = store();
    let used = if quota == "nodes" { 1 } else { 0 };
    run(&mut state, &format!("s1: SET_QUOTA {quota} {} -> OK", 3 + used));
    for number in 1..=3 {
        let (reply, _) = ask(&mut state, "d1", &request(number));
        assert!(!reply.starts_with('E'), "{quota}: {} {reply}", request(number));
    }
    assert_eq!(ask(&mut state, "d1", &request(4)).0, error, "{quota} {}", request(4));
    assert_eq!(state.check(), Vec::<String>::new());
    run(&mut state, &format!("d1{undo} -> OK"));
    let (reply, _) = ask(&mut state, "d1", &request(4));
    assert!(!reply.starts_with('E'), "{quota}: after undo {reply}");
    for number in 1..10 {
        let request = request(number).replace(" x", " /free/x");
        let (reply, _) = ask(&mut state, "s1", &request);
        assert!(!reply.starts_with('E'), "{quota} binds a socket: {request} {reply}");
    }
    assert_eq!(state.check(), Vec::<String>::new());
}

#[test]
fn counts_of_a_domain() {
    check("nodes", |n| format!("WRITE x{n} 1"), ": RM x1", "ENOSPC");
    check("nodes", |n| format!("MKDIR x{n}"), ": RM x1", "ENOSPC");
    check("watches", |n| format!("WATCH x t{n}"), ": UNWATCH x t1", "E2BIG");
    check("transactions", |_| "START".to_owned(), "/2: ABORT", "ENOSPC");
}

#[test]
fn a_path_counts_every_node_that_it_makes() {
    run(
        &mut store(),
        "s1: SET_QUOTA nodes 4 -> OK
         d1: WRITE a/b/c/d 1 -> ENOSPC
         d1: READ a -> ENOENT
         d1: WRITE a/b/c 1 -> OK
         d1: WRITE d 1 -> ENOSPC
         d1: RM a/b -> OK
         d1: WRITE d 1 -> OK
         d1: WRITE d/e 1 -> OK
         d1: MKDIR f -> ENOSPC
         d1: MKDIR d -> OK",
    );
}

#[test]
fn nodes_are_counted_inside_transactions_and_at_their_end() {
    run(
        &mut store(),
        "s1: SET_QUOTA nodes 3 -> OK
         d1: START -> tx1
         d1/1: WRITE a 1 -> OK
         d1/1: WRITE b 1 -> OK
         d1/1: WRITE c 1 -> ENOSPC
         d1/1: RM a -> OK
         d1/1: WRITE c 1 -> OK
         d1: START -> tx2
         d1/2: WRITE e 1 -> OK
         d1/2: WRITE f 1 -> OK
         d1/1: COMMIT -> OK
         d1/2: COMMIT -> ENOSPC
         d1: DIRECTORY /local/domain/1 -> b c
         d1: START -> tx3
         d1/3: RM b -> OK
         d1/3: WRITE g 1 -> OK
         d1/3: COMMIT -> OK
         d1: DIRECTORY /local/domain/1 -> c g",
    );
}

#[test]
fn a_transaction_touches_so_many_nodes() {
    run(
        &mut store(),
        "s1: SET_QUOTA transaction-nodes 3 -> OK
         d1: WRITE a 1 -> OK
         d1: START -> tx1
         d1/1: READ a -> =1
         d1/1: WRITE b 1 -> OK
         d1/1: READ a -> =1
         d1/1: READ c -> ENOSPC
         d1/1: READ a -> =1
         d1/1: COMMIT -> ENOMEM
         d1: READ b -> ENOENT",
    );
}

#[test]
fn sizes_of_paths_nodes_and_permissions() {
    run(
        &mut store(),
        "d1: WRITE a x*2016 -> OK
         d1: WRITE a x*2017 -> ENOSPC
         d1: WRITE b x*2017 -> ENOSPC
         d1: WRITE b/c x*2017 -> ENOSPC
         d1: READ b -> ENOENT
         s1: WRITE /local/domain/1/a x*4000 -> OK
         s1: SET_QUOTA node-size 0 -> OK
         d1: WRITE a x*4000 -> OK
         s1: SET_QUOTA node-size 2048 -> OK
         d1: WRITE /local/domain/1/p/b*2046 x -> ENOSPC
         d1: READ p*2048 -> ENOENT
         d1: READ /local/domain/1/p*2048 -> ENOENT
         d1: READ /local/domain/1/p*2049 -> EINVAL
         d1: READ /p*2047 -> EACCES
         d1: READ /p*2048 -> EINVAL
         s1: READ /p*3071 -> ENOENT
         s1: SET_QUOTA permissions 2 -> OK
         d1: SET_PERMS a n1,r2 -> ENOSPC
         d1: WRITE q 1 -> OK
         d1: SET_PERMS q n1,r2 -> OK
         d1: SET_PERMS q n1,r2,r3 -> ENOSPC
         s1: SET_PERMS /local/domain/1/q n1,r2,r3,r0 -> OK",
    );
}

#[test]
fn names_of_children_make_a_node_bigger() {
    let mut state = store();
    // 32 bytes of node and entry, 100 per name.
    for number in 10..30 {
        run(&mut state, &format!("d1: MKDIR x/n{number}x*96 -> OK"));
    }
    run(
        &mut state,
        "d1: MKDIR x/n30x*96 -> ENOSPC
         d1: MKDIR x/n*13 -> OK
         d1: MKDIR x/m -> OK
         d1: MKDIR x/m2 -> ENOSPC
         s1: MKDIR /local/domain/1/x/m2 -> OK",
    );
}

#[test]
fn memory_of_nodes_watches_and_transactions() {
    let mut state = store();
    let used = state.usage(Domid(1)).unwrap().memory;
    run(&mut state, &format!("s1: SET_QUOTA memory {} -> OK", used + 1000));
    run(
        &mut state,
        "d1: WRITE a x*900 -> OK
         d1: WRITE b x*100 -> ENOMEM
         d1: WATCH c t*100 -> ENOMEM
         d1: WRITE a x*966 -> OK
         d1: WRITE a x*967 -> ENOMEM
         d1: WRITE a x*100 -> OK
         d1: WATCH c t*100 -> OK | *
         d1: START -> tx1
         d1/1: WRITE b x*900 -> ENOMEM
         d1/1: READ a*400 -> ENOENT
         d1/1: READ b*400 -> ENOMEM
         d1/1: COMMIT -> ENOMEM
         d1: UNWATCH c t*100 -> OK
         d1: RM a -> OK
         d1: WRITE a x*966 -> OK",
    );
    assert_eq!(state.usage(Domid(1)).unwrap().memory, used + 1000);
}

#[test]
fn another_guest_cannot_use_up_the_owners_memory() {
    let mut state = store();
    let used = state.usage(Domid(1)).unwrap().memory;
    run(&mut state, &format!("s1: SET_QUOTA 1 memory {} -> OK", used + 200));
    run(
        &mut state,
        "d1: WRITE a x -> OK
         d1: SET_PERMS a n1,b2 -> OK
         d2: WRITE /local/domain/1/a x*100 -> OK
         d2: WRITE /local/domain/1/a x*300 -> ENOMEM
         d2: WRITE /local/domain/1/a/b x*300 -> OK",
    );
}

#[test]
fn requests_wait_for_a_guest_that_does_not_read() {
    let mut state = store();
    let (one, domain) = (connection("d1"), Domid(1));
    assert!(state.may_ask(one));
    state.queued(domain, 19, 19 * 100);
    assert!(state.may_ask(one));
    state.queued(domain, 1, 100);
    assert!(!state.may_ask(one), "20 replies wait");
    state.queued(domain, -1, -100);
    assert!(state.may_ask(one));
    state.queued(domain, 0, 3_000_000);
    assert!(!state.may_ask(one), "too much memory");
    assert!(state.may_ask(connection("d2")) && state.may_ask(connection("s1")));
    state.queued(Domid::DOM0, 1000, 10_000_000);
    assert!(state.may_ask(connection("d0")), "domain 0 is not bound");
    state.queued(domain, -1000, -10_000_000);
    assert_eq!(state.usage(domain).unwrap().outstanding, 0, "counts do not wrap");
}

#[test]
fn quotas_can_be_asked_for_and_set() {
    run(
        &mut store(),
        "s1: GET_QUOTA -> nodes watches transactions outstanding transaction-nodes memory permissions path-max node-size
         s1: GET_QUOTA nodes -> 1000
         s1: GET_QUOTA watches -> 128
         s1: GET_QUOTA transactions -> 10
         s1: GET_QUOTA outstanding -> 20
         s1: GET_QUOTA transaction-nodes -> 1024
         s1: GET_QUOTA memory -> 2621440
         s1: GET_QUOTA permissions -> 5
         s1: GET_QUOTA path-max -> 2048
         s1: GET_QUOTA node-size -> 2048
         s1: GET_QUOTA nothing -> EINVAL
         s1: SET_QUOTA nothing 1 -> EINVAL
         s1: GET_QUOTA 9 nodes -> ENOENT
         s1: SET_QUOTA 9 nodes 1 -> ENOENT
         s1: SET_QUOTA 1 nodes 5 -> OK
         s1: SET_QUOTA nodes 7 -> OK
         s1: GET_QUOTA 1 nodes -> 5
         s1: GET_QUOTA 2 nodes -> 7
         s1: SET_QUOTA 1 nodes 0 -> OK
         s1: GET_QUOTA 1 nodes -> 0",
    );
}

#[test]
fn a_limit_that_falls_below_what_is_used_stops_growth_only() {
    let mut state = store();
    run(
        &mut state,
        "d1: WRITE a 1 -> OK
         d1: WRITE b 1 -> OK
         s1: SET_QUOTA 1 nodes 1 -> OK
         d1: WRITE a 2 -> OK
         d1: WRITE c 1 -> ENOSPC
         d1: START -> tx1
         d1/1: RM b -> OK
         d1/1: WRITE a 3 -> OK
         d1/1: COMMIT -> OK
         d1: READ a -> =3",
    );
    assert_eq!(state.limit(Domid(1), Quota::Nodes), 1);
    assert!(!state.is_above_soft_memory(Domid(1)));
    run(&mut state, "s1: CONTROL quota-soft set memory 1 -> OK");
    assert!(state.is_above_soft_memory(Domid(1)));
}
