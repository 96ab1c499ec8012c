//! `vcpu-list`: where vcpus run, may run and should run.

use super::domain::{self, Named};
use super::error::CommandError;
use super::{list, print, print_json};
use crate::cli::VcpuListArgs;
use crate::output::vcpus::{VcpuRow, table};
use libxc_safe::{Errno, Error, Xen};
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &VcpuListArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let all = domain::all(&xen, &mut Client::connect()?)?;
    let (chosen, missing) = list::choose(all, &arguments.domains);
    if let Some(error) = missing.into_iter().next() {
        return Err(error);
    }
    if arguments.json {
        return print_json(&serde_json::to_value(rows(&xen, &chosen)?).unwrap_or_default());
    }
    print(text(&xen, &chosen)?.as_bytes())
}

/// The vcpus of these domains as a table.
pub fn text(xen: &Xen, domains: &[Named]) -> Result<String, CommandError> {
    let rows = rows(xen, domains)?;
    Ok(table(&rows, &domain::cpus(xen)?))
}

fn rows(xen: &Xen, domains: &[Named]) -> Result<Vec<VcpuRow>, CommandError> {
    let mut rows = Vec::new();
    for domain in domains {
        rows.extend(vcpus(xen, domain)?);
    }
    Ok(rows)
}

/// The vcpus of one domain; none of one that has gone, or has no vcpus yet.
fn vcpus(xen: &Xen, domain: &Named) -> Result<Vec<VcpuRow>, CommandError> {
    let domid = domain.info.domid;
    let count = domain.info.max_vcpu_id.map_or(0, |highest| highest.saturating_add(1));
    let mut rows = Vec::new();
    for vcpu in 0..count {
        let found =
            xen.vcpu_info(domid, vcpu).and_then(|info| Ok((info, xen.vcpu_affinity(domid, vcpu)?)));
        match found {
            Ok((info, affinity)) => {
                rows.push(VcpuRow::new((domain.name.clone(), domid), vcpu, &info, affinity));
            }
            // A number may stand for no vcpu.
            Err(Error::Hypercall { errno: Errno::SRCH, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}
