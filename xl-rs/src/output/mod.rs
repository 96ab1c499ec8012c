//! What commands print: pure functions from facts to text or JSON.
//!
//! Columns and spacing are xl's, because scripts cut by them. Nothing here asks anybody anything.

pub mod bitmap;
pub mod domains;
pub mod facts;
pub mod uptimes;
pub mod vcpus;

/// What stands in the name's place for a domain without one. xl prints the same.
pub const NO_NAME: &str = "(null)";
