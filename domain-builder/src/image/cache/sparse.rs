//! A file under construction that stores no pages of zeros.
//!
//! In: bytes in order. Out: the same file with holes, its hash, and what it takes. In a dom0 that
//! lives in memory the cache is memory, and a third of a kernel's image is zeros.

use std::fs::File;
use std::io::{self, Write};
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
    hasher: blake3::Hasher,
}

/// What a finished file holds and takes.
pub(in crate::image) struct Finished {
    pub decoded_bytes: u64,
    pub stored_bytes: u64,
    pub hash: [u8; 32],
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
            hasher: blake3::Hasher::new(),
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
            hash: *self.hasher.finalize().as_bytes(),
        })
    }

    /// The file, complete once it is finished.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Writes the runs of pages that are not all zeros.
    fn spill(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        let is_hole = |page: &[u8]| *page == [0; PAGE_BYTES][..page.len()];
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let hole = is_hole(&rest[..rest.len().min(PAGE_BYTES)]);
            let pages = rest.chunks(PAGE_BYTES).take_while(|page| is_hole(page) == hole);
            let (run, after) = rest.split_at(pages.map(<[u8]>::len).sum());
            if !hole {
                self.stored_bytes += run.len() as u64;
                if self.is_over() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.file.write_all_at(run, self.position)?;
            }
            self.position += run.len() as u64;
            rest = after;
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
