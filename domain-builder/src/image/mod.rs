//! Kernel images: found out what they are, unpacked, described.
//!
//! In: the path of a kernel as people have them (an ELF file or a bzImage, packed or not).
//! Out: [`KernelImage`]: segments, Xen notes, and a way to copy segment bytes to where they shall
//! go. Never makes a hypercall, never trusts a number of the file, never holds a lock while a
//! cached kernel is found.

pub mod cache;
mod elf;
mod error;
mod features;
mod kernel;
mod notes;
mod pv;

pub use cache::{CacheError, CacheOptions};
pub use error::{ImageError, Problem};
pub use features::{FEATURE_NAMES, Features};
pub use kernel::{ContentHash, KernelImage, Origin, Segment};
pub use notes::{L1MfnValid, NotesForm, XenNotes};
pub use pv::{NotPv, PvLayout, PvSegment};

use kernel::Backing;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Opens a kernel file and describes it.
///
/// # Errors
/// [`ImageError`] names the file, what is wrong with it and what to do.
pub fn load(path: &Path, options: &CacheOptions) -> Result<KernelImage, ImageError> {
    open(path, options).map_err(|problem| ImageError::new(path, problem))
}

/// Describes an ELF kernel that is in memory already; `path` stands in for its name in errors.
///
/// # Errors
/// [`ImageError`] as for [`load`].
pub fn from_elf_bytes(path: &Path, bytes: Vec<u8>) -> Result<KernelImage, ImageError> {
    let elf = elf::parse(bytes.as_slice()).map_err(|problem| ImageError::new(path, problem))?;
    let decoded_bytes = bytes.len() as u64;
    Ok(image(path, elf, decoded_bytes, Backing::Memory(bytes)))
}

fn open(path: &Path, _options: &CacheOptions) -> Result<KernelImage, Problem> {
    let file = File::open(path).map_err(|source| Problem::io("open", source))?;
    let len = file.metadata().map_err(|source| Problem::io("stat", source))?.len();
    let elf = elf::parse_file(&file, len)?;
    Ok(image(path, elf, len, Backing::File(file)))
}

fn image(path: &Path, elf: elf::Elf, decoded_bytes: u64, backing: Backing) -> KernelImage {
    KernelImage {
        path: path.to_owned(),
        elf_entry: elf.entry,
        segments: elf.segments,
        notes: elf.notes,
        hash: None,
        decoded_bytes,
        compression: "none",
        origin: Origin::Direct,
        decode_time: Duration::ZERO,
        backing,
    }
}
