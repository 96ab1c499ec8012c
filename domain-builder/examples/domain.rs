//! The builder without a toolstack around it: makes, destroys and describes PV domains.
//!
//!     domain create NAME MEMORY_MIB VCPUS KERNEL RAMDISK|- CMDLINE [FAIL_BEFORE_STEP]
//!     domain floor NAME MEMORY_MIB VCPUS KERNEL RAMDISK|- CMDLINE
//!                                 the same hypercalls alone, timed; the domain is destroyed again
//!     domain destroy DOMID
//!     domain policy DOMID         the CPUID leaves and MSRs that the domain is shown
//!     domain context DOMID        the first vcpu's registers
//!
//! `PAUSED=1` leaves a new domain paused; `STOP_BEFORE_STEP=N` stops the process there by SIGSTOP.

use domain_builder::apply::{ApplyOptions, Progress, apply, floor};
use domain_builder::image::{CacheOptions, KernelImage, Ramdisk, load};
use domain_builder::plan::facts::HostFacts;
use domain_builder::plan::{Plan, plan};
use domain_builder::spec::DomainSpec;
use domain_builder::undo::{self, DestroyError, Identity};
use libxc_safe::{Domid, Xen};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use xenstore::client::Client;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["create", name, memory, vcpus, kernel, ramdisk, cmdline] => {
            create(&spec(name, memory, vcpus, kernel, ramdisk, cmdline), None)
        }
        ["create", name, memory, vcpus, kernel, ramdisk, cmdline, fail] => {
            create(&spec(name, memory, vcpus, kernel, ramdisk, cmdline), fail.parse().ok())
        }
        ["floor", name, memory, vcpus, kernel, ramdisk, cmdline] => {
            replay(&spec(name, memory, vcpus, kernel, ramdisk, cmdline))
        }
        ["destroy", domid] => remove(number(domid)),
        ["policy", domid] => policy(number(domid)),
        ["context", domid] => context(number(domid)),
        _ => Err("domain create|destroy|policy|context".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("domain: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}

fn number(text: &str) -> Domid {
    Domid(text.parse().unwrap_or_default())
}

fn spec(
    name: &str,
    memory: &str,
    vcpus: &str,
    kernel: &str,
    ramdisk: &str,
    cmdline: &str,
) -> DomainSpec {
    let memory_kib = memory.parse::<u64>().unwrap_or_default() * 1024;
    let vcpus = vcpus.parse().unwrap_or_default();
    let mut uuid = [0xe2; 16];
    for (byte, letter) in uuid.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    DomainSpec {
        ramdisk: (ramdisk != "-").then(|| ramdisk.into()),
        cmdline: cmdline.to_owned(),
        vcpus,
        max_vcpus: vcpus,
        ..DomainSpec::new(name, uuid, kernel, memory_kib)
    }
}

/// Everything a create needs.
struct Job {
    xen: Xen,
    store: Client,
    kernel: KernelImage,
    ramdisk: Option<Ramdisk>,
    plan: Plan,
}

fn prepare(spec: &DomainSpec) -> Result<Job, Box<dyn Error>> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let kernel = load(&spec.kernel, &CacheOptions::default())?;
    let ramdisk = spec.ramdisk.as_deref().map(Ramdisk::open).transpose()?;
    let ramdisk_bytes = ramdisk.as_ref().map(Ramdisk::bytes);
    let host = HostFacts::read(&xen, &mut store, spec)?;
    let plan = plan(spec, &kernel, ramdisk_bytes, &host)?;
    Ok(Job { xen, store, kernel, ramdisk, plan })
}

fn replay(spec: &DomainSpec) -> Result<(), Box<dyn Error>> {
    let job = prepare(spec)?;
    let prepared = floor::prepare(&job.plan, &job.kernel, job.ramdisk.as_ref().map(Ramdisk::file))?;
    let start = Instant::now();
    let created = floor::replay(&job.plan, &prepared, &job.xen, ApplyOptions::default())?;
    println!("{:>9} us floor", start.elapsed().as_micros());
    Ok(job.xen.destroy(created.domid)?)
}

fn create(spec: &DomainSpec, fail_before_step: Option<usize>) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let Job { xen, mut store, kernel, ramdisk, plan } = prepare(spec)?;
    println!("{:>9} us before the first step", begin.elapsed().as_micros());
    let start = Instant::now();
    let mut last = start;
    let stop_before = std::env::var("STOP_BEFORE_STEP").ok().and_then(|text| text.parse().ok());
    let mut observer = |progress: Progress<'_>| match progress {
        Progress::Begin { index, .. } if stop_before == Some(index) => {
            stop();
            Ok(())
        }
        Progress::Begin { .. } => Ok(()),
        Progress::End { step, .. } => {
            println!("{:>9} us {}", last.elapsed().as_micros(), step.name());
            last = Instant::now();
            Ok(())
        }
    };
    let options =
        ApplyOptions { fail_before_step, observer: Some(&mut observer), ..ApplyOptions::default() };
    let created = apply(&plan, &kernel, ramdisk.as_ref(), &xen, &mut store, options)?;
    println!("{:>9} us in all, {:?}", start.elapsed().as_micros(), store.counters());
    println!("domain {}", created.domid);
    if std::env::var_os("PAUSED").is_none() {
        xen.unpause(created.domid)?;
    }
    Ok(())
}

/// Stops this process until somebody sends SIGCONT, so that the host can be changed between steps.
fn stop() {
    let own = std::process::id().to_string();
    if let Err(error) = std::process::Command::new("kill").args(["-STOP", &own]).status() {
        eprintln!("domain: cannot stop: {error}");
    }
}

fn remove(domid: Domid) -> Result<(), Box<dyn Error>> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let identity = Identity::of(&xen, domid)?;
    let domid = identity.domid;
    let (what, has_devices) = undo::destroyable(&xen, &mut store, &identity)?;
    if has_devices {
        return Err("it has devices, which only a toolstack can detach".into());
    }
    let left = undo::remove(&xen, &mut store, &what);
    if left.is_empty() { Ok(()) } else { Err(DestroyError::Left { domid, left }.into()) }
}

fn policy(domid: Domid) -> Result<(), Box<dyn Error>> {
    let policy = Xen::open()?.cpu_policy(domid)?;
    for leaf in &policy.leaves {
        println!(
            "{:08x}:{:08x} {:08x} {:08x} {:08x} {:08x}",
            leaf.leaf, leaf.subleaf, leaf.a, leaf.b, leaf.c, leaf.d
        );
    }
    for msr in &policy.msrs {
        println!("{:08x} {:016x}", msr.index, msr.value);
    }
    Ok(())
}

fn context(domid: Domid) -> Result<(), Box<dyn Error>> {
    let xen = Xen::open()?;
    let context = xen.vcpu_context(domid, 0)?;
    println!("{:?} flags={:#x}", context.user_regs, context.flags);
    println!("cr={:x?} dr={:x?}", context.ctrlreg, context.debugreg);
    println!("{:?}", xen.domain_info(domid)?);
    Ok(())
}
