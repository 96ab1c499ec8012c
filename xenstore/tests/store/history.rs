//! What went wrong in other stores: one test for each advisory that concerns the store's core.
//!
//! Each was seen to fail with the check in question taken out.

use crate::script::{ask, connection, run, store};
use xenstore::Domid;
use xenstore::store::{Quota, State};

fn usage(state: &State, domid: u16) -> xenstore::store::Usage {
    state.usage(Domid(domid)).unwrap()
}

#[test]
fn xsa_115_watches_tell_nothing_of_what_cannot_be_read() {
    run(
        &mut store(),
        "d1: WATCH / all -> OK | d1 / all
         d1: WATCH /local/domain/2/secret one -> OK | d1 /local/domain/2/secret one
         d1: WATCH @introduceDomain in -> OK | d1 @introduceDomain in
         d1: WATCH @releaseDomain out -> OK | d1 @releaseDomain out
         d1: WATCH @releaseDomain/2 two -> OK | d1 @releaseDomain/2 two
         d2: WRITE secret 1 -> OK
         d2: WRITE secret/deep 1 -> OK
         d2: SET_PERMS secret n2,r3 -> OK
         d2: START -> tx1
         d2/1: WRITE secret 2 -> OK
         d2/1: WRITE secret/new 2 -> OK
         d2/1: COMMIT -> OK
         d2: RM /local/domain/2/secret -> OK
         d2: WRITE secret 1 -> OK
         d2: START -> tx2
         d2/2: RM /local/domain/2/secret -> OK
         d2/2: COMMIT -> OK
         s1: WRITE /tool/x 1 -> OK
         s1: INTRODUCE 4 -> OK
         world: SHUTDOWN 4 -> -
         s1: RELEASE 4 -> OK
         world: GONE 2 -> -",
    );
    // Whoever may read the root learns of what is readable there, and still not of special events.
    run(
        &mut store(),
        "s1: SET_PERMS / r0 -> OK
         d1: WATCH @introduceDomain in -> OK | d1 @introduceDomain in
         s1: INTRODUCE 4 -> OK
         s1: SET_PERMS @introduceDomain n0,r1 -> OK
         s1: INTRODUCE 5 -> OK | d1 @introduceDomain in",
    );
}

#[test]
fn xsa_233_a_target_may_die_first() {
    run(
        &mut store(),
        "s1: SET_TARGET 1 2 -> OK
         d1: READ /local/domain/2 -> =home
         world: GONE 2 -> -
         d1: READ /local/domain/2 -> EACCES
         s1: INTRODUCE 2 -> OK
         s1: WRITE /local/domain/2 home -> OK
         s1: SET_PERMS /local/domain/2 n2 -> OK
         d1: READ /local/domain/2 -> EACCES
         world: GONE 1 -> -
         world: GONE 2 -> -",
    );
}

#[test]
fn xsa_322_rights_do_not_pass_to_a_later_domain_of_the_number() {
    run(
        &mut store(),
        "s1: WRITE /a x -> OK
         s1: SET_PERMS /a n0,b1 -> OK
         d1: READ /a -> =x
         s1: SET_PERMS @releaseDomain n0,r1 -> OK
         world: GONE 1 -> -
         s1: INTRODUCE 1 -> OK
         d1: READ /a -> EACCES
         d1: WRITE /a y -> EACCES
         d1: GET_PERMS @releaseDomain -> EACCES
         s1: WRITE /a/child x -> OK
         d1: READ /a/child -> EACCES
         s1: WRITE /a y -> OK
         d1: READ /a -> EACCES
         s1: SET_PERMS /a n0,b1 -> OK
         d1: READ /a -> =y
         s1: SET_PERMS /a n0,b9 -> OK
         s1: INTRODUCE 9 -> OK
         d9: READ /a -> EACCES",
    );
    // No change at all lies between the permission and the new domain.
    run(
        &mut store(),
        "s1: WRITE /a x -> OK
         s1: SET_PERMS /a n0,b7 -> OK
         world: EXISTS 7 -> -
         s1: INTRODUCE 7 -> OK
         d7: READ /a -> EACCES",
    );
}

#[test]
fn xsa_353_the_root_is_a_node_like_any_other() {
    run(
        &mut store(),
        "d1: READ / -> EACCES
         d1: DIRECTORY / -> EACCES
         d1: PART / 0 -> EACCES
         d1: GET_PERMS / -> EACCES
         d1: SET_PERMS / b1 -> EACCES
         d1: SET_PERMS / b0,b1 -> EACCES
         d1: WRITE / x -> EACCES
         d1: MKDIR / -> EACCES
         d1: RM / -> EACCES
         d1: WRITE /new x -> EACCES
         s1: RM / -> EINVAL
         s1: GET_PERMS / -> n0
         s1: DIRECTORY / -> tool local",
    );
}

#[test]
fn cve_2022_42315_a_guest_that_does_not_read_is_not_served() {
    let mut state = store();
    let mut served = 0;
    while state.may_ask(connection("d1")) && served < 1000 {
        let (reply, _) = ask(&mut state, "d1", "WRITE x 1");
        state.queued(Domid(1), 1, 16 + reply.len() as i64);
        served += 1;
    }
    assert_eq!(served, Quota::Outstanding.default_limit());
}

#[test]
fn cve_2022_42315_a_flood_of_events_is_bounded_by_memory() {
    let mut state = store();
    run(&mut state, "s1: SET_QUOTA memory 100000 -> OK");
    for number in 0..128 {
        run(&mut state, &format!("d1: WATCH x t{number}x*500 -> OK | *"));
    }
    assert!(usage(&state, 1).memory > 60_000, "watches are paid for");
    run(&mut state, "d1: WATCH x one-more -> E2BIG");
    run(&mut state, "d1: WRITE x 1 -> OK | *");
    run(&mut state, "d1: SET_PERMS x n1,b2 -> OK | *");
    // Another guest lets the events rain; the server queues what the store hands it.
    for _ in 0..100 {
        let (_, events) = ask(&mut state, "d2", "WRITE /local/domain/1/x 1");
        for event in events.split(", ").filter(|event| !event.is_empty()) {
            state.queued(Domid(1), 1, 16 + event.len() as i64);
        }
    }
    // One request may add as many events as there are watches.
    assert!(usage(&state, 1).memory < 100_000 + 128 * 600, "{:?}", usage(&state, 1));
}

#[test]
fn xsa_416_a_reply_that_cannot_be_sent_is_not_made() {
    let mut state = store();
    for number in 0..600 {
        assert_eq!(ask(&mut state, "s1", &format!("MKDIR /big/a-long-name-{number}")).0, "OK");
    }
    run(
        &mut state,
        "s1: SET_PERMS /big r0 -> OK
         d1: DIRECTORY /big -> E2BIG",
    );
    let (part, _) = ask(&mut state, "d1", "PART /big 0");
    assert!(part.len() < 4096);
}

#[test]
fn xsa_419_nodes_go_with_their_owner() {
    let mut state = store();
    let before = usage(&state, 0);
    run(&mut state, "d2: WRITE shared x -> OK\n d2: SET_PERMS shared b2 -> OK");
    let guests = usage(&state, 2);
    for _ in 0..5 {
        run(
            &mut state,
            "d1: WRITE /local/domain/2/shared/a/b 1 -> OK
             d1: WRITE /local/domain/2/shared/c 1 -> OK
             d2: WRITE /local/domain/2/shared/a/b/mine 1 -> OK
             d1: WRITE x/y 1 -> OK
             world: GONE 1 -> -
             d2: DIRECTORY shared -> -
             s1: READ /local/domain/1 -> ENOENT
             s1: INTRODUCE 1 -> OK
             s1: WRITE /local/domain/1 home -> OK
             s1: SET_PERMS /local/domain/1 n1 -> OK",
        );
        assert_eq!(usage(&state, 0), before, "domain 0 inherits nothing");
        assert_eq!(usage(&state, 2), guests);
    }
    // Where the node cannot go, its owner does.
    run(
        &mut state,
        "s1: SET_PERMS / n1 -> OK
         s1: SET_PERMS @releaseDomain n1,r2 -> OK
         world: GONE 1 -> -
         s1: GET_PERMS / -> n0
         s1: GET_PERMS @releaseDomain -> n0,r2
         s1: DIRECTORY / -> tool local",
    );
}

#[test]
fn xsa_483_a_later_domain_of_the_number_starts_from_nothing() {
    let mut state = store();
    run(
        &mut state,
        "s1: SET_QUOTA 1 nodes 5 -> OK
         d1: WRITE a/b/c 1 -> OK
         d1: WATCH a t -> OK | d1 a t
         d1: START -> tx1
         d1/1: WRITE d 1 -> OK
         world: SHUTDOWN 1 -> -",
    );
    state.queued(Domid(1), 5, 500);
    run(
        &mut state,
        "world: GONE 1 -> -
         s1: INTRODUCE 1 -> OK
         s1: GET_QUOTA 1 nodes -> 1000
         s1: WATCH @releaseDomain t -> OK | s1 @releaseDomain t
         d1/1: COMMIT -> ENOENT
         world: SHUTDOWN 1 -> - | s1 @releaseDomain t",
    );
    assert_eq!(usage(&state, 1), xenstore::store::Usage::default());
}

#[test]
fn cve_2018_15470_the_number_of_nodes_is_bounded_on_every_way() {
    let mut state = store();
    run(
        &mut state,
        "s1: SET_QUOTA nodes 10 -> OK
         d1: WRITE a/a/a/a/a/a/a/a/a/a 1 -> ENOSPC
         d1: WRITE a/a/a/a/a 1 -> OK
         d1: MKDIR b/b/b/b -> OK
         d1: WRITE c 1 -> ENOSPC
         d1: MKDIR c -> ENOSPC
         d1: MKDIR a/c -> ENOSPC
         d1: START -> tx1
         d1/1: WRITE c 1 -> ENOSPC
         d1/1: MKDIR c/d -> ENOSPC
         d1/1: RM a/a/a/a/a -> OK
         d1/1: WRITE c 1 -> OK
         d1/1: WRITE d 1 -> ENOSPC
         d1/1: COMMIT -> OK
         s1: SET_PERMS /tool b0 -> OK
         d1: WRITE /tool/x 1 -> ENOSPC",
    );
    assert_eq!(usage(&state, 1).nodes, 10);
}

#[test]
fn cve_2020_29485_reset_watches_forgets_all() {
    let mut state = store();
    let before = usage(&state, 1);
    for round in 0..50 {
        run(
            &mut state,
            "d1: WATCH a t -> OK | *
             d1: WATCH /local b -> OK | *
             d1: WATCH @releaseDomain c -> OK | *",
        );
        let (number, _) = ask(&mut state, "d1", "START");
        let number = number.trim_start_matches("tx");
        run(&mut state, &format!("d1/{number}: WRITE a/{round} 1 -> OK\nd1: RESET_WATCHES -> OK"));
        assert_eq!(usage(&state, 1), before);
    }
    run(&mut state, "d1: UNWATCH a t -> ENOENT\n d1: WRITE a 1 -> OK");
}

#[test]
fn cve_2020_29486_nodes_are_not_given_away() {
    run(
        &mut store(),
        "d1: WRITE x 1 -> OK
         d1: SET_PERMS x n2 -> EPERM
         d1: SET_PERMS x n0 -> EPERM
         d1: SET_PERMS x n0,b1 -> EPERM
         d1: START -> tx1
         d1/1: SET_PERMS x n2 -> EPERM
         d1/1: COMMIT -> OK
         s1: SET_TARGET 3 1 -> OK
         d3: SET_PERMS /local/domain/1/x n3 -> EPERM
         d1: GET_PERMS x -> n1
         s1: SET_PERMS @releaseDomain b0,b1 -> OK
         d1: SET_PERMS @releaseDomain n1 -> EACCES",
    );
}

#[test]
fn cve_2022_42310_a_failed_path_leaves_no_part_of_it() {
    run(
        &mut store(),
        "s1: SET_QUOTA nodes 4 -> OK
         d1: START -> tx1
         d1/1: WRITE a/b/c/d 1 -> ENOSPC
         d1/1: DIRECTORY /local/domain/1 -> -
         d1/1: WRITE a/b 1 -> OK
         d1/1: COMMIT -> OK
         d1: DIRECTORY a -> b
         d1: DIRECTORY a/b -> -",
    );
}

#[test]
fn cve_2022_42325_nodes_made_and_removed_in_a_transaction_are_counted_right() {
    let mut state = store();
    run(&mut state, "s1: SET_QUOTA nodes 8 -> OK");
    for number in 1..=5 {
        run(
            &mut state,
            &format!(
                "d1: START -> tx{number}
                 d1/{number}: WRITE keep{number} 1 -> OK
                 d1/{number}: WRITE gone/deep 1 -> OK
                 d1/{number}: RM gone -> OK
                 d1/{number}: WRITE gone/deep 1 -> OK
                 d1/{number}: RM gone -> OK
                 d1/{number}: COMMIT -> OK"
            ),
        );
        assert_eq!(usage(&state, 1).nodes, 1 + number);
    }
}

#[test]
fn cve_2023_34323_what_both_remove_is_counted_once() {
    let mut state = store();
    run(
        &mut state,
        "d1: WRITE a/b 1 -> OK
         d1: START -> tx1
         d1/1: RM a/b -> OK
         d1/1: WRITE c 1 -> OK
         d1: RM a/b -> OK
         d1/1: COMMIT -> EAGAIN
         d1: WRITE a/b 1 -> OK
         d1: START -> tx2
         d1/2: RM a -> OK
         d1/2: WRITE c 1 -> OK
         d1: RM a/b -> OK
         d1/2: COMMIT -> OK",
    );
    assert_eq!(usage(&state, 1).nodes, 2);
}
