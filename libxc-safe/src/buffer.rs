//! Memory that the hypervisor may read and write during a hypercall.
//!
//! The kernel may migrate or write-protect ordinary pages at any time, and Xen, which walks the
//! page tables itself, then answers EFAULT. `/dev/xen/hypercall` hands out pages that stay. Where
//! that device is missing (kernels before 4.18), locked memory that is not shared with children
//! serves. Freed buffers are kept in a bounded pool: an mmap costs more than most hypercalls.

use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use xen_sys::arch_x86::vcpu_guest_context;

use crate::error::{Error, Result};

pub(crate) const PAGE_BYTES: usize = 4096;

/// A buffer of more pages goes back to the kernel at once.
const POOLED_PAGES: usize = 16;
/// At most this many buffers wait in the pool.
const POOLED_BUFFERS: usize = 16;

/// Where the pages come from, and those that wait for use.
pub(crate) struct Pool {
    device: Option<OwnedFd>,
    free: Mutex<Vec<Pages>>,
}

/// A run of mapped pages, unmapped on drop.
struct Pages {
    start: NonNull<u8>,
    count: usize,
}

// SAFETY: the pages belong to this value alone; no thread-local state hangs on them.
unsafe impl Send for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: start and count are those of the mapping made in `Pool::map`, which this value
        // owns; every borrow of its bytes borrowed the buffer that owned this value.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes()) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping: {unmapped:?}");
    }
}

impl Pages {
    fn bytes(&self) -> usize {
        self.count * PAGE_BYTES
    }
}

impl Pool {
    /// Opens `/dev/xen/hypercall`, or settles for locked memory where there is no such device.
    pub(crate) fn open() -> Result<Self> {
        const PATH: &str = "/dev/xen/hypercall";
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = match rustix::fs::open(PATH, flags, Mode::empty()) {
            Ok(device) => Some(device),
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => None,
            Err(errno) => return Err(Error::open(PATH, "xen-privcmd", errno)),
        };
        Ok(Self { device, free: Mutex::new(Vec::new()) })
    }

    /// Whether pages come from `/dev/xen/hypercall` and not from locked memory.
    pub(crate) fn has_device(&self) -> bool {
        self.device.is_some()
    }

    /// A buffer of `len` zero bytes.
    pub(crate) fn zeroed(&self, len: usize) -> Result<Buffer<'_>> {
        let mut buffer = self.stale(len)?;
        buffer.bytes_mut().fill(0);
        Ok(buffer)
    }

    /// A buffer that holds a copy of `bytes`.
    pub(crate) fn holding(&self, bytes: &[u8]) -> Result<Buffer<'_>> {
        let mut buffer = self.stale(bytes.len())?;
        buffer.bytes_mut().copy_from_slice(bytes);
        Ok(buffer)
    }

    /// A buffer that holds `words`, in the machine's byte order.
    pub(crate) fn holding_words(&self, words: &[u64]) -> Result<Buffer<'_>> {
        let mut buffer = self.stale(size_of_val(words))?;
        for (at, word) in buffer.bytes_mut().chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(buffer)
    }

    /// A buffer whose bytes are left from earlier use: never returned before they are set.
    fn stale(&self, len: usize) -> Result<Buffer<'_>> {
        let count = len.div_ceil(PAGE_BYTES).max(1);
        let pooled = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let fitting = free.iter().enumerate().filter(|(_, pages)| pages.count >= count);
            let best = fitting.min_by_key(|(_, pages)| pages.count).map(|(at, _)| at);
            best.map(|at| free.swap_remove(at))
        };
        let pages = match pooled {
            Some(pages) => pages,
            // Small buffers share one size, so that each fits the next call's need.
            None if count <= POOLED_PAGES / 8 => self.map(POOLED_PAGES / 8)?,
            None if count <= POOLED_PAGES => self.map(POOLED_PAGES)?,
            None => self.map(count)?,
        };
        Ok(Buffer { pool: self, pages: Some(pages), len })
    }

    fn map(&self, count: usize) -> Result<Pages> {
        let bytes = count * PAGE_BYTES;
        let error = |errno| Error::Memory { operation: "map a hypercall buffer", bytes, errno };
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let start = match &self.device {
            // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
            Some(device) => unsafe {
                rustix::mm::mmap(ptr::null_mut(), bytes, prot, MapFlags::SHARED, device, 0)
            },
            // SAFETY: as above.
            None => unsafe {
                rustix::mm::mmap_anonymous(
                    ptr::null_mut(),
                    bytes,
                    prot,
                    MapFlags::PRIVATE | MapFlags::LOCKED,
                )
            },
        }
        .map_err(error)?;
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| error(Errno::NOMEM))?;
        let pages = Pages { start, count };
        if self.device.is_none() {
            // A fork would make the pages copy-on-write, and the next write moves them.
            // SAFETY: the range is the mapping just made; DONTFORK changes none of its bytes.
            unsafe {
                rustix::mm::madvise(start.as_ptr().cast::<c_void>(), bytes, Advice::LinuxDontFork)
            }
            .map_err(error)?;
        }
        Ok(pages)
    }

    fn take_back(&self, pages: Pages) {
        if pages.count > POOLED_PAGES {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < POOLED_BUFFERS {
            free.push(pages);
        }
    }

    /// How many buffers wait in the pool.
    pub(crate) fn waiting(&self) -> usize {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Bytes that a hypercall may be told the address of. Goes back to its pool on drop.
pub(crate) struct Buffer<'pool> {
    pool: &'pool Pool,
    /// Some until drop.
    pages: Option<Pages>,
    len: usize,
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            self.pool.take_back(pages);
        }
    }
}

impl Buffer<'_> {
    fn start(&self) -> *mut u8 {
        self.pages.as_ref().map_or(ptr::null_mut(), |pages| pages.start.as_ptr())
    }

    /// The address for a guest handle. Xen may write to it for as long as a call lasts: taking
    /// `&mut self` makes sure that no slice of the bytes is alive when the address is taken.
    pub(crate) fn address(&mut self) -> u64 {
        self.start().expose_provenance() as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` lie inside the pages that this buffer owns until drop.
        // They were initialised by the kernel (mmap) and Xen writes to them only inside of a
        // hypercall, during which no slice lives (see `Privcmd::hypercall`).
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only slice.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }

    /// Copies a register context to the start of the buffer, which must be large enough.
    pub(crate) fn write_context(&mut self, context: &vcpu_guest_context) {
        assert!(self.len >= size_of::<vcpu_guest_context>(), "buffer too small for a context");
        // SAFETY: the destination has room, checked above, and lies in pages of this buffer, apart
        // from `context`; the structure names its padding, so all its bytes are initialised.
        unsafe {
            let from: *const vcpu_guest_context = context;
            ptr::copy_nonoverlapping(from.cast(), self.start(), size_of::<vcpu_guest_context>());
        }
    }

    /// Reads a register context from the start of the buffer, which must be large enough.
    pub(crate) fn read_context(&self) -> Box<vcpu_guest_context> {
        assert!(self.len >= size_of::<vcpu_guest_context>(), "buffer too small for a context");
        // SAFETY: the source holds that many initialised bytes, checked above; the structure
        // consists of integers, for which all bit patterns are valid. Pages are aligned.
        Box::new(unsafe { self.start().cast::<vcpu_guest_context>().read() })
    }

    /// The bytes as words in the machine's byte order.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        self.bytes().chunks_exact(8).map(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(at);
            u64::from_ne_bytes(word)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Locked memory needs no Xen: what a pool does with pages is the same for both kinds.
    fn pool() -> Pool {
        Pool { device: None, free: Mutex::new(Vec::new()) }
    }

    #[test]
    fn a_buffer_is_zero_even_after_use() {
        let pool = pool();
        let mut first = pool.zeroed(100).unwrap();
        first.bytes_mut().fill(0xAA);
        let address = first.address();
        drop(first);
        let mut second = pool.zeroed(5000).unwrap();
        assert_eq!(second.address(), address, "the pooled pages are used again");
        assert!(second.bytes().iter().all(|byte| *byte == 0));
        assert_eq!(second.bytes().len(), 5000);
    }

    #[test]
    fn the_pool_is_bounded_and_keeps_no_large_buffer() {
        let pool = pool();
        drop(pool.zeroed((POOLED_PAGES + 1) * PAGE_BYTES).unwrap());
        assert_eq!(pool.waiting(), 0);
        let all: Vec<_> = (0..POOLED_BUFFERS + 3).map(|_| pool.zeroed(8).unwrap()).collect();
        drop(all);
        assert_eq!(pool.waiting(), POOLED_BUFFERS);
    }

    #[test]
    fn words_round_trip() {
        let pool = pool();
        let words = [1, u64::MAX, 0x0123_4567_89AB_CDEF];
        let buffer = pool.holding_words(&words).unwrap();
        assert_eq!(buffer.words().collect::<Vec<_>>(), words);
        assert_eq!(pool.holding(b"xen").unwrap().bytes(), b"xen");
    }
}
