//! What a domain shall be, independent of any configuration syntax.
//!
//! Comes from the toolstack (xl.cfg lowered) and goes into [`crate::plan`]. Holds no handle and
//! reads nothing: paths are opened by the caller of the plan.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to do when the domain ends, for one cause of the end (`on_poweroff=` and its kin).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndAction {
    /// Remove the domain.
    #[default]
    Destroy,
    /// Remove it and build it again from its saved configuration.
    Restart,
    /// Rename the dead domain, keep it, and build a new one under the old name.
    RenameRestart,
    /// Keep the dead domain for inspection.
    Preserve,
    /// Write a core file, then destroy.
    CoredumpDestroy,
    /// Write a core file, then restart.
    CoredumpRestart,
    /// Rebuild in place (soft reset).
    SoftReset,
}

/// The action for every way a domain can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndActions {
    /// `on_poweroff=`; xl's default is destroy.
    pub poweroff: EndAction,
    /// `on_reboot=`; xl's default is restart.
    pub reboot: EndAction,
    /// `on_crash=`; xl's default is destroy.
    pub crash: EndAction,
    /// `on_watchdog=`; xl's default is destroy.
    pub watchdog: EndAction,
    /// `on_soft_reset=`; xl's default is soft-reset.
    pub soft_reset: EndAction,
}

impl Default for EndActions {
    fn default() -> Self {
        Self {
            poweroff: EndAction::Destroy,
            reboot: EndAction::Restart,
            crash: EndAction::Destroy,
            watchdog: EndAction::Destroy,
            soft_reset: EndAction::SoftReset,
        }
    }
}

/// A set of physical CPUs, ascending and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSet(pub Vec<u32>);

/// Where one vcpu may run (`cpus=`, `cpus_soft=`). `None` leaves Xen's default: everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuAffinity {
    /// Hard affinity: the scheduler never leaves it.
    pub hard: Option<CpuSet>,
    /// Soft affinity: where the scheduler prefers to be.
    pub soft: Option<CpuSet>,
}

/// Scheduler parameters (`cpu_weight=`, `cap=`); `None` keeps the scheduler's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedParams {
    /// Relative share of CPU time.
    pub weight: Option<u16>,
    /// Ceiling in percent of one CPU; 0 is none.
    pub cap: Option<u16>,
}

/// How the time stamp counter is offered (`tsc_mode=`); values as in `XEN_DOMCTL_settscinfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TscMode {
    /// Native where it is reliable, emulated otherwise.
    #[default]
    Default,
    /// Always emulated.
    AlwaysEmulate,
    /// Always native.
    Native,
}

/// One of the four registers in which CPUID answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Register {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

/// What `cpuid=` says of some bits of a register. A bit is in one mask at most; those in none get
/// Xen's default for PV guests, as do all bits of a register of which anything is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidBits {
    /// EAX on entry.
    pub leaf: u32,
    /// ECX on entry, for leaves that look at it.
    pub subleaf: Option<u32>,
    /// Which register.
    pub register: Register,
    /// Bits that are 1.
    pub set: u32,
    /// Bits that are 0.
    pub clear: u32,
    /// Bits that are what they are on the host.
    pub host: u32,
    /// Bits that are what they are for PV guests.
    pub default: u32,
}

impl CpuidBits {
    /// Nothing is said of any bit.
    #[must_use]
    pub const fn none(leaf: u32, subleaf: Option<u32>, register: Register) -> Self {
        Self { leaf, subleaf, register, set: 0, clear: 0, host: 0, default: 0 }
    }
}

/// Consecutive numbers: ports, or frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRange {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What of the host's hardware a domain may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Devices can be assigned to it, now or later (`passthrough=`).
    pub passthrough: bool,
    /// Its memory map has the host's holes (`e820_host=`).
    pub host_map: bool,
    /// I/O ports (`ioports=`).
    pub ports: Vec<HostRange>,
    /// Frames of I/O memory (`iomem=`).
    pub memory: Vec<HostRange>,
    /// Interrupt lines (`irqs=`).
    pub irqs: Vec<u32>,
}

impl Hardware {
    /// Whether permissions have to be given.
    #[must_use]
    pub fn has_resources(&self) -> bool {
        !(self.ports.is_empty() && self.memory.is_empty() && self.irqs.is_empty())
    }
}

/// What a console beyond the first is connected to in dom0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// A pseudo-terminal.
    Pty,
    /// A listening socket in the file system.
    Socket(PathBuf),
}

/// A console beyond the first (`channel=`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// By which the guest knows it.
    pub name: String,
    /// Where it ends in dom0.
    pub connection: Connection,
}

/// Everything the builder must know of a domain. Sizes in KiB, lists in vcpu order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSpec {
    /// Unique name; not empty, no `/`.
    pub name: String,
    /// The domain's UUID, in text order (the bytes as printed).
    pub uuid: [u8; 16],
    /// Kernel image: ELF or bzImage, compressed or not.
    pub kernel: PathBuf,
    /// Initial ramdisk, handed over as it is.
    pub ramdisk: Option<PathBuf>,
    /// Kernel command line, as the guest reads it.
    pub cmdline: String,
    /// Memory at start.
    pub memory_kib: u64,
    /// Ceiling for ballooning (`maxmem=`); at least `memory_kib`.
    pub max_memory_kib: u64,
    /// Vcpus online at start.
    pub vcpus: u32,
    /// Vcpus that exist (`maxvcpus=`); at least `vcpus`.
    pub max_vcpus: u32,
    /// Affinity per vcpu; shorter than `max_vcpus` means the rest is free.
    pub affinity: Vec<VcpuAffinity>,
    /// NUMA nodes memory shall come from; empty lets it follow the affinity, and where that is
    /// empty, too, the builder chooses ([`crate::plan::placement`]).
    pub numa_nodes: Vec<u32>,
    /// Scheduler parameters.
    pub sched: SchedParams,
    /// The cpupool (`pool=`), by id; 0 is Pool-0.
    pub cpupool: u32,
    /// Time stamp counter mode.
    pub tsc_mode: TscMode,
    /// What `cpuid=` says, in order; later ones override earlier ones.
    pub cpuid: Vec<CpuidBits>,
    /// What happens at the domain's end.
    pub on_end: EndActions,
    /// Highest number of grant table frames; `None` takes Xen's default for the version.
    pub max_grant_frames: Option<u32>,
    /// Highest number of maptrack frames; `None` takes Xen's default for the version.
    pub max_maptrack_frames: Option<u32>,
    /// Highest event channel port; `None` takes xl's default of 1023.
    pub max_event_channels: Option<u32>,
    /// Highest grant table version, 1 or 2; `None` takes the highest that Xen offers.
    pub max_grant_version: Option<u8>,
    /// The domain never moves to another host, so it may rely on this host's time stamp counter.
    pub no_migrate: bool,
    /// Accesses to unknown MSRs read as zero instead of faulting.
    pub msr_relaxed: bool,
    /// By how much the guest's wall clock is ahead of UTC.
    pub time_offset_seconds: i64,
    /// The domain serves devices to others: it gets the directories a toolstack in it needs.
    pub driver_domain: bool,
    /// Leaves out the node by which newer guests announce their suspend event channel.
    pub no_suspend_node: bool,
    /// What of the host's hardware it may reach.
    pub hardware: Hardware,
    /// Consoles beyond the first, numbered from 1 on.
    pub channels: Vec<Channel>,
    /// What xenstored shall grant it, other than by default.
    pub store_limits: StoreLimits,
}

/// What xenstored grants one domain, where that differs from what it grants all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLimits {
    /// Which of the store's features the domain's ring may show, as a mask over the bits of the
    /// ring page's feature field; `None` leaves all.
    pub feature_mask: Option<u32>,
    /// Quotas by the store's names for them, with the limit; 0 turns a quota off.
    pub quotas: Vec<(String, u32)>,
}

impl StoreLimits {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.feature_mask.is_none() && self.quotas.is_empty()
    }
}

impl DomainSpec {
    /// A domain of one vcpu, with xl's default for everything that is not named.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        uuid: [u8; 16],
        kernel: impl Into<PathBuf>,
        memory_kib: u64,
    ) -> Self {
        Self {
            name: name.into(),
            uuid,
            kernel: kernel.into(),
            ramdisk: None,
            cmdline: String::new(),
            memory_kib,
            max_memory_kib: memory_kib,
            vcpus: 1,
            max_vcpus: 1,
            affinity: Vec::new(),
            numa_nodes: Vec::new(),
            sched: SchedParams::default(),
            cpupool: 0,
            tsc_mode: TscMode::Default,
            cpuid: Vec::new(),
            on_end: EndActions::default(),
            max_grant_frames: None,
            max_maptrack_frames: None,
            max_event_channels: None,
            max_grant_version: None,
            no_migrate: false,
            msr_relaxed: false,
            time_offset_seconds: 0,
            driver_domain: false,
            no_suspend_node: false,
            hardware: Hardware::default(),
            channels: Vec::new(),
            store_limits: StoreLimits::default(),
        }
    }
}
