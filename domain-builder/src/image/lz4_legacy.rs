//! LZ4's legacy frame, in which Linux packs itself (`lz4 -l`; LZ4 frame format, "Legacy frame").
//!
//! In: magic number, then blocks, each a little-endian length and an LZ4 block of at most 8 MiB
//! decoded. Out: the decoded blocks, one after the other. The format has no check sum and no end
//! mark: the data ends where a block ends.

use std::io;

/// The magic number 0x184C2102, as it lies in the file.
pub(super) const MAGIC: [u8; 4] = 0x184C_2102_u32.to_le_bytes();
/// Most bytes that one block decodes to.
const BLOCK_BYTES: usize = 8 << 20;

/// Why decoding stopped: the data is bad, or the receiver of blocks said so.
#[derive(Debug)]
pub(super) enum Stop<E> {
    Data(io::Error),
    Sink(E),
}

impl<E> From<io::Error> for Stop<E> {
    fn from(error: io::Error) -> Self {
        Self::Data(error)
    }
}

/// Decodes `data` and hands each block to `take`.
pub(super) fn decode<E>(
    data: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Stop<E>> {
    let bad = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut rest = data.strip_prefix(&MAGIC).ok_or_else(|| bad("no legacy magic number"))?;
    let mut block = vec![0; BLOCK_BYTES];
    while !rest.is_empty() {
        let (word, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| bad("a cut block length"))?;
        rest = after;
        if *word == MAGIC {
            continue; // Frames may follow each other.
        }
        let len = u32::from_le_bytes(*word) as usize;
        let (packed, after) = rest.split_at_checked(len).ok_or_else(|| bad("a cut block"))?;
        rest = after;
        let count = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        take(&block[..count]).map_err(Stop::Sink)?;
    }
    Ok(())
}
