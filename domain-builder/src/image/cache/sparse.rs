//! A file under construction that stores no pages of zeros.
//!
//! In: bytes in order. Out: the same file with holes, its hash, and what it takes. In a dom0 that
//! lives in memory the cache is memory, and a third of a kernel's image is zeros.

use crate::image::kernel::ContentHash;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

/// Bytes that are stored or left out as one.
const PAGE_BYTES: usize = 4096;
/// Bytes collected between two writes; a whole number of pages.
const BUFFER_BYTES: usize = 64 * PAGE_BYTES;

/// The writer. What is written last becomes visible in the file by [`Sparse::finish`].
pub(in crate::image) struct Sparse {
    file: File,
    buffer: Vec<u8>,
    /// File offset of the buffer's first byte.
    position: u64,
    stored_bytes: u64,
    limit_bytes: u64,
    hasher: Hasher,
}

/// What a finished file holds and takes.
pub(in crate::image) struct Finished {
    pub decoded_bytes: u64,
    pub stored_bytes: u64,
    pub hash: ContentHash,
}

impl Sparse {
    /// Writes into an empty file, storing at most `limit_bytes`.
    pub fn new(file: File, limit_bytes: u64) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            position: 0,
            stored_bytes: 0,
            limit_bytes,
            hasher: Hasher::default(),
        }
    }

    /// Whether more than the limit was to be stored; then a write has failed.
    pub fn is_over(&self) -> bool {
        self.stored_bytes > self.limit_bytes
    }

    /// Writes what is left and sets the file's length.
    pub fn finish(&mut self) -> io::Result<Finished> {
        self.spill()?;
        self.file.set_len(self.position)?;
        Ok(Finished {
            decoded_bytes: self.position,
            stored_bytes: self.stored_bytes,
            hash: std::mem::take(&mut self.hasher).finish(),
        })
    }

    /// The file, complete once it is finished.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Writes the runs of pages that are not all zeros.
    fn spill(&mut self) -> io::Result<()> {
        for (run, is_hole) in runs(&self.buffer) {
            self.hasher.add(run, is_hole);
            if !is_hole {
                self.stored_bytes += run.len() as u64;
                if self.is_over() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.file.write_all_at(run, self.position)?;
            }
            self.position += run.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER_BYTES {
            self.spill()?;
        }
        let count = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing may be written before a page is whole; finish() does the rest.
        Ok(())
    }
}

/// The hash of a whole file, as [`Sparse::finish`] tells it.
pub(super) fn hash_file(file: &File) -> io::Result<ContentHash> {
    let mut hasher = Hasher::default();
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        file.take(BUFFER_BYTES as u64).read_to_end(&mut buffer)?;
        runs(&buffer).for_each(|(run, is_hole)| hasher.add(run, is_hole));
        if buffer.len() < BUFFER_BYTES {
            return Ok(hasher.finish());
        }
    }
}

/// BLAKE3 over the pages that are not all zeros, then over which pages these are, then over the
/// length: it tells contents apart as a hash of every byte does, and costs nothing for zeros.
#[derive(Default)]
struct Hasher {
    stored: blake3::Hasher,
    /// A byte for each page: 0 for zeros, 1 for others.
    pages: Vec<u8>,
    len_bytes: u64,
}

impl Hasher {
    /// Adds pages of one kind. Only the last one of a file may be shorter than a page.
    fn add(&mut self, run: &[u8], is_hole: bool) {
        if !is_hole {
            self.stored.update(run);
        }
        self.pages.resize(self.pages.len() + run.len().div_ceil(PAGE_BYTES), u8::from(!is_hole));
        self.len_bytes += run.len() as u64;
    }

    fn finish(mut self) -> ContentHash {
        self.stored.update(&self.pages).update(&self.len_bytes.to_le_bytes());
        ContentHash(*self.stored.finalize().as_bytes())
    }
}

/// Splits pages into runs of those that are all zeros, and of those that are not.
fn runs(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let is_zero = |page: &[u8]| *page == [0; PAGE_BYTES][..page.len()];
    std::iter::from_fn(move || {
        let is_hole = is_zero(rest.chunks(PAGE_BYTES).next()?);
        let pages = rest.chunks(PAGE_BYTES).take_while(|page| is_zero(page) == is_hole);
        let (run, after) = rest.split_at(pages.map(<[u8]>::len).sum());
        rest = after;
        Some((run, is_hole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn memory() -> File {
        File::from(memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap())
    }

    fn hash(content: &[u8]) -> ContentHash {
        let file = memory();
        file.write_all_at(content, 0).unwrap();
        hash_file(&file).unwrap()
    }

    #[test]
    fn writing_and_reading_make_the_same_hash() {
        let check = |content: &[u8]| {
            let mut sparse = Sparse::new(memory(), u64::MAX);
            content.chunks(1000).for_each(|piece| sparse.write_all(piece).unwrap());
            let finished = sparse.finish().unwrap();
            assert_eq!(finished.hash, hash(content));
            let mut written = vec![0; content.len()];
            sparse.into_file().read_exact_at(&mut written, 0).unwrap();
            assert!(written == content);
        };
        let mut content = vec![0; 3 * BUFFER_BYTES + 77];
        check(&[]);
        check(b"x");
        check(&[0; 5]);
        check(&content);
        for at in [0, PAGE_BYTES, 5 * PAGE_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES + 5] {
            content[at] = 1;
            check(&content);
            check(&content[..BUFFER_BYTES]);
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let mut content = vec![0; 4 * PAGE_BYTES + 9];
        content[PAGE_BYTES..2 * PAGE_BYTES].fill(7);
        let mut hashes = std::collections::HashSet::from([hash(&content)]);
        for at in [0, 1, PAGE_BYTES, 2 * PAGE_BYTES - 1, 2 * PAGE_BYTES, 4 * PAGE_BYTES + 8] {
            let mut other = content.clone();
            other[at] ^= 1;
            assert!(hashes.insert(hash(&other)), "{at}");
        }
        for len in [0, 1, PAGE_BYTES, 4 * PAGE_BYTES, 4 * PAGE_BYTES + 8] {
            assert!(hashes.insert(hash(&content[..len])), "{len}");
        }
        // The same bytes, a page further on.
        content.rotate_right(PAGE_BYTES);
        assert!(hashes.insert(hash(&content)));
    }
}
