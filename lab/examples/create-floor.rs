//! The floor of `create`: the hypercalls of a plan, without files, parsing and store.
//!
//!     create-floor PLAN.json KERNEL [RAMDISK]
//!
//! Builds one domain from the plan that `xlr create --dry-run=json` printed, prints the nanoseconds
//! that took on standard output, and below it each step with its own, and destroys the domain.
//! Measured is from after the preparation to the end of the last hypercall: reading the plan, reading
//! kernel and ramdisk into memory and opening devices lie before it; copying both into the guest lies
//! in it, and so does unmapping.
#![forbid(unsafe_code)]

use domain_builder::apply::{ApplyOptions, Progress, floor};
use domain_builder::image::{CacheOptions, load};
use domain_builder::plan::Plan;
use libxc_safe::Xen;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.as_slice() {
        [plan, kernel] => measure(plan, kernel, None),
        [plan, kernel, ramdisk] => measure(plan, kernel, Some(ramdisk)),
        _ => Err("create-floor PLAN.json KERNEL [RAMDISK]".into()),
    };
    match done {
        Ok((nanoseconds, steps)) => {
            println!("{nanoseconds}");
            for (step, nanoseconds) in steps {
                println!("{step} {nanoseconds}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("create-floor: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

/// Nanoseconds of the whole, and of each step.
type Took = (u128, Vec<(&'static str, u128)>);

fn measure(plan: &str, kernel: &str, ramdisk: Option<&String>) -> Result<Took, Box<dyn Error>> {
    let plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
    let kernel = load(Path::new(kernel), &CacheOptions::default())?;
    let ramdisk = ramdisk.map(File::open).transpose()?;
    let prepared = floor::prepare(&plan, &kernel, ramdisk.as_ref())?;
    let xen = Xen::open()?;
    let mut steps = Vec::with_capacity(plan.steps.len());
    let start = Instant::now();
    let mut last = start;
    let mut observer = |progress: Progress<'_>| {
        match progress {
            Progress::Begin { .. } => last = Instant::now(),
            Progress::End { step, .. } => steps.push((step.name(), last.elapsed().as_nanos())),
        }
        Ok(())
    };
    let options = ApplyOptions { observer: Some(&mut observer), ..ApplyOptions::default() };
    let created = floor::replay(&plan, &prepared, &xen, options)?;
    let took = start.elapsed().as_nanos();
    xen.destroy(created.domid)?;
    Ok((took, steps))
}
