//! All cases, by topic.

mod boot;
mod create;
mod nodes;
mod undo;

use crate::case::Case;

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [boot::CASES, create::CASES, nodes::CASES, undo::CASES].concat()
}
