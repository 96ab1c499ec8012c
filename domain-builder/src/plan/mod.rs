//! From a specification to a plan: everything a create will do, decided before it begins.
//!
//! In: [`DomainSpec`], [`KernelFacts`], the ramdisk's length, [`HostFacts`]. Out: [`Plan`], plain
//! data that `--dry-run` prints and [`crate::apply`] carries out. Pure: no I/O, no clock, no
//! randomness; the same input gives the same plan, to the byte.

pub mod cpuid;
pub mod facts;
pub mod layout;
pub mod loads;
pub mod memory_map;
pub mod p2m;
pub mod page_tables;
pub mod placement;
pub mod start_info;
pub mod steps;
pub mod vcpu;

#[cfg(test)]
mod tests;

use crate::image::{ImageError, KernelImage};
use crate::nodes::{self, NodePlan};
use crate::spec::{DomainSpec, Hardware, TscMode};
use facts::{HostFacts, KernelFacts, KernelSegment};
use layout::{Frames, Layout, LayoutError, PAGE_BYTES};
use serde::{Deserialize, Serialize};
use start_info::{MAX_CMDLINE_BYTES, StartInfo};
use std::fmt;
use steps::{Affinity, CreateParams, Step, VcpuStart};
use xen_sys::xen::SIF_MOD_START_PFN;

/// Memory above the target that the domain may have, as xl allows it (`LIBXL_MAXMEM_CONSTANT`).
pub const MAX_MEMORY_SLACK_KIB: u64 = 1024;
/// xl's default for `event_channels=`.
const DEFAULT_EVENT_CHANNELS: u32 = 1023;
/// Most vcpus of a PV domain (`MAX_VIRT_CPUS`).
const MAX_VCPUS: u32 = 8192;

/// Why a specification cannot become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The kernel cannot be started as a PV guest.
    #[error(transparent)]
    Kernel(#[from] ImageError),
    /// It does not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The kernel command line does not fit into the start info page.
    #[error(
        "the kernel command line has {bytes} bytes, a PV guest can be given {MAX_CMDLINE_BYTES}; \
         shorten extra, root or cmdline"
    )]
    CmdlineTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A NUL would end the command line early.
    #[error("the kernel command line contains a NUL byte; remove it")]
    CmdlineNul,
    /// A name that xenstore or other tools could not hold.
    #[error(
        "{name:?} cannot be a domain's name: it must not be empty and must not contain '/' or NUL"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The number of vcpus makes no sense.
    #[error(
        "vcpus={vcpus} with maxvcpus={max_vcpus} is not possible: \
         1 <= vcpus <= maxvcpus <= {MAX_VCPUS} is needed"
    )]
    Vcpus {
        /// Online at start.
        vcpus: u32,
        /// In all.
        max_vcpus: u32,
    },
    /// The ceiling lies below the start.
    #[error("maxmem ({max_memory_kib} KiB) is below memory ({memory_kib} KiB); raise maxmem")]
    MaxMemory {
        /// At start.
        memory_kib: u64,
        /// Ceiling.
        max_memory_kib: u64,
    },
    /// An affinity names a CPU that the host does not have, or none at all.
    #[error(
        "vcpu {vcpu} cannot be pinned to {}: this host has the CPUs 0 to {}",
        cpu.map_or("no CPU".to_owned(), |cpu| format!("CPU {cpu}")), cpus - 1
    )]
    Affinity {
        /// Which vcpu.
        vcpu: u32,
        /// The CPU, or `None` for an empty set.
        cpu: Option<u32>,
        /// CPUs of the host.
        cpus: u32,
    },
    /// A grant table version cannot be chosen, or not this one.
    #[error(
        "max_grant_version={version} cannot be had: Xen {}.{} {}; remove max_grant_version",
        xen_version.0, xen_version.1,
        offered.map_or(
            "chooses the version for all domains alike (4.16 is the first that is asked)".to_owned(),
            |highest| format!("offers versions up to {highest}"),
        )
    )]
    GrantVersion {
        /// The version.
        version: u8,
        /// Xen's version.
        xen_version: (u16, u16),
        /// The highest that it offers, if one can be chosen.
        offered: Option<u8>,
    },
    /// A leaf of CPUID that PV guests do not have here.
    #[error(
        "cpuid names leaf {leaf:#x}{}, which PV guests do not have on this host; take it out of cpuid",
        subleaf.map_or(String::new(), |subleaf| format!(", subleaf {subleaf}"))
    )]
    CpuidLeaf {
        /// The leaf.
        leaf: u32,
        /// The subleaf.
        subleaf: Option<u32>,
    },
    /// Something that this Xen does not have.
    #[error("{key} needs Xen {}.{}, this is {}.{}; remove {key}", since.0, since.1, xen_version.0, xen_version.1)]
    Since {
        /// The key.
        key: &'static str,
        /// The first Xen that has it.
        since: (u16, u16),
        /// Xen's version.
        xen_version: (u16, u16),
    },
    /// Every domain would need a label that we do not know.
    #[error(
        "this Xen runs a Flask policy (XSM), under which every domain needs a label, and labels \
         are not supported; boot Xen with flask=disabled, or use xl for this domain"
    )]
    Flask,
    /// Foreign frames are mapped in another way there.
    #[error(
        "dom0 is a PVH domain, from which creating PV domains is not supported; boot Xen without \
         dom0=pvh, or use xl for this domain"
    )]
    PvhDom0,
    /// Devices would reach all of the host's memory.
    #[error(
        "pci and passthrough need an IOMMU, and Xen uses none on this host; switch it on in the \
         firmware (VT-d, AMD-Vi) and take iommu=off from Xen's command line, or remove the two keys"
    )]
    NoIommu,
    /// A NUMA node that the host does not have.
    #[error("there is no NUMA node {node}: this host has {nodes:?}; see xlr info -n")]
    Node {
        /// The node.
        node: u32,
        /// Nodes of the host.
        nodes: Vec<u32>,
    },
}

/// Everything a create will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the domain.
    pub name: String,
    /// UUID of the domain.
    pub uuid: [u8; 16],
    /// Domain that serves the console.
    pub console_domid: u16,
    /// Length of the ramdisk that the plan was made for, in bytes.
    pub ramdisk_bytes: Option<u64>,
    /// Where everything lies in the guest's memory.
    pub layout: Layout,
    /// The start info page, as far as it is known before the domain exists.
    pub start_info: StartInfo,
    /// What will be done, in order.
    pub steps: Vec<Step>,
}

impl KernelFacts {
    /// What the plan needs of a decoded kernel.
    ///
    /// # Errors
    /// [`ImageError`] says why it cannot be started as a PV guest.
    pub fn of(kernel: &KernelImage) -> Result<Self, ImageError> {
        let pv = kernel.pv()?;
        let places = pv.segments.iter().zip(&kernel.segments).enumerate();
        let segments = places.map(|(index, (place, segment))| KernelSegment {
            index,
            start: place.guest_paddr,
            file_bytes: segment.file_len,
            data: kernel.data_of(segment),
            memory_bytes: segment.mem_len,
        });
        Ok(Self {
            guest_os: kernel.notes.guest_os.clone().unwrap_or_default(),
            virt_base: pv.virt_base,
            entry_vaddr: pv.entry_vaddr,
            hypercall_page_vaddr: pv.hypercall_page,
            init_p2m_vaddr: pv.init_p2m,
            ramdisk_by_pfn: pv.mod_start_pfn,
            segments: segments.collect(),
        })
    }
}

/// Makes the plan for a decoded kernel; see [`plan_facts`].
///
/// # Errors
/// [`PlanError`], with what to change.
pub fn plan(
    spec: &DomainSpec,
    kernel: &KernelImage,
    ramdisk_bytes: Option<u64>,
    host: &HostFacts,
) -> Result<Plan, PlanError> {
    plan_facts(spec, &KernelFacts::of(kernel)?, ramdisk_bytes, host)
}

/// Makes the plan.
///
/// # Errors
/// [`PlanError`], with what to change.
pub fn plan_facts(
    spec: &DomainSpec,
    kernel: &KernelFacts,
    ramdisk_bytes: Option<u64>,
    host: &HostFacts,
) -> Result<Plan, PlanError> {
    check_spec(spec, host)?;
    let spec = &*placement::placed(spec, host);
    let layout = Layout::new(kernel, ramdisk_bytes, spec.memory_kib * 1024 / PAGE_BYTES)?;
    let start_info = StartInfo {
        flags: match layout.ramdisk {
            Some(_) if layout.ramdisk_by_pfn => SIF_MOD_START_PFN,
            _ => 0,
        },
        mod_start: layout.ramdisk.map_or(0, |frames| {
            if layout.ramdisk_by_pfn { frames.start } else { layout.vaddr(frames.start) }
        }),
        mod_len: ramdisk_bytes.unwrap_or(0),
        cmdline: spec.cmdline.clone(),
    };
    let mut steps = Vec::new();
    domain_steps(&mut steps, spec, host);
    memory_steps(&mut steps, spec, host, kernel, &layout, ramdisk_bytes);
    start_steps(&mut steps, spec, kernel, &layout, host);
    Ok(Plan {
        name: spec.name.clone(),
        uuid: spec.uuid,
        console_domid: host.console_domid,
        ramdisk_bytes,
        layout,
        start_info,
        steps,
    })
}

fn check_spec(spec: &DomainSpec, host: &HostFacts) -> Result<(), PlanError> {
    if host.flask {
        return Err(PlanError::Flask);
    }
    if host.pvh_dom0 {
        return Err(PlanError::PvhDom0);
    }
    if spec.hardware.passthrough && !host.iommu {
        return Err(PlanError::NoIommu);
    }
    if spec.name.is_empty() || spec.name.contains(['/', '\0']) {
        return Err(PlanError::Name { name: spec.name.clone() });
    }
    let (vcpus, max_vcpus) = (spec.vcpus, spec.max_vcpus);
    if vcpus == 0 || vcpus > max_vcpus || max_vcpus > MAX_VCPUS {
        return Err(PlanError::Vcpus { vcpus, max_vcpus });
    }
    let (memory_kib, max_memory_kib) = (spec.memory_kib, spec.max_memory_kib);
    if max_memory_kib < memory_kib {
        return Err(PlanError::MaxMemory { memory_kib, max_memory_kib });
    }
    if max_memory_kib > u64::MAX / 4096 {
        return Err(LayoutError::TooLarge { memory_kib: max_memory_kib }.into());
    }
    if spec.cmdline.len() > MAX_CMDLINE_BYTES {
        return Err(PlanError::CmdlineTooLong { bytes: spec.cmdline.len() });
    }
    if spec.cmdline.contains('\0') {
        return Err(PlanError::CmdlineNul);
    }
    check_release(spec, host)?;
    if let Some(&node) = spec.numa_nodes.iter().find(|node| !host.numa_nodes.contains(node)) {
        return Err(PlanError::Node { node, nodes: host.numa_nodes.clone() });
    }
    for (vcpu, affinity) in (0u32..).zip(&spec.affinity) {
        for set in [&affinity.hard, &affinity.soft].into_iter().flatten() {
            let reachable = set.0.iter().any(|&cpu| cpu < host.cpus);
            if !reachable {
                let cpu = set.0.first().copied();
                return Err(PlanError::Affinity { vcpu, cpu, cpus: host.cpus });
            }
        }
    }
    Ok(())
}

/// What only some releases of Xen have.
fn check_release(spec: &DomainSpec, host: &HostFacts) -> Result<(), PlanError> {
    let xen_version = host.xen_version;
    if spec.msr_relaxed && xen_version < (4, 15) {
        return Err(PlanError::Since { key: "msr_relaxed", since: (4, 15), xen_version });
    }
    if let Some(bits) = cpuid::without_leaf(&host.cpu, &spec.cpuid) {
        return Err(PlanError::CpuidLeaf { leaf: bits.leaf, subleaf: bits.subleaf });
    }
    let Some(version) = spec.max_grant_version else { return Ok(()) };
    let offered = (xen_version >= (4, 16)).then_some(host.max_grant_version);
    // Before 4.16 the default may still be what is asked for, but nobody can tell.
    if offered.is_none_or(|highest| version > highest) {
        return Err(PlanError::GrantVersion { version, xen_version, offered });
    }
    Ok(())
}

/// Steps up to the domain's limits and policy.
fn domain_steps(steps: &mut Vec<Step>, spec: &DomainSpec, host: &HostFacts) {
    steps.push(Step::CheckName { name: spec.name.clone() });
    steps.push(Step::CreateDomain(CreateParams {
        uuid: spec.uuid,
        max_vcpus: spec.max_vcpus,
        max_event_channel_port: spec.max_event_channels.unwrap_or(DEFAULT_EVENT_CHANNELS),
        max_grant_frames: spec.max_grant_frames,
        max_maptrack_frames: spec.max_maptrack_frames,
        max_grant_version: spec.max_grant_version.unwrap_or(host.max_grant_version),
        cpupool: spec.cpupool,
        msr_relaxed: spec.msr_relaxed,
        passthrough: spec.hardware.passthrough,
    }));
    let node_plan = node_plan(spec, host);
    let version = env!("CARGO_PKG_VERSION");
    steps.push(Step::WriteIdentity { nodes: nodes::identity(&node_plan, version) });
    steps.push(Step::MaxVcpus { vcpus: spec.max_vcpus });
    if !spec.numa_nodes.is_empty() {
        steps.push(Step::NodeAffinity { nodes: spec.numa_nodes.clone() });
    }
    let vcpus = affinities(spec, host);
    if !vcpus.is_empty() {
        steps.push(Step::VcpuAffinity { vcpus });
    }
    steps.push(Step::MaxMemory { kib: spec.memory_kib + MAX_MEMORY_SLACK_KIB });
    steps.push(Step::EventChannels {
        store_domid: host.store_domid,
        console_domid: host.console_domid,
    });
    let (memory_bytes, max_bytes) = (spec.memory_kib * 1024, spec.max_memory_kib * 1024);
    let entries = match spec.hardware.host_map {
        true => memory_map::with_holes(&host.memory_map, memory_bytes, max_bytes),
        false => memory_map::flat(max_bytes),
    };
    steps.push(Step::MemoryMap { entries });
    if spec.hardware.has_resources() {
        let Hardware { ports, memory, irqs, .. } = spec.hardware.clone();
        steps.push(Step::HostResources { ports, memory, irqs });
    }
    steps.push(Step::Tsc { mode: spec.tsc_mode });
    if spec.no_migrate && host.xen_version < (4, 15) {
        steps.push(Step::DisableMigrate);
    }
    if spec.time_offset_seconds != 0 {
        steps.push(Step::TimeOffset { seconds: spec.time_offset_seconds });
    }
    let invariant_tsc = spec.no_migrate || spec.tsc_mode == TscMode::AlwaysEmulate;
    let leaves = cpuid::changed_leaves(&host.cpu, invariant_tsc, &spec.cpuid);
    if !leaves.is_empty() {
        steps.push(Step::CpuPolicy { leaves });
    }
}

/// CPUs that the host does not have are left out, as xl does.
fn affinities(spec: &DomainSpec, host: &HostFacts) -> Vec<Affinity> {
    let present = |set: &crate::spec::CpuSet| -> Vec<u32> {
        set.0.iter().copied().filter(|&cpu| cpu < host.cpus).collect()
    };
    let wanted = (0u32..).zip(&spec.affinity).take(spec.max_vcpus as usize);
    wanted
        .filter(|(_, affinity)| affinity.hard.is_some() || affinity.soft.is_some())
        .map(|(vcpu, affinity)| Affinity {
            vcpu,
            hard: affinity.hard.as_ref().map(present),
            soft: affinity.soft.as_ref().map(present),
        })
        .collect()
}

/// Steps that allocate and fill memory.
fn memory_steps(
    steps: &mut Vec<Step>,
    spec: &DomainSpec,
    host: &HostFacts,
    kernel: &KernelFacts,
    layout: &Layout,
    ramdisk_bytes: Option<u64>,
) {
    steps.push(Step::AddressSize { bits: 64 });
    steps.push(Step::ClaimMemory { pages: layout.pages });
    let node = placement::memory_node(spec, host);
    steps.push(Step::PopulateMemory { pages: layout.pages, node });
    steps.push(Step::CancelClaim);
    steps.push(Step::LoadKernel { loads: loads::kernel_loads(kernel) });
    if let (Some(frames), Some(bytes)) = (layout.ramdisk, ramdisk_bytes) {
        steps.push(Step::LoadRamdisk { loads: loads::ramdisk_loads(frames, bytes) });
    }
    let frames = loads::kernel_clears(kernel, layout);
    if !frames.is_empty() {
        steps.push(Step::ClearPages { frames });
    }
}

/// Steps that make the filled memory a guest that can run.
fn start_steps(
    steps: &mut Vec<Step>,
    spec: &DomainSpec,
    kernel: &KernelFacts,
    layout: &Layout,
    host: &HostFacts,
) {
    steps.push(Step::SharedInfo);
    let p2m_frames = layout.p2m.count + layout.p2m_tables.count;
    steps.push(Step::WriteP2m { frames: Frames { start: layout.p2m.start, count: p2m_frames } });
    let boot_frames = layout.tables.end() - layout.start_info;
    steps.push(Step::WriteBootPages {
        frames: Frames { start: layout.start_info, count: boot_frames },
    });
    if let Some(vaddr) = kernel.hypercall_page_vaddr {
        steps.push(Step::HypercallPage { pfn: (vaddr - kernel.virt_base) / PAGE_BYTES });
    }
    steps.push(Step::PinTables { pfn: layout.tables.start });
    steps.push(Step::VcpuContext(VcpuStart {
        rip: kernel.entry_vaddr,
        rsp: layout.vaddr(layout.boot_stack + 1),
        rsi: layout.vaddr(layout.start_info),
        root_table_pfn: layout.tables.start,
    }));
    steps.push(Step::SeedGrants {
        console_domid: host.console_domid,
        store_domid: host.store_domid,
    });
    if spec.sched.weight.is_some() || spec.sched.cap.is_some() {
        steps.push(Step::SchedParams { weight: spec.sched.weight, cap: spec.sched.cap });
    }
    if !spec.store_limits.is_default() {
        steps.push(Step::StoreLimits(spec.store_limits.clone()));
    }
    steps.push(Step::Introduce { nodes: nodes::contents(&node_plan(spec, host)) });
}

fn node_plan(spec: &DomainSpec, host: &HostFacts) -> NodePlan {
    NodePlan {
        name: spec.name.clone(),
        uuid: spec.uuid,
        kernel: spec.kernel.display().to_string(),
        ramdisk: spec.ramdisk.as_ref().map(|path| path.display().to_string()),
        cmdline: spec.cmdline.clone(),
        memory_kib: spec.memory_kib,
        max_memory_kib: spec.max_memory_kib,
        vcpus: spec.vcpus,
        max_vcpus: spec.max_vcpus,
        console_domid: host.console_domid,
        driver_domain: spec.driver_domain,
        channels: spec.channels.clone(),
        no_suspend_node: spec.no_suspend_node,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = &self.layout;
        writeln!(f, "domain {:?} {}", self.name, nodes::uuid_text(&self.uuid))?;
        writeln!(f, "layout: {} pages, {:#x} is pfn 0", layout.pages, layout.virt_base)?;
        let mut line = |what: &str, frames: Frames, note: &str| {
            writeln!(f, "  {what:<12}{:#10x} {:#8x}{note}", frames.start, frames.count)
        };
        let one = |start| Frames { start, count: 1 };
        line("kernel", layout.kernel, "")?;
        if let Some(frames) = layout.ramdisk {
            line("ramdisk", frames, if layout.ramdisk_by_pfn { "  not mapped" } else { "" })?;
        }
        line("p2m", layout.p2m, &format!("  at {:#x}", layout.p2m_vaddr))?;
        line("start info", one(layout.start_info), "")?;
        line("xenstore", one(layout.store), "")?;
        line("console", one(layout.console), "")?;
        line("tables", layout.tables, "")?;
        line("boot stack", one(layout.boot_stack), "")?;
        line("p2m tables", layout.p2m_tables, "")?;
        line("mapped", Frames { start: 0, count: layout.map_end }, "")?;
        writeln!(f, "steps:")?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| {
            let text = step.to_string();
            writeln!(f, "{at:>3} {}", text.trim_end())
        })
    }
}
