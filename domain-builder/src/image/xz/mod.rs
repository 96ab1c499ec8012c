//! An xz file as Linux' build makes it: one stream of one block, LZMA2 with or without the x86
//! filter before it, and a CRC32 of the content (The .xz File Format, version 1.2.1).
//!
//! In: the whole file in memory. Out: its content in blocks, verified as the general reader of
//! `lzma-rust2` does. That one spends a fifth of its time on the check sum and the filter, which go
//! one byte at a time there; LZMA2 itself is its work here as well. Never guesses: of a file
//! that is anything else, or damaged outside of its data, [`Single::of`] makes nothing, and the
//! general reader says what is wrong.

mod header;
mod x86;

use super::lz4_legacy::Stop;
use lzma_rust2::Lzma2Reader;
use std::io::{self, Read};
use x86::X86;

/// Bytes decoded between two calls of the receiver.
const CHUNK_BYTES: usize = 256 << 10;

/// The file's one block, and what its headers and index say of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Single<'a> {
    /// The LZMA2 data, without header, padding and check.
    packed: &'a [u8],
    dictionary_bytes: u32,
    has_x86: bool,
    decoded_bytes: u64,
    crc32: u32,
}

impl Single<'_> {
    /// Decodes the block and hands its content to `take`, piece by piece.
    ///
    /// The dictionary and what the decoder needs beside it may have `limit_kib`.
    pub fn decode<E>(
        &self,
        limit_kib: u32,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let bad = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
        let (mut packed, dictionary_bytes) = (self.packed, self.dictionary_bytes);
        let mut reader =
            Lzma2Reader::new_mem_limit(&mut packed, dictionary_bytes, limit_kib, None)?;
        let mut filter = self.has_x86.then(X86::default);
        let mut crc = crc32fast::Hasher::new();
        let mut decoded_bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        // Bytes at the chunk's beginning that wait for those behind them.
        let mut held = 0;
        loop {
            let count = reader.read(&mut chunk[held..])?;
            let filled = held + count;
            let settled = match &mut filter {
                Some(filter) if count > 0 => filter.decode(&mut chunk[..filled]),
                _ => filled,
            };
            crc.update(&chunk[..settled]);
            decoded_bytes += settled as u64;
            take(&chunk[..settled]).map_err(Stop::Sink)?;
            if count == 0 {
                break;
            }
            chunk.copy_within(settled..filled, 0);
            held = filled - settled;
        }
        if !packed.is_empty() {
            return Err(bad("the block goes on behind its data").into());
        }
        if decoded_bytes != self.decoded_bytes {
            return Err(bad("the block has another length than the index says").into());
        }
        if crc.finalize() != self.crc32 {
            return Err(bad("the check sum of the content is wrong").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
