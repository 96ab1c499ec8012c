//! xl-rs
#![forbid(unsafe_code)]

fn main() {}
