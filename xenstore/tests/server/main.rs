//! The server over rings in plain memory: what peers can do to it and to each other.
//!
//! The pages are those of `misc/xenstore-ring.txt`; a test is the guest at the other end, honest or
//! not. What rings of real guests and the devices do is tested on real Xen by the lab.

#[path = "../random/mod.rs"]
mod random;

mod bounds;
mod fuzz;
mod order;
mod rings;
mod world;
