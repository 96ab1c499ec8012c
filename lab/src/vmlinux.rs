//! The uncompressed kernel inside a Debian `vmlinuz`.
//!
//! The emulator spends ten seconds on decompressing a kernel that takes this module one, so dom0
//! boots from the payload (Linux boot protocol 2.08: `setup_sects`, `payload_offset`,
//! `payload_length`; xz).

use crate::error::{Context as _, Error, Result};
use std::io::Read as _;
use std::path::Path;

/// Writes the ELF file inside the bzImage `from` to `to`.
pub fn extract(from: &Path, to: &Path) -> Result<()> {
    let image = std::fs::read(from).on("read", from)?;
    let bad = |why: &str| Error::Form { path: from.into(), why: why.into() };
    let payload = payload(&image).ok_or_else(|| bad("it is no bzImage"))?;
    if !payload.starts_with(b"\xfd7zXZ\0") {
        return Err(bad("its payload is not xz"));
    }
    let mut elf = Vec::new();
    let mut reader = lzma_rust2::XzReader::new(payload, false);
    reader.read_to_end(&mut elf).on("decompress", from)?;
    if !elf.starts_with(b"\x7fELF") {
        return Err(bad("its payload is no ELF file"));
    }
    let part = to.with_extension("part");
    std::fs::write(&part, &elf).on("write", &part)?;
    std::fs::rename(&part, to).on("rename", to)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let sectors = match image.get(0x1f1)? {
        0 => 4,
        count => usize::from(*count),
    };
    let start = (sectors + 1) * 512 + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}
