//! A case: something that must hold on real Xen.
//!
//! Cases are compiled into the lab, run inside dom0 (`lab case NAME`), and end Passed, Failed or
//! Skipped with a reason. They are listed by topic in `cases/`.

use crate::dom0::host::Verdict;
use crate::qemu::Machine;
use crate::xenstored::Xenstored;

/// The groups that have a time budget in CI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Building domains.
    Create,
    /// Decoding kernels, and their cache.
    Kernel,
    /// What fails, is interrupted or is killed, and leaves nothing.
    Failure,
    /// Devices, and what they are made of.
    Device,
    /// The commands of xlr.
    Toolstack,
    /// xenstore and dom0's daemons.
    Store,
    /// Microkernels, and the lab itself.
    Xtf,
}

impl Group {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Group::Create => "create",
            Group::Kernel => "kernels and cache",
            Group::Failure => "failures and kills",
            Group::Device => "devices",
            Group::Toolstack => "toolstack",
            Group::Store => "store and dom0",
            Group::Xtf => "lab and xtf",
        }
    }

    /// What its cases may take in CI, boots included, while another lane works beside.
    pub fn budget_seconds(self) -> f64 {
        match self {
            Group::Device => 320.0,
            Group::Store | Group::Toolstack => 240.0,
            Group::Failure => 150.0,
            Group::Create => 130.0,
            Group::Kernel | Group::Xtf => 70.0,
        }
    }
}

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// `topic/name`.
    pub name: &'static str,
    /// The group whose time it takes.
    pub group: Group,
    /// Xen's version.
    pub xen: &'static str,
    /// Memory of the machine.
    pub memory_mib: u32,
    /// NUMA nodes of the machine.
    pub numa_nodes: u32,
    /// What Xen's command line has beside the lab's own.
    pub xen_options: &'static str,
    /// An IOMMU, and network cards to be passed through.
    pub passthrough: bool,
    /// What InfiniBand needs in dom0 and in guests.
    pub rdma: bool,
    /// gdb in dom0.
    pub debugger: bool,
    /// Who serves the store.
    pub xenstored: Xenstored,
    /// Whether dom0 is unusable afterwards: such a case gets a boot of its own.
    pub wrecks: bool,
    /// Whether it is part of `--ci`: each capability once.
    pub ci: bool,
    /// A case that must fail for this reason: a test of the harness itself.
    pub must_fail: Option<&'static str>,
    /// Its limit; an overrun fails it.
    pub limit_seconds: u64,
    /// What it does.
    pub run: fn() -> Verdict,
}

impl Case {
    /// An ordinary case on the default machine.
    pub const fn new(name: &'static str, group: Group, run: fn() -> Verdict) -> Case {
        Case {
            name,
            group,
            xen: "4.17",
            memory_mib: 2048,
            numa_nodes: 1,
            xen_options: "",
            passthrough: false,
            rdma: false,
            debugger: false,
            xenstored: Xenstored::C,
            wrecks: false,
            ci: true,
            must_fail: None,
            limit_seconds: 120,
            run,
        }
    }

    /// The machine it wants.
    pub fn machine(&self) -> Machine {
        Machine {
            xen: self.xen.into(),
            memory_mib: self.memory_mib,
            numa_nodes: self.numa_nodes,
            xen_options: self.xen_options.into(),
            passthrough: self.passthrough,
            rdma: self.rdma,
            debugger: self.debugger,
            xenstored: self.xenstored,
            ..Machine::default()
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All is well.
    Passed,
    /// Something is wrong, and what.
    Failed(String),
    /// It could not be carried out, and why.
    Skipped(String),
}
