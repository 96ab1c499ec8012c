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

use crate::image::{KernelImage, Ramdisk};
use crate::plan::Plan;
use crate::plan::steps::Step;
use crate::undo::{Identity, Leftover, undo};
use libxc_safe::Xen;
use load::Bytes;
use run::Run;
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
        /// Directories in xenstore that are not there, and will come with the domain's nodes.
        absent: &'a [&'static str],
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
    /// Told of every step: for progress, timing, and records of what exists. Its failure is that
    /// of the step.
    pub observer: Option<&'a mut Observer<'a>>,
    /// Whether a domid was in use lately and must not be given out again yet.
    pub recent: Option<&'a dyn Fn(Domid) -> bool>,
    /// The domain's creation, for its marker: no two may have the same.
    pub generation: u64,
}

/// Is told of every step.
pub type Observer<'a> =
    dyn FnMut(Progress<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

impl ApplyOptions<'_> {
    fn check_interrupted(&self) -> Result<(), StepError> {
        match self.interrupted {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(StepError::Interrupted),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, progress: Progress<'_>) -> Result<(), StepError> {
        match &mut self.observer {
            Some(observer) => observer(progress).map_err(StepError::Observer),
            None => Ok(()),
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
    /// Its creation.
    pub generation: u64,
    /// Who serves its console.
    pub console_domid: u16,
    /// Directories in xenstore that it brought with it.
    pub brought: Vec<&'static str>,
}

impl Created {
    /// The domain's identity, for destructive calls later on.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { domid: self.domid, uuid: self.uuid, generation: Some(self.generation) }
    }

    /// What there is of it, to be removed if it cannot be used after all.
    #[must_use]
    pub fn leftover(&self) -> Leftover {
        Leftover {
            domid: self.domid,
            uuid: self.uuid,
            console_domid: self.console_domid,
            brought: self.brought.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Carries out `plan`. `kernel` and `ramdisk` must be what the plan was made for.
///
/// # Errors
/// [`ApplyError`] names the step and what could not be undone, if anything.
pub fn apply(
    plan: &Plan,
    kernel: &KernelImage,
    ramdisk: Option<&Ramdisk>,
    xen: &Xen,
    store: &mut Client,
    mut options: ApplyOptions<'_>,
) -> Result<Created, ApplyError> {
    let files = Bytes::Files { kernel, ramdisk: ramdisk.map(Ramdisk::file) };
    let mut run = Run::new(plan, files, xen);
    run.generation = options.generation;
    match steps(&mut run, ramdisk, store, &mut options) {
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

/// Looks whether a plan could be carried out at this moment: name and UUID are free, and so is the
/// memory. What other domains have of that may be free when it counts, and is given. Changes nothing.
///
/// # Errors
/// Any other [`StepError`] that [`apply`] would meet.
pub fn look(
    plan: &Plan,
    kernel: &KernelImage,
    xen: &Xen,
    store: &mut Client,
) -> Result<Vec<StepError>, StepError> {
    let mut run = Run::new(plan, Bytes::Files { kernel, ramdisk: None }, xen);
    let mut passing = Vec::new();
    for step in &plan.steps {
        match run.look(step, store) {
            Err(error) if error.is_passing() => passing.push(error),
            looked => looked?,
        }
    }
    Ok(passing)
}

fn steps(
    run: &mut Run<'_>,
    ramdisk: Option<&Ramdisk>,
    store: &mut Client,
    options: &mut ApplyOptions<'_>,
) -> Result<(), (usize, StepError)> {
    for (index, step) in run.plan().steps.iter().enumerate() {
        let at = |error| (index, error);
        if options.fail_before_step == Some(index) {
            return Err((index, StepError::Injected));
        }
        options.check_interrupted().map_err(at)?;
        options.tell(Progress::Begin { index, step, absent: run.absent() }).map_err(at)?;
        run.step(step, store, options).map_err(at)?;
        if let (Step::LoadRamdisk { .. }, Some(ramdisk)) = (step, ramdisk) {
            ramdisk.check_unchanged().map_err(|error| at(error.into()))?;
        }
        options.tell(Progress::End { index, step, domid: run.domid() }).map_err(at)?;
    }
    let end = run.plan().steps.len();
    if options.fail_before_step == Some(end) {
        return Err((end, StepError::Injected));
    }
    Ok(())
}
