//! Where a sparse file holds data.
//!
//! In: an open file and a range of it. Out: the parts that the file system stores; all else reads as
//! zeros. Reads no content. A file system that knows of no holes has data everywhere.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

/// Shorter holes count as data: a piece more to map costs what some pages of zeros do.
const MIN_HOLE_BYTES: u64 = 32 << 10;

/// Unit of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// The stored parts of `range`, ascending, as offsets into the file.
pub(super) fn data(file: &File, range: Range<u64>) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    // Looking for holes goes through all pages of the file, even where there can be none.
    let is_whole = |stat: Metadata| stat.blocks().saturating_mul(BLOCK_BYTES) >= stat.len();
    if !range.is_empty() && file.metadata().is_ok_and(is_whole) {
        parts.push(range);
        return parts;
    }
    let mut from = range.start;
    while from < range.end {
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) if start < range.end => start.max(from),
            Ok(_) | Err(Errno::NXIO) => break,
            Err(_) => from,
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(range.end),
            _ => range.end,
        };
        match parts.last_mut() {
            Some(last) if start - last.end < MIN_HOLE_BYTES => last.end = end,
            _ => parts.push(start..end),
        }
        from = end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::unix::fs::FileExt;

    /// A file of 1 MiB with data at these offsets, one byte each.
    fn file(at: &[u64]) -> File {
        let file = File::from(memfd_create("holes", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(1 << 20).unwrap();
        for offset in at {
            file.write_all_at(b"x", *offset).unwrap();
        }
        file
    }

    #[test]
    fn only_what_is_stored_is_data() {
        let check = |at: &[u64], range: Range<u64>, want: &[Range<u64>]| {
            assert_eq!(data(&file(at), range.clone()), want, "{at:x?} {range:x?}");
        };
        let one = std::slice::from_ref;
        let all = 0..1 << 20;
        check(&[], all.clone(), &[]);
        check(&[0], all.clone(), one(&(0..0x1000)));
        check(&[0xf_ffff], all.clone(), one(&(0xf_f000..0x10_0000)));
        check(&[0x1_0000, 0x8_0000], all.clone(), &[0x1_0000..0x1_1000, 0x8_0000..0x8_1000]);
        // A short hole is no hole; one of the least length is.
        check(&[0, 0x8000], all.clone(), one(&(0..0x9000)));
        check(&[0, 0x9000], all, &[0..0x1000, 0x9000..0xa000]);
        // Ranges begin and end anywhere.
        check(&[0x1_0000], 0x1_0010..0x1_0020, one(&(0x1_0010..0x1_0020)));
        check(&[0x1_0000], 0x1_1000..0x2_0000, &[]);
        check(&[0x1_0000], 0x100..0x1_0001, one(&(0x1_0000..0x1_0001)));
        check(&[0], 5..5, &[]);
    }

    #[test]
    fn a_file_that_is_stored_whole_is_all_data() {
        let whole = File::from(memfd_create("whole", MemfdFlags::CLOEXEC).unwrap());
        whole.write_all_at(&[0; 0x8000], 0).unwrap();
        assert_eq!(data(&whole, 0x10..0x7000), std::slice::from_ref(&(0x10..0x7000)));
        assert!(data(&whole, 5..5).is_empty());
    }

    #[test]
    fn a_file_that_cannot_tell_is_all_data() {
        let pipe = File::from(std::os::fd::OwnedFd::from(std::io::pipe().unwrap().0));
        assert_eq!(data(&pipe, 3..9000), std::slice::from_ref(&(3..9000)));
    }
}
