//! Transactions: what they see, what conflicts, what their end does.

use crate::script::{run, store};

#[test]
fn a_transaction_sees_its_snapshot_and_itself() {
    run(
        &mut store(),
        "s1: WRITE /a/x 1 -> OK
         s1: START -> tx1
         s2: WRITE /a/x 2 -> OK
         s2: WRITE /a/new 2 -> OK
         s1/1: READ /a/x -> =1
         s1/1: DIRECTORY /a -> x
         s1/1: WRITE /a/own 3 -> OK
         s1/1: READ /a/own -> =3
         s2: READ /a/own -> ENOENT
         s1/1: START -> EBUSY
         s1/1: COMMIT -> EAGAIN
         s1/1: READ /a/x -> ENOENT
         s1: COMMIT -> ENOENT
         s1: READ /a/own -> ENOENT",
    );
}

#[test]
fn numbers_belong_to_their_connection() {
    run(
        &mut store(),
        "s1: START -> tx1
         s1: START -> tx2
         s2: START -> tx1
         s1/1: WRITE /a 1 -> OK
         s2/1: READ /a -> ENOENT
         s1/1: COMMIT -> OK
         s1/2: COMMIT -> OK
         s2/2: COMMIT -> ENOENT
         s2/1: COMMIT -> EAGAIN",
    );
}

/// Two transactions on `/d/x` = 1 and `/d/y` = 1: each does its line (several requests separated
/// by `;`), the first commits, then the second does, with this result. What stands in `after` must
/// then read so.
fn check(first: &str, second: &str, result: &str) {
    let mut state = store();
    run(
        &mut state,
        "s1: WRITE /d/x 1 -> OK
         s1: WRITE /d/y 1 -> OK
         s1: START -> tx1
         s2: START -> tx1",
    );
    for request in first.split("; ") {
        assert!(!crate::script::ask(&mut state, "s1/1", request).0.starts_with('E'), "{request}");
    }
    for request in second.split("; ") {
        crate::script::ask(&mut state, "s2/1", request);
    }
    run(&mut state, "s1/1: COMMIT -> OK");
    let (found, _) = crate::script::ask(&mut state, "s2/1", "COMMIT");
    assert_eq!(found, result, "first {first}, second {second}");
    assert_eq!(state.check(), Vec::<String>::new());
}

#[test]
fn only_what_was_seen_and_changed_conflicts() {
    // Seen and changed.
    check("WRITE /d/x 2", "READ /d/x", "EAGAIN");
    check("WRITE /d/x 2", "READ /d/x; WRITE /d/x 3", "EAGAIN");
    check("RM /d/x", "READ /d/x", "EAGAIN");
    check("RM /d/x", "WRITE /d/x 3", "EAGAIN");
    check("RM /d", "READ /d/x", "EAGAIN");
    check("WRITE /d/z 1", "READ /d/z", "EAGAIN");
    check("WRITE /d/z 1", "DIRECTORY /d", "EAGAIN");
    check("RM /d/x", "DIRECTORY /d", "EAGAIN");
    check("SET_PERMS /d/x r0", "GET_PERMS /d/x", "EAGAIN");
    check("SET_PERMS /d/x r0", "WRITE /d/x 3", "EAGAIN");
    check("SET_PERMS /d r0", "WRITE /d/new 3", "EAGAIN");
    check("WRITE /d/z/deep 1", "WRITE /d/z/deep 2", "EAGAIN");
    check("MKDIR /d/z", "WRITE /d/z/deep 2", "EAGAIN");
    check("RM /d/x; WRITE /d/x 1", "READ /d/x", "EAGAIN");
    // Seen and left alone, or changed and not seen.
    check("WRITE /d/x 2", "READ /d/y", "OK");
    check("WRITE /d/x 2", "WRITE /d/x 3", "OK");
    check("WRITE /d/x 2", "DIRECTORY /d", "OK");
    check("WRITE /d/x 2", "GET_PERMS /d/x", "OK");
    check("SET_PERMS /d/x r0", "READ /d/y", "OK");
    check("WRITE /d/z 1", "WRITE /d/w 1", "OK");
    check("WRITE /d/x 2", "RM /d/x", "OK");
    check("WRITE /d/x/child 2", "RM /d/x", "OK");
    check("READ /d/x", "WRITE /d/x 2", "OK");
    check("WRITE /d/z 1; RM /d/z", "READ /d/z", "OK");
}

#[test]
fn what_a_transaction_made_itself_is_no_observation() {
    run(
        &mut store(),
        "s1: WRITE /d/x 1 -> OK
         s1: START -> tx1
         s1/1: WRITE /d/x 2 -> OK
         s1/1: READ /d/x -> =2
         s2: WRITE /d/x 3 -> OK
         s1/1: COMMIT -> OK
         s1: READ /d/x -> =2",
    );
}

#[test]
fn removals_and_new_nodes_are_applied_as_they_were_asked() {
    run(
        &mut store(),
        "s1: WRITE /d/x/one 1 -> OK
         s1: WRITE /d/x/two 1 -> OK
         s1: WRITE /e 1 -> OK
         s1: START -> tx1
         s1/1: WRITE /d/x/one 2 -> OK
         s1/1: RM /d/x -> OK
         s1/1: WRITE /d/x/three 3 -> OK
         s1/1: SET_PERMS /d/x/three r0 -> OK
         s1/1: WRITE /d/x/three 4 -> OK
         s1/1: WRITE /n/b/c 5 -> OK
         s1/1: RM /n/b -> OK
         s1/1: WRITE /n/a 6 -> OK
         s1/1: WRITE /e 2 -> OK
         s1/1: RM /e -> OK
         s2: WRITE /other 1 -> OK
         s2: WRITE /d/x/late 1 -> OK
         s1/1: COMMIT -> OK
         s1: DIRECTORY /d/x -> three
         s1: READ /d/x/three -> =4
         s1: GET_PERMS /d/x/three -> r0
         s1: DIRECTORY /n -> a
         s1: READ /e -> ENOENT
         s1: READ /other -> =1",
    );
}

#[test]
fn a_failed_end_leaves_nothing() {
    run(
        &mut store(),
        "s1: WRITE /a 1 -> OK
         d1: START -> tx1
         d1/1: READ x -> ENOENT
         d1/1: WRITE y 1 -> OK
         s1: WRITE /local/domain/1/x 1 -> OK
         d1/1: COMMIT -> EAGAIN
         d1: READ y -> ENOENT
         d1: START -> tx2
         d1/2: WRITE y 1 -> OK
         d1/2: ABORT -> OK
         d1: READ y -> ENOENT",
    );
}

#[test]
fn permissions_count_inside_as_outside() {
    run(
        &mut store(),
        "s1: WRITE /a 1 -> OK
         d1: START -> tx1
         d1/1: READ /a -> EACCES
         d1/1: WRITE /a 2 -> EACCES
         d1/1: RM /a -> EACCES
         d1/1: WRITE /b 2 -> EACCES
         d1/1: SET_PERMS x n2 -> ENOENT
         d1/1: WRITE x 1 -> OK
         d1/1: SET_PERMS x n2 -> EPERM
         d1/1: COMMIT -> OK
         s1: GET_PERMS /local/domain/1/x -> n1
         s1: SET_PERMS /a n0,r1 -> OK
         d1: START -> tx2
         d1/2: READ /a -> =1
         s1: SET_PERMS /a n0 -> OK
         d1/2: READ /a -> =1
         d1/2: COMMIT -> EAGAIN",
    );
}

#[test]
fn an_owner_that_died_meanwhile_gets_nothing() {
    run(
        &mut store(),
        "s1: START -> tx1
         s1/1: WRITE /a 1 -> OK
         s1/1: SET_PERMS /a n1 -> OK
         world: GONE 1 -> -
         s1/1: COMMIT -> EAGAIN
         s1: READ /a -> ENOENT
         s1: INTRODUCE 1 -> OK
         s1: START -> tx2
         s1/2: WRITE /a 1 -> OK
         s1/2: SET_PERMS /a n1 -> OK
         world: GONE 1 -> -
         s1: INTRODUCE 1 -> OK
         s1/2: COMMIT -> EAGAIN",
    );
}

#[test]
fn reset_watches_ends_transactions_too() {
    run(
        &mut store(),
        "d1: START -> tx1
         d1: START -> tx2
         d1/1: WRITE x 1 -> OK
         d1/1: RESET_WATCHES -> OK
         d1/1: COMMIT -> ENOENT
         d1/2: COMMIT -> ENOENT
         d1: RESET_WATCHES -> OK
         d1/5: RESET_WATCHES -> ENOENT",
    );
}
