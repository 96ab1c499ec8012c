//! What the cache knows: which file has which content, and which contents are kept.
//!
//! In: the bytes of the index file. Out: [`Index`], plain data. Does no I/O. Whatever cannot be
//! read is an empty index: then kernels are decoded again.

use crate::image::kernel::ContentHash;
use crate::image::source::Identity;
use serde::{Deserialize, Serialize};

/// Layout of the index file; another number makes it an empty index.
const VERSION: u32 = 2;
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
    /// Hash of the decoded kernel, of the kind that the writer of entries makes.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> ContentHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        ContentHash(bytes)
    }

    fn identity(ino: u64) -> Identity {
        Identity { dev: 1, ino, size_bytes: 5, mtime_ns: -3, ctime_ns: i64::MAX }
    }

    fn entry(n: usize, stored_bytes: u64) -> EntryRecord {
        EntryRecord {
            hash: hash(n),
            compression: "xz".to_owned(),
            decoded_bytes: stored_bytes,
            stored_bytes,
            decoded_hash: hash(n + 1000),
            file: identity(n as u64),
            verified_boot: "boot".to_owned(),
        }
    }

    fn index(sources: usize, entries: usize) -> Index {
        let mut index = Index::default();
        (0..sources).for_each(|n| index.learn(identity(n as u64), hash(n)));
        (0..entries).for_each(|n| index.add(entry(n, 10)));
        index
    }

    #[test]
    fn sources_are_bounded_and_the_oldest_goes() {
        let mut full = index(MAX_SOURCES, 0);
        assert_eq!((full.sources.len(), full.hash_of(&identity(0))), (MAX_SOURCES, Some(hash(0))));
        full.learn(identity(9999), hash(7));
        assert_eq!((full.sources.len(), full.hash_of(&identity(0))), (MAX_SOURCES, None));
        assert_eq!(full.hash_of(&identity(1)), Some(hash(1)));
        assert_eq!(full.hash_of(&identity(9999)), Some(hash(7)));
    }

    #[test]
    fn a_file_has_one_record() {
        let mut index = index(3, 0);
        let newer = Identity { ctime_ns: 0, ..identity(1) };
        index.learn(newer, hash(8));
        assert_eq!((index.sources.len(), index.hash_of(&identity(1))), (3, None));
        assert_eq!(index.hash_of(&newer), Some(hash(8)));
    }

    #[test]
    fn bytes_come_back() {
        let full = index(MAX_SOURCES, MAX_ENTRIES);
        let bytes = full.to_bytes().unwrap();
        assert!((bytes.len() as u64) < MAX_INDEX_BYTES, "a full index is {} bytes", bytes.len());
        assert_eq!(Index::from_bytes(&bytes), full);
        // One more than is ever written is no index of ours.
        let mut over = full.clone();
        over.sources.push(full.sources[0]);
        assert_eq!(Index::from_bytes(&over.to_bytes().unwrap()), Index::default());
        let mut over = full;
        over.entries.push(entry(99, 1));
        assert_eq!(Index::from_bytes(&over.to_bytes().unwrap()), Index::default());
        for bytes in [&b""[..], b"null", b"{}", b"\xff", &bytes[..bytes.len() - 1]] {
            assert_eq!(Index::from_bytes(bytes), Index::default());
        }
    }

    #[test]
    fn the_form_on_disk_is_pinned() {
        let text = String::from_utf8(index(1, 1).to_bytes().unwrap()).unwrap();
        let zeros = "00".repeat(32);
        let other = format!("e803{}", "00".repeat(30));
        let stat = r#""size_bytes":5,"mtime_ns":-3,"ctime_ns":9223372036854775807}"#;
        let want = format!(
            r#"{{"version":2,"sources":[{{"identity":{{"dev":1,"ino":0,{stat},"hash":"{zeros}"}}],"#
        ) + &format!(
            r#""entries":[{{"hash":"{zeros}","compression":"xz","decoded_bytes":10,"#
        ) + &format!(
            r#""stored_bytes":10,"decoded_hash":"{other}","file":{{"dev":1,"ino":0,{stat},"#
        ) + r#""verified_boot":"boot"}]}"#;
        assert_eq!(text, want);
    }

    #[test]
    fn victims_make_just_enough_room() {
        // Each of ten bytes, the last one used longest ago.
        let index = index(0, 3);
        let check = |need, limit, want: &[usize]| {
            let order = |h: ContentHash| -i64::from(h.0[0]);
            let want: Vec<_> = want.iter().map(|n| hash(*n)).collect();
            assert_eq!(index.victims(need, limit, order), want, "{need} into {limit}");
        };
        check(10, 40, &[]);
        check(11, 40, &[2]);
        check(10, 39, &[2]);
        check(20, 39, &[2, 1]);
        check(0, 30, &[]);
        check(0, 29, &[2]);
        check(39, 39, &[2, 1, 0]);
        check(u64::MAX, u64::MAX - 1, &[2, 1, 0]);
    }

    #[test]
    fn entries_are_bounded_by_number() {
        let check = |entries, want: usize| {
            assert_eq!(index(0, entries).victims(1, u64::MAX, |_| 0).len(), want, "{entries}");
        };
        check(MAX_ENTRIES - 1, 0);
        check(MAX_ENTRIES, 1);
    }

    #[test]
    fn removal_forgets_what_leads_there() {
        let mut index = index(2, 2);
        index.remove(hash(0));
        assert_eq!((index.entry(hash(0)), index.hash_of(&identity(0))), (None, None));
        assert!(index.entry(hash(1)).is_some() && index.hash_of(&identity(1)).is_some());
        index.add(entry(1, 7));
        assert_eq!((index.entries.len(), index.stored_bytes()), (1, 7));
    }
}
