//! Decoded kernels, kept per node.
//!
//! ```text
//! index.json   which kernel file (by its identity) has which content, which contents are kept
//! HASH.elf     a decoded kernel, named by the hash of the kernel file
//! HASH.used    empty; its time says when the kernel was last wanted
//! lock         held while anything but a time changes
//! new          what is being written
//! ```
//!
//! In: an open kernel file, and how to decode it. Out: an open file that holds the decoded ELF
//! image. A kernel that is known is found without a lock and without hashing anything: the stat of
//! the kernel file leads to the entry, and the stat of the entry must be the one it was written
//! with. Once in each boot an entry is hashed as a whole, so that what a power cut left behind is
//! found. Everything is renamed into place under the lock: a process killed at any moment leaves
//! files that the next one removes, nothing else.
//!
//! Never trusts a directory that others may write, and never stands in the way: a cache that
//! cannot be used is a warning.

mod directory;
pub mod error;
mod index;
mod sparse;

use super::error::Problem;
use super::kernel::ContentHash;
use super::packed::{DecodeError, Format};
use super::source::{Identity, Source};
use directory::{Directory, is_private};
use error::CacheError;
use index::{EntryRecord, Index, MAX_INDEX_BYTES};
use sparse::{Sparse, hash_file};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const INDEX: &str = "index.json";
const INDEX_NEW: &str = "index.new";
const LOCK: &str = "lock";
const NEW: &str = "new";

/// Most bytes that the cache takes by itself, however much is free.
const MAX_DEFAULT_BYTES: u64 = 1 << 30;
/// The part of what is free that the cache takes by itself.
const FREE_SHARE: u64 = 4;
/// How long a file must have been left alone before its stat is taken for its content. A later
/// change within one tick of the file system's clock leaves the stat as it is; the coarsest
/// tick is that of FAT.
const SETTLED_NS: i64 = 2_000_000_000;
/// `f_type` of file systems whose time stamps come from this machine's clock (`linux/magic.h`):
/// ext, XFS, Btrfs, tmpfs, ramfs, overlayfs, squashfs, EROFS, F2FS, ZFS, ISO 9660. A server's clock
/// may lag, and then a file that was just written looks settled.
const LOCAL_FILE_SYSTEMS: [u64; 11] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0x7371_7368,
    0xe0f5_e1e2,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0x9660,
];

/// How [`super::load`] uses the cache, and how large anything may become.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Where decoded kernels are kept; `None` decodes each time. Made with mode 0700 if missing.
    pub directory: Option<PathBuf>,
    /// Most bytes that the cache may hold; `None` is a quarter of what is free, at most 1 GiB.
    /// While a kernel is being added, the new one stands beside the old ones.
    pub max_bytes: Option<u64>,
    /// Most bytes that a kernel file, and what it decodes to, may have.
    pub max_image_bytes: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            directory: Some(PathBuf::from("/var/cache/xlr/kernels")),
            max_bytes: None,
            max_image_bytes: 512 << 20,
        }
    }
}

/// Why a kernel could not be kept: it is none, or the cache failed.
#[derive(Debug)]
pub(super) enum KeepError {
    Data(Problem),
    Cache(CacheError),
}

impl From<CacheError> for KeepError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

/// A decoded kernel in the cache. The file stays readable when the entry is evicted.
pub(super) struct Entry {
    pub file: File,
    pub hash: ContentHash,
    pub decoded_bytes: u64,
    pub compression: &'static str,
}

/// How a kernel came to be in the cache.
pub(super) enum Kept {
    /// Another create had decoded the same content.
    Found(Entry),
    /// It has been decoded now.
    Stored(Entry),
}

/// An open cache.
pub(super) struct Cache {
    directory: Directory,
    path: PathBuf,
    max_bytes: Option<u64>,
    boot: String,
}

impl Cache {
    /// Opens a cache that is ours alone.
    pub fn open(path: &Path, max_bytes: Option<u64>) -> Result<Self, CacheError> {
        Ok(Self {
            directory: Directory::open(path)?,
            path: path.to_owned(),
            max_bytes,
            boot: boot_id(),
        })
    }

    /// The decoded kernel of a file in just this state, if it is known and was verified in this
    /// boot. Takes no lock, reads the index and no megabytes.
    pub fn find(&self, source: &Identity) -> Option<Entry> {
        let index = self.index();
        let record = index.entry(index.hash_of(source)?)?;
        let entry = self.sound(record)?;
        if record.verified_boot != self.boot || self.boot.is_empty() {
            return None;
        }
        // On a read-only file system the order of use stays as it is.
        let _ = self.directory.touch(&used_name(record.hash));
        Some(entry)
    }

    /// Finds a content, or decodes it by `fill` and puts it into the cache if `check` agrees.
    /// Others who want to add something wait for the lock meanwhile.
    pub fn keep(
        &self,
        source: &Source,
        hash: ContentHash,
        compression: &'static str,
        check: impl Fn(&File, u64) -> Result<(), Problem>,
        fill: impl FnOnce(&mut Sparse) -> Result<u64, DecodeError>,
    ) -> Result<Kept, KeepError> {
        let _lock = self.directory.lock(LOCK).map_err(self.directory.error("lock", LOCK))?;
        let known = self.index();
        let mut index = known.clone();
        if let Some(entry) = self.verified(&mut index, hash)
            && check(&entry.file, entry.decoded_bytes).is_ok()
        {
            self.learn(&mut index, source, hash);
            if index != known {
                self.write_index(&index)?;
            }
            return Ok(Kept::Found(entry));
        }
        index.remove(hash);
        let record = match self.build(&mut index, hash, compression, check, fill) {
            Ok(record) => record,
            Err(error) => {
                // What is left is swept by the next one if it cannot be removed now.
                let _ = self.directory.remove(NEW);
                return Err(error);
            }
        };
        let entry = self.sound(&record).ok_or_else(|| {
            let source = io::ErrorKind::Other.into();
            self.directory.error("find what was just written to", &entry_name(hash))(source)
        })?;
        index.add(record);
        self.learn(&mut index, source, hash);
        self.write_index(&index)?;
        let used = used_name(hash);
        self.directory.create(&used).map_err(self.directory.error("make", &used))?;
        Ok(Kept::Stored(entry))
    }

    /// Decodes into a new file, makes room for it, and renames it into place.
    fn build(
        &self,
        index: &mut Index,
        hash: ContentHash,
        compression: &'static str,
        check: impl Fn(&File, u64) -> Result<(), Problem>,
        fill: impl FnOnce(&mut Sparse) -> Result<u64, DecodeError>,
    ) -> Result<EntryRecord, KeepError> {
        let directory = &self.directory;
        self.sweep(index)?;
        let limit_bytes = self.limit_bytes(index)?;
        let full = || CacheError::Full { path: self.path.clone(), limit_bytes };
        let file = directory.create(NEW).map_err(directory.error("make", NEW))?;
        let mut sparse = Sparse::new(file, limit_bytes);
        let filled = fill(&mut sparse).and_then(|_| sparse.finish().map_err(DecodeError::Sink));
        let finished = match filled {
            Ok(finished) => finished,
            Err(DecodeError::Data(problem)) => return Err(KeepError::Data(problem)),
            Err(DecodeError::Sink(_)) if sparse.is_over() => return Err(full().into()),
            Err(DecodeError::Sink(error)) => {
                return Err(directory.error("write", NEW)(error).into());
            }
        };
        let file = sparse.into_file();
        check(&file, finished.decoded_bytes).map_err(KeepError::Data)?;
        let order = |hash| directory.mtime_ns(&used_name(hash));
        for victim in index.victims(finished.stored_bytes, limit_bytes, order) {
            index.remove(victim);
        }
        self.sweep(index)?;
        let name = entry_name(hash);
        directory.rename(NEW, &name).map_err(directory.error("rename into place", &name))?;
        // After the rename: it counts as a change of the file.
        let metadata = file.metadata().map_err(directory.error("stat", &name))?;
        Ok(EntryRecord {
            hash,
            compression: compression.to_owned(),
            decoded_bytes: finished.decoded_bytes,
            stored_bytes: finished.stored_bytes,
            decoded_hash: finished.hash,
            file: Identity::of(&metadata),
            verified_boot: self.boot.clone(),
        })
    }

    fn index(&self) -> Index {
        self.directory
            .read(INDEX, MAX_INDEX_BYTES)
            .map_or_else(|_| Index::default(), |bytes| Index::from_bytes(&bytes))
    }

    fn write_index(&self, index: &Index) -> Result<(), CacheError> {
        let error = self.directory.error("write", INDEX);
        let bytes = index.to_bytes().map_err(|e| error(e.into()))?;
        self.directory.replace(INDEX, INDEX_NEW, &bytes).map_err(error)
    }

    /// Opens an entry if its file is the one that was written.
    fn sound(&self, record: &EntryRecord) -> Option<Entry> {
        let file = self.directory.file(&entry_name(record.hash)).ok()?;
        let metadata = file.metadata().ok()?;
        // Some file systems get another device number at each mount.
        let found = Identity { dev: record.file.dev, ..Identity::of(&metadata) };
        if found != record.file
            || found.size_bytes != record.decoded_bytes
            || !is_private(&metadata)
        {
            return None;
        }
        let compression = Format::known_name(&record.compression)?;
        Some(Entry { file, hash: record.hash, decoded_bytes: record.decoded_bytes, compression })
    }

    /// Opens an entry and, where this boot has not done so yet, compares its whole content.
    fn verified(&self, index: &mut Index, hash: ContentHash) -> Option<Entry> {
        let record = index.entries.iter_mut().find(|e| e.hash == hash)?;
        let entry = self.sound(record)?;
        if record.verified_boot != self.boot || self.boot.is_empty() {
            if hash_file(&entry.file).ok()? != record.decoded_hash {
                return None;
            }
            record.verified_boot.clone_from(&self.boot);
        }
        let _ = self.directory.touch(&used_name(hash));
        Some(entry)
    }

    /// Remembers a kernel file's content if its stat will tell when it changes.
    fn learn(&self, index: &mut Index, source: &Source, hash: ContentHash) {
        let now_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        let is_local = rustix::fs::fstatfs(&source.file)
            .is_ok_and(|stat| LOCAL_FILE_SYSTEMS.contains(&(stat.f_type as u64)));
        if is_local && is_settled(&source.identity, now_ns) {
            index.learn(source.identity, hash);
        }
    }

    /// Most bytes that the cache may hold now.
    fn limit_bytes(&self, index: &Index) -> Result<u64, CacheError> {
        if let Some(limit_bytes) = self.max_bytes {
            return Ok(limit_bytes);
        }
        let free_bytes = self.directory.free_bytes().map_err(|source| {
            CacheError::io("find out how much is free for", &self.path, source)
        })?;
        let share = free_bytes.saturating_add(index.stored_bytes()) / FREE_SHARE;
        Ok(share.min(MAX_DEFAULT_BYTES))
    }

    /// Removes the files of a cache that the index does not know; others are none of ours.
    fn sweep(&self, index: &Index) -> Result<(), CacheError> {
        let names = self.directory.names().map_err(self.directory.error("list", ""))?;
        for name in names {
            let hash = name.strip_suffix(".elf").or_else(|| name.strip_suffix(".used"));
            let is_ours = hash.is_some_and(|h| ContentHash::try_from(h.to_owned()).is_ok());
            let is_known = index
                .entries
                .iter()
                .any(|entry| name == entry_name(entry.hash) || name == used_name(entry.hash));
            if is_ours && !is_known {
                self.directory.remove(&name).map_err(self.directory.error("remove", &name))?;
            }
        }
        Ok(())
    }
}

fn entry_name(hash: ContentHash) -> String {
    format!("{hash}.elf")
}

fn used_name(hash: ContentHash) -> String {
    format!("{hash}.used")
}

/// Whether a change from now on will show in the file's stat.
fn is_settled(identity: &Identity, now_ns: i64) -> bool {
    let changed_ns = identity.mtime_ns.max(identity.ctime_ns);
    now_ns.checked_sub(changed_ns).is_some_and(|age_ns| age_ns >= SETTLED_NS)
}

/// The name of this boot; empty where there is none, and then no entry counts as verified.
fn boot_id() -> String {
    let mut id = [0; 36];
    match File::open("/proc/sys/kernel/random/boot_id").and_then(|mut f| f.read_exact(&mut id)) {
        Ok(()) => String::from_utf8_lossy(&id).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_files_are_not_trusted() {
        const NOW: i64 = 1_000 * SETTLED_NS;
        let check = |mtime_ns, ctime_ns, want| {
            let identity = Identity { dev: 0, ino: 0, size_bytes: 1, mtime_ns, ctime_ns };
            assert_eq!(is_settled(&identity, NOW), want, "{mtime_ns} {ctime_ns}");
        };
        let edge = NOW - SETTLED_NS;
        check(edge, edge, true);
        check(edge + 1, edge, false);
        check(edge, edge + 1, false);
        check(0, NOW, false);
        // A clock that was set back, and times beyond all measure.
        check(NOW + SETTLED_NS, 0, false);
        check(0, i64::MAX, false);
        check(i64::MIN, i64::MIN, false);
        check(i64::MIN, 0, true);
    }

    #[test]
    fn entries_have_names_of_ours() {
        let hash = ContentHash([0xab; 32]);
        assert_eq!(entry_name(hash), format!("{}.elf", "ab".repeat(32)));
        assert_eq!(used_name(hash), format!("{}.used", "ab".repeat(32)));
    }
}
