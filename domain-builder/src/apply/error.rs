//! What can go wrong in a create, and what of it could not be undone.

use crate::image::ImageError;
use crate::plan::page_tables::NoFrame;
use crate::undo::{UndoError, list};
use xen_sys::types::Domid;

/// A create that failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "domain {name:?}{} was not created: step {index} ({step}) failed{}",
    domid.map_or(String::new(), |domid| format!(" (domid {domid})")),
    left_behind(left)
)]
pub struct ApplyError {
    /// Name of the domain that was to be.
    pub name: String,
    /// Its number, if it came to exist.
    pub domid: Option<Domid>,
    /// The step's place in the plan; the number of steps stands for the end.
    pub index: usize,
    /// The step's name.
    pub step: &'static str,
    /// Why it failed.
    #[source]
    pub cause: Box<StepError>,
    /// What could not be undone; empty when nothing was left behind.
    pub left: Vec<UndoError>,
}

fn left_behind(left: &[UndoError]) -> String {
    if left.is_empty() {
        return "; nothing was left behind".to_owned();
    }
    format!("; some of it could not be undone ({})", list(left))
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The hypervisor refused.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// xenstored refused, or is gone.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// The file of kernel or ramdisk was written to while it was copied.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Whoever is told of every step could not do his part.
    #[error("what xlr keeps of a create under way cannot be written")]
    Observer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another domain has the name.
    #[error("domain {domid} is called {name:?} already; choose another name, or destroy it")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        domid: Domid,
    },
    /// Another domain has the UUID; two of them would share `/vm/UUID`.
    #[error("domain {domid} has this UUID already; leave uuid out to get a new one, or destroy it")]
    UuidTaken {
        /// Who has it.
        domid: Domid,
    },
    /// The hypervisor has too little free memory.
    #[error(
        "the domain needs {needed_kib} KiB, the hypervisor has {free_kib} KiB free: lower memory, \
         destroy another domain, or balloon dom0 down (xlr mem-set 0 SIZE)"
    )]
    OutOfMemory {
        /// What the domain needs.
        needed_kib: u64,
        /// What is free and not claimed by others.
        free_kib: u64,
    },
    /// The plan names a ramdisk, and none was given.
    #[error("the plan was made for a ramdisk of {bytes} bytes, none was given")]
    NoRamdisk {
        /// Its length.
        bytes: u64,
    },
    /// The kernel image is not the one of the plan.
    #[error("the plan was made for another kernel: there is no segment {segment}")]
    OtherKernel {
        /// Index of the segment.
        segment: usize,
    },
    /// The plan's steps are not in order.
    #[error("the plan is out of order: this step needs {needed} before it")]
    Order {
        /// What is missing.
        needed: &'static str,
    },
    /// The page tables cannot be made.
    #[error(transparent)]
    Tables(#[from] NoFrame),
    /// The scheduler has no such parameters.
    #[error(
        "the scheduler of cpupool {pool} ({scheduler}) has no weight or cap; remove cpu_weight and cap"
    )]
    Scheduler {
        /// The domain's pool.
        pool: u32,
        /// Its scheduler.
        scheduler: &'static str,
    },
    /// xenstored does not limit single domains, or not in this.
    #[error(
        "xenstored did not take the domain's own limit ({what}): C xenstored has limits of single \
         domains from Xen 4.21 (features) and 4.22 (quotas) on, xlr xenstored has them; remove \
         xenstore_feature_mask and xenstore_quota, or change the store"
    )]
    StoreLimit {
        /// What was to be limited.
        what: String,
        /// The store's answer.
        #[source]
        source: xenstore::client::Error,
    },
    /// Ctrl-C, or whatever else sets the flag.
    #[error("interrupted")]
    Interrupted,
    /// Asked for, to test the undoing.
    #[error("failure asked for by --fail-before-step")]
    Injected,
}

impl StepError {
    /// Whether it is about what other domains have at the moment, and not about what is asked for.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NameTaken { .. } | Self::UuidTaken { .. } | Self::OutOfMemory { .. })
    }
}
