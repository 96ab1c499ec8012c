//! The kernel modules that dom0 loads, in an order that satisfies their dependencies.

use crate::cpio::Cpio;
use crate::elf;
use crate::error::{Context as _, Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What dom0 needs: Xen's devices, the lab's channel, loop devices for disks.
const WANTED: [&str; 9] = [
    "virtio_pci",
    "virtio_console",
    "xen-privcmd",
    "xenfs",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "loop",
    "xen-blkback",
];

/// Adds the modules of the kernel unpacked at `root`, and `lib/modules/order`.
pub fn add(cpio: &mut Cpio, root: &Path) -> Result<()> {
    let mut available = BTreeMap::new();
    find(&root.join("lib/modules"), &mut available)?;
    let mut order = Vec::new();
    for name in WANTED {
        visit(name, &available, &mut order)?;
    }
    let mut list = String::new();
    for path in &order {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        cpio.file(&format!("lib/modules/{name}"), 0o644, &std::fs::read(path).on("read", path)?);
        list.push_str(&name);
        list.push('\n');
    }
    cpio.file("lib/modules/order", 0o644, list.as_bytes());
    Ok(())
}

/// Module names treat `-` and `_` alike.
fn key(name: &str) -> String {
    name.replace('-', "_")
}

fn find(dir: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).on("list", dir)?.flatten() {
        let path = entry.path();
        if entry.file_type().on("examine", &path)?.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "ko") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(key(&stem), path);
        }
    }
    Ok(())
}

fn visit(
    name: &str,
    available: &BTreeMap<String, PathBuf>,
    order: &mut Vec<PathBuf>,
) -> Result<()> {
    let path = available
        .get(&key(name))
        .ok_or_else(|| Error::Missing(format!("dom0's kernel has no module {name}")))?;
    if order.contains(path) {
        return Ok(());
    }
    for dependency in elf::module_depends(path)? {
        visit(&dependency, available, order)?;
    }
    order.push(path.clone());
    Ok(())
}
