//! `vcpu-pin`: choose the CPUs that vcpus may and should run on.

use super::error::CommandError;
use super::{domain, print};
use crate::cli::VcpuPinArgs;
use crate::cli::number::digits;
use crate::config::cpulist;
use crate::output::bitmap;
use libxc_safe::Xen;
use std::ops::Range;
use xenstore::client::Client;

/// Leaves an affinity as it is.
const KEEP: &str = "-";
/// Every vcpu.
const ALL: &str = "all";

/// Runs the command; a dry run prints the sets instead of applying them, as under xl.
pub fn run(arguments: &VcpuPinArgs, dry_run: bool) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let info = domain::find(&xen, &mut Client::connect()?, &arguments.domain)?;
    let count = info.max_vcpu_id.map_or(0, |highest| highest.saturating_add(1));
    let vcpus = match arguments.vcpu.as_str() {
        ALL if arguments.force => return Err(CommandError::ForceAll),
        ALL => 0..count,
        number => {
            let vcpu = digits(number).filter(|vcpu: &u32| *vcpu < count);
            let vcpu = vcpu.ok_or_else(|| CommandError::NoSuchVcpu {
                given: number.to_owned(),
                domid: info.domid.0,
                count,
            })?;
            vcpu..vcpu.saturating_add(1)
        }
    };
    let hard = cpus(&xen, &arguments.hard)?;
    let soft = arguments.soft.as_deref().map(|text| cpus(&xen, text)).transpose()?.flatten();
    if dry_run {
        let cpus = domain::cpus(&xen)?;
        let text = |set: &Option<Vec<u32>>| {
            set.as_ref().map_or_else(|| String::from(KEEP), |set| bitmap::text(set, &cpus))
        };
        let mut line = format!("cpumap: {}", text(&hard));
        if soft.is_some() {
            line.push_str(&format!(" {}", text(&soft)));
        }
        return print(format!("{line}\n").as_bytes());
    }
    if hard.is_none() && soft.is_none() {
        return Err(CommandError::NothingToPin);
    }
    for vcpu in vcpus.clone() {
        let (hard, soft) = (hard.as_deref(), soft.as_deref());
        let set = match arguments.force {
            true => xen.force_vcpu_affinity(info.domid, vcpu, hard, soft),
            false => xen.set_vcpu_affinity(info.domid, vcpu, hard, soft),
        };
        set.map_err(|source| CommandError::Pin {
            domid: info.domid.0,
            vcpu,
            done: done(vcpus.start..vcpu),
            source,
        })?;
    }
    Ok(())
}

/// How far it came before the vcpu that failed.
fn done(vcpus: Range<u32>) -> String {
    match (vcpus.len(), vcpus.end.saturating_sub(1)) {
        (0, _) => String::from("nothing was changed"),
        (1, _) => format!("vcpu {} is pinned, the others are as before", vcpus.start),
        (_, last) => {
            format!("vcpus {} to {last} are pinned, the others are as before", vcpus.start)
        }
    }
}

/// The CPUs that a list names; none where the affinity is to be left alone.
fn cpus(xen: &Xen, text: &str) -> Result<Option<Vec<u32>>, CommandError> {
    if text == KEEP {
        return Ok(None);
    }
    let bad = |problem: String| CommandError::BadCpus { text: text.to_owned(), problem };
    let terms = cpulist::parse(text)
        .map_err(|at| bad(format!("not understood from {:?} on", text.get(at..).unwrap_or(""))))?;
    let places = xen.cpu_topology()?;
    let nodes: Vec<Option<u32>> =
        places.iter().map(|place| place.map(|place| place.node.unwrap_or(0))).collect();
    let set = cpulist::resolve(&terms, &nodes).map_err(bad)?;
    Ok(Some(set.0))
}

#[cfg(test)]
mod tests {
    use super::done;

    #[test]
    fn how_far_it_came() {
        for (vcpus, expected) in [
            (0..0, "nothing was changed"),
            (3..3, "nothing was changed"),
            (0..1, "vcpu 0 is pinned, the others are as before"),
            (0..3, "vcpus 0 to 2 are pinned, the others are as before"),
        ] {
            assert_eq!(done(vcpus.clone()), expected, "{vcpus:?}");
        }
    }
}
