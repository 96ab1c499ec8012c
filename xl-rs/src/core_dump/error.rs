//! Why no core was written.

use std::io;
use std::path::PathBuf;
use xen_sys::types::Domid;

/// Why no core was written. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The hypervisor.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// A domain of another kind.
    #[error("domain {domid} is {kind}: cores are written of 64-bit PV domains")]
    Kind {
        /// The domain.
        domid: Domid,
        /// What it is.
        kind: &'static str,
    },
    /// A domain that was never given registers.
    #[error("domain {domid} has no vcpu that could run yet: there is nothing to be seen in it")]
    NoVcpu {
        /// The domain.
        domid: Domid,
    },
    /// Neither p2m nor page tables name a page that the domain has.
    #[error(
        "domain {domid} has not said yet which memory it has, and its page tables map none of it"
    )]
    NoMemory {
        /// The domain.
        domid: Domid,
    },
    /// It was destroyed meanwhile.
    #[error("domain {domid} was destroyed while its core was written")]
    Gone {
        /// The domain.
        domid: Domid,
    },
    /// Something that must not be replaced by a file.
    #[error("{} is no file: a core gets a name of its own; name another", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file cannot be made or written.
    #[error(
        "the core of domain {domid} needs up to {mib} MiB and cannot be written to {}; nothing of it \
         is left there",
        path.display()
    )]
    Write {
        /// The domain.
        domid: Domid,
        /// The file.
        path: PathBuf,
        /// How large it would be.
        mib: u64,
        /// What the operating system says.
        source: io::Error,
    },
    /// A signal came.
    #[error("interrupted: no core of domain {domid} was written")]
    Interrupted {
        /// The domain.
        domid: Domid,
    },
}
