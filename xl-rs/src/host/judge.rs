//! From facts to findings: what works, what is missing, how to mend it.

use super::facts::{DeviceFile, Directory, Driver, HostFacts, XenFacts};
use clap::ValueEnum;
use libxc_safe::Error;
use xen_sys::revision::{DomctlRevision, SysctlRevision};

/// The bridge that a vif joins whose configuration names none; xl has the same.
pub const DEFAULT_BRIDGE: &str = "xenbr0";
/// Xen's own limits; less was chosen by somebody.
const MAPTRACK_FRAMES: u32 = 1024;
const GRANT_FRAMES: u32 = 64;
/// Pages that one frame of maptrack has room for.
const MAPTRACK_PER_FRAME: u64 = 256;
/// With less no guest is of use.
const GUEST_KIB: u64 = 32 << 10;
/// Room for the state of some hundred domains.
const STATE_KIB: u64 = 16 << 10;

/// What a host can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Feature {
    /// The hypervisor, and the kernel's ways to it
    Hypercalls,
    /// The store that toolstack, guests and backends meet in
    Xenstore,
    /// Somebody who serves guests' consoles
    Consoles,
    /// Somebody who serves consoles beyond the first
    Channels,
    /// Memory for guests
    Memory,
    /// Limits on the memory that domains share
    Grants,
    /// Where xlr keeps its state
    State,
    /// Disks for guests
    Disks,
    /// Network interfaces for guests
    Networks,
    /// PCI devices for guests
    Pci,
}

impl Feature {
    /// Its name, as the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hypercalls => "hypercalls",
            Self::Xenstore => "xenstore",
            Self::Consoles => "consoles",
            Self::Channels => "channels",
            Self::Memory => "memory",
            Self::Grants => "grants",
            Self::State => "state",
            Self::Disks => "disks",
            Self::Networks => "networks",
            Self::Pci => "pci",
        }
    }
}

/// How it is with a feature; what is worse comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It can be used.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// It can be used, within limits.
    Degraded,
    /// It cannot be used.
    Missing,
}

impl Status {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it does to the feature.
    pub status: Status,
    /// What it is.
    pub what: String,
    /// What to type, or to change.
    pub mend: String,
}

/// The judgement on one feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub feature: Feature,
    /// What there is, in a few words.
    pub seen: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Finding {
    /// The worst of its problems.
    #[must_use]
    pub fn status(&self) -> Status {
        self.problems.iter().map(|problem| problem.status).max().unwrap_or(Status::Ok)
    }
}

/// Judges the features that are asked for, all if none is.
#[must_use]
pub fn judge(facts: &HostFacts, wanted: &[Feature]) -> Vec<Finding> {
    let features = Feature::value_variants().iter().copied();
    let wanted = features.filter(|feature| wanted.is_empty() || wanted.contains(feature));
    wanted.map(|feature| finding(facts, feature)).collect()
}

fn finding(facts: &HostFacts, feature: Feature) -> Finding {
    let mut problems = Problems(Vec::new());
    let seen = match feature {
        Feature::Hypercalls => hypercalls(facts, &mut problems),
        Feature::Xenstore => xenstore(facts, &mut problems),
        Feature::Consoles => consoles(facts, &mut problems),
        Feature::Channels => channels(facts, &mut problems),
        Feature::Memory => with_xen(facts, &mut problems, memory),
        Feature::Grants => with_xen(facts, &mut problems, grants),
        Feature::State => state(facts, &mut problems),
        Feature::Disks => disks(facts, &mut problems),
        Feature::Networks => networks(facts, &mut problems),
        Feature::Pci => pci(facts, &mut problems),
    };
    Finding { feature, seen, problems: problems.0 }
}

/// Problems of one feature, in the order in which they were found.
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, status: Status, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Problem { status, what: what.into(), mend: mend.into() });
    }

    fn missing(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Status::Missing, what, mend);
    }

    fn degraded(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Status::Degraded, what, mend);
    }

    fn unknown(&mut self, what: impl Into<String>) {
        self.add(Status::Unknown, what, AS_ROOT);
    }
}

const AS_ROOT: &str = "run this as root in dom0";

/// How an option of Xen's own is set.
fn boot_option(option: &str) -> String {
    format!(
        "boot Xen with {option}: put it into GRUB_CMDLINE_XEN of /etc/default/grub, then update-grub \
         and reboot"
    )
}

/// How a module is loaded, now and at each start.
fn load(module: &str) -> String {
    format!("modprobe {module}; echo {module} >/etc/modules-load.d/{module}.conf")
}

fn hypercalls(facts: &HostFacts, problems: &mut Problems) -> String {
    if facts.hypervisor.as_deref() != Some("xen") {
        let mend = "boot this machine through Xen: apt-get install xen-system-amd64, then reboot and \
                    choose the entry with Xen";
        problems.missing("this kernel does not run on Xen", mend);
        return format!("Linux {}", facts.kernel);
    }
    for device in &facts.devices {
        device_file(device, facts.root, problems);
    }
    let range = |first: Option<u32>, last: Option<u32>| {
        format!("{:#x} to {:#x}", first.unwrap_or(0), last.unwrap_or(0))
    };
    let domctl = DomctlRevision::KNOWN;
    let domctl = range(domctl.first().map(|r| r.raw()), domctl.last().map(|r| r.raw()));
    let sysctl = SysctlRevision::KNOWN;
    let sysctl = range(sysctl.first().map(|r| r.raw()), sysctl.last().map(|r| r.raw()));
    match &facts.xen {
        Ok(xen) => {
            if !xen.hypercall_pages {
                problems.degraded(
                    "/dev/xen/hypercall is not there: pages for hypercalls can move under load",
                    "use a dom0 kernel of version 4.18 or newer",
                );
            }
            format!(
                "Xen {}, Linux {}, domctl {:#x} (known: {domctl}), sysctl {:#x} (known: {sysctl})",
                xen.version, facts.kernel, xen.domctl, xen.sysctl
            )
        }
        Err(error) => {
            match error {
                Error::NotRoot { .. } => problems.unknown("the hypervisor was not asked"),
                // The device file says it already.
                Error::NotDom0 { .. } if !problems.0.is_empty() => {}
                Error::WrongRevision { .. } => {
                    problems.missing(error.to_string(), "install an xlr that is made for this Xen");
                }
                _ => problems.missing(error.to_string(), AS_ROOT),
            }
            format!("Linux {}, this xlr knows domctl {domctl}, sysctl {sysctl}", facts.kernel)
        }
    }
}

fn device_file(device: &DeviceFile, root: bool, problems: &mut Problems) {
    let DeviceFile { name, module, driver, mode, usable } = device;
    match mode {
        None if *driver => problems.missing(
            format!("/dev/xen/{name} is not there, though the kernel has its driver"),
            "mount -t devtmpfs devtmpfs /dev, or: udevadm trigger --subsystem-match=misc",
        ),
        None => problems.missing(format!("/dev/xen/{name} is not there"), load(module)),
        Some(mode) if mode & 0o007 != 0 => problems.degraded(
            format!("/dev/xen/{name} is open to every user (mode {:04o})", mode & 0o7777),
            format!("chmod 0600 /dev/xen/{name}"),
        ),
        Some(mode) if !usable && root => problems.missing(
            format!("/dev/xen/{name} cannot be opened (mode {:04o})", mode & 0o7777),
            format!("chown root:root /dev/xen/{name} && chmod 0600 /dev/xen/{name}"),
        ),
        Some(_) if !usable => problems.unknown(format!("/dev/xen/{name} was not opened")),
        Some(_) => {}
    }
}

/// Judges by what the hypervisor says; where it says nothing, `hypercalls` tells why.
fn with_xen(
    facts: &HostFacts,
    problems: &mut Problems,
    judge: fn(&XenFacts, &mut Problems) -> String,
) -> String {
    match &facts.xen {
        Ok(xen) => judge(xen, problems),
        Err(_) => {
            problems.unknown("the hypervisor was not asked; see hypercalls");
            String::from("not looked at")
        }
    }
}

fn xenstore(facts: &HostFacts, problems: &mut Problems) -> String {
    let daemon = facts.processes.as_ref().map(|processes| {
        processes.iter().find(|process| matches!(&process.name[..], "xenstored" | "oxenstored"))
    });
    let which = match daemon {
        Ok(Some(process)) => {
            let language = if process.name == "oxenstored" { "OCaml" } else { "C" };
            format!("{} ({language}, process {})", process.name, process.pid)
        }
        Ok(None) => String::from("a xenstored that is no process of this host"),
        Err(_) => String::from("a xenstored"),
    };
    match &facts.store {
        Ok(store) if store.dom0_prepared => format!("{which} answers"),
        Ok(_) => {
            problems.degraded(
                "domain 0 has no nodes in xenstore: backends find no home",
                "xen-init-dom0 (in /usr/lib/xen-*/bin), which the script xencommons runs",
            );
            format!("{which} answers")
        }
        Err(why) if !facts.root => {
            problems.unknown(format!("xenstore was not asked: {why}"));
            String::from("not looked at")
        }
        Err(why) if matches!(daemon, Ok(Some(_))) => {
            problems.missing(
                format!("xenstored runs and does not answer: {why}"),
                "xlr bug-report, which tells where it waits; its guests need the host's next start",
            );
            which
        }
        Err(why) => {
            problems.missing(
                format!("no xenstored answers: {why}"),
                "systemctl start xenstored, or /etc/init.d/xen start",
            );
            String::from("none")
        }
    }
}

fn consoles(facts: &HostFacts, problems: &mut Problems) -> String {
    let processes = match &facts.processes {
        Ok(processes) => processes,
        Err(why) => {
            problems.unknown(format!("processes were not looked at: {why}"));
            return String::from("not looked at");
        }
    };
    let Some(daemon) = processes.iter().find(|process| process.name == "xenconsoled") else {
        problems.missing(
            "xenconsoled does not run: nobody reads what guests print, and a guest that prints more \
             than 2 KiB waits for ever",
            "systemctl start xenconsoled, or /etc/init.d/xen start",
        );
        return String::from("none");
    };
    let logs = ["--log=guest", "--log=all"].iter().any(|flag| daemon.command_line.contains(flag));
    let logged = if logs { "logs what guests print" } else { "keeps no log of guests" };
    format!("xenconsoled (process {}), which {logged}", daemon.pid)
}

fn channels(facts: &HostFacts, problems: &mut Problems) -> String {
    match &facts.channels_served {
        Ok(true) => String::from("consoled serves them"),
        Ok(false) => {
            problems.missing(
                "consoled does not run: channels of guests wait for it",
                "start xlr consoled, which stays, as a service or in the background",
            );
            String::from("none")
        }
        Err(why) => {
            problems.unknown(format!("the lock of consoled was not looked at: {why}"));
            String::from("not looked at")
        }
    }
}

fn memory(xen: &XenFacts, problems: &mut Problems) -> String {
    let mib = |kib: u64| kib / 1024;
    let option = option(&xen.command_line, "dom0_mem");
    let dom0 = format!("domain 0 has {} MiB", mib(xen.dom0_kib));
    let fixed = match option {
        None => {
            problems.degraded(
                "domain 0 was given all memory, and xlr takes none from it (xl does so at every \
                 create, which is slow)",
                format!(
                    "{}; until then: xlr mem-set 0 SIZE",
                    boot_option("dom0_mem=2048M,max:2048M")
                ),
            );
            format!("{dom0}, which is not fixed")
        }
        Some(value) if !value.split(',').any(|part| part.starts_with("max:")) => {
            problems.degraded(
                format!(
                    "dom0_mem={value} has no max: Linux keeps a description of every page of the \
                     host in domain 0's memory"
                ),
                boot_option(&format!("dom0_mem={value},max:{value}")),
            );
            format!("{dom0} by dom0_mem={value}")
        }
        Some(value) => format!("{dom0} by dom0_mem={value}"),
    };
    if xen.free_kib < GUEST_KIB {
        let mend = if option.is_none() { "xlr mem-set 0 SIZE" } else { "end a guest: xlr list" };
        problems.missing(format!("{} MiB are free for guests", mib(xen.free_kib)), mend);
    }
    format!("{fixed}; {} of {} MiB are free for guests", mib(xen.free_kib), mib(xen.total_kib))
}

/// The value of an option on Xen's command line; the last one counts, as for Xen.
fn option<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(key, value)| (key == name).then_some(value))
        .next_back()
}

/// A number as Xen reads it.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn grants(xen: &XenFacts, problems: &mut Problems) -> String {
    // Xen has no call for these two limits; what its command line sets holds until its next start.
    let limit = |name, default| option(&xen.command_line, name).and_then(number).unwrap_or(default);
    for (name, default, use_for) in [
        ("gnttab_max_frames", GRANT_FRAMES, "a guest can share with its backends"),
        ("gnttab_max_maptrack_frames", MAPTRACK_FRAMES, "domain 0's backends can map"),
    ] {
        let found = limit(name, default);
        if found < default {
            problems.degraded(
                format!("{name}={found} is less than Xen's own {default}: fewer pages than usual {use_for}"),
                boot_option(&format!("{name}={default}")),
            );
        }
    }
    let table = xen.grants;
    if table.frames.saturating_mul(10) > table.max_frames.saturating_mul(9) {
        problems.degraded(
            format!(
                "domain 0's grant table is nearly full: {} of {} frames",
                table.frames, table.max_frames
            ),
            boot_option(&format!("gnttab_max_frames={}", table.max_frames.saturating_mul(2))),
        );
    }
    let maptrack = limit("gnttab_max_maptrack_frames", MAPTRACK_FRAMES);
    format!(
        "domain 0 uses {} of {} grant frames and can map {} pages of guests; a guest may have {} frames",
        table.frames,
        table.max_frames,
        u64::from(maptrack) * MAPTRACK_PER_FRAME,
        limit("gnttab_max_frames", GRANT_FRAMES),
    )
}

fn state(facts: &HostFacts, problems: &mut Problems) -> String {
    let mut seen = Vec::new();
    for Directory { path, problem, free_kib, in_memory } in &facts.directories {
        match problem {
            Some(why) if facts.root => {
                problems.missing(why.clone(), format!("mount the filesystem of {path} writable"));
            }
            Some(why) => problems.unknown(why.clone()),
            None => {}
        }
        let is_run = *path == crate::state::RUN;
        if is_run && !in_memory {
            problems.degraded(
                format!(
                    "{path} outlives the host's start: locks of the last one may be found there"
                ),
                "mount -t tmpfs tmpfs /run early at each start",
            );
        }
        if let Some(free_kib) = free_kib.filter(|free| *free < STATE_KIB) {
            problems.degraded(
                format!("the filesystem of {path} has {} MiB left", free_kib / 1024),
                format!("make room there: df {path}"),
            );
        }
        let left = free_kib.map_or_else(String::new, |kib| format!(" ({} MiB left)", kib / 1024));
        seen.push(format!("{path}{left}"));
    }
    seen.join(", ")
}

/// A driver that a feature needs: `why` is what goes without it.
fn driver(facts: &HostFacts, module: &str, status: Status, why: &str, problems: &mut Problems) {
    let found = facts.drivers.iter().find(|driver| driver.module == module);
    let Some(Driver { present: false, listed, .. }) = found else { return };
    match listed {
        Some(true) => {
            // udev loads most at their first use; who has none of it waits in vain.
            problems.add(status, format!("{module} is not loaded: {why}"), load(module));
        }
        Some(false) => problems.add(
            status,
            format!("this kernel has no {module}: {why}"),
            format!("install a kernel with {}: linux-image-amd64 has it", symbol(module)),
        ),
        None => problems.add(
            status,
            format!("{module} is not loaded: {why}"),
            format!(
                "{} (there is no list of modules in /lib/modules/{})",
                load(module),
                facts.kernel
            ),
        ),
    }
}

/// The option of Linux that builds a module.
fn symbol(module: &str) -> &'static str {
    match module {
        "xen-blkback" => "CONFIG_XEN_BLKDEV_BACKEND",
        "xen-netback" => "CONFIG_XEN_NETDEV_BACKEND",
        "xen-pciback" => "CONFIG_XEN_PCIDEV_BACKEND",
        "loop" => "CONFIG_BLK_DEV_LOOP",
        "bridge" => "CONFIG_BRIDGE",
        _ => "it",
    }
}

fn disks(facts: &HostFacts, problems: &mut Problems) -> String {
    driver(facts, "xen-blkback", Status::Missing, "no guest can have a disk", problems);
    let files = "files cannot be disks, block devices can";
    driver(facts, "loop", Status::Degraded, files, problems);
    String::from("xen-blkback for block devices, loop for files")
}

fn networks(facts: &HostFacts, problems: &mut Problems) -> String {
    driver(facts, "xen-netback", Status::Missing, "no guest can have a network", problems);
    match &facts.bridges {
        Err(why) => {
            problems.unknown(format!("bridges were not looked at: {why}"));
            String::from("not looked at")
        }
        Ok(bridges) => {
            if bridges.is_empty() {
                let why = "no bridge can be made, vifs can be routed";
                driver(facts, "bridge", Status::Degraded, why, problems);
            }
            if !bridges.iter().any(|bridge| bridge == DEFAULT_BRIDGE) {
                let other = bridges.first().map_or_else(String::new, |bridge| {
                    format!(", or write bridge={bridge} into each vif")
                });
                problems.degraded(
                    format!("there is no {DEFAULT_BRIDGE}, which a vif joins that names no bridge"),
                    format!(
                        "ip link add {DEFAULT_BRIDGE} type bridge && ip link set {DEFAULT_BRIDGE} \
                         up{other}"
                    ),
                );
            }
            match &bridges[..] {
                [] => String::from("no bridge"),
                some => format!("bridges {}", some.join(", ")),
            }
        }
    }
}

fn pci(facts: &HostFacts, problems: &mut Problems) -> String {
    driver(facts, "xen-pciback", Status::Missing, "no device can be given to a guest", problems);
    let iommu = match &facts.xen {
        Ok(xen) if xen.capabilities.directio() => "the IOMMU is in use",
        Ok(xen) => {
            let off = option(&xen.command_line, "iommu").is_some_and(|value| {
                value.split(',').any(|part| matches!(part, "off" | "no" | "0" | "false"))
            });
            let mend = match facts.iommu_in_firmware {
                _ if off => String::from(
                    "take iommu=off from Xen's command line (GRUB_CMDLINE_XEN of \
                     /etc/default/grub), then update-grub and reboot",
                ),
                Ok(true) => boot_option("iommu=on,verbose") + "; xlr dmesg then says why not",
                Ok(false) => String::from(
                    "switch on VT-d or AMD-Vi (IOMMU) in the firmware's set-up, and reboot",
                ),
                Err(_) => String::from("switch on the IOMMU in the firmware's set-up, and reboot"),
            };
            problems.missing("Xen uses no IOMMU: a guest's device could write anywhere", mend);
            "no IOMMU"
        }
        Err(_) => {
            problems.unknown("whether Xen uses an IOMMU is not known; see hypercalls");
            "IOMMU not looked at"
        }
    };
    format!("{iommu}, {} devices are assignable", facts.assignable)
}
