//! Where the lab keeps things: all below `target/lab` of the workspace.

use crate::error::{Context as _, Error, Result};
use std::path::{Path, PathBuf};

/// The directories of the lab.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The workspace.
    pub workspace: PathBuf,
    /// `target/lab`.
    pub lab: PathBuf,
}

impl Paths {
    /// Finds the workspace from cargo's environment or from the current directory upward.
    pub fn find() -> Result<Paths> {
        let here = std::env::current_dir().on("find", ".")?;
        let start = std::env::var_os("CARGO_MANIFEST_DIR").map_or(here, PathBuf::from);
        let workspace = start
            .ancestors()
            .find(|dir| dir.join("lab/artefacts.toml").is_file())
            .ok_or_else(|| Error::Missing("run the lab inside a checkout of the project".into()))?
            .to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir));
        let lab = target.join("lab");
        std::fs::create_dir_all(&lab).on("create", &lab)?;
        Ok(Paths { workspace, lab })
    }

    /// A directory below `target/lab`, made when it is not there.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.lab.join(name);
        std::fs::create_dir_all(&dir).on("create", &dir)?;
        Ok(dir)
    }

    /// Cargo's output directory of a profile for the one target that is built.
    pub fn cargo_output(&self, profile: &str) -> PathBuf {
        let target = self.lab.parent().unwrap_or(Path::new("target"));
        target.join("x86_64-unknown-linux-gnu").join(profile)
    }
}
