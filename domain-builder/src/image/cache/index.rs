//! What the cache knows: which file has which content, and which contents are kept.
//!
//! In: the bytes of the index file. Out: [`Index`], plain data. Does no I/O. Whatever cannot be
//! read is an empty index: then kernels are decoded again.

use crate::image::kernel::ContentHash;
use crate::image::source::Identity;
use serde::{Deserialize, Serialize};

/// Layout of the index file; another number makes it an empty index.
const VERSION: u32 = 1;
/// Most kernel files whose content is remembered.
pub(super) const MAX_SOURCES: usize = 64;
/// Most decoded kernels that are kept.
pub(super) const MAX_ENTRIES: usize = 16;
/// Most bytes of an index file that are read.
pub(super) const MAX_INDEX_BYTES: u64 = 128 << 10;

/// The index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    /// Oldest knowledge first.
    pub sources: Vec<SourceRecord>,
    pub entries: Vec<EntryRecord>,
}

/// A kernel file that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceRecord {
    pub identity: Identity,
    pub hash: ContentHash,
}

/// A decoded kernel in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryRecord {
    /// Hash of the kernel file that was decoded; the entry's name.
    pub hash: ContentHash,
    /// How that file was packed.
    pub compression: String,
    /// Length of the decoded kernel.
    pub decoded_bytes: u64,
    /// How much of it is stored; pages of zeros are not.
    pub stored_bytes: u64,
    /// Hash of the decoded kernel.
    pub decoded_hash: ContentHash,
    /// The entry's own file as it was written.
    pub file: Identity,
    /// The boot in which the decoded hash was last found right.
    pub verified_boot: String,
}

impl Default for Index {
    fn default() -> Self {
        Self { version: VERSION, sources: Vec::new(), entries: Vec::new() }
    }
}

impl Index {
    /// Reads an index file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(index)
                if index.version == VERSION
                    && index.sources.len() <= MAX_SOURCES
                    && index.entries.len() <= MAX_ENTRIES =>
            {
                index
            }
            _ => Self::default(),
        }
    }

    /// The index file's bytes.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The content of a kernel file, if it was read in just this state.
    pub fn hash_of(&self, identity: &Identity) -> Option<ContentHash> {
        self.sources.iter().find(|s| s.identity == *identity).map(|s| s.hash)
    }

    /// The decoded kernel for a content.
    pub fn entry(&self, hash: ContentHash) -> Option<&EntryRecord> {
        self.entries.iter().find(|e| e.hash == hash)
    }

    /// Remembers the content of a kernel file in place of what was known of that file.
    pub fn learn(&mut self, identity: Identity, hash: ContentHash) {
        self.sources.retain(|s| (s.identity.dev, s.identity.ino) != (identity.dev, identity.ino));
        if self.sources.len() >= MAX_SOURCES {
            self.sources.drain(..=self.sources.len() - MAX_SOURCES);
        }
        self.sources.push(SourceRecord { identity, hash });
    }

    /// Adds a decoded kernel in place of one with the same hash.
    pub fn add(&mut self, entry: EntryRecord) {
        self.entries.retain(|e| e.hash != entry.hash);
        self.entries.push(entry);
    }

    /// Drops a decoded kernel and what leads to it.
    pub fn remove(&mut self, hash: ContentHash) {
        self.entries.retain(|e| e.hash != hash);
        self.sources.retain(|s| s.hash != hash);
    }

    /// Bytes that all entries take.
    pub fn stored_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, e| sum.saturating_add(e.stored_bytes))
    }

    /// Which entries must go, least recently used first, so that one more of `need_bytes` fits
    /// into `limit_bytes`. `last_use` orders entries; equal ones keep their order.
    pub fn victims(
        &self,
        need_bytes: u64,
        limit_bytes: u64,
        last_use: impl Fn(ContentHash) -> i64,
    ) -> Vec<ContentHash> {
        let mut order: Vec<_> = self.entries.iter().map(|e| (last_use(e.hash), e)).collect();
        order.sort_by_key(|(time, _)| *time);
        let (mut held, mut count) = (self.stored_bytes(), self.entries.len());
        let mut victims = Vec::new();
        for (_, entry) in order {
            if held.saturating_add(need_bytes) <= limit_bytes && count < MAX_ENTRIES {
                break;
            }
            held = held.saturating_sub(entry.stored_bytes);
            count -= 1;
            victims.push(entry.hash);
        }
        victims
    }
}
