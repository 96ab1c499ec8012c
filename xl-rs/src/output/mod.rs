//! What commands print: pure functions from facts to text or JSON.
//!
//! Columns and spacing are xl's, because scripts cut by them. Nothing here asks anybody anything.

pub mod domains;
pub mod facts;
