//! The floor of `create`: the hypercalls of a plan, without files, parsing and store.
//!
//!     create-floor PLAN.json KERNEL [RAMDISK]
//!
//! Builds one domain from the plan that `xlr create --dry-run=json` printed, leaving out the steps
//! that speak with xenstore, prints the nanoseconds that took on standard output, and destroys it.
//! Reading the plan, decoding the kernel and opening devices lie outside the measured time; copying
//! kernel and ramdisk into the guest lies inside it.
#![forbid(unsafe_code)]

use domain_builder::apply::{ApplyOptions, apply};
use domain_builder::image::{CacheOptions, load};
use domain_builder::plan::Plan;
use domain_builder::plan::steps::Step;
use libxc_safe::Xen;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use xenstore::client::Client;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.as_slice() {
        [plan, kernel] => measure(plan, kernel, None),
        [plan, kernel, ramdisk] => measure(plan, kernel, Some(ramdisk)),
        _ => Err("create-floor PLAN.json KERNEL [RAMDISK]".into()),
    };
    match done {
        Ok(nanoseconds) => {
            println!("{nanoseconds}");
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

fn measure(plan: &str, kernel: &str, ramdisk: Option<&String>) -> Result<u128, Box<dyn Error>> {
    let mut plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
    let store = |step: &Step| {
        matches!(step, Step::CheckName { .. } | Step::WriteIdentity { .. } | Step::Introduce { .. })
    };
    plan.steps.retain(|step| !store(step));
    let kernel = load(Path::new(kernel), &CacheOptions::default())?;
    let ramdisk = ramdisk.map(File::open).transpose()?;
    let xen = Xen::open()?;
    // Wanted by the signature; no step that is left uses it.
    let mut unused = Client::connect()?;
    let start = Instant::now();
    let options = ApplyOptions::default();
    let created = apply(&plan, &kernel, ramdisk.as_ref(), &xen, &mut unused, options)?;
    let took = start.elapsed();
    xen.destroy(created.domid)?;
    Ok(took.as_nanos())
}
