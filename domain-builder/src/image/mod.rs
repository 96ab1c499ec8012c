//! Kernel images: found out what they are, unpacked, described.
//!
//! ```text
//! path ──source──▶ ELF ─────────────────────────────────────elf──▶ KernelImage ──pv──▶ PvLayout
//!           │                                                ▲
//!           ├──▶ bzImage ──bzimage──▶ packed ELF ──packed──▶ decoded ELF (cache file or memory)
//!           └──▶ packed ELF ─────────────┘
//! ```
//!
//! In: the path of a kernel as people have them (an ELF file or a bzImage, packed or not).
//! Out: [`KernelImage`]: segments, Xen notes, and a way to copy segment bytes to where they shall
//! go. Never makes a hypercall, never trusts a number of the file, never holds a lock while it
//! finds a kernel that is cached.

mod bzimage;
pub mod cache;
mod elf;
mod error;
mod features;
mod holes;
mod kernel;
mod lz4_legacy;
mod notes;
mod packed;
mod pv;
mod ramdisk;
mod source;
mod xz;

pub use cache::CacheOptions;
pub use cache::error::CacheError;
pub use error::{ImageError, NotPv, Problem};
pub use features::{FEATURE_NAMES, Features};
pub use kernel::{ContentHash, KernelImage, Origin, Segment};
pub use notes::{L1MfnValid, NotesForm, XenNotes};
pub use pv::{PvLayout, PvSegment};
pub use ramdisk::Ramdisk;

use cache::{Cache, Entry, KeepError, Kept};
use kernel::Backing;
use packed::{DecodeError, Format, Packed};
use source::Source;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Opens a kernel file and describes it, decoding it if it is packed and not cached.
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
    Ok(Facts::plain(bytes.len() as u64).image(path, elf, Backing::Memory(bytes)))
}

/// Decodes a kernel file that is in memory already; `path` stands in for its name in errors.
/// `limit_bytes` bounds what it may decode to.
///
/// # Errors
/// [`ImageError`] as for [`load`].
pub fn from_bytes(path: &Path, bytes: &[u8], limit_bytes: u64) -> Result<KernelImage, ImageError> {
    recognise(bytes)
        .and_then(|packed| decode(path, &packed, limit_bytes))
        .map_err(|problem| ImageError::new(path, problem))
}

fn open(path: &Path, options: &CacheOptions) -> Result<KernelImage, Problem> {
    let source = Source::open(path, options.max_image_bytes)?;
    let head = source.head(bzimage::HEADER_BYTES)?;
    match Format::of(&head) {
        Some(Format::Elf) => {
            let elf = elf::parse_file(&source.file, source.identity.size_bytes)?;
            let facts = Facts::plain(source.identity.size_bytes);
            let mut image = facts.image(path, elf, Backing::File(source.file));
            image.opened = Some(source.identity);
            Ok(image)
        }
        Some(Format::Lzo) => Err(Problem::UnsupportedFormat { format: Format::Lzo.name() }),
        None if !bzimage::is_bzimage(&head) => {
            Err(Problem::NotAKernel { head: source::hex_head(&head) })
        }
        _ => open_packed(path, &source, options),
    }
}

/// A packed kernel: from the cache where it has it, else decoded, into the cache where that works.
fn open_packed(
    path: &Path,
    source: &Source,
    options: &CacheOptions,
) -> Result<KernelImage, Problem> {
    let cache = match &options.directory {
        None => Err(Origin::CacheOff),
        Some(dir) => Cache::open(dir, options.max_bytes).map_err(Origin::CacheUnavailable),
    };
    if let Ok(cache) = &cache
        && let Some(entry) = cache.find(&source.identity)
        && let Ok(image) = from_entry(path, entry, Origin::CacheHit, Duration::ZERO)
    {
        return Ok(image);
    }
    let started = Instant::now();
    let bytes = source.read_all()?;
    let packed = recognise(&bytes)?;
    let hash = ContentHash(*blake3::hash(&bytes).as_bytes());
    let origin = match cache {
        Err(origin) => origin,
        Ok(cache) => match keep(&cache, source, &packed, hash, options.max_image_bytes) {
            Ok((entry, origin)) => return from_entry(path, entry, origin, started.elapsed()),
            Err(KeepError::Data(problem)) => return Err(problem),
            Err(KeepError::Cache(error)) => Origin::CacheUnavailable(error),
        },
    };
    let mut image = decode(path, &packed, options.max_image_bytes)?;
    (image.hash, image.origin, image.decode_time) = (Some(hash), origin, started.elapsed());
    Ok(image)
}

/// What a kernel file in memory is, and where its packed part lies.
fn recognise(bytes: &[u8]) -> Result<Packed<'_>, Problem> {
    if bytes.is_empty() {
        return Err(Problem::Empty);
    }
    if let Some(format) = Format::of(bytes) {
        return Ok(Packed { format, data: bytes, declared_bytes: None });
    }
    if bzimage::is_bzimage(bytes) {
        return bzimage::payload(bytes);
    }
    Err(Problem::NotAKernel { head: source::hex_head(bytes) })
}

/// Decodes into memory.
fn decode(path: &Path, packed: &Packed<'_>, limit_bytes: u64) -> Result<KernelImage, Problem> {
    let started = Instant::now();
    let mut decoded = Vec::new();
    packed.decode(&mut decoded, limit_bytes).map_err(|error| match error {
        DecodeError::Data(problem) => problem,
        DecodeError::Sink(source) => Problem::Io { operation: "decode", source },
    })?;
    check_inside(packed.format, &decoded)?;
    let elf = elf::parse(decoded.as_slice())?;
    let facts = Facts {
        decoded_bytes: decoded.len() as u64,
        compression: packed.format.name(),
        hash: None,
        origin: Origin::CacheOff,
        decode_time: started.elapsed(),
    };
    Ok(facts.image(path, elf, Backing::Memory(decoded)))
}

/// Decodes into the cache, unless it has the kernel under its hash already.
fn keep(
    cache: &Cache,
    source: &Source,
    packed: &Packed<'_>,
    hash: ContentHash,
    limit_bytes: u64,
) -> Result<(Entry, Origin), KeepError> {
    let check = |entry: &File, decoded_bytes: u64| -> Result<(), Problem> {
        let mut head = vec![0; decoded_bytes.min(4) as usize];
        entry
            .read_exact_at(&mut head, 0)
            .map_err(|e| Problem::Io { operation: "read", source: e })?;
        check_inside(packed.format, &head)?;
        elf::parse_file(entry, decoded_bytes).map(drop)
    };
    let kept = cache
        .keep(source, hash, packed.format.name(), check, |sink| packed.decode(sink, limit_bytes))?;
    Ok(match kept {
        Kept::Found(entry) => (entry, Origin::CacheHit),
        Kept::Stored(entry) => (entry, Origin::CacheStored),
    })
}

/// Whether the decoded bytes begin as an ELF file does.
fn check_inside(format: Format, decoded: &[u8]) -> Result<(), Problem> {
    if Format::of(decoded) == Some(Format::Elf) {
        Ok(())
    } else {
        Err(Problem::NotElfInside { format: format.name() })
    }
}

/// An entry of the cache as a kernel.
fn from_entry(
    path: &Path,
    entry: Entry,
    origin: Origin,
    decode_time: Duration,
) -> Result<KernelImage, Problem> {
    let elf = elf::parse_file(&entry.file, entry.decoded_bytes)?;
    let facts = Facts {
        decoded_bytes: entry.decoded_bytes,
        compression: entry.compression,
        hash: Some(entry.hash),
        origin,
        decode_time,
    };
    Ok(facts.image(path, elf, Backing::File(entry.file)))
}

/// What is known of a kernel beside its ELF headers.
struct Facts {
    decoded_bytes: u64,
    compression: &'static str,
    hash: Option<ContentHash>,
    origin: Origin,
    decode_time: Duration,
}

impl Facts {
    fn plain(decoded_bytes: u64) -> Self {
        Self {
            decoded_bytes,
            compression: Format::Elf.name(),
            hash: None,
            origin: Origin::Direct,
            decode_time: Duration::ZERO,
        }
    }

    fn image(self, path: &Path, elf: elf::Elf, backing: Backing) -> KernelImage {
        KernelImage {
            path: path.to_owned(),
            elf_entry: elf.entry,
            segments: elf.segments,
            notes: elf.notes,
            hash: self.hash,
            decoded_bytes: self.decoded_bytes,
            compression: self.compression,
            origin: self.origin,
            decode_time: self.decode_time,
            backing,
            opened: None,
        }
    }
}
