//! Writes the inventory that the header proof compares; does nothing without `header-check`.

#[cfg(feature = "header-check")]
#[path = "build/inventory.rs"]
mod inventory;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src");
    #[cfg(feature = "header-check")]
    inventory::write();
}
