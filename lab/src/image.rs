//! The files a machine boots from: Xen, dom0's kernel, dom0's initramfs.
//!
//! The base of the initramfs (busybox, modules, C tools) is made once and kept; what changes
//! between runs (xlr, the lab itself, configurations, guests) is appended as a second archive.
//! Nothing is compressed: the emulator would pay for it at every boot.

use crate::artefact::{Artefacts, stamp};
use crate::command;
use crate::cpio::Cpio;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::qemu::OWN_PROGRAM;
use crate::{guest, modules, tools, unpacked, vmlinux};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bump when the recipe of the base changes.
const RECIPE: u32 = 10;

/// The files of one machine.
pub struct Image {
    /// Xen, an ELF file.
    pub xen: PathBuf,
    /// dom0's kernel, an ELF file.
    pub kernel: PathBuf,
    /// The part of the initramfs that does not change.
    pub base: PathBuf,
}

/// Makes or finds the files for Xen `version`.
pub fn prepare(paths: &Paths, artefacts: &mut Artefacts, version: &str) -> Result<Image> {
    let xen_root = artefacts.root(&format!("xen-{version}"))?;
    let kernel_root = artefacts.root("kernel")?;
    let busybox_root = artefacts.root("busybox")?;
    let bash_root = artefacts.root("bash")?;
    let scripts_root = artefacts.root("scripts")?;
    let images = paths.dir("image")?;

    let xen = images.join(format!("xen-{version}"));
    fresh(&xen, &stamp(&xen_root), |to| {
        gunzip(&xen_root.join(format!("boot/xen-{version}-amd64.gz")), to)
    })?;
    let kernel = images.join("vmlinux");
    fresh(&kernel, &stamp(&kernel_root), |to| {
        vmlinux::extract(&unpacked::stock_kernel(&kernel_root)?, to)
    })?;
    let base = images.join(format!("base-{version}-{RECIPE}.cpio"));
    let newest = newest_of(&[&xen_root, &kernel_root, &busybox_root, &bash_root, &scripts_root])?;
    fresh(&base, &newest, |to| {
        let mut cpio = Cpio::new();
        skeleton(&mut cpio);
        busybox(&mut cpio, &busybox_root)?;
        bash(&mut cpio, &bash_root)?;
        modules::add(&mut cpio, &kernel_root)?;
        tools::add(&mut cpio, &xen_root, &scripts_root, version)?;
        std::fs::write(to, cpio.finish()).on("write", to)
    })?;
    Ok(Image { xen, kernel, base })
}

/// The archive of what changes from run to run.
pub fn changing(paths: &Paths, artefacts: &mut Artefacts, xlr: Option<&Path>) -> Result<Vec<u8>> {
    let mut cpio = Cpio::new();
    cpio.file("bin/lab", 0o755, &std::fs::read(OWN_PROGRAM).on("read", OWN_PROGRAM)?);
    if let Some(xlr) = xlr {
        cpio.file("bin/xlr", 0o755, &std::fs::read(xlr).on("read", xlr)?);
    }
    tools::tree(&mut cpio, &paths.workspace.join("configs"), "configs")?;
    guest::add(&mut cpio, paths, artefacts)?;
    let extra = paths.lab.join("extra");
    if extra.is_dir() {
        tools::tree(&mut cpio, &extra, "extra")?;
    }
    Ok(cpio.finish())
}

/// Runs `make` when `file` is not there or older than `source`; the file appears whole or not.
fn fresh(file: &Path, source: &Path, make: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
    let made = time(file).ok();
    if made.is_some() && made >= time(source).ok() {
        return Ok(());
    }
    let mut part = file.as_os_str().to_owned();
    part.push(".new");
    let part = PathBuf::from(part);
    make(&part)?;
    std::fs::rename(&part, file).on("rename", file)
}

fn newest_of(roots: &[&Path]) -> Result<PathBuf> {
    let stamps = roots.iter().map(|root| stamp(root));
    stamps
        .max_by_key(|stamp| std::fs::metadata(stamp).and_then(|meta| meta.modified()).ok())
        .ok_or_else(|| Error::Missing("no artefacts".into()))
}

fn gunzip(from: &Path, to: &Path) -> Result<()> {
    let file = std::fs::File::open(from).on("open", from)?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).on("decompress", from)?;
    std::fs::write(to, bytes).on("write", to)
}

/// Somebody who may nothing stands beside root, as in every distribution.
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";

/// See [`PASSWD`]; Debian calls the group `nogroup`, others `nobody`.
const GROUP: &[u8] = b"root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n";

fn skeleton(cpio: &mut Cpio) {
    for dir in ["proc", "sys", "dev", "run", "tmp", "root", "var/log/xen/console", "mnt"] {
        cpio.dir(dir);
    }
    cpio.link("var/run", "/run");
    cpio.link("var/lock", "/run/lock");
    cpio.link("init", "bin/lab");
    cpio.device("dev/console", 0o600, 5, 1);
    cpio.device("dev/null", 0o666, 1, 3);
    cpio.file("etc/passwd", 0o644, PASSWD);
    cpio.file("etc/group", 0o644, GROUP);
    cpio.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n");
}

/// xl's own scripts are written for bash, and find its tools by these names.
fn bash(cpio: &mut Cpio, root: &Path) -> Result<()> {
    let path = unpacked::bash(root)?;
    cpio.file("bin/bash", 0o755, &std::fs::read(&path).on("read", &path)?);
    Ok(())
}

fn busybox(cpio: &mut Cpio, root: &Path) -> Result<()> {
    let path = unpacked::busybox(root)?;
    let list = command::output(Command::new(&path).arg("--list"))?;
    cpio.file("bin/busybox", 0o755, &std::fs::read(&path).on("read", &path)?);
    for applet in String::from_utf8_lossy(&list).lines() {
        if applet != "busybox" && !tools::FOR_SCRIPTS.iter().any(|(name, _)| *name == applet) {
            cpio.link(&format!("bin/{applet}"), "busybox");
        }
    }
    Ok(())
}
