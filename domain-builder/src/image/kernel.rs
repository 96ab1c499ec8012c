//! A decoded kernel: what it says of itself, and its bytes.
//!
//! In: an ELF file (a file on disk, or bytes in memory) that [`super::elf`] has checked.
//! Out: [`KernelImage`]. Segments are copied straight from the file to where the caller wants
//! them; the whole image is never read into memory for that. Never changes after it is made.

use super::cache::error::CacheError;
use super::error::{ImageError, Problem};
use super::holes;
use super::notes::XenNotes;
use super::source::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

/// BLAKE3 over the kernel file as it lies on disk, compressed or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentHash(pub [u8; 32]);

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// One loadable segment (`PT_LOAD` with a memory size above 0). Lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_paddr` as the file says; [`KernelImage::pv`] applies the notes' offsets.
    pub paddr: u64,
    /// `p_vaddr` as the file says. Linux' per-cpu segment has 0 here: place segments by `paddr`.
    pub vaddr: u64,
    /// Where the segment's bytes begin in the decoded ELF file.
    pub file_offset: u64,
    /// How many bytes come from the file; at most `mem_len`.
    pub file_len: u64,
    /// How many bytes the segment takes in memory; those beyond `file_len` are zero.
    pub mem_len: u64,
    /// `p_flags`: `PF_X` 1, `PF_W` 2, `PF_R` 4.
    pub flags: u32,
}

/// Where the decoded kernel came from.
#[derive(Debug)]
pub enum Origin {
    /// An uncompressed ELF file: read where it lies.
    Direct,
    /// Decoded earlier; the cached copy serves.
    CacheHit,
    /// Decoded now and kept for the next time.
    CacheStored,
    /// Decoded now; the caller asked for no cache.
    CacheOff,
    /// Decoded now; the cache could not be used. Worth a line to the user.
    CacheUnavailable(CacheError),
}

/// What holds the bytes of the decoded ELF file.
pub(super) enum Backing {
    File(File),
    Memory(Vec<u8>),
}

/// A kernel ready to be loaded: facts, segments, and a way to copy their bytes.
pub struct KernelImage {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// `e_entry` of the ELF header; [`KernelImage::pv`] knows the entry point for PV.
    pub elf_entry: u64,
    /// Loadable segments, ascending by `paddr`, without overlap. At least one.
    pub segments: Vec<Segment>,
    /// What the kernel tells Xen about itself.
    pub notes: XenNotes,
    /// Hash of the source file; `None` where the file is read directly, as nothing needs it.
    pub hash: Option<ContentHash>,
    /// Length of the decoded ELF file in bytes.
    pub decoded_bytes: u64,
    /// How the source was packed: `none`, `gzip`, `xz`, `lzma`, `bzip2`, `lz4`, `zstd`.
    pub compression: &'static str,
    /// Whether the cache served, and why not.
    pub origin: Origin,
    /// Time spent on hashing and decoding; zero on a hit and for a plain ELF file.
    pub decode_time: Duration,
    pub(super) backing: Backing,
    /// State of the file when it was opened, where others may write it: not in the cache.
    pub(super) opened: Option<Identity>,
}

impl KernelImage {
    /// Lowest physical address of a segment and the first one after the last, as the file says.
    pub fn physical_range(&self) -> std::ops::Range<u64> {
        let start = self.segments.iter().map(|s| s.paddr).min().unwrap_or(0);
        let end = self.segments.iter().map(|s| s.paddr + s.mem_len).max().unwrap_or(0);
        start..end
    }

    /// The file that holds the decoded ELF image; `None` when it is in memory.
    /// Bytes of a segment begin at its `file_offset`; the file's own position is not used.
    pub fn file(&self) -> Option<&File> {
        match &self.backing {
            Backing::File(file) => Some(file),
            Backing::Memory(_) => None,
        }
    }

    /// Makes sure that the file has not been written to since it was described. Ask after copying
    /// from [`Self::file`], or the parts of two kernels may have been copied. That the file was
    /// replaced under its name does not matter.
    ///
    /// # Errors
    /// [`Problem::Changed`]; [`Problem::Io`] if the file cannot be looked at.
    pub fn check_unchanged(&self) -> Result<(), ImageError> {
        let (Backing::File(file), Some(opened)) = (&self.backing, &self.opened) else {
            return Ok(());
        };
        let problem = match file.metadata() {
            Ok(metadata) if Identity::of(&metadata).same_content(opened) => return Ok(()),
            Ok(_) => Problem::Changed,
            Err(source) => Problem::io("stat", source),
        };
        Err(ImageError::new(&self.path, problem))
    }

    /// A segment's file bytes where the image is in memory; `None` when [`Self::file`] has them.
    pub fn segment_bytes(&self, segment: &Segment) -> Option<&[u8]> {
        let Backing::Memory(bytes) = &self.backing else { return None };
        let start = usize::try_from(segment.file_offset).ok()?;
        let len = usize::try_from(segment.file_len).ok()?;
        bytes.get(start..start.checked_add(len)?)
    }

    /// Where a segment's file bytes may be others than zeros, ascending, counted from its first one.
    /// Decoded kernels are kept sparse: about half of a distribution's kernel is zeros.
    pub fn data_of(&self, segment: &Segment) -> Vec<Range<u64>> {
        let start = segment.file_offset;
        let all = start..start.saturating_add(segment.file_len);
        let parts = match &self.backing {
            Backing::File(file) => holes::data(file, all),
            Backing::Memory(_) if all.is_empty() => Vec::new(),
            Backing::Memory(_) => vec![all],
        };
        parts.into_iter().map(|part| part.start - start..part.end - start).collect()
    }

    /// Fills `into` with the segment's memory from `offset` on: file bytes, then zeros.
    ///
    /// # Errors
    /// [`Problem::Elf`] if `offset + into.len()` exceeds the segment's `mem_len`;
    /// [`Problem::Changed`] if the file has become shorter; [`Problem::Io`] if reading fails.
    pub fn read_segment_at(
        &self,
        segment: &Segment,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), ImageError> {
        read_segment(&self.backing, segment, offset, into)
            .map_err(|problem| ImageError::new(&self.path, problem))
    }
}

fn read_segment(
    backing: &Backing,
    segment: &Segment,
    offset: u64,
    into: &mut [u8],
) -> Result<(), Problem> {
    let end = offset.checked_add(into.len() as u64).filter(|&end| end <= segment.mem_len);
    if end.is_none() {
        let reason = format!(
            "read of {} bytes at {offset} leaves a segment of {} bytes",
            into.len(),
            segment.mem_len
        );
        return Err(Problem::Elf { reason });
    }
    let from_file = segment.file_len.saturating_sub(offset).min(into.len() as u64) as usize;
    let (head, tail) = into.split_at_mut(from_file);
    tail.fill(0);
    if head.is_empty() {
        return Ok(());
    }
    let position = segment.file_offset.checked_add(offset).ok_or(Problem::Changed)?;
    match backing {
        Backing::File(file) => file.read_exact_at(head, position).map_err(|source| {
            if source.kind() == std::io::ErrorKind::UnexpectedEof {
                Problem::Changed
            } else {
                Problem::Io { operation: "read", source }
            }
        }),
        Backing::Memory(bytes) => {
            let start = usize::try_from(position).map_err(|_| Problem::Changed)?;
            let from = bytes.get(start..start + head.len()).ok_or(Problem::Changed)?;
            head.copy_from_slice(from);
            Ok(())
        }
    }
}

impl fmt::Debug for KernelImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelImage")
            .field("path", &self.path)
            .field("elf_entry", &format_args!("{:#x}", self.elf_entry))
            .field("segments", &self.segments)
            .field("notes", &self.notes)
            .field("hash", &self.hash)
            .field("decoded_bytes", &self.decoded_bytes)
            .field("compression", &self.compression)
            .field("origin", &self.origin)
            .field("decode_time", &self.decode_time)
            .finish_non_exhaustive()
    }
}
