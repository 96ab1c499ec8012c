//! Builds the programs that go into dom0.

use crate::command;
use crate::error::{Context as _, Result};
use crate::paths::Paths;
use crate::report;
use std::path::PathBuf;
use std::process::Command;

/// Builds `xlr` with a cargo profile and returns its path.
pub fn xlr(paths: &Paths, profile: &str) -> Result<PathBuf> {
    report::step(&format!("building xlr ({profile})"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", profile, "--package", "xl-rs"]);
    command::run(command.current_dir(&paths.workspace))?;
    Ok(paths.cargo_output(profile).join("xlr"))
}

/// Builds `xlr-ibd`, which loads rdma-core's shared libraries and so cannot be static, and returns its path.
///
/// Flags from the environment take the place of those in `.cargo/config.toml`. What is built with either
/// lies side by side in the target directory, and procedural macros are built once for both.
pub fn xlr_ibd(paths: &Paths) -> Result<PathBuf> {
    report::step("building xlr-ibd");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", "small", "--package", "ib-backend", "--bin", "xlr-ibd"]);
    command.env("RUSTFLAGS", "-C target-feature=-crt-static");
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::run(command.current_dir(&paths.workspace))?;
    // Under a name of its own: a build of the workspace puts a static one in its place.
    let (built, kept) = (paths.cargo_output("small").join("xlr-ibd"), paths.lab.join("xlr-ibd"));
    std::fs::copy(&built, &kept).on("copy", &built)?;
    Ok(kept)
}
