//! Guest memory: in single pages where no large extents are left, of any size, and never claimed
//! for longer than a create takes.

use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, report, run};
use crate::{ensure, fail};
use libxc_safe::{CreateDomain, Domid, Gfn, MemoryFlags, Xen};

/// The cases of this topic.
pub const CASES: &[Case] = &[
    Case::new("memory/odd-sizes", Group::Create, odd_sizes),
    Case::new("memory/claims-are-given-back", Group::Create, claims),
    Case { limit_seconds: 240, ..Case::new("memory/fragmented", Group::Create, fragmented) },
];

fn failed(error: libxc_safe::Error) -> Stop {
    Stop::Failed(error.to_string())
}

fn hypervisor() -> Result<Xen, Stop> {
    Xen::open().map_err(failed)
}

fn linux(name: &str, memory_mib: u64) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
             ramdisk = \"/guest/initramfs.gz\"\nextra = \"console=hvc0\"\n\
             memory = {memory_mib}\nvcpus = 1\n"
        ),
    )
}

/// Starts a Linux guest, lets it report, and compares with the hypervisor's count.
fn boots(name: &str, memory_mib: u64) -> Verdict {
    let path = linux(name, memory_mib)?;
    let mut log = console(name)?;
    run(&format!("/bin/xlr create {path}"))?.success()?;
    await_text(&mut log, "xlr-guest: ready", 90)?;
    has_pages(name, memory_mib)?;
    let seen = report(&log.text).get("memory_kib").and_then(|kib| kib.parse().ok());
    ensure!(seen == Some(memory_mib * 1024), "the guest sees {seen:?} KiB of {memory_mib} MiB");
    run(&format!("/bin/xlr destroy {name}"))?.success()?;
    Ok(())
}

/// Fails unless the hypervisor counts exactly so much for the domain.
fn has_pages(name: &str, memory_mib: u64) -> Verdict {
    let id = domid(name)?.and_then(|id| u16::try_from(id).ok()).unwrap_or_default();
    let info = hypervisor()?.existing_domain_info(Domid(id)).map_err(failed)?;
    let found = (info.tot_pages, info.outstanding_pages);
    ensure!(found == (memory_mib * 256, 0), "{name} of {memory_mib} MiB has {found:?} pages");
    Ok(())
}

/// Sizes that are no whole number of 2 MiB extents, down to one that has hardly any.
fn odd_sizes() -> Verdict {
    boots("odd", 65)?;
    for memory_mib in [5, 8, 9] {
        let name = format!("micro-{memory_mib}");
        let path = config(
            &name,
            &format!(
                "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/xtf/start-check\"\n\
                 extra = \"memory_kib={} vcpus=1 name={name}\"\nmemory = {memory_mib}\nvcpus = 1\n",
                memory_mib * 1024
            ),
        )?;
        let mut log = console(&name)?;
        run(&format!("/bin/xlr create {path}"))?.success()?;
        has_pages(&name, memory_mib)?;
        await_text(&mut log, "Test result: SUCCESS", 30)?;
        run(&format!("/bin/xlr destroy {name}"))?.success()?;
    }
    Ok(())
}

/// What a create claims it uses or gives back: when it fails, and when it succeeds.
fn claims() -> Verdict {
    let path = linux("claiming", 128)?;
    let plan = run(&format!("/bin/xlr create --dry-run=json {path}"))?.success()?;
    let plan: serde_json::Value = serde_json::from_str(&plan.out)?;
    let names: Vec<&str> = plan["steps"]
        .as_array()
        .map(|steps| steps.iter().filter_map(|step| step["step"].as_str()).collect())
        .unwrap_or_default();
    let place = |name: &str| names.iter().position(|found| *found == name);
    let (Some(claim), Some(populate)) = (place("claim-memory"), place("populate-memory")) else {
        fail!("the plan claims or populates nothing: {names:?}");
    };
    ensure!(claim < populate, "memory is claimed after it is taken: {names:?}");
    let xen = hypervisor()?;
    let free = xen.physinfo().map_err(failed)?.free_pages;
    for step in [claim, claim + 1, populate + 1] {
        let step = step.to_string();
        argv(&["/bin/xlr", "create", "--fail-before-step", &step, &path])?.failure()?;
        no_page_claimed(&xen, &format!("a failure before step {step}"))?;
    }
    // More than there is: refused at the claim, before anything is taken.
    let greedy = format!("memory={}", free / 256 - 8);
    let said = argv(&["/bin/xlr", "create", "-p", &path, &greedy, "name=\"greedy\""])?;
    let hungry = argv(&["/bin/xlr", "create", "-p", &path, "name=\"hungry\""])?;
    no_page_claimed(&xen, "a create that took nearly all")?;
    if said.code == 0 {
        argv(&["/bin/xlr", "destroy", "greedy"])?.success()?;
    }
    said.success()?;
    let hungry = hungry.failure()?;
    let word = hungry.err.contains("(claim-memory)") && hungry.err.contains("KiB free");
    ensure!(word, "more than is free: {}", hungry.err);
    argv(&["/bin/xlr", "create", "-p", &path])?.success()?;
    nothing_claimed(&xen, "a create")?;
    argv(&["/bin/xlr", "destroy", "claiming"])?.success()?;
    Ok(())
}

fn no_page_claimed(xen: &Xen, after: &str) -> Verdict {
    let pages = xen.physinfo().map_err(failed)?.outstanding_pages;
    ensure!(pages == 0, "{pages} pages are claimed after {after}");
    Ok(())
}

/// The same, and both tools say so.
fn nothing_claimed(xen: &Xen, after: &str) -> Verdict {
    no_page_claimed(xen, after)?;
    let theirs = run("/xen/bin/xl info outstanding_claims")?.success()?.out;
    let ours = run("/bin/xlr info outstanding_claims")?.success()?.out;
    ensure!(theirs.trim() == "0" && ours == theirs, "after {after}: xl {theirs}, xlr {ours}");
    Ok(())
}

/// No 2 MiB extent is free: the guest gets its memory in smaller parts, all of it, and boots.
fn fragmented() -> Verdict {
    let xen = hypervisor()?;
    let hog = Hog::new(&xen)?;
    hog.take_all()?;
    ensure!(!hog.finds_large()?, "a 2 MiB extent is free after fragmentation");
    let free_mib = xen.physinfo().map_err(failed)?.free_pages / 256;
    ensure!(free_mib > 128, "only {free_mib} MiB are free");
    boots("crumbs", 64)?;
    ensure!(!hog.finds_large()?, "a 2 MiB extent was free all the time");
    Ok(())
}

/// A domain that holds memory, until it is dropped.
struct Hog<'a> {
    xen: &'a Xen,
    domid: Domid,
}

impl<'a> Hog<'a> {
    /// Pages per call.
    const BATCH: usize = 32768;
    /// log2 of the pages of 2 MiB.
    const LARGE: u32 = 9;
    /// Of each 2 MiB this many neighbours stay free, for what the hypervisor itself needs in one
    /// piece; of the others every second.
    const NEIGHBOURS: u64 = 32;

    fn new(xen: &'a Xen) -> Result<Hog<'a>, Stop> {
        let request = CreateDomain {
            uuid: [0x99; 16],
            max_vcpus: 1,
            max_event_channel_port: 127,
            ..CreateDomain::default()
        };
        let domid = xen.create_domain(&request).map_err(failed)?;
        let hog = Hog { xen, domid };
        xen.set_max_mem_kib(domid, 1 << 30).map_err(failed)?;
        Ok(hog)
    }

    /// Takes all free memory page by page, then gives back every second page.
    fn take_all(&self) -> Verdict {
        let mut held = Vec::new();
        loop {
            let first = held.len() as u64;
            let mut frames: Vec<u64> = (first..first + Self::BATCH as u64).collect();
            let done = self.populate(0, &mut frames)?;
            held.extend_from_slice(&frames[..done]);
            if done < frames.len() {
                break;
            }
        }
        let extent = 1 << Self::LARGE;
        let back: Vec<Gfn> = held
            .iter()
            .filter(|frame| *frame % 2 == 1 || *frame % extent < Self::NEIGHBOURS)
            .map(|frame| Gfn(*frame))
            .collect();
        for part in back.chunks(Self::BATCH) {
            let done = self.xen.decrease_reservation(self.domid, 0, part).map_err(failed)?;
            ensure!(done == part.len(), "only {done} of {} pages were taken back", part.len());
        }
        eprintln!("held {} pages, gave back {}", held.len(), back.len());
        Ok(())
    }

    fn populate(&self, order: u32, frames: &mut [u64]) -> Result<usize, Stop> {
        self.xen.populate_physmap(self.domid, order, MemoryFlags::ANY, frames).map_err(failed)
    }

    /// Whether an extent of 2 MiB can be had; it is kept then.
    fn finds_large(&self) -> Result<bool, Stop> {
        Ok(self.populate(Self::LARGE, &mut [1 << 30])? > 0)
    }
}

impl Drop for Hog<'_> {
    fn drop(&mut self) {
        // A hog that stays is a leftover that fails the case.
        if let Err(error) = self.xen.destroy(self.domid) {
            eprintln!("the hog stays: {error}");
        }
    }
}
