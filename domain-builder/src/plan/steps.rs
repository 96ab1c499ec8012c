//! The steps that make a domain, in order, each with what it needs.
//!
//! In: nothing; [`super::plan`] fills them. Out: [`Step`], printed by `--dry-run` and carried out
//! by [`crate::apply`]. A step that fails is named by [`Step::name`] in the error, and
//! `--fail-before-step` counts them from 0.

use super::facts::CpuLeaf;
use super::layout::Frames;
use super::memory_map::MapEntry;
use crate::nodes::StoreOp;
use crate::spec::{HostRange, StoreLimits, TscMode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Arguments of the domain's creation (`XEN_DOMCTL_createdomain`). `None` takes Xen's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateParams {
    /// The domain's handle.
    pub uuid: [u8; 16],
    /// Vcpus that will exist.
    pub max_vcpus: u32,
    /// Highest event channel port.
    pub max_event_channel_port: u32,
    /// Highest number of grant table frames.
    pub max_grant_frames: Option<u32>,
    /// Highest number of maptrack frames.
    pub max_maptrack_frames: Option<u32>,
    /// Highest grant table version; ignored by Xen before 4.16.
    pub max_grant_version: u8,
    /// The cpupool, by id; before 4.17 the domain is moved there after its creation.
    pub cpupool: u32,
    /// Accesses to unknown MSRs read as zero instead of faulting.
    pub msr_relaxed: bool,
    /// Devices can be assigned to the domain, now or later.
    pub passthrough: bool,
}

/// Affinity of one vcpu, physical CPUs ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Which vcpu.
    pub vcpu: u32,
    /// Hard affinity; `None` leaves it.
    pub hard: Option<Vec<u32>>,
    /// Soft affinity; `None` leaves it.
    pub soft: Option<Vec<u32>>,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The kernel image's segment with this index, from this offset on.
    Kernel {
        /// Index into the image's segments.
        segment: usize,
        /// First byte within the segment.
        offset: u64,
    },
    /// The ramdisk, from this offset on.
    Ramdisk {
        /// First byte within the file.
        offset: u64,
    },
}

/// A run of bytes to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// First byte within the mapped frames.
    pub at: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Where they come from.
    pub source: Source,
}

/// Frames that are mapped together and filled: pieces in ascending order, zeros between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// What to map.
    pub frames: Frames,
    /// What to copy there.
    pub pieces: Vec<Piece>,
}

/// Registers of the first vcpu that depend on the layout; all others have fixed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuStart {
    /// Instruction pointer: the kernel's entry point.
    pub rip: u64,
    /// Stack pointer: the end of the boot stack.
    pub rsp: u64,
    /// Where the kernel looks for its start info page.
    pub rsi: u64,
    /// Frame of the root page table.
    pub root_table_pfn: u64,
}

/// One step of a create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Makes sure that no other domain has the name.
    CheckName {
        /// The name.
        name: String,
    },
    /// Creates an empty, paused domain.
    CreateDomain(CreateParams),
    /// Writes the domain's name and marker to xenstore.
    WriteIdentity {
        /// Requests to xenstored.
        nodes: Vec<StoreOp>,
    },
    /// Allocates the vcpus.
    MaxVcpus {
        /// How many.
        vcpus: u32,
    },
    /// Says which NUMA nodes memory shall come from.
    NodeAffinity {
        /// The nodes, ascending.
        nodes: Vec<u32>,
    },
    /// Says where vcpus may run; before memory is allocated, as memory follows them.
    VcpuAffinity {
        /// One entry per vcpu that is not free.
        vcpus: Vec<Affinity>,
    },
    /// Limits the domain's memory.
    MaxMemory {
        /// The limit, slack included.
        kib: u64,
    },
    /// Opens the guest's ports to xenstore and console.
    EventChannels {
        /// Who serves xenstore.
        store_domid: u16,
        /// Who serves the console.
        console_domid: u16,
    },
    /// Sets the memory map that the guest may ask for.
    MemoryMap {
        /// Its ranges.
        entries: Vec<MapEntry>,
    },
    /// Lets the guest reach hardware of the host.
    HostResources {
        /// I/O ports.
        ports: Vec<HostRange>,
        /// Frames of I/O memory.
        memory: Vec<HostRange>,
        /// Interrupt lines.
        irqs: Vec<u32>,
    },
    /// Sets how the time stamp counter is offered.
    Tsc {
        /// The mode.
        mode: TscMode,
    },
    /// Marks the domain as one that stays on this host; only Xen 4.14 has to be told.
    DisableMigrate,
    /// Shifts the wall clock that the guest sees.
    TimeOffset {
        /// How far ahead of UTC.
        seconds: i64,
    },
    /// Adjusts Xen's default CPUID policy for PV guests.
    CpuPolicy {
        /// Leaves to set; all others stay.
        leaves: Vec<CpuLeaf>,
    },
    /// Says that the guest runs in 64-bit mode.
    AddressSize {
        /// 64.
        bits: u32,
    },
    /// Claims all memory at once, so that a lack of it shows before any is filled.
    ClaimMemory {
        /// How much.
        pages: u64,
    },
    /// Allocates memory, in extents of 2 MiB where possible.
    PopulateMemory {
        /// How much.
        pages: u64,
        /// The one NUMA node to prefer.
        node: Option<u32>,
    },
    /// Gives back what is left of the claim.
    CancelClaim,
    /// Copies the kernel.
    LoadKernel {
        /// What goes where.
        loads: Vec<Load>,
    },
    /// Copies the ramdisk.
    LoadRamdisk {
        /// What goes where.
        loads: Vec<Load>,
    },
    /// Zeroes pages inside the hypervisor, without mapping them.
    ClearPages {
        /// Which.
        frames: Vec<Frames>,
    },
    /// Writes the shared info page.
    SharedInfo,
    /// Writes the p2m list, and its page tables where it has its own.
    WriteP2m {
        /// The list, then its tables.
        frames: Frames,
    },
    /// Writes start info, empty rings and page tables.
    WriteBootPages {
        /// From the start info page to the last page table.
        frames: Frames,
    },
    /// Has Xen fill the page of hypercall stubs.
    HypercallPage {
        /// Its frame.
        pfn: u64,
    },
    /// Has Xen check the page tables and take them into use.
    PinTables {
        /// The root.
        pfn: u64,
    },
    /// Sets the first vcpu's registers.
    VcpuContext(VcpuStart),
    /// Grants the rings to those who serve them (grant references 0 and 1).
    SeedGrants {
        /// Who may map the console ring.
        console_domid: u16,
        /// Who may map the xenstore ring.
        store_domid: u16,
    },
    /// Sets scheduler parameters.
    SchedParams {
        /// Share of CPU time.
        weight: Option<u16>,
        /// Ceiling in percent of one CPU.
        cap: Option<u16>,
    },
    /// Tells xenstored what it grants this domain alone.
    StoreLimits(StoreLimits),
    /// Writes all other nodes and introduces the domain to xenstored.
    Introduce {
        /// Requests to xenstored before the introduction.
        nodes: Vec<StoreOp>,
    },
}

impl Step {
    /// Whether xenstored is asked for it, and the hypervisor is not.
    #[must_use]
    pub const fn is_for_the_store(&self) -> bool {
        matches!(
            self,
            Self::CheckName { .. }
                | Self::WriteIdentity { .. }
                | Self::StoreLimits(_)
                | Self::Introduce { .. }
        )
    }

    /// Short name for messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CheckName { .. } => "check-name",
            Self::CreateDomain(_) => "create-domain",
            Self::WriteIdentity { .. } => "write-identity",
            Self::MaxVcpus { .. } => "max-vcpus",
            Self::NodeAffinity { .. } => "node-affinity",
            Self::VcpuAffinity { .. } => "vcpu-affinity",
            Self::MaxMemory { .. } => "max-memory",
            Self::EventChannels { .. } => "event-channels",
            Self::MemoryMap { .. } => "memory-map",
            Self::HostResources { .. } => "host-resources",
            Self::Tsc { .. } => "tsc",
            Self::DisableMigrate => "disable-migrate",
            Self::TimeOffset { .. } => "time-offset",
            Self::CpuPolicy { .. } => "cpu-policy",
            Self::AddressSize { .. } => "address-size",
            Self::ClaimMemory { .. } => "claim-memory",
            Self::PopulateMemory { .. } => "populate-memory",
            Self::CancelClaim => "cancel-claim",
            Self::LoadKernel { .. } => "load-kernel",
            Self::LoadRamdisk { .. } => "load-ramdisk",
            Self::ClearPages { .. } => "clear-pages",
            Self::SharedInfo => "shared-info",
            Self::WriteP2m { .. } => "write-p2m",
            Self::WriteBootPages { .. } => "write-boot-pages",
            Self::HypercallPage { .. } => "hypercall-page",
            Self::PinTables { .. } => "pin-tables",
            Self::VcpuContext(_) => "vcpu-context",
            Self::SeedGrants { .. } => "seed-grants",
            Self::SchedParams { .. } => "sched-params",
            Self::StoreLimits(_) => "store-limits",
            Self::Introduce { .. } => "introduce",
        }
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}+{:#x}", self.start, self.count)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<17}", self.name())?;
        match self {
            Self::CheckName { name } => write!(f, "no other domain is called {name:?}"),
            Self::CreateDomain(params) => write_create(f, params),
            Self::WriteIdentity { nodes } => write_nodes(f, nodes),
            Self::MaxVcpus { vcpus } => write!(f, "{vcpus}"),
            Self::NodeAffinity { nodes } => write!(f, "{nodes:?}"),
            Self::VcpuAffinity { vcpus } => write_affinity(f, vcpus),
            Self::MaxMemory { kib } => write!(f, "{kib} KiB"),
            Self::EventChannels { store_domid, console_domid } => {
                write!(f, "store to domain {store_domid}, console to domain {console_domid}")
            }
            Self::MemoryMap { entries } => write_list(f, entries),
            Self::HostResources { ports, memory, irqs } => {
                let range = |r: &HostRange| format!("{:#x}+{:#x}", r.first, r.count);
                let texts = |ranges: &[HostRange]| ranges.iter().map(range).collect::<Vec<_>>();
                write!(f, "ports {:?} frames {:?} irqs {irqs:?}", texts(ports), texts(memory))
            }
            Self::Tsc { mode } => write!(f, "{mode:?}"),
            Self::TimeOffset { seconds } => write!(f, "{seconds} s"),
            Self::CpuPolicy { leaves } => leaves.iter().try_for_each(|leaf| {
                let CpuLeaf { leaf, subleaf: _, a, b, c, d } = leaf;
                write!(f, "{leaf:#x}: {a:08x} {b:08x} {c:08x} {d:08x} ")
            }),
            Self::AddressSize { bits } => write!(f, "{bits}"),
            Self::ClaimMemory { pages } => write!(f, "{pages} pages"),
            Self::PopulateMemory { pages, node } => {
                write!(f, "{pages} pages")?;
                node.map_or(Ok(()), |node| write!(f, " from node {node}"))
            }
            Self::CancelClaim | Self::DisableMigrate | Self::SharedInfo => Ok(()),
            Self::LoadKernel { loads } | Self::LoadRamdisk { loads } => write_loads(f, loads),
            Self::ClearPages { frames } => frames.iter().try_for_each(|run| write!(f, "{run} ")),
            Self::WriteP2m { frames } | Self::WriteBootPages { frames } => write!(f, "{frames}"),
            Self::HypercallPage { pfn } | Self::PinTables { pfn } => write!(f, "pfn {pfn:#x}"),
            Self::VcpuContext(start) => write!(
                f,
                "rip={:#x} rsp={:#x} rsi={:#x} root table at pfn {:#x}",
                start.rip, start.rsp, start.rsi, start.root_table_pfn
            ),
            Self::SeedGrants { console_domid, store_domid } => write!(
                f,
                "0: console to domain {console_domid}, 1: xenstore to domain {store_domid}"
            ),
            Self::SchedParams { weight, cap } => {
                weight.map_or(Ok(()), |weight| write!(f, "weight={weight} "))?;
                cap.map_or(Ok(()), |cap| write!(f, "cap={cap}"))
            }
            Self::StoreLimits(StoreLimits { feature_mask, quotas }) => {
                feature_mask.map_or(Ok(()), |mask| write!(f, "features={mask:#x} "))?;
                quotas.iter().try_for_each(|(name, limit)| write!(f, "{name}={limit} "))
            }
            Self::Introduce { nodes } => write_nodes(f, nodes),
        }
    }
}

fn write_create(f: &mut fmt::Formatter<'_>, params: &CreateParams) -> fmt::Result {
    let limit = |value: Option<u32>| value.map_or("default".to_owned(), |v| v.to_string());
    write!(
        f,
        "uuid {} vcpus={} event_channels={} grant_frames={} maptrack_frames={} \
         grant_version={} cpupool={}",
        crate::nodes::uuid_text(&params.uuid),
        params.max_vcpus,
        params.max_event_channel_port,
        limit(params.max_grant_frames),
        limit(params.max_maptrack_frames),
        params.max_grant_version,
        params.cpupool
    )?;
    let flags = [(params.msr_relaxed, " msr_relaxed"), (params.passthrough, " passthrough")];
    flags.iter().filter(|(set, _)| *set).try_for_each(|(_, text)| f.write_str(text))
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(at, item)| {
        if at > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)
    })
}

fn write_nodes(f: &mut fmt::Formatter<'_>, nodes: &[StoreOp]) -> fmt::Result {
    write!(f, "{} requests", nodes.len())?;
    nodes.iter().try_for_each(|op| write!(f, "\n                  {op}"))
}

fn write_affinity(f: &mut fmt::Formatter<'_>, vcpus: &[Affinity]) -> fmt::Result {
    vcpus.iter().try_for_each(|affinity| {
        write!(f, "{}:", affinity.vcpu)?;
        affinity.hard.as_ref().map_or(Ok(()), |cpus| write!(f, " hard {cpus:?}"))?;
        affinity.soft.as_ref().map_or(Ok(()), |cpus| write!(f, " soft {cpus:?}"))?;
        f.write_str("; ")
    })
}

fn write_loads(f: &mut fmt::Formatter<'_>, loads: &[Load]) -> fmt::Result {
    let bytes: u64 = loads.iter().flat_map(|load| &load.pieces).map(|piece| piece.bytes).sum();
    write!(f, "{bytes} bytes")?;
    loads.iter().try_for_each(|load| {
        write!(f, "\n                  {}:", load.frames)?;
        load.pieces.iter().try_for_each(|piece| match piece.source {
            Source::Kernel { segment, offset } => {
                write!(
                    f,
                    " +{:#x} segment {segment}+{offset:#x} {:#x} bytes;",
                    piece.at, piece.bytes
                )
            }
            Source::Ramdisk { offset } => {
                write!(f, " +{:#x} ramdisk+{offset:#x} {:#x} bytes;", piece.at, piece.bytes)
            }
        })
    })
}
