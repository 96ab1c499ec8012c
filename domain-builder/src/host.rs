//! Asks the host what a plan needs to know of it.
//!
//! In: the open hypervisor and store. Out: [`HostFacts`]. The only part of the planning that does
//! I/O; two calls to the hypervisor for CPUID policies, one for sizes, one round trip to xenstored.

use crate::plan::cpuid::host_cpu;
use crate::plan::facts::{CpuLeaf, HostFacts};
use libxc_safe::{CpuPolicy, SystemPolicy, Xen};
use xenstore::client::{Client, Nodes};
use xenstore::wire::{Reply, Request};

/// Why the host's facts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The hypervisor did not answer.
    #[error("cannot ask the hypervisor about this host")]
    Xen(#[from] libxc_safe::Error),
    /// xenstored did not answer.
    #[error("cannot ask xenstored about this host")]
    Store(#[from] xenstore::client::Error),
    /// A node of xenstored's or xenconsoled's own that makes no sense.
    #[error("{path} holds {value:?}, which is no domain number; restart the daemon that wrote it")]
    Daemon {
        /// The node.
        path: &'static str,
        /// Its value.
        value: String,
    },
}

const STORE_DOMID: &str = "/tool/xenstored/domid";
const CONSOLE_DOMID: &str = "/tool/xenconsoled/domid";

impl HostFacts {
    /// Reads the facts.
    ///
    /// # Errors
    /// [`HostError`]; a daemon that does not say which domain it runs in is taken to be in dom0.
    pub fn read(xen: &Xen, store: &mut Client) -> Result<Self, HostError> {
        let physinfo = xen.physinfo()?;
        let host = leaves(&xen.system_cpu_policy(SystemPolicy::Host)?);
        let pv_default = leaves(&xen.system_cpu_policy(SystemPolicy::PvDefault)?);
        let replies = store.batch(
            &[Request::read(STORE_DOMID), Request::read(CONSOLE_DOMID)]
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map_err(xenstore::client::Error::from)?,
        )?;
        let mut domids = [STORE_DOMID, CONSOLE_DOMID].into_iter().zip(replies).map(domid);
        let mut next = || domids.next().unwrap_or(Ok(0));
        Ok(Self {
            xen_version: xen.release(),
            // Releases before 4.16 do not say, and do not ask.
            max_grant_version: if physinfo.capabilities.grants_v2() { 2 } else { 1 },
            cpu: host_cpu(&host, &pv_default),
            numa_nodes: physinfo.nodes,
            cpus: physinfo.max_cpu_id + 1,
            store_domid: next()?,
            console_domid: next()?,
        })
    }
}

fn leaves(policy: &CpuPolicy) -> Vec<CpuLeaf> {
    let leaf = |l: &libxc_safe::Leaf| CpuLeaf {
        leaf: l.leaf,
        subleaf: l.subleaf,
        a: l.a,
        b: l.b,
        c: l.c,
        d: l.d,
    };
    policy.leaves.iter().map(leaf).collect()
}

fn domid(
    (path, reply): (&'static str, Result<Reply, xenstore::client::Error>),
) -> Result<u16, HostError> {
    match reply {
        Ok(Reply::Value(value)) => {
            let text = String::from_utf8_lossy(&value);
            text.trim().parse().map_err(|_| HostError::Daemon { path, value: text.into_owned() })
        }
        Ok(_) => Ok(0),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error.into()),
    }
}
