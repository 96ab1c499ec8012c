//! What commands print: pure functions from facts to text or JSON.
//!
//! Columns and spacing are xl's, because scripts cut by them. Nothing here asks anybody anything.

pub mod bitmap;
pub mod channels;
pub mod disks;
pub mod domains;
pub mod facts;
pub mod findings;
pub mod interfaces;
pub mod pci;
pub mod problems;
pub mod rdma;
pub mod uptimes;
pub mod vcpus;

use crate::printable;
use std::borrow::Cow;

/// What stands in the name's place for a domain without one. xl prints the same.
const NO_NAME: &str = "(null)";

/// A domain's name as tables show it. Other toolstacks may have given it.
fn shown(name: Option<&str>) -> Cow<'_, str> {
    name.map_or(Cow::Borrowed(NO_NAME), printable::line)
}
