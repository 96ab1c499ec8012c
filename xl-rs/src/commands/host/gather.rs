//! Looks at the host: files of the kernel's, the hypervisor, the store. Changes nothing.

use crate::host::facts::{
    DeviceFile, Directory, Driver, HostFacts, Process, Seen, StoreFacts, XenFacts,
};
use crate::state::lock::Subject;
use crate::state::{LIB, RUN, State, StateError};
use libxc_safe::{Domid, Xen};
use rustix::fs::{Access, statfs, statvfs};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use xenstore::client::{Client, Nodes};

/// Device files below `/dev/xen`, and who makes them. xenbus is the way to xenstore that is left
/// without its socket.
const DEVICES: [(&str, &str); 5] = [
    ("privcmd", "xen-privcmd"),
    ("evtchn", "xen-evtchn"),
    ("gntdev", "xen-gntdev"),
    ("gntalloc", "xen-gntalloc"),
    ("xenbus", "xenfs"),
];

/// Drivers, and what is there once they are, whether loaded or built in.
const DRIVERS: [(&str, &str); 5] = [
    ("xen-blkback", "/sys/bus/xen-backend/drivers/vbd"),
    ("xen-netback", "/sys/bus/xen-backend/drivers/vif"),
    ("xen-pciback", "/sys/bus/pci/drivers/pciback"),
    ("loop", "/sys/module/loop"),
    ("bridge", "/sys/module/bridge"),
];

/// Tables in which firmware describes an IOMMU. Xen renames the one that it does not want dom0 to
/// see.
const IOMMU_TABLES: [&str; 3] = ["DMAR", "XMAR", "IVRS"];

/// What a filesystem in memory is called.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// How long xenstored may take: one that hangs is what is to be found.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Looks at everything.
pub(super) fn facts() -> HostFacts {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let hypervisor = fs::read_to_string("/sys/hypervisor/type").ok();
    HostFacts {
        root: rustix::process::geteuid().is_root(),
        hypervisor: hypervisor.map(|name| name.trim().to_owned()),
        xen: Xen::open().and_then(|xen| xen_facts(&xen)),
        devices: DEVICES.map(|(name, module)| device(name, module)).to_vec(),
        drivers: drivers(&kernel),
        store: store().map_err(|error| error.to_string()),
        processes: processes().map_err(|error| error.to_string()),
        channels_served: channels_served().map_err(|error| super::super::error::chain(&error)),
        bridges: bridges().map_err(|error| error.to_string()),
        iommu_in_firmware: iommu_tables().map_err(|error| error.to_string()),
        assignable: assignable(),
        directories: directories(),
        kernel,
    }
}

fn xen_facts(xen: &Xen) -> Result<XenFacts, libxc_safe::Error> {
    let (version, machine) = (xen.version()?, xen.physinfo()?);
    let dom0 = xen.existing_domain_info(Domid::DOM0)?;
    let kib = |pages: u64| pages.saturating_mul(4);
    Ok(XenFacts {
        version: version.to_string(),
        command_line: version.command_line,
        domctl: xen.domctl_revision().raw(),
        sysctl: xen.sysctl_revision().raw(),
        capabilities: machine.capabilities,
        total_kib: kib(machine.total_pages),
        free_kib: kib(machine.free_pages.saturating_sub(machine.outstanding_pages)),
        dom0_kib: kib(dom0.tot_pages),
        hypercall_pages: xen.has_hypercall_device(),
        grants: xen.grant_table_size(Domid::DOM0)?,
    })
}

fn device(name: &'static str, module: &'static str) -> DeviceFile {
    let path = format!("/dev/xen/{name}");
    let driver = Path::new(&format!("/sys/class/misc/xen!{name}")).exists();
    let mode = fs::metadata(&path).ok().map(|metadata| metadata.mode());
    let usable = rustix::fs::access(&path, Access::READ_OK | Access::WRITE_OK).is_ok();
    DeviceFile { name, module, driver, mode, usable }
}

fn drivers(kernel: &str) -> Vec<Driver> {
    let list = |name: &str| fs::read_to_string(format!("/lib/modules/{kernel}/{name}")).ok();
    let (loadable, built_in) = (list("modules.dep"), list("modules.builtin"));
    let has = |list: &Option<String>, module: &str| {
        list.as_ref().map(|list| list.lines().any(|line| is_module(line, module)))
    };
    DRIVERS
        .map(|(module, sign)| Driver {
            module,
            present: Path::new(sign).exists() || has(&built_in, module) == Some(true),
            listed: has(&loadable, module),
        })
        .to_vec()
}

/// Whether a line of the kernel's lists of modules is about this one.
fn is_module(line: &str, module: &str) -> bool {
    let path = line.split(':').next().unwrap_or(line);
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('_', "-") == module
}

fn store() -> Result<StoreFacts, xenstore::client::Error> {
    let mut store = Client::connect()?;
    store.set_request_timeout(Some(STORE_PATIENCE));
    let domid = store.read_text_optional("/local/domain/0/domid")?;
    Ok(StoreFacts { dom0_prepared: domid.as_deref() == Some("0") })
}

/// The processes that may be daemons of Xen's.
fn processes() -> std::io::Result<Vec<Process>> {
    // Where other users' processes are hidden, so is this one.
    fs::read_to_string("/proc/1/comm")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let text = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let name = text("comm").trim().to_owned();
        if matches!(&name[..], "xenstored" | "oxenstored" | "xenconsoled") {
            let command_line = text("cmdline").replace('\0', " ").trim().to_owned();
            found.push(Process { pid, name, command_line });
        }
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

fn channels_served() -> Result<bool, StateError> {
    match State::existing()? {
        Some(state) => state.is_locked(Subject::Consoles),
        None => Ok(false),
    }
}

fn bridges() -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        if entry.path().join("bridge").is_dir() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn iommu_tables() -> std::io::Result<bool> {
    let tables = fs::read_dir("/sys/firmware/acpi/tables")?.flatten();
    let names: Vec<_> = tables.map(|table| table.file_name()).collect();
    Ok(names.iter().any(|name| IOMMU_TABLES.iter().any(|table| name == table)))
}

fn assignable() -> usize {
    let Ok(entries) = fs::read_dir("/sys/bus/pci/drivers/pciback") else { return 0 };
    // Functions of devices are links there, by their addresses.
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().contains(':')).count()
}

fn directories() -> Vec<Directory> {
    let usable: Seen<()> = match State::existing() {
        Ok(_) => Ok(()),
        Err(error) => Err(super::super::error::chain(&error)),
    };
    [RUN, LIB].map(|path| directory(path, &usable)).to_vec()
}

fn directory(path: &'static str, usable: &Seen<()>) -> Directory {
    // xlr makes the last part itself.
    let path_now = Path::new(path);
    let there = path_now.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    let writable = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK);
    let problem = match (usable, writable) {
        (Err(why), _) if why.contains(path) => Some(why.clone()),
        (_, Err(errno)) => Some(format!("{path} cannot be written: {errno}")),
        _ => None,
    };
    let free_kib = statvfs(there)
        .ok()
        .filter(|filesystem| filesystem.f_blocks > 0)
        .map(|filesystem| filesystem.f_bavail.saturating_mul(filesystem.f_frsize) / 1024);
    let in_memory = statfs(there).is_ok_and(|filesystem| {
        u64::try_from(filesystem.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind))
    });
    Directory { path, problem, free_kib, in_memory }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_lists_of_modules() {
        for (line, module, is) in [
            ("kernel/drivers/block/xen-blkback/xen-blkback.ko:", "xen-blkback", true),
            ("kernel/drivers/block/xen-blkback/xen_blkback.ko.xz: a.ko", "xen-blkback", true),
            ("kernel/drivers/block/loop.ko", "loop", true),
            ("kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko", "bridge", false),
            ("kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko", "bridge", true),
            ("", "loop", false),
        ] {
            assert_eq!(is_module(line, module), is, "{line}");
        }
    }

    /// On any machine, as any user: nothing fails, and what cannot be seen is said to be so.
    #[test]
    fn every_host_can_be_looked_at() {
        let facts = facts();
        assert!(!facts.kernel.is_empty());
        assert_eq!(facts.devices.len(), DEVICES.len());
        assert_eq!(facts.directories.len(), 2);
    }
}
