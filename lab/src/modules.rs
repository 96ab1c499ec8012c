//! The kernel modules of dom0: those that it loads at boot, in an order that satisfies their
//! dependencies, and those that a case loads when it needs them, as `modprobe NAME` finds them.

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

/// What `modprobe` finds: they wait for a case, for a boot without them is faster and says what
/// happens on a host that lacks them.
const ON_DEMAND: [&str; 9] = [
    "xen-netback",
    "bridge",
    "8021q",
    "xen-pciback",
    "e1000e",
    "igb",
    "igbvf",
    "crc32c_generic",
    "ext4",
];

/// Adds the modules of the kernel unpacked at `root`, `lib/modules/order`, and modprobe's table.
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
    on_demand(cpio, &ON_DEMAND, &available)
}

/// What an InfiniBand device in software is made of, and the interface below it.
const RDMA: [&str; 4] = ["crc32_generic", "ib_uverbs", "rdma_rxe", "dummy"];

/// Adds the modules of an InfiniBand device in software to those that `modprobe` finds.
pub fn add_rdma(cpio: &mut Cpio, root: &Path) -> Result<()> {
    let mut available = BTreeMap::new();
    find(&root.join("lib/modules"), &mut available)?;
    // modprobe has one table, and the later one counts.
    on_demand(cpio, &[&ON_DEMAND[..], &RDMA[..]].concat(), &available)
}

/// What a guest of the same kernel needs to drive the machine's network cards.
const OF_GUESTS: [&str; 3] = ["xen-pcifront", "e1000e", "igbvf"];

/// Adds the modules for guests of the kernel unpacked at `root`, with modprobe's table.
pub fn add_for_guests(cpio: &mut Cpio, root: &Path) -> Result<()> {
    let mut available = BTreeMap::new();
    find(&root.join("lib/modules"), &mut available)?;
    on_demand(cpio, &OF_GUESTS, &available)
}

/// Adds what waits to be asked for, with its dependencies, under the kernel's own directory.
fn on_demand(cpio: &mut Cpio, names: &[&str], available: &BTreeMap<String, PathBuf>) -> Result<()> {
    let mut all = Vec::new();
    for name in names {
        visit(name, available, &mut all)?;
    }
    let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut table = String::new();
    let mut directory = String::new();
    for path in &all {
        // lib/modules/RELEASE/kernel/…, whose first part after the root is the kernel's name.
        let release = path.iter().skip_while(|part| *part != "modules").nth(1);
        let release = release.unwrap_or_default().to_string_lossy();
        directory = format!("lib/modules/{release}");
        let name = file(path);
        let mut needs = Vec::new();
        for dependency in elf::module_depends(path)? {
            visit(&dependency, available, &mut needs)?;
        }
        // The nearest first, as depmod writes them.
        let needs: Vec<String> = needs.iter().rev().map(|path| file(path)).collect();
        table.push_str(&format!("{name}: {}\n", needs.join(" ")));
        let bytes = std::fs::read(path).on("read", path)?;
        cpio.file(&format!("{directory}/{name}"), 0o644, &bytes);
    }
    cpio.file(&format!("{directory}/modules.dep"), 0o644, table.as_bytes());
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
