//! The frame around an xz file's data: headers, index and footer.
//!
//! In: the whole file. Out: [`Single`], or nothing where the file is not of the one form that is
//! read here. Every check sum and every length in the frame is compared. Decodes nothing.

use super::Single;

const STREAM_MAGIC: &[u8; 6] = b"\xfd7zXZ\0";
const FOOTER_MAGIC: &[u8; 2] = b"YZ";
/// Stream flags: the content is checked by CRC32.
const FLAGS_CRC32: [u8; 2] = [0, 1];
const STREAM_HEADER_BYTES: usize = 12;
const FOOTER_BYTES: usize = 12;
/// A check sum: that of the content, and those of headers and index.
const CRC32_BYTES: usize = 4;
/// Headers, blocks and the index end at multiples of this.
const ALIGNMENT: usize = 4;

/// Block flags: the lowest bits count the filters before the last one; these say which lengths the
/// header repeats.
const BLOCK_PACKED_LENGTH: u8 = 0x40;
const BLOCK_DECODED_LENGTH: u8 = 0x80;

const FILTER_X86: u64 = 0x04;
const FILTER_LZMA2: u64 = 0x21;
/// The largest code of a dictionary size. It means 4 GiB less one byte.
const MAX_DICTIONARY_CODE: u8 = 40;

impl<'a> Single<'a> {
    /// The one block of a file of that form, found through the footer and the index.
    pub fn of(file: &'a [u8]) -> Option<Self> {
        let (header, rest) = file.split_first_chunk::<STREAM_HEADER_BYTES>()?;
        let (body, footer) = rest.split_last_chunk::<FOOTER_BYTES>()?;
        let flags = checked(header.strip_prefix(STREAM_MAGIC)?)?;
        let (footer_crc, footer) = footer.strip_suffix(FOOTER_MAGIC)?.split_first_chunk()?;
        let (index_length, footer_flags) = footer.split_first_chunk()?;
        if flags != FLAGS_CRC32
            || footer_flags != FLAGS_CRC32
            || crc32fast::hash(footer) != u32::from_le_bytes(*footer_crc)
        {
            return None;
        }
        let index_bytes = (u32::from_le_bytes(*index_length) as usize + 1) * ALIGNMENT;
        let (block, index) = body.split_at_checked(body.len().checked_sub(index_bytes)?)?;
        let (unpadded_bytes, decoded_bytes) = only_record(checked(index)?)?;
        let unpadded_bytes = usize::try_from(unpadded_bytes).ok()?;
        let header_bytes = (usize::from(*block.first()?) + 1) * ALIGNMENT;
        let packed_bytes = unpadded_bytes.checked_sub(header_bytes + CRC32_BYTES)?;
        let (header, rest) = block.split_at_checked(header_bytes)?;
        let (packed, rest) = rest.split_at_checked(packed_bytes)?;
        let (padding, crc32) = rest.split_last_chunk::<CRC32_BYTES>()?;
        if padding.len() != packed_bytes.wrapping_neg() % ALIGNMENT || !is_zero(padding) {
            return None;
        }
        let (has_x86, code) = filters(checked(header)?, packed_bytes as u64, decoded_bytes)?;
        Some(Self {
            packed,
            dictionary_bytes: dictionary_bytes(code)?,
            has_x86,
            decoded_bytes,
            crc32: u32::from_le_bytes(*crc32),
        })
    }
}

/// The bytes before a CRC32 at the end of `bytes` that agrees with them.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (bytes, crc32) = bytes.split_last_chunk()?;
    (crc32fast::hash(bytes) == u32::from_le_bytes(*crc32)).then_some(bytes)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The lengths in the index' only record: of the block without padding, and decoded.
fn only_record(index: &[u8]) -> Option<(u64, u64)> {
    let mut rest = index.strip_prefix(&[0])?;
    if number(&mut rest)? != 1 {
        return None;
    }
    let record = (number(&mut rest)?, number(&mut rest)?);
    (rest.len() < ALIGNMENT && is_zero(rest)).then_some(record)
}

/// Whether the x86 filter is used, and the code of the dictionary's size.
fn filters(header: &[u8], packed_bytes: u64, decoded_bytes: u64) -> Option<(bool, u8)> {
    let (&[_, flags], mut rest) = header.split_first_chunk()?;
    for (flag, length) in
        [(BLOCK_PACKED_LENGTH, packed_bytes), (BLOCK_DECODED_LENGTH, decoded_bytes)]
    {
        if flags & flag != 0 && number(&mut rest)? != length {
            return None;
        }
    }
    let has_x86 = match flags & !(BLOCK_PACKED_LENGTH | BLOCK_DECODED_LENGTH) {
        0 => false,
        1 => {
            // Without properties it begins to count at 0.
            if (number(&mut rest)?, number(&mut rest)?) != (FILTER_X86, 0) {
                return None;
            }
            true
        }
        _ => return None,
    };
    if (number(&mut rest)?, number(&mut rest)?) != (FILTER_LZMA2, 1) {
        return None;
    }
    let (code, padding) = rest.split_first()?;
    is_zero(padding).then_some((has_x86, *code))
}

/// The size of a dictionary: 2 or 3 times a power of two.
fn dictionary_bytes(code: u8) -> Option<u32> {
    match code {
        MAX_DICTIONARY_CODE => Some(u32::MAX),
        0..MAX_DICTIONARY_CODE => Some((2 | u32::from(code & 1)) << (code / 2 + 11)),
        _ => None,
    }
}

/// Takes a number off the front: seven bits in each byte, the lowest first, at most 63 in all.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            // A number is written as short as it can be.
            return (*byte != 0 || place == 0).then_some(value);
        }
    }
    None
}
