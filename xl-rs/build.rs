//! How `xlr` is linked.
//!
//! At fixed addresses: a program that can be moved is fixed up by itself at every start, and in a PV
//! dom0 each page that this touches costs a fault, a copy, and calls to the hypervisor. All told that
//! was a twentieth of what it takes to create a small domain.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Of these the last one counts, and the compiler's own comes first.
    println!("cargo::rustc-link-arg-bin=xlr=-no-pie");
    println!("cargo::rustc-link-arg-bin=xlr=-static");
}
