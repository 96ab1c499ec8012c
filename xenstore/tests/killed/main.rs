//! A server that is killed at any step, and the one that comes after it: every client gets everything
//! once.
//!
//! The world is in memory: ring pages, clients that write and read them, a file. A kill unwinds the
//! server out of whatever it was doing, in the middle of a write if need be; pages and file stay as they
//! are then. Clients never learn of it, and what they get is compared byte by byte with what they get
//! from a server that lives.
#![forbid(unsafe_code)]

mod client;
mod found;
mod log;
#[path = "../random/mod.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod random;
mod steps;
mod world;
