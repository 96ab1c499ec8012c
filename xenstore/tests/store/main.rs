//! The store core: what it answers, what it tells whom, what it refuses, and that it stays sound.
//!
//! Most tests are scripts, one request per line (see [`script`]); after each line the state is
//! checked against itself.
#![forbid(unsafe_code)]

mod bounds;
mod fuzz;
mod history;
mod model;
mod quotas;
#[path = "../random/mod.rs"]
mod random;
mod requests;
mod saved;
mod script;
mod transactions;
mod watches;
