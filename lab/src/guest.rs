//! The guests that dom0 finds under `/guest`: kernels, the small initramfs (with drivers for the
//! stock kernel, too), microkernels.

use crate::artefact::Artefacts;
use crate::cpio::Cpio;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::{modules, tools, unpacked};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The kernel that `cargo lab kernel` makes, when it was made.
pub fn small_kernel(paths: &Paths) -> Option<PathBuf> {
    Some(paths.lab.join("kernel/bzImage")).filter(|path| path.exists())
}

/// Adds everything under `guest/`.
pub fn add(cpio: &mut Cpio, paths: &Paths, artefacts: &mut Artefacts) -> Result<()> {
    let kernel = artefacts.root("kernel")?;
    let stock = unpacked::stock_kernel(&kernel)?;
    cpio.file("guest/stock", 0o644, &std::fs::read(&stock).on("read", &stock)?);
    match small_kernel(paths) {
        Some(small) => {
            cpio.file("guest/small", 0o644, &std::fs::read(&small).on("read", &small)?);
            cpio.link("guest/vmlinuz", "small");
        }
        None => cpio.link("guest/vmlinuz", "stock"),
    }
    let mut initramfs = initramfs(paths, &unpacked::busybox(&artefacts.root("busybox")?)?)?;
    cpio.file("guest/initramfs.gz", 0o644, &initramfs);
    // Linux unpacks one archive after the other.
    let mut drivers = Cpio::new();
    modules::add_for_guests(&mut drivers, &kernel)?;
    initramfs.extend(compressed(drivers)?);
    cpio.file("guest/initramfs-drivers.gz", 0o644, &initramfs);
    cpio.link("guest/initramfs", "initramfs.gz");
    let xtf = paths.workspace.join("tests/xtf/target/guests");
    if xtf.is_dir() {
        tools::tree(cpio, &xtf, "guest/xtf")?;
    }
    Ok(())
}

/// The guests' own initramfs: what `configs/guest/manifest` lists, about 1 MB.
pub fn initramfs(paths: &Paths, busybox: &Path) -> Result<Vec<u8>> {
    let recipe = paths.workspace.join("configs/guest");
    let manifest = recipe.join("manifest");
    let text = std::fs::read_to_string(&manifest).on("read", &manifest)?;
    let mut cpio = Cpio::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() && entry(&mut cpio, &words, &recipe, busybox)?.is_none() {
            return Err(Error::Form { path: manifest, why: format!("cannot read «{line}»") });
        }
    }
    compressed(cpio)
}

/// An archive as Linux takes it after another one.
pub fn compressed(cpio: Cpio) -> Result<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&cpio.finish()).on("compress", "the guest's initramfs")?;
    gzip.finish().on("compress", "the guest's initramfs")
}

/// Adds one line of the manifest; `None` when it cannot be understood.
fn entry(cpio: &mut Cpio, words: &[&str], dir: &Path, busybox: &Path) -> Result<Option<()>> {
    let octal = |text: &str| u32::from_str_radix(text, 8).ok();
    let path = words.get(1).map_or("", |path| path.trim_start_matches('/'));
    match *words {
        ["dir", _, mode, _, _] => {
            let Some(mode) = octal(mode) else { return Ok(None) };
            cpio.dir_mode(path, mode);
        }
        ["nod", _, mode, _, _, "c", major, minor] => {
            let (Some(mode), Ok(major), Ok(minor)) = (octal(mode), major.parse(), minor.parse())
            else {
                return Ok(None);
            };
            cpio.device(path, mode, major, minor);
        }
        ["slink", _, target, ..] => cpio.link(path, target),
        ["file", _, source, mode, _, _] => {
            let Some(mode) = octal(mode) else { return Ok(None) };
            let from = if source == "${BUSYBOX}" { busybox.into() } else { dir.join(source) };
            cpio.file(path, mode, &std::fs::read(&from).on("read", &from)?);
        }
        _ => return Ok(None),
    }
    Ok(Some(()))
}
