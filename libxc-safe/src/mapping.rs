//! Memory of another domain, mapped here: copied in and out, never referenced.
//!
//! A guest may change such memory at any moment, so no reference to it is ever handed out. Every
//! access is bounds-checked. What is read is a copy; check the copy, and read only once.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering, compiler_fence};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::error::{Error, Result};

/// Whether a mapping may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Only read.
    Read,
    /// Read and written.
    ReadWrite,
}

/// A mapping of pages that another domain may see and change. Unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    protection: Protection,
}

// Not Sync: copies are plain, and two threads of this process that copy to the same bytes at once
// would race. What a guest does to them meanwhile is outside of the program.
// SAFETY: the mapping belongs to this value; it hangs on no thread.
unsafe impl Send for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and len are those of the mapping made in `map`, owned by this value, and
        // no reference into it exists.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping: {unmapped:?}");
    }
}

impl Mapping {
    /// Maps `len` bytes (not 0) of `device` at `offset`.
    pub(crate) fn map(
        device: impl AsFd,
        offset: u64,
        len: usize,
        protection: Protection,
    ) -> Result<Self, Errno> {
        let prot = match protection {
            Protection::Read => ProtFlags::READ,
            Protection::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, device, offset)
        }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len, protection })
    }

    /// Whether children that this process forks have it, too.
    pub(crate) fn inherited(&self, by_children: bool) -> Result<(), Errno> {
        let advice = match by_children {
            true => Advice::LinuxDoFork,
            false => Advice::LinuxDontFork,
        };
        // SAFETY: the mapping belongs to this value; the advice changes what a child has, nothing here.
        unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice) }
    }

    /// Where it is; whoever asks has to unmap it from now on.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        let start = self.start;
        std::mem::forget(self);
        start
    }

    /// Where it lies in this process: for a driver that fills it with frames, or a device that is told to
    /// work on it. A number; memory is accessed by the other functions only.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Size in bytes, a multiple of the page size.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to `len` bytes at `offset`, all inside the mapping.
    fn at(&self, offset: usize, len: usize) -> Result<*mut u8> {
        if len > self.len || offset > self.len - len {
            return Err(Error::OutOfBounds { offset, len, size: self.len });
        }
        // SAFETY: offset is at most len(), so the pointer stays within (or just past) the mapping.
        Ok(unsafe { self.start.as_ptr().add(offset) })
    }

    fn writable_at(&self, offset: usize, len: usize) -> Result<*mut u8> {
        match self.protection {
            Protection::ReadWrite => self.at(offset, len),
            Protection::Read => Err(Error::ReadOnly),
        }
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`].
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let to = self.writable_at(offset, bytes.len())?;
        // SAFETY: `to` is the start of bytes.len() mapped, writable bytes; they are not part of
        // any Rust object, so `bytes` does not overlap them.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Writes `words` in the machine's byte order: page tables, frame lists.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`].
    pub fn write_words(&self, offset: usize, words: &[u64]) -> Result<()> {
        let to = self.writable_at(offset, size_of_val(words))?;
        // SAFETY: as in `write`; u64 has no padding, and the copy is of bytes, so alignment
        // does not matter.
        unsafe { ptr::copy_nonoverlapping(words.as_ptr().cast(), to, size_of_val(words)) };
        Ok(())
    }

    /// Copies from `offset` into `bytes`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let from = self.at(offset, bytes.len())?;
        // SAFETY: `from` is the start of bytes.len() mapped bytes outside of any Rust object. The
        // other domain may write to them meanwhile: the copy then mixes old and new bytes, each
        // of which is valid for u8.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        // What is looked at from here on is the copy: the compiler must not take it for the original, and
        // read that again once it was checked.
        compiler_fence(Ordering::SeqCst);
        Ok(())
    }

    /// Sets `len` bytes at `offset` to zero.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`].
    pub fn zero(&self, offset: usize, len: usize) -> Result<()> {
        let to = self.writable_at(offset, len)?;
        // SAFETY: `to` is the start of len mapped, writable bytes outside of any Rust object.
        unsafe { ptr::write_bytes(to, 0, len) };
        Ok(())
    }

    /// Reads `len` bytes of `file` at `file_offset` straight into the mapping at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::ReadOnly`], [`Error::FileTooShort`] when the file ends
    /// before, [`Error::Memory`] with the errno of the read.
    pub fn write_from(
        &self,
        offset: usize,
        file: impl AsFd,
        file_offset: u64,
        len: usize,
    ) -> Result<()> {
        let mut to = self.writable_at(offset, len)?;
        let mut position = file_offset;
        let mut left = len;
        while left > 0 {
            // SAFETY: `to` is the start of `left` mapped, writable bytes. The slice lives for this
            // one system call, promises nothing about its contents, and Rust neither reads nor
            // writes through it.
            let target =
                unsafe { std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<u8>>(), left) };
            let read = match rustix::io::pread(&file, target, position) {
                Ok((filled, _)) => filled.len(),
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    let operation = "read a file into guest memory";
                    return Err(Error::Memory { operation, bytes: left, errno });
                }
            };
            if read == 0 {
                return Err(Error::FileTooShort { offset: position, missing: left });
            }
            // SAFETY: read is at most `left`, so the pointer stays within the checked range.
            to = unsafe { to.add(read) };
            position += read as u64;
            left -= read;
        }
        Ok(())
    }

    /// Reads a 32-bit index of a ring with acquire ordering: what its writer wrote before it is
    /// visible after it.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::Invalid`] when `offset` is not a multiple of 4.
    pub fn load_u32(&self, offset: usize) -> Result<u32> {
        Ok(self.atomic_u32(self.at(offset, 4)?)?.load(Ordering::Acquire))
    }

    /// Writes a 32-bit index of a ring with release ordering: what was written before it is
    /// visible to whoever reads it.
    ///
    /// # Errors
    /// As [`Mapping::load_u32`], and [`Error::ReadOnly`].
    pub fn store_u32(&self, offset: usize, value: u32) -> Result<()> {
        self.atomic_u32(self.writable_at(offset, 4)?)?.store(value, Ordering::Release);
        Ok(())
    }

    fn atomic_u32(&self, at: *mut u8) -> Result<&AtomicU32> {
        if !at.addr().is_multiple_of(4) {
            return Err(Error::Invalid { operation: "ring index", what: "not aligned to 4 bytes" });
        }
        // SAFETY: the caller checked that 4 bytes are mapped at `at`, aligned just above, and the
        // mapping lives as long as `&self`. Other accesses from here to an index go through
        // atomics too; those of the other domain are the peer's atomics.
        Ok(unsafe { AtomicU32::from_ptr(at.cast()) })
    }

    /// Reads one byte that the other side may change, with acquire ordering.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn load_u8(&self, offset: usize) -> Result<u8> {
        let at = self.at(offset, 1)?;
        // SAFETY: one byte is mapped at `at` for as long as `&self` lives.
        Ok(unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::io::Write;

    fn mapping(protection: Protection) -> Mapping {
        let file = rustix::fs::memfd_create("mapping", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 8192).unwrap();
        Mapping::map(&file, 0, 8192, protection).unwrap()
    }

    #[test]
    fn bounds() {
        let check = |offset, len, fits| {
            let mapping = mapping(Protection::ReadWrite);
            let mut bytes = vec![0; len];
            let out = Error::OutOfBounds { offset, len, size: 8192 };
            let expected = if fits { Ok(()) } else { Err(out) };
            assert_eq!(mapping.read(offset, &mut bytes), expected, "read {offset}+{len}");
            assert_eq!(mapping.write(offset, &bytes), expected, "write {offset}+{len}");
            assert_eq!(mapping.zero(offset, len), expected, "zero {offset}+{len}");
        };
        check(0, 8192, true);
        check(8192, 0, true);
        check(8191, 1, true);
        check(8191, 2, false);
        check(8193, 0, false);
        check(usize::MAX, 1, false);
        check(1, 8192, false);
        check(0, 8193, false);
    }

    #[test]
    fn what_is_written_is_read() {
        let mapping = mapping(Protection::ReadWrite);
        mapping.write(4094, b"abcd").unwrap();
        mapping.write_words(8, &[0x1122, u64::MAX]).unwrap();
        mapping.zero(4095, 1).unwrap();
        let mut bytes = [9; 4];
        mapping.read(4094, &mut bytes).unwrap();
        assert_eq!(&bytes, b"a\0cd");
        assert_eq!(mapping.load_u32(8), Ok(0x1122));
        assert_eq!(mapping.load_u32(16), Ok(u32::MAX));
        mapping.store_u32(8, 7).unwrap();
        assert_eq!(mapping.load_u8(8), Ok(7));
        assert!(matches!(mapping.load_u32(6), Err(Error::Invalid { .. })));
        assert!(matches!(mapping.store_u32(8190, 1), Err(Error::OutOfBounds { .. })));
    }

    #[test]
    fn a_read_only_mapping_is_never_written() {
        let mapping = mapping(Protection::Read);
        assert_eq!(mapping.write(0, b"x"), Err(Error::ReadOnly));
        assert_eq!(mapping.write_words(0, &[1]), Err(Error::ReadOnly));
        assert_eq!(mapping.zero(0, 1), Err(Error::ReadOnly));
        assert_eq!(mapping.store_u32(0, 1), Err(Error::ReadOnly));
        assert_eq!(mapping.load_u32(0), Ok(0));
    }

    #[test]
    fn files_are_read_in_place() {
        let file = rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC).unwrap();
        let mut file = std::fs::File::from(file);
        file.write_all(b"0123456789").unwrap();
        let mapping = mapping(Protection::ReadWrite);
        mapping.write_from(100, &file, 3, 5).unwrap();
        let mut bytes = [0; 6];
        mapping.read(100, &mut bytes).unwrap();
        assert_eq!(&bytes, b"34567\0");
        let short = mapping.write_from(0, &file, 8, 5);
        assert_eq!(short, Err(Error::FileTooShort { offset: 10, missing: 3 }));
        let outside = mapping.write_from(8190, &file, 0, 5);
        assert!(matches!(outside, Err(Error::OutOfBounds { .. })));
    }
}
