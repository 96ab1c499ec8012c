//! Who hears of what.

use crate::script::{run, store};

#[test]
fn events_reach_those_above() {
    run(
        &mut store(),
        "s1: WATCH /a one -> OK | s1 /a one
         s2: WATCH / all -> OK | s2 / all
         s1: WATCH /a/b two -> OK | s1 /a/b two
         s1: WATCH /a one -> EEXIST
         s1: WATCH /a again -> OK | s1 /a again
         s1: WRITE /a/b/c x -> OK | s1 /a/b/c one, s2 /a/b/c all, s1 /a/b/c two, s1 /a/b/c again
         s1: MKDIR /a/b -> OK
         s1: SET_PERMS /a r0 -> OK | s1 /a one, s2 /a all, s1 /a again
         s1: UNWATCH /a one -> OK
         s1: UNWATCH /a one -> ENOENT
         s1: WRITE /a y -> OK | s2 /a all, s1 /a again
         s1: RESET_WATCHES -> OK
         s1: WRITE /a z -> OK | s2 /a all
         s1: WRITE /ab z -> OK | s2 /ab all",
    );
}

#[test]
fn where_a_subtree_goes_watchers_below_hear_of_their_own_path() {
    run(
        &mut store(),
        "s1: WRITE /a/b/c x -> OK
         s1: WRITE /a/d x -> OK
         s1: WATCH /a top -> OK | s1 /a top
         s1: WATCH /a/b/c deep -> OK | s1 /a/b/c deep
         s1: WATCH /a/d side -> OK | s1 /a/d side
         s1: WATCH /a/nothing none -> OK | s1 /a/nothing none
         s1: WATCH /a/b half -> OK | s1 /a/b half
         s1: RM /a -> OK | s1 /a/b/c deep, s1 /a/b half, s1 /a/d side, s1 /a top
         s1: RM /a -> OK",
    );
}

#[test]
fn depth_limits_events() {
    run(
        &mut store(),
        "s1: WATCH /a zero 0 -> OK | s1 /a zero
         s1: WATCH /a one 1 -> OK | s1 /a one
         s1: WATCH / two 2 -> OK | s1 / two
         s1: WRITE /a x -> OK | s1 /a zero, s1 /a one, s1 /a two
         s1: WRITE /a/b x -> OK | s1 /a/b one, s1 /a/b two
         s1: WRITE /a/b/c x -> OK
         s1: RM /a -> OK | s1 /a zero, s1 /a one, s1 /a two",
    );
}

#[test]
fn relative_watches_get_relative_events() {
    run(
        &mut store(),
        "d1: WATCH dev t -> OK | d1 dev t
         d1: WATCH /local/domain/1/dev t -> EEXIST
         d1: WATCH /local/domain/1/dev abs -> OK | d1 /local/domain/1/dev abs
         d1: WRITE dev/x 1 -> OK | d1 dev/x t, d1 /local/domain/1/dev/x abs
         s1: RM /local/domain/1/dev -> OK | d1 dev t, d1 /local/domain/1/dev abs
         d1: UNWATCH dev t -> OK
         d1: WRITE dev/x 1 -> OK | d1 /local/domain/1/dev/x abs
         s1: WATCH name t -> OK | s1 name t
         s1: WRITE /local/domain/0/name x -> OK | s1 name t",
    );
}

#[test]
fn special_events() {
    run(
        &mut store(),
        "s1: WATCH @introduceDomain in -> OK | s1 @introduceDomain in
         s1: WATCH @releaseDomain out -> OK | s1 @releaseDomain out
         s2: WATCH @releaseDomain which 1 -> OK | s2 @releaseDomain which
         s2: WATCH @releaseDomain/7 seven -> OK | s2 @releaseDomain/7 seven
         s2: WATCH @releaseDomain bad 2 -> EINVAL
         s1: INTRODUCE 7 -> OK | s1 @introduceDomain in
         s1: INTRODUCE 7 -> OK
         world: SHUTDOWN 7 -> - | s1 @releaseDomain out, s2 @releaseDomain/7 which, s2 @releaseDomain/7 seven
         world: SHUTDOWN 7 -> -
         s1: RESUME 7 -> OK
         world: SHUTDOWN 7 -> - | s1 @releaseDomain out, s2 @releaseDomain/7 which, s2 @releaseDomain/7 seven
         world: GONE 7 -> - | s1 @releaseDomain out, s2 @releaseDomain/7 which, s2 @releaseDomain/7 seven
         world: GONE 7 -> -
         s1: INTRODUCE 8 -> OK | s1 @introduceDomain in
         s1: RELEASE 8 -> OK | s1 @releaseDomain out, s2 @releaseDomain/8 which
         world: EXISTS 9 -> -
         world: SHUTDOWN 9 -> -
         world: GONE 9 -> -",
    );
}

#[test]
fn special_events_for_guests_that_were_let_in() {
    run(
        &mut store(),
        "d1: WATCH @releaseDomain all -> OK | d1 @releaseDomain all
         d2: WATCH @releaseDomain/3 three -> OK | d2 @releaseDomain/3 three
         s1: SET_PERMS @releaseDomain/3 n0,r2 -> OK
         world: SHUTDOWN 3 -> - | d2 @releaseDomain/3 three
         s1: SET_PERMS @releaseDomain n0,r1 -> OK
         s1: INTRODUCE 4 -> OK
         world: GONE 4 -> - | d1 @releaseDomain all
         world: GONE 3 -> - | d2 @releaseDomain/3 three",
    );
}

#[test]
fn events_of_a_transaction_come_at_its_end() {
    run(
        &mut store(),
        "s1: WATCH /a t -> OK | s1 /a t
         s1: WRITE /a/old/deep x -> OK | s1 /a/old/deep t
         s1: WATCH /a/old/deep d -> OK | s1 /a/old/deep d
         s2: START -> tx1
         s2/1: WRITE /a/x 1 -> OK
         s2/1: WRITE /a/y/z 1 -> OK
         s2/1: WRITE /a/x 2 -> OK
         s2/1: RM /a/old -> OK
         s2/1: WRITE /a/short 1 -> OK
         s2/1: RM /a/short -> OK
         s2/1: SET_PERMS /a/x r0 -> OK
         s2/1: COMMIT -> OK | s1 /a/x t, s1 /a/y/z t, s1 /a/old t, s1 /a/old/deep d
         s2: START -> tx2
         s2/2: WRITE /a/x 3 -> OK
         s2/2: ABORT -> OK",
    );
}

#[test]
fn a_dying_domain_is_heard_of_by_others_only() {
    run(
        &mut store(),
        "d1: WATCH x own -> OK | d1 x own
         d1: WRITE x 1 -> OK | d1 x own
         s1: WATCH /local/domain t -> OK | s1 /local/domain t
         s1: WATCH /local/domain/1/x u -> OK | s1 /local/domain/1/x u
         world: GONE 1 -> - | s1 /local/domain/1/x u, s1 /local/domain/1 t",
    );
}

#[test]
fn a_reader_that_loses_the_right_hears_of_it() {
    run(
        &mut store(),
        "s1: WRITE /a/b x -> OK
         s1: SET_PERMS /a/b n0,r1 -> OK
         d1: WATCH /a t -> OK | d1 /a t
         s1: WRITE /a/b y -> OK | d1 /a/b t
         s1: SET_PERMS /a/b n0 -> OK | d1 /a/b t
         s1: WRITE /a/b z -> OK
         s1: START -> tx1
         s1/1: SET_PERMS /a/b n0,r1 -> OK
         s1/1: COMMIT -> OK | d1 /a/b t
         s1: START -> tx2
         s1/2: RM /a/b -> OK
         s1/2: COMMIT -> OK | d1 /a/b t
         s1: SET_PERMS /a n0,r1 -> OK | d1 /a t
         s1: WRITE /a/c x -> OK | d1 /a/c t
         s1: SET_PERMS /a/c n0 -> OK | d1 /a/c t
         s1: WRITE /a/c y -> OK | d1 /a/c t",
    );
}

#[test]
fn an_event_that_fits_no_message_is_not_sent() {
    run(
        &mut store(),
        "s1: WATCH /a t*2000 -> OK | *
         s1: WRITE /a/b*2090 x -> OK | *
         s1: UNWATCH /a t*2000 -> OK
         s1: WATCH /a t*2001 -> OK | *
         s1: WRITE /a/b*2090 x -> OK | *
         s1: WRITE /a/b*2091 x -> OK",
    );
}
