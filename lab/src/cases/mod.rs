//! All cases, by topic.

mod boot;
mod commands;
mod create;
mod harness;
mod nodes;
mod undo;
mod xtf;

use crate::case::Case;

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [
        boot::CASES,
        harness::CASES,
        xtf::CASES,
        create::CASES,
        commands::CASES,
        nodes::CASES,
        undo::CASES,
    ]
    .concat()
}
