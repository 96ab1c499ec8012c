//! Links the guests as free-standing kernels at the addresses of `link.ld`.
//!
//! The flags stand here and not in `.cargo/config.toml`: cargo reads that file by the folder it
//! is called from, and these kernels are built from the root of the repository too.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    let script = format!("{folder}/../link.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rerun-if-changed=build.rs");
    for flag in [
        "-nostartfiles",
        "-nostdlib",
        // The last of -static-pie (the root configuration's crt-static) and -no-pie counts.
        "-no-pie",
        "-static",
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
        "-Wl,-z,norelro",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,--no-dynamic-linker",
    ] {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{script}");
}
