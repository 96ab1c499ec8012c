//! `vcpu-set`: how many vcpus of a domain are online. The guest's kernel carries it out, told through
//! xenstore.

use super::domain;
use super::error::CommandError;
use crate::cli::VcpuSetArgs;
use libxc_safe::Xen;
use xenstore::client::{Client, Nodes as _};
use xenstore::wire::Request;

/// Runs the command.
pub fn run(arguments: &VcpuSetArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    let max = info.max_vcpu_id.map_or(0, |highest| highest.saturating_add(1));
    let (wanted, domid) = (arguments.count, info.domid.0);
    if wanted == 0 || wanted > max {
        return Err(CommandError::VcpuCount { wanted, max, domid });
    }
    let cpus = xen.physinfo()?.cpus;
    if wanted > cpus && wanted > info.online_vcpus && !arguments.ignore_host {
        return Err(CommandError::MoreVcpusThanCpus { wanted, cpus });
    }
    let requests = (0..max)
        .map(|vcpu| {
            let node = format!("/local/domain/{domid}/cpu/{vcpu}/availability");
            Request::write(node, if vcpu < wanted { "online" } else { "offline" })
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(xenstore::client::Error::from)?;
    store.transaction(|transaction| {
        // Without this a domain that has just gone would leave these nodes behind.
        if !transaction.exists(format!("/local/domain/{domid}"))? {
            return Err(CommandError::NoSuchDomid { domid });
        }
        transaction.batch_all(&requests)?;
        Ok(())
    })
}
