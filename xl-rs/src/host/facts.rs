//! What was seen of a host. A part that could not be looked at says why.

use libxc_safe::{Capabilities, Error, GrantTableSize};

/// Something that was looked at, or why it could not be.
pub type Seen<T> = Result<T, String>;

/// A device file of Xen's in dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFile {
    /// Its name below `/dev/xen`.
    pub name: &'static str,
    /// The kernel module that makes it.
    pub module: &'static str,
    /// Whether the kernel has the driver.
    pub driver: bool,
    /// Permission bits of the file; none where there is none.
    pub mode: Option<u32>,
    /// Whether this process may open it for reading and writing.
    pub usable: bool,
}

/// A driver of dom0's kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The module's name.
    pub module: &'static str,
    /// Whether it is there, loaded or built in.
    pub present: bool,
    /// Whether the kernel's list of modules has it; none where there is no such list.
    pub listed: Option<bool>,
}

/// A running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its program's name.
    pub name: String,
    /// Its command line.
    pub command_line: String,
}

/// What the hypervisor says of itself and the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XenFacts {
    /// Its version.
    pub version: String,
    /// Its command line.
    pub command_line: String,
    /// The revision of domctl that it speaks.
    pub domctl: u32,
    /// The revision of sysctl that it speaks.
    pub sysctl: u32,
    /// What it can do.
    pub capabilities: Capabilities,
    /// All memory.
    pub total_kib: u64,
    /// Memory that nobody has or has claimed.
    pub free_kib: u64,
    /// What domain 0 has.
    pub dom0_kib: u64,
    /// Whether the kernel offers pages for hypercalls.
    pub hypercall_pages: bool,
    /// Domain 0's grant table.
    pub grants: GrantTableSize,
}

/// The answer of a xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// Whether domain 0 has its nodes, which backends look for.
    pub dom0_prepared: bool,
}

/// A directory in which xlr keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: &'static str,
    /// Why it is of no use, as a command would say it.
    pub problem: Option<String>,
    /// What is left of its filesystem; none where that has no limit.
    pub free_kib: Option<u64>,
    /// Whether it is gone with the host's next start.
    pub in_memory: bool,
}

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Whether root asks.
    pub root: bool,
    /// The kernel's release.
    pub kernel: String,
    /// What the kernel says that it runs on: `xen`, or nothing.
    pub hypervisor: Option<String>,
    /// The hypervisor's answers.
    pub xen: Result<XenFacts, Error>,
    /// Device files.
    pub devices: Vec<DeviceFile>,
    /// Drivers.
    pub drivers: Vec<Driver>,
    /// The answer of the store.
    pub store: Seen<StoreFacts>,
    /// Daemons that run.
    pub processes: Seen<Vec<Process>>,
    /// Whether somebody serves channels.
    pub channels_served: Seen<bool>,
    /// Names of the bridges.
    pub bridges: Seen<Vec<String>>,
    /// Whether the firmware describes an IOMMU.
    pub iommu_in_firmware: Seen<bool>,
    /// Devices that pciback holds.
    pub assignable: usize,
    /// State directories.
    pub directories: Vec<Directory>,
}
