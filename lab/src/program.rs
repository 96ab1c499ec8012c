//! Builds the programs that go into dom0.

use crate::command;
use crate::error::Result;
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
