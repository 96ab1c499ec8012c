//! The C tools of one Xen release, as they go into dom0's initramfs: the programs the cases use,
//! and exactly the libraries those need.

use crate::cpio::Cpio;
use crate::elf;
use crate::error::{Context as _, Error, Result};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Programs from `/usr/lib/xen-V/bin`; those a release does not have are left out.
const PROGRAMS: [&str; 17] = [
    "xl",
    "xenstored",
    "oxenstored",
    "xenconsoled",
    "xenconsole",
    "xen-init-dom0",
    "xenstore-control",
    "libxl-save-helper",
    "test-xenstore",
    "xenctx",
    "xentop",
    "xenperf",
    "xen-diag",
    "xen-cpuid",
    "lsevtchn",
    "readnotes",
    "xenlockprof",
];

/// The other names of the one `xenstore` program.
const XENSTORE: [&str; 8] = ["chmod", "exists", "list", "ls", "read", "rm", "watch", "write"];

/// Opened by name at run time: no program lists it.
const LIBGCC: &str = "libgcc_s.so.1";

const LIBRARY_DIR: &str = "usr/lib/x86_64-linux-gnu";

/// What xl's hotplug scripts and the cases need and busybox has not, or has less of: name, and where
/// Debian has it.
pub const FOR_SCRIPTS: [(&str, &str); 3] =
    [("flock", "usr/bin/flock"), ("losetup", "sbin/losetup"), ("mke2fs", "sbin/mke2fs")];

/// Adds the tools of Xen `version`, unpacked at `root`, and those from `scripts` for its scripts.
pub fn add(cpio: &mut Cpio, root: &Path, scripts: &Path, version: &str) -> Result<()> {
    let bin = format!("usr/lib/xen-{version}/bin");
    let mut programs = Vec::new();
    for name in PROGRAMS {
        let path = root.join(&bin).join(name);
        if path.exists() {
            programs.push((format!("{bin}/{name}"), path));
        }
    }
    for name in ["xl", "xenstored", "xenconsoled"] {
        if !cpio_has(&programs, name) {
            return Err(Error::Missing(format!("xen-utils-{version} has no {name}")));
        }
    }
    let xenstore = root.join("usr/bin/xenstore");
    programs.push(("usr/bin/xenstore".into(), xenstore));
    for name in XENSTORE {
        cpio.link(&format!("usr/bin/xenstore-{name}"), "xenstore");
    }
    cpio.link("xen/bin", &format!("/{bin}"));
    programs.extend(FOR_SCRIPTS.map(|(name, from)| (format!("bin/{name}"), scripts.join(from))));
    let directories = [
        root.join(LIBRARY_DIR),
        root.join("lib/x86_64-linux-gnu"),
        root.join("lib64"),
        scripts.join(LIBRARY_DIR),
        scripts.join("lib/x86_64-linux-gnu"),
    ];
    let paths: Vec<PathBuf> = programs.iter().map(|(_, path)| path.clone()).collect();
    let mut libraries = elf::closure(&paths, &directories)?;
    let libgcc = directories.iter().map(|dir| dir.join(LIBGCC)).find(|path| path.exists());
    libraries.insert(libgcc.ok_or_else(|| Error::Missing(format!("no {LIBGCC}")))?);
    for (name, path) in &programs {
        cpio.file(name, 0o755, &std::fs::read(path).on("read", path)?);
    }
    for path in &libraries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(path).on("read", path)?;
        let dir = if name.starts_with("ld-linux") { "lib64" } else { LIBRARY_DIR };
        cpio.file(&format!("{dir}/{name}"), 0o755, &bytes);
    }
    if !cpio.has("lib64/ld-linux-x86-64.so.2") {
        let loader = ["lib64", "usr/lib64", "lib/x86_64-linux-gnu", LIBRARY_DIR]
            .iter()
            .map(|dir| root.join(dir).join("ld-linux-x86-64.so.2"))
            .find(|path| path.exists())
            .ok_or_else(|| Error::Missing("no ld-linux-x86-64.so.2".into()))?;
        cpio.file(
            "lib64/ld-linux-x86-64.so.2",
            0o755,
            &std::fs::read(&loader).on("read", &loader)?,
        );
    }
    tree(cpio, &root.join("etc/xen"), "etc/xen")
}

fn cpio_has(programs: &[(String, PathBuf)], name: &str) -> bool {
    programs.iter().any(|(path, _)| path.ends_with(&format!("/{name}")))
}

/// Adds a directory with all it holds.
pub fn tree(cpio: &mut Cpio, from: &Path, to: &str) -> Result<()> {
    cpio.dir(to);
    let entries = std::fs::read_dir(from).on("list", from)?;
    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        let name = format!("{to}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let kind = std::fs::symlink_metadata(&path).on("examine", &path)?;
        if kind.is_dir() {
            tree(cpio, &path, &name)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).on("read", &path)?;
            cpio.link(&name, &target.to_string_lossy());
        } else {
            let mode = kind.permissions().mode() & 0o777;
            cpio.file(&name, mode, &std::fs::read(&path).on("read", &path)?);
        }
    }
    Ok(())
}
