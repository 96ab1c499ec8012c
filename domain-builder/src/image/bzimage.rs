//! Linux' bzImage (the x86 boot protocol's setup header).
//!
//! In: a kernel file. Out: the packed ELF file inside. Never runs or interprets the decoder that
//! Linux brings along.

use super::error::Problem;
use super::packed::{Format, Packed};

/// Bytes that must be there to tell a bzImage and read its header.
pub(super) const HEADER_BYTES: usize = 0x250;
/// First protocol version whose header tells where the payload is: 2.08, of Linux 2.6.26.
const FIRST_VERSION: u16 = 0x208;
/// Bytes of a sector, in which the setup code is counted.
const SECTOR_BYTES: u64 = 512;

/// Whether the file begins with a boot sector and a setup header.
pub(super) fn is_bzimage(head: &[u8]) -> bool {
    head.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) && head.get(0x202..0x206) == Some(b"HdrS")
}

/// Finds the payload by the header's `payload_offset` and `payload_length`.
pub(super) fn payload(file: &[u8]) -> Result<Packed<'_>, Problem> {
    let bad = |reason: String| Problem::BzImage { reason };
    let header = file
        .get(..HEADER_BYTES)
        .ok_or_else(|| bad(format!("the file has {} bytes and ends in the header", file.len())))?;
    let u32_at = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let version = u16::from_le_bytes([header[0x206], header[0x207]]);
    if version < FIRST_VERSION {
        return Err(bad(format!(
            "boot protocol {}.{:02} does not tell where the kernel is; 2.08 and later do",
            version >> 8,
            version & 0xff
        )));
    }
    let setup_sectors = if header[0x1f1] == 0 { 4 } else { u64::from(header[0x1f1]) };
    // Neither sum can overflow: all three terms have at most 32 bits.
    let start = (setup_sectors + 1) * SECTOR_BYTES + u64::from(u32_at(0x248));
    let end = start + u64::from(u32_at(0x24c));
    let data = file.get(start as usize..end as usize).ok_or_else(|| {
        bad(format!("the payload ends at byte {end}, and the file has {} bytes", file.len()))
    })?;
    let format = Format::of(data).ok_or_else(|| {
        let head = super::source::hex_head(data);
        bad(format!("the payload begins with {head}, which is no known packing"))
    })?;
    declared(format, data).ok_or_else(|| bad("the payload is empty".to_owned()))
}

/// Splits off the decoded length, which Linux' build appends to every packing but gzip, whose
/// own last word says the same.
fn declared(format: Format, data: &[u8]) -> Option<Packed<'_>> {
    let (stream, word) = data.split_last_chunk::<4>()?;
    let declared_bytes = Some(u32::from_le_bytes(*word));
    Some(match format {
        Format::Elf => Packed { format, data, declared_bytes: None },
        Format::Gzip => Packed { format, data, declared_bytes },
        _ => Packed { format, data: stream, declared_bytes },
    })
}
