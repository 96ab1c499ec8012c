//! Which frames are mapped and filled with file bytes, and which are only zeroed.
//!
//! In: the kernel's segments, the ramdisk's length, the layout. Out: [`Load`]s of bounded size and
//! the runs of frames to clear. Pages without file bytes are never mapped: mapping costs more than
//! anything else in a create, and the hypervisor clears a page for us without it.

use super::facts::{KernelFacts, KernelSegment};
use super::layout::{Frames, Layout, PAGE_BYTES};
use super::steps::{Load, Piece, Source};
use std::ops::Range;

/// Most frames mapped at a time: bounds address space, and how long a Ctrl-C waits.
const LOAD_FRAMES: u64 = 4096;

/// A run of file bytes in the guest's memory.
struct Extent {
    start: u64,
    bytes: u64,
    source: Source,
}

impl Extent {
    fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

/// Loads of the kernel.
#[must_use]
pub fn kernel_loads(kernel: &KernelFacts) -> Vec<Load> {
    loads(&kernel_extents(kernel))
}

/// Loads of the ramdisk, of `bytes` bytes.
#[must_use]
pub fn ramdisk_loads(frames: Frames, bytes: u64) -> Vec<Load> {
    let source = Source::Ramdisk { offset: 0 };
    if bytes == 0 {
        return Vec::new();
    }
    loads(&[Extent { start: frames.start * PAGE_BYTES, bytes, source }])
}

/// Frames of the kernel without file bytes: they are zero.
#[must_use]
pub fn kernel_clears(kernel: &KernelFacts, layout: &Layout) -> Vec<Frames> {
    let mut clears = Vec::new();
    let mut next = layout.kernel.start;
    for run in runs(&kernel_extents(kernel)) {
        if run.start > next {
            clears.push(Frames { start: next, count: run.start - next });
        }
        next = run.end();
    }
    if layout.kernel.end() > next {
        clears.push(Frames { start: next, count: layout.kernel.end() - next });
    }
    clears
}

fn kernel_extents(kernel: &KernelFacts) -> Vec<Extent> {
    let of_segment = |segment: &KernelSegment| -> Vec<Extent> {
        let extent = |data: &Range<u64>| Extent {
            start: segment.start + data.start,
            bytes: data.end - data.start,
            source: Source::Kernel { segment: segment.index, offset: data.start },
        };
        segment.data.iter().map(extent).collect()
    };
    kernel.segments.iter().flat_map(of_segment).collect()
}

/// Frames that hold file bytes, neighbours joined.
fn runs(extents: &[Extent]) -> Vec<Frames> {
    let mut runs: Vec<Frames> = Vec::new();
    for extent in extents {
        let start = extent.start / PAGE_BYTES;
        let end = extent.end().div_ceil(PAGE_BYTES);
        match runs.last_mut() {
            Some(last) if start <= last.end() => last.count = last.count.max(end - last.start),
            _ => runs.push(Frames { start, count: end - start }),
        }
    }
    runs
}

fn loads(extents: &[Extent]) -> Vec<Load> {
    let mut loads = Vec::new();
    for run in runs(extents) {
        let mut start = run.start;
        while start < run.end() {
            let frames = Frames { start, count: LOAD_FRAMES.min(run.end() - start) };
            loads.push(Load { frames, pieces: pieces(extents, frames) });
            start = frames.end();
        }
    }
    loads
}

/// What of the extents falls into `frames`.
fn pieces(extents: &[Extent], frames: Frames) -> Vec<Piece> {
    let (from, to) = (frames.start * PAGE_BYTES, frames.end() * PAGE_BYTES);
    let touching = extents.iter().filter(|extent| extent.start < to && extent.end() > from);
    touching
        .map(|extent| {
            let start = extent.start.max(from);
            let skipped = start - extent.start;
            let source = match extent.source {
                Source::Kernel { segment, offset } => {
                    Source::Kernel { segment, offset: offset + skipped }
                }
                Source::Ramdisk { offset } => Source::Ramdisk { offset: offset + skipped },
            };
            Piece { at: start - from, bytes: extent.end().min(to) - start, source }
        })
        .collect()
}
