//! How `xlr` is linked.
//!
//! At fixed addresses: a program that can be moved is fixed up by itself at every start, and in a PV
//! dom0 each page that this touches costs a fault, a copy, and calls to the hypervisor. All told that
//! was a twentieth of what it takes to create a small domain. ARCHITECTURE.md says what it costs.
//! Only a static program of glibc's is linked so: for any other the flags would be the wrong ones.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu");
    if !gnu || !features.split(',').any(|feature| feature == "crt-static") {
        return;
    }
    // Of these the last one counts, and the compiler's own comes first.
    println!("cargo::rustc-link-arg-bin=xlr=-no-pie");
    println!("cargo::rustc-link-arg-bin=xlr=-static");
}
