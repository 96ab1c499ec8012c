//! All cases, by topic.

mod boot;
mod create;

use crate::case::Case;

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [boot::CASES, create::CASES].concat()
}
