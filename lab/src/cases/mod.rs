//! All cases, by topic.

mod boot;
mod cache;
mod commands;
mod console;
mod create;
mod harness;
mod interrupt;
mod json;
mod memory;
mod nodes;
mod policy;
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
        interrupt::CASES,
        memory::CASES,
        policy::CASES,
        cache::CASES,
        console::CASES,
        json::CASES,
    ]
    .concat()
}
