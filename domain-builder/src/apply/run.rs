//! One create under way: what exists so far, and the hypercalls of each step.
//!
//! In: steps, in the plan's order. Out: a domain that grows with each of them. Holds no mapping of
//! page tables between steps: pinning fails while dom0 can still write to one of them.

use super::error::StepError;
use super::load::{Bytes, load};
use super::memory::{clear, gfns, populate};
use super::{ApplyOptions, Created};
use crate::nodes::{Live, StoreOp, TOP_DIRECTORIES, resolve};
use crate::plan::Plan;
use crate::plan::layout::{Frames, PAGE_BYTES};
use crate::plan::memory_map::MapEntry;
use crate::plan::p2m::P2m;
use crate::plan::page_tables::{ENTRIES, page_tables};
use crate::plan::start_info::{Assigned, shared_info_page};
use crate::plan::steps::{Affinity, CreateParams, Step, VcpuStart};
use crate::plan::vcpu::vcpu_context;
use crate::spec::{HostRange, StoreLimits, TscMode};
use libxc_safe::{
    CpuPolicy, CreateDomain, E820Entry, Leaf, Protection, Scheduler, SchedulerParameters, TscInfo,
    Xen,
};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use xen_sys::arch_x86::XEN_X86_MSR_RELAXED;
use xen_sys::grant_table::{GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE};
use xen_sys::types::{Domid, Gfn, GrantRef, Mfn, Port};
use xenstore::client::{Client, Nodes};
use xenstore::wire::{Reply, Request};

/// A create under way.
pub(super) struct Run<'a> {
    plan: &'a Plan,
    bytes: Bytes<'a>,
    xen: &'a Xen,
    domid: Option<Domid>,
    cpupool: u32,
    has_nodes: bool,
    /// Domains that were there when names were checked.
    known: BTreeSet<Domid>,
    /// Directories of [`TOP_DIRECTORIES`] that were not there before.
    absent: Vec<&'static str>,
    /// The domain's creation.
    pub(super) generation: u64,
    assigned: Assigned,
    /// Machine frames by pfn; empty before memory is populated.
    p2m: P2m,
    /// Contents of all page tables; empty before the p2m list is written.
    tables: Vec<u64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(plan: &'a Plan, bytes: Bytes<'a>, xen: &'a Xen) -> Self {
        Self {
            plan,
            bytes,
            xen,
            domid: None,
            cpupool: 0,
            has_nodes: false,
            known: BTreeSet::new(),
            absent: Vec::new(),
            generation: 0,
            assigned: Assigned::default(),
            p2m: P2m::default(),
            tables: Vec::new(),
        }
    }

    pub(super) fn plan(&self) -> &'a Plan {
        self.plan
    }

    pub(super) fn domid(&self) -> Option<Domid> {
        self.domid
    }

    /// Once nodes may have been written: directories that were not there before.
    pub(super) fn brought(&self) -> Option<&[&'static str]> {
        self.has_nodes.then_some(&self.absent)
    }

    /// Directories that are not there and will come with the first nodes.
    pub(super) fn absent(&self) -> &[&'static str] {
        &self.absent
    }

    /// The finished domain.
    pub(super) fn created(&self) -> Created {
        Created {
            domid: self.domid.unwrap_or_default(),
            uuid: self.plan.uuid,
            store_port: Port(self.assigned.store_port),
            store_mfn: Mfn(self.assigned.store_mfn),
            console_port: Port(self.assigned.console_port),
            console_mfn: Mfn(self.assigned.console_mfn),
            shared_info_mfn: Mfn(self.assigned.shared_info_mfn),
            generation: self.generation,
            console_domid: self.plan.console_domid,
            brought: self.absent.clone(),
        }
    }

    /// What the nodes need of a domain; fields of steps that have not been reached are 0.
    pub(super) fn live(&self, domid: Domid) -> Live {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Live {
            domid: domid.0,
            uuid: self.plan.uuid,
            console_domid: self.plan.console_domid,
            store_port: self.assigned.store_port,
            store_mfn: self.assigned.store_mfn,
            console_port: self.assigned.console_port,
            console_mfn: self.assigned.console_mfn,
            start_time_centis: since.as_secs() * 100 + u64::from(since.subsec_millis() / 10),
            generation: self.generation,
        }
    }

    /// Carries out one step.
    pub(super) fn step(
        &mut self,
        step: &Step,
        store: &mut Client,
        options: &mut ApplyOptions<'_>,
    ) -> Result<(), StepError> {
        match step {
            Step::CheckName { name } => self.check_name(name, store),
            Step::WriteIdentity { nodes } => self.write_identity(nodes, store),
            Step::StoreLimits(limits) => self.store_limits(limits, store),
            Step::Introduce { nodes } => self.introduce(nodes, store),
            _ => self.xen_step(step, options),
        }
    }

    /// Steps for which the hypervisor alone is needed.
    pub(super) fn xen_step(
        &mut self,
        step: &Step,
        options: &mut ApplyOptions<'_>,
    ) -> Result<(), StepError> {
        match step {
            Step::CreateDomain(params) => self.create_domain(params, options),
            Step::EventChannels { store_domid, console_domid } => {
                self.event_channels(Domid(*store_domid), Domid(*console_domid))
            }
            Step::SharedInfo => self.shared_info(),
            Step::ClaimMemory { pages } => self.claim(*pages),
            Step::PopulateMemory { pages, node } => {
                let domid = self.existing()?;
                self.p2m = populate(self.xen, domid, *pages, *node, options)?;
                self.assigned.store_mfn = self.mfn(self.plan.layout.store)?;
                self.assigned.console_mfn = self.mfn(self.plan.layout.console)?;
                Ok(())
            }
            Step::LoadKernel { loads } | Step::LoadRamdisk { loads } => {
                let domid = self.existing()?;
                for one in loads {
                    options.check_interrupted()?;
                    load(self.xen, domid, one, &self.p2m, self.bytes)?;
                }
                match (step, self.bytes) {
                    (Step::LoadKernel { .. }, Bytes::Files { kernel, .. }) => {
                        Ok(kernel.check_unchanged()?)
                    }
                    _ => Ok(()),
                }
            }
            Step::WriteP2m { frames } => self.write_p2m(*frames),
            Step::WriteBootPages { frames } => self.write_boot_pages(*frames),
            _ => self.simple_step(step),
        }
    }

    /// Steps that are one call to the hypervisor each and leave nothing to remember.
    fn simple_step(&mut self, step: &Step) -> Result<(), StepError> {
        let (xen, domid) = (self.xen, self.existing()?);
        match step {
            Step::MaxVcpus { vcpus } => xen.max_vcpus(domid, *vcpus)?,
            Step::NodeAffinity { nodes } => xen.set_node_affinity(domid, nodes)?,
            Step::VcpuAffinity { vcpus } => vcpu_affinity(xen, domid, vcpus)?,
            Step::MaxMemory { kib } => xen.set_max_mem_kib(domid, *kib)?,
            Step::MemoryMap { entries } => {
                let entry = |entry: &MapEntry| E820Entry {
                    address: entry.start,
                    bytes: entry.end.saturating_sub(entry.start),
                    kind: entry.kind,
                };
                xen.set_memory_map(domid, &entries.iter().map(entry).collect::<Vec<_>>())?;
            }
            Step::HostResources { ports, memory, irqs } => {
                host_resources(xen, domid, ports, memory, irqs)?;
            }
            Step::Tsc { mode } => xen.set_tsc_info(domid, tsc_info(*mode))?,
            Step::DisableMigrate => xen.disable_migrate(domid)?,
            Step::TimeOffset { seconds } => xen.set_time_offset(domid, *seconds)?,
            Step::CpuPolicy { leaves } => {
                let leaf = |l: &crate::plan::facts::CpuLeaf| Leaf {
                    leaf: l.leaf,
                    subleaf: l.subleaf,
                    a: l.a,
                    b: l.b,
                    c: l.c,
                    d: l.d,
                };
                let leaves = leaves.iter().map(leaf).collect();
                xen.set_cpu_policy(domid, &CpuPolicy { leaves, msrs: Vec::new() })?;
            }
            Step::AddressSize { bits } => xen.set_address_size(domid, *bits)?,
            Step::CancelClaim => xen.claim_pages(domid, 0)?,
            Step::ClearPages { frames } => clear(xen, domid, frames, &self.p2m)?,
            Step::HypercallPage { pfn } => xen.hypercall_init(domid, Mfn(self.mfn(*pfn)?))?,
            Step::PinTables { pfn } => xen.pin_l4(domid, Mfn(self.mfn(*pfn)?))?,
            Step::VcpuContext(start) => self.vcpu_context(domid, start)?,
            Step::SeedGrants { console_domid, store_domid } => {
                self.seed_grants(domid, Domid(*console_domid), Domid(*store_domid))?;
            }
            Step::SchedParams { weight, cap } => self.sched_params(domid, *weight, *cap)?,
            // The others are in `step` and `xen_step`.
            _ => return Err(StepError::Order { needed: "xenstored" }),
        }
        Ok(())
    }

    fn existing(&self) -> Result<Domid, StepError> {
        self.domid.ok_or(StepError::Order { needed: "create-domain" })
    }

    fn mfn(&self, pfn: u64) -> Result<u64, StepError> {
        self.p2m.mfn(pfn).ok_or(StepError::Order { needed: "populate-memory" })
    }

    /// Names are read for the domains the hypervisor knows, as xl does: a node that outlived its
    /// domain takes no name. The same round trip tells which top directories are missing.
    fn check_name(&mut self, name: &str, store: &mut Client) -> Result<(), StepError> {
        let domains = self.xen.domains()?;
        let ids = domains.iter().map(|info| (info.domid, info.uuid, info.dying));
        if let Some(domid) = bearer(ids, self.plan.uuid) {
            return Err(StepError::UuidTaken { domid });
        }
        let names = domains.iter().map(|info| Request::read(name_path(info.domid)));
        let tops = TOP_DIRECTORIES.iter().map(Request::read);
        let requests = tops.chain(names).collect::<Result<Vec<_>, _>>();
        let requests = requests.map_err(xenstore::client::Error::from)?;
        let mut replies = store.batch(&requests)?.into_iter();
        for (top, reply) in TOP_DIRECTORIES.into_iter().zip(&mut replies) {
            match reply {
                Err(error) if error.is_not_found() => self.absent.push(top),
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        for (info, reply) in domains.iter().zip(replies) {
            if has_name(name, reply)? {
                return Err(StepError::NameTaken { name: name.to_owned(), domid: info.domid });
            }
            self.known.insert(info.domid);
        }
        Ok(())
    }

    /// Two creates can find the same name free at once, and a rename can take it meanwhile. So each
    /// create looks again when its own name stands: at the domains of the first look, of which
    /// `holders` have the name now, and at those that came since. Whoever writes second sees the
    /// first. Of creates that see each other all but one give their names up, each in a transaction,
    /// so that the last one finds the others gone. Without a collision this asks xenstored nothing.
    fn check_name_again(
        &self,
        holders: &BTreeSet<Domid>,
        store: &mut Client,
    ) -> Result<(), StepError> {
        let own = self.existing()?;
        let mut others = self.xen.domains()?;
        others.retain(|info| {
            let looked_at = self.known.contains(&info.domid) && !holders.contains(&info.domid);
            info.domid != own && !looked_at
        });
        if others.is_empty() {
            return Ok(());
        }
        let name = &self.plan.name;
        let taken_by = store.transaction(|transaction| {
            for info in &others {
                let held = transaction.read_optional(name_path(info.domid))?;
                if held.as_deref() == Some(name.as_bytes()) {
                    transaction.rm(name_path(own))?;
                    return Ok::<_, xenstore::client::Error>(Some(info.domid));
                }
            }
            Ok(None)
        })?;
        match taken_by {
            Some(domid) => Err(StepError::NameTaken { name: name.clone(), domid }),
            None => Ok(()),
        }
    }

    fn create_domain(
        &mut self,
        params: &CreateParams,
        options: &ApplyOptions<'_>,
    ) -> Result<(), StepError> {
        let request = CreateDomain {
            uuid: params.uuid,
            max_vcpus: params.max_vcpus,
            max_event_channel_port: params.max_event_channel_port,
            max_grant_frames: params.max_grant_frames,
            max_maptrack_frames: params.max_maptrack_frames,
            max_grant_version: params.max_grant_version,
            cpupool: params.cpupool,
            iommu: params.passthrough,
            iommu_no_sharept: params.passthrough,
            misc_flags: if params.msr_relaxed { XEN_X86_MSR_RELAXED } else { 0 },
            ..CreateDomain::default()
        };
        // Xen gives every domid once before it gives one again.
        loop {
            let domid = self.xen.create_domain(&request)?;
            // Known before anything can fail: what is not known is not taken back.
            self.domid = Some(domid);
            if !options.recent.is_some_and(|recent| recent(domid)) {
                break;
            }
            self.xen.destroy(domid)?;
            self.domid = None;
            options.check_interrupted()?;
        }
        self.cpupool = params.cpupool;
        Ok(())
    }

    fn requests(&self, nodes: &[StoreOp]) -> Result<Vec<Request>, StepError> {
        let live = self.live(self.existing()?);
        Ok(resolve(nodes, &live).map_err(xenstore::client::Error::from)?)
    }

    fn write_identity(&mut self, nodes: &[StoreOp], store: &mut Client) -> Result<(), StepError> {
        let mut requests = self.requests(nodes)?;
        let written = requests.len();
        let names = self.known.iter().map(|domid| Request::read(name_path(*domid)));
        let names = names.collect::<Result<Vec<_>, _>>().map_err(xenstore::client::Error::from)?;
        // In one burst, and xenstored takes it in order: the names are read when ours stands.
        requests.extend(names);
        self.has_nodes = true;
        let mut replies = store.batch(&requests)?;
        let names = replies.split_off(written);
        check(&requests, replies)?;
        let mut holders = BTreeSet::new();
        for (domid, reply) in self.known.iter().zip(names) {
            if has_name(&self.plan.name, reply)? {
                holders.insert(*domid);
            }
        }
        self.check_name_again(&holders, store)
    }

    /// Nodes first, then the introduction: the daemons that it wakes find everything in place. Not
    /// in one burst, as they would run before its replies were written: xenstored answers late.
    fn introduce(&mut self, nodes: &[StoreOp], store: &mut Client) -> Result<(), StepError> {
        send(store, &self.requests(nodes)?)?;
        let domid = self.existing()?;
        let gfn = Gfn(self.assigned.store_mfn);
        Ok(store.introduce(domid, gfn, Port(self.assigned.store_port))?)
    }

    fn store_limits(&mut self, limits: &StoreLimits, store: &mut Client) -> Result<(), StepError> {
        let domid = self.existing()?;
        if let Some(mask) = limits.feature_mask {
            let refused = |source| StepError::StoreLimit { what: "features".to_owned(), source };
            let features = store.get_feature(None).map_err(refused)? & mask;
            store.set_feature(domid, features).map_err(refused)?;
        }
        for (name, limit) in &limits.quotas {
            let refused = |source| StepError::StoreLimit { what: format!("quota {name}"), source };
            store.set_quota(Some(domid), name, *limit).map_err(refused)?;
        }
        Ok(())
    }

    fn event_channels(&mut self, store: Domid, console: Domid) -> Result<(), StepError> {
        let domid = self.existing()?;
        self.assigned.store_port = self.xen.alloc_unbound(domid, store)?.0;
        self.assigned.console_port = self.xen.alloc_unbound(domid, console)?.0;
        Ok(())
    }

    fn claim(&self, pages: u64) -> Result<(), StepError> {
        let refused = match self.xen.claim_pages(self.existing()?, pages) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // ENOMEM says nothing of how much is missing; the host's numbers do.
        self.room(pages)?;
        Err(refused.into())
    }

    /// Whether the hypervisor has as much memory that nobody has claimed.
    fn room(&self, pages: u64) -> Result<(), StepError> {
        let info = self.xen.physinfo()?;
        let free = info.free_pages.saturating_sub(info.outstanding_pages);
        let kib = PAGE_BYTES / 1024;
        match free >= pages {
            true => Ok(()),
            false => Err(StepError::OutOfMemory {
                needed_kib: pages.saturating_mul(kib),
                free_kib: free.saturating_mul(kib),
            }),
        }
    }

    /// Looks at what a step would find, and changes nothing.
    pub(super) fn look(&mut self, step: &Step, store: &mut Client) -> Result<(), StepError> {
        match step {
            Step::CheckName { name } => self.check_name(name, store),
            Step::ClaimMemory { pages } => self.room(*pages),
            _ => Ok(()),
        }
    }

    fn shared_info(&mut self) -> Result<(), StepError> {
        let domid = self.existing()?;
        let frame = self.xen.existing_domain_info(domid)?.shared_info_frame;
        let mapping = self.xen.map_foreign(domid, &[frame], Protection::ReadWrite)?;
        mapping.write(0, shared_info_page().as_slice())?;
        self.assigned.shared_info_mfn = frame.0;
        Ok(())
    }

    /// The p2m list, zeros to the end of its last page, then the tables of its own mapping.
    fn write_p2m(&mut self, frames: Frames) -> Result<(), StepError> {
        let layout = &self.plan.layout;
        self.tables = page_tables(layout, &self.p2m)?;
        let gfns = gfns(&self.p2m, frames)?;
        let mapping = self.xen.map_foreign(self.existing()?, &gfns, Protection::ReadWrite)?;
        let list_bytes = self.p2m.pages() as usize * size_of::<u64>();
        let list_end = (layout.p2m.count * PAGE_BYTES) as usize;
        let page = PAGE_BYTES as usize;
        self.p2m.write(|index, frames| mapping.write_words(index * page, frames))?;
        mapping.zero(list_bytes, list_end.saturating_sub(list_bytes))?;
        let own = layout.tables.count as usize * ENTRIES;
        mapping.write_words(list_end, self.tables.get(own..).unwrap_or_default())?;
        Ok(self.xen.unmap_foreign(mapping)?)
    }

    /// Start info, empty rings, page tables.
    fn write_boot_pages(&mut self, frames: Frames) -> Result<(), StepError> {
        let layout = &self.plan.layout;
        let own = layout.tables.count as usize * ENTRIES;
        let Some(tables) = self.tables.get(..own) else {
            return Err(StepError::Order { needed: "write-p2m" });
        };
        let gfns = gfns(&self.p2m, frames)?;
        let mapping = self.xen.map_foreign(self.existing()?, &gfns, Protection::ReadWrite)?;
        let at = |pfn: u64| ((pfn - frames.start) * PAGE_BYTES) as usize;
        let page = self.plan.start_info.page(layout, &self.assigned);
        mapping.write(at(layout.start_info), page.as_slice())?;
        mapping.zero(at(layout.store), PAGE_BYTES as usize)?;
        mapping.zero(at(layout.console), PAGE_BYTES as usize)?;
        mapping.write_words(at(layout.tables.start), tables)?;
        Ok(self.xen.unmap_foreign(mapping)?)
    }

    fn vcpu_context(&self, domid: Domid, start: &VcpuStart) -> Result<(), StepError> {
        let context = vcpu_context(start, self.mfn(start.root_table_pfn)?);
        Ok(self.xen.set_vcpu_context(domid, 0, &context)?)
    }

    fn seed_grants(&self, domid: Domid, console: Domid, store: Domid) -> Result<(), StepError> {
        let grants = self.xen.map_grant_table(domid, 0, 1)?;
        let (console_ring, store_ring) = (self.assigned.console_mfn, self.assigned.store_mfn);
        grants.permit(GrantRef(GNTTAB_RESERVED_CONSOLE), console, Gfn(console_ring))?;
        grants.permit(GrantRef(GNTTAB_RESERVED_XENSTORE), store, Gfn(store_ring))?;
        Ok(())
    }

    /// Only what is named changes; the rest keeps the scheduler's default.
    fn sched_params(
        &self,
        domid: Domid,
        weight: Option<u16>,
        cap: Option<u16>,
    ) -> Result<(), StepError> {
        let pools = self.xen.cpupools()?;
        let pool = pools.iter().find(|pool| pool.id == self.cpupool);
        let scheduler = match pool {
            Some(pool) => pool.scheduler,
            None => self.xen.scheduler()?,
        };
        let refused = StepError::Scheduler { pool: self.cpupool, scheduler: scheduler.name() };
        if !matches!(scheduler, Scheduler::Credit | Scheduler::Credit2) {
            return Err(refused);
        }
        let new = match self.xen.scheduler_parameters(domid, scheduler)? {
            SchedulerParameters::Credit { weight: w, cap: c } => {
                SchedulerParameters::Credit { weight: weight.unwrap_or(w), cap: cap.unwrap_or(c) }
            }
            SchedulerParameters::Credit2 { weight: w, cap: c } => {
                SchedulerParameters::Credit2 { weight: weight.unwrap_or(w), cap: cap.unwrap_or(c) }
            }
            SchedulerParameters::Rtds(_) => return Err(refused),
        };
        Ok(self.xen.set_scheduler_parameters(domid, new)?)
    }
}

fn vcpu_affinity(xen: &Xen, domid: Domid, vcpus: &[Affinity]) -> Result<(), StepError> {
    for affinity in vcpus {
        let (hard, soft) = (affinity.hard.as_deref(), affinity.soft.as_deref());
        xen.set_vcpu_affinity(domid, affinity.vcpu, hard, soft)?;
    }
    Ok(())
}

/// An interrupt line has to be known to the domain before it may be bound.
fn host_resources(
    xen: &Xen,
    domid: Domid,
    ports: &[HostRange],
    memory: &[HostRange],
    irqs: &[u32],
) -> Result<(), StepError> {
    for range in ports {
        // Ports are 16 bits wide, so that both numbers fit.
        xen.set_ioport_permission(domid, range.first as u32, range.count as u32, true)?;
    }
    for range in memory {
        xen.set_iomem_permission(domid, Mfn(range.first), range.count, true)?;
    }
    for irq in irqs {
        let pirq = xen.map_gsi(domid, *irq)?;
        xen.set_irq_permission(domid, pirq, true)?;
    }
    Ok(())
}

fn tsc_info(mode: TscMode) -> TscInfo {
    let mode = match mode {
        TscMode::Default => 0,
        TscMode::AlwaysEmulate => 1,
        TscMode::Native => 2,
    };
    TscInfo { mode, khz: 0, elapsed_ns: 0, incarnation: 0 }
}

fn name_path(domid: Domid) -> String {
    format!("/local/domain/{domid}/name")
}

/// The domain that bears a UUID. One that is being taken down does not count: what remains of it is
/// memory that is still given back, and a domain that is started again keeps its UUID.
fn bearer(
    domains: impl IntoIterator<Item = (Domid, [u8; 16], bool)>,
    uuid: [u8; 16],
) -> Option<Domid> {
    let mut alive = domains.into_iter().filter(|(_, _, dying)| !dying);
    alive.find(|(_, other, _)| *other == uuid).map(|(domid, ..)| domid)
}

/// Whether a domain has this name, by the reply to reading its own.
fn has_name(
    name: &str,
    reply: Result<Reply, xenstore::client::Error>,
) -> Result<bool, xenstore::client::Error> {
    match reply {
        Ok(Reply::Value(value)) => Ok(value == name.as_bytes()),
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a burst of requests that must succeed.
fn send(store: &mut Client, requests: &[Request]) -> Result<(), StepError> {
    let replies = store.batch(requests)?;
    check(requests, replies)
}

/// The first refusal; that there is nothing to remove is none.
fn check(
    requests: &[Request],
    replies: Vec<Result<Reply, xenstore::client::Error>>,
) -> Result<(), StepError> {
    for (request, reply) in requests.iter().zip(replies) {
        match reply {
            Err(error) if matches!(request, Request::Rm(_)) && error.is_not_found() => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_belongs_to_the_living() {
        let check = |domains: &[(u16, u8, bool)], bears: Option<u16>| {
            let ids = domains.iter().map(|&(domid, uuid, dying)| (Domid(domid), [uuid; 16], dying));
            assert_eq!(bearer(ids, [7; 16]), bears.map(Domid), "{domains:?}");
        };
        check(&[], None);
        check(&[(0, 0, false), (1, 8, false)], None);
        check(&[(0, 0, false), (1, 7, false)], Some(1));
        check(&[(1, 7, true)], None);
        check(&[(1, 7, true), (2, 7, false)], Some(2));
    }

    #[test]
    fn names_are_compared_to_the_byte() {
        let check = |held: &str, wanted: &str, same: bool| {
            let reply = Ok(Reply::Value(held.as_bytes().to_vec()));
            assert_eq!(has_name(wanted, reply).unwrap(), same, "{held:?}");
        };
        check("guest", "guest", true);
        check("guest", "gues", false);
        check("gues", "guest", false);
        check("Guest", "guest", false);
        check("", "guest", false);
    }
}
