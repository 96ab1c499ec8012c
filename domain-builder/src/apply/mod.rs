//! Carries out a plan: from plain data to a paused domain, or to nothing at all.
//!
//! In: [`Plan`], the kernel image and ramdisk it was made for, the hypervisor, the store. Out:
//! [`Created`], a domain that waits to be unpaused. When a step fails, or an interruption is seen
//! between steps or batches, everything that was made is undone in reverse, and the error names the
//! step, the domain and the cause. Decides nothing: what is done and in which order is the plan's.

mod error;
pub mod floor;
mod load;
mod memory;
mod run;

pub use error::{ApplyError, StepError};

use crate::image::KernelImage;
use crate::plan::Plan;
use crate::plan::steps::Step;
use crate::undo::{Identity, undo};
use libxc_safe::Xen;
use load::Bytes;
use run::Run;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use xen_sys::types::{Domid, Mfn, Port};
use xenstore::client::Client;

/// Told before and after every step.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step begins.
    Begin {
        /// Its place in the plan.
        index: usize,
        /// The step.
        step: &'a Step,
    },
    /// A step has succeeded.
    End {
        /// Its place in the plan.
        index: usize,
        /// The step.
        step: &'a Step,
        /// The domain, once it exists.
        domid: Option<Domid>,
    },
}

/// How a plan is carried out.
#[derive(Default)]
pub struct ApplyOptions<'a> {
    /// Fails before this step, counted from 0, as if it had failed: for tests of the undoing. The
    /// number of steps fails after the last.
    pub fail_before_step: Option<usize>,
    /// When it becomes true, the create ends at the next step or batch and is undone.
    pub interrupted: Option<&'a AtomicBool>,
    /// Told of every step: for progress, timing, and records of what exists.
    pub observer: Option<&'a mut dyn FnMut(Progress<'_>)>,
}

impl ApplyOptions<'_> {
    fn check_interrupted(&self) -> Result<(), StepError> {
        match self.interrupted {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(StepError::Interrupted),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, progress: Progress<'_>) {
        if let Some(observer) = &mut self.observer {
            observer(progress);
        }
    }
}

/// A domain that was made and waits, paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its domid.
    pub domid: Domid,
    /// Its UUID; with the domid it tells the domain from a later one of the same number.
    pub uuid: [u8; 16],
    /// The guest's port to xenstore.
    pub store_port: Port,
    /// Frame of the xenstore ring.
    pub store_mfn: Mfn,
    /// The guest's port to its console.
    pub console_port: Port,
    /// Frame of the console ring.
    pub console_mfn: Mfn,
    /// Frame of the shared info page.
    pub shared_info_mfn: Mfn,
}

impl Created {
    /// The domain's identity, for destructive calls later on.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { domid: self.domid, uuid: self.uuid }
    }
}

/// Carries out `plan`. `kernel` and `ramdisk` must be what the plan was made for.
///
/// # Errors
/// [`ApplyError`] names the step and what could not be undone, if anything.
pub fn apply(
    plan: &Plan,
    kernel: &KernelImage,
    ramdisk: Option<&File>,
    xen: &Xen,
    store: &mut Client,
    mut options: ApplyOptions<'_>,
) -> Result<Created, ApplyError> {
    let mut run = Run::new(plan, Bytes::Files { kernel, ramdisk }, xen);
    match steps(&mut run, store, &mut options) {
        Ok(()) => Ok(run.created()),
        Err((index, cause)) => {
            let domid = run.domid();
            let left = match domid {
                Some(domid) => undo(xen, store, &run.live(domid), run.brought()),
                None => Vec::new(),
            };
            let step = plan.steps.get(index).map_or("end", Step::name);
            let name = plan.name.clone();
            Err(ApplyError { name, domid, index, step, cause: Box::new(cause), left })
        }
    }
}

fn steps(
    run: &mut Run<'_>,
    store: &mut Client,
    options: &mut ApplyOptions<'_>,
) -> Result<(), (usize, StepError)> {
    for (index, step) in run.plan().steps.iter().enumerate() {
        if options.fail_before_step == Some(index) {
            return Err((index, StepError::Injected));
        }
        options.check_interrupted().map_err(|error| (index, error))?;
        options.tell(Progress::Begin { index, step });
        run.step(step, store, options).map_err(|error| (index, error))?;
        options.tell(Progress::End { index, step, domid: run.domid() });
    }
    let end = run.plan().steps.len();
    if options.fail_before_step == Some(end) {
        return Err((end, StepError::Injected));
    }
    Ok(())
}
