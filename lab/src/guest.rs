//! The guests that dom0 finds under `/guest`: kernels, the small initramfs, microkernels.

use crate::artefact::Artefacts;
use crate::command;
use crate::cpio::Cpio;
use crate::error::{Context as _, Result};
use crate::paths::Paths;
use crate::{image, tools};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The kernel that `cargo lab kernel` makes, when it was made.
pub fn small_kernel(paths: &Paths) -> Option<PathBuf> {
    Some(paths.lab.join("kernel/vmlinuz")).filter(|path| path.exists())
}

/// Adds everything under `guest/`.
pub fn add(cpio: &mut Cpio, paths: &Paths, artefacts: &mut Artefacts) -> Result<()> {
    let stock = image::stock_kernel(&artefacts.root("kernel")?)?;
    cpio.file("guest/stock", 0o644, &std::fs::read(&stock).on("read", &stock)?);
    match small_kernel(paths) {
        Some(small) => {
            cpio.file("guest/small", 0o644, &std::fs::read(&small).on("read", &small)?);
            cpio.link("guest/vmlinuz", "small");
        }
        None => cpio.link("guest/vmlinuz", "stock"),
    }
    let initramfs = initramfs(paths, &artefacts.root("busybox")?)?;
    cpio.file("guest/initramfs.gz", 0o644, &initramfs);
    cpio.link("guest/initramfs", "initramfs.gz");
    let xtf = paths.workspace.join("tests/xtf/target/guests");
    if xtf.is_dir() {
        tools::tree(cpio, &xtf, "guest/xtf")?;
    }
    Ok(())
}

/// The guests' own initramfs: busybox and what `configs/guest` holds, about 1 MB.
fn initramfs(paths: &Paths, busybox_root: &Path) -> Result<Vec<u8>> {
    let mut cpio = Cpio::new();
    for dir in ["proc", "sys", "dev", "run", "tmp", "bin", "root"] {
        cpio.dir(dir);
    }
    cpio.device("dev/console", 5, 1);
    let busybox = ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|name| busybox_root.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| busybox_root.join("bin/busybox"));
    cpio.file("bin/busybox", 0o755, &std::fs::read(&busybox).on("read", &busybox)?);
    let list = command::output(std::process::Command::new(&busybox).arg("--list"))?;
    for applet in String::from_utf8_lossy(&list).lines().filter(|name| *name != "busybox") {
        cpio.link(&format!("bin/{applet}"), "busybox");
    }
    let recipe = paths.workspace.join("configs/guest");
    if recipe.is_dir() {
        overlay(&mut cpio, &recipe)?;
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&cpio.finish()).on("compress", "the guest's initramfs")?;
    gzip.finish().on("compress", "the guest's initramfs")
}

/// Adds the files of a directory at the root of the archive; `init` becomes executable.
fn overlay(cpio: &mut Cpio, dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).on("list", dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            tools::tree(cpio, &path, &name)?;
        } else if name == "init" || name.ends_with(".sh") {
            cpio.file(&name, 0o755, &std::fs::read(&path).on("read", &path)?);
        } else {
            cpio.file(&name, 0o644, &std::fs::read(&path).on("read", &path)?);
        }
    }
    Ok(())
}
