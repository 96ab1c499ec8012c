//! The floor of a create: the plan's hypercalls and nothing else.
//!
//! In: a plan, and the bytes of kernel and ramdisk laid out in memory beforehand. Out: a domain with
//! the same memory and state, unknown to xenstored. No file is read, nothing is parsed, no request
//! goes to the store: what this costs is what no toolstack can save. For benchmarks.

use super::error::StepError;
use super::load::Bytes;
use super::run::Run;
use super::{ApplyOptions, Created, Progress};
use crate::image::KernelImage;
use crate::plan::Plan;
use crate::plan::layout::PAGE_BYTES;
use crate::plan::steps::{Load, Source, Step};
use libxc_safe::Xen;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What the loads of a plan copy, page by page.
pub struct Prepared(BTreeMap<u64, Vec<u8>>);

/// Why the bytes of a plan could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The kernel could not be read.
    #[error(transparent)]
    Kernel(#[from] crate::image::ImageError),
    /// The kernel is not the one of the plan.
    #[error("the plan was made for another kernel: there is no segment {segment}")]
    OtherKernel {
        /// Index of the segment.
        segment: usize,
    },
    /// The ramdisk could not be read.
    #[error("cannot read the ramdisk")]
    Ramdisk(#[source] std::io::Error),
    /// The plan has a ramdisk, none was given.
    #[error("the plan was made for a ramdisk, none was given")]
    NoRamdisk,
}

/// Reads everything that the plan will copy.
///
/// # Errors
/// [`PrepareError`].
pub fn prepare(
    plan: &Plan,
    kernel: &KernelImage,
    ramdisk: Option<&File>,
) -> Result<Prepared, PrepareError> {
    let mut pages = BTreeMap::new();
    for step in &plan.steps {
        if let Step::LoadKernel { loads } | Step::LoadRamdisk { loads } = step {
            for load in loads {
                pages.insert(load.frames.start, fill(load, kernel, ramdisk)?);
            }
        }
    }
    Ok(Prepared(pages))
}

fn fill(
    load: &Load,
    kernel: &KernelImage,
    ramdisk: Option<&File>,
) -> Result<Vec<u8>, PrepareError> {
    let mut bytes = vec![0; (load.frames.count * PAGE_BYTES) as usize];
    for piece in &load.pieces {
        let target = &mut bytes[piece.at as usize..(piece.at + piece.bytes) as usize];
        match piece.source {
            Source::Kernel { segment: index, offset } => {
                let segment = kernel.segments.get(index);
                let segment = segment.ok_or(PrepareError::OtherKernel { segment: index })?;
                kernel.read_segment_at(segment, offset, target)?;
            }
            Source::Ramdisk { offset } => {
                let ramdisk = ramdisk.ok_or(PrepareError::NoRamdisk)?;
                ramdisk.read_exact_at(target, offset).map_err(PrepareError::Ramdisk)?;
            }
        }
    }
    Ok(bytes)
}

/// Makes the hypercalls of `plan`. On failure the domain is destroyed again. Of the options the
/// observer counts.
///
/// # Errors
/// [`StepError`] of the step that failed.
pub fn replay(
    plan: &Plan,
    prepared: &Prepared,
    xen: &Xen,
    mut options: ApplyOptions<'_>,
) -> Result<Created, StepError> {
    let mut run = Run::new(plan, Bytes::Memory(&prepared.0), xen);
    for (index, step) in plan.steps.iter().enumerate() {
        if step.is_for_the_store() {
            continue;
        }
        options.tell(Progress::Begin { index, step, absent: &[] })?;
        if let Err(error) = run.xen_step(step, &mut options) {
            if let Some(domid) = run.domid() {
                xen.destroy(domid)?;
            }
            return Err(error);
        }
        options.tell(Progress::End { index, step, domid: run.domid() })?;
    }
    Ok(run.created())
}
