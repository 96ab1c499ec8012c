//! Copies kernel and ramdisk into guest memory, straight from their files.
//!
//! In: one [`Load`]. Out: its frames filled: file bytes where it says, zeros everywhere else. Nothing
//! stays mapped.

use super::error::StepError;
use super::memory::gfns;
use crate::image::KernelImage;
use crate::plan::layout::PAGE_BYTES;
use crate::plan::p2m::P2m;
use crate::plan::steps::{Load, Piece, Source};
use libxc_safe::{ForeignMapping, Protection, Xen};
use std::collections::BTreeMap;
use std::fs::File;
use xen_sys::types::Domid;

/// Where the bytes of the loads are.
#[derive(Clone, Copy)]
pub(crate) enum Bytes<'a> {
    /// In the files that the plan was made for.
    Files {
        /// The kernel.
        kernel: &'a KernelImage,
        /// The ramdisk, if there is one.
        ramdisk: Option<&'a File>,
    },
    /// In memory, page by page, under the first pfn of each load.
    Memory(&'a BTreeMap<u64, Vec<u8>>),
}

/// Maps the load's frames, fills them and unmaps them.
pub(super) fn load(
    xen: &Xen,
    domid: Domid,
    load: &Load,
    p2m: &P2m,
    bytes: Bytes<'_>,
) -> Result<(), StepError> {
    let gfns = gfns(p2m, load.frames)?;
    let mapping = xen.map_foreign(domid, &gfns, Protection::ReadWrite)?;
    fill(&mapping, load, bytes)?;
    Ok(xen.unmap_foreign(mapping)?)
}

fn fill(mapping: &ForeignMapping, load: &Load, bytes: Bytes<'_>) -> Result<(), StepError> {
    let (kernel, ramdisk) = match bytes {
        Bytes::Files { kernel, ramdisk } => (kernel, ramdisk),
        Bytes::Memory(pages) => {
            let pages = pages.get(&load.frames.start);
            let pages = pages.ok_or(StepError::Order { needed: "the same plan prepared" })?;
            return Ok(mapping.write(0, pages)?);
        }
    };
    let mut filled = 0;
    for piece in &load.pieces {
        zero(mapping, filled, piece.at)?;
        copy(mapping, piece, kernel, ramdisk)?;
        filled = piece.at + piece.bytes;
    }
    zero(mapping, filled, load.frames.count * PAGE_BYTES)
}

fn zero(mapping: &ForeignMapping, from: u64, to: u64) -> Result<(), StepError> {
    if to > from {
        mapping.zero(from as usize, (to - from) as usize)?;
    }
    Ok(())
}

fn copy(
    mapping: &ForeignMapping,
    piece: &Piece,
    kernel: &KernelImage,
    ramdisk: Option<&File>,
) -> Result<(), StepError> {
    let (at, bytes) = (piece.at as usize, piece.bytes as usize);
    match piece.source {
        Source::Ramdisk { offset } => {
            let ramdisk = ramdisk.ok_or(StepError::NoRamdisk { bytes: piece.bytes })?;
            mapping.write_from(at, ramdisk, offset, bytes)?;
        }
        Source::Kernel { segment: index, offset } => {
            let other = StepError::OtherKernel { segment: index };
            let Some(segment) = kernel.segments.get(index) else { return Err(other) };
            if offset.saturating_add(piece.bytes) > segment.file_len {
                return Err(other);
            }
            match kernel.file() {
                Some(file) => {
                    mapping.write_from(at, file, segment.file_offset + offset, bytes)?;
                }
                None => {
                    let all = kernel.segment_bytes(segment).unwrap_or_default();
                    let part = all.get(offset as usize..offset as usize + bytes).ok_or(other)?;
                    mapping.write(at, part)?;
                }
            }
        }
    }
    Ok(())
}
