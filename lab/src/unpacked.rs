//! Where files lie inside unpacked sets of packages, whose releases differ.
//!
//! In: the root of an unpacked set. Out: the path, or what is missing.

use crate::error::{Context as _, Error, Result};
use std::path::{Path, PathBuf};

/// The compressed stock kernel of the kernel set.
pub fn stock_kernel(root: &Path) -> Result<PathBuf> {
    let boot = root.join("boot");
    let entries = std::fs::read_dir(&boot).on("list", &boot)?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")))
        .ok_or_else(|| Error::Missing(format!("no vmlinuz in {}", boot.display())))
}

/// The static busybox of the busybox set.
pub fn busybox(root: &Path) -> Result<PathBuf> {
    ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|name| root.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing("no busybox in busybox-static".into()))
}

/// The static bash of the bash set.
pub fn bash(root: &Path) -> Result<PathBuf> {
    ["bin/bash-static", "usr/bin/bash-static"]
        .iter()
        .map(|name| root.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing("no bash in bash-static".into()))
}
