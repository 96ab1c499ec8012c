//! The guardian: lets the device go of guests' pages when this program is killed.
//!
//! A process that dies with a region registered on granted pages has them unmapped before the device
//! lets go, which breaks a PV dom0 until it reboots. So a second process shares this one's memory and
//! descriptors: both stay while it lives. It waits for the first one's end, deregisters every region,
//! and ends, with which the kernel unmaps. Nothing of that waits for a guest.
//!
//! It takes no lock and allocates nothing, since the threads that died may hold any: it makes system
//! calls on descriptors that stand in [`OPEN`]. It need not know the regions, either. The kernel
//! numbers the objects of a descriptor from 0 up, so it tries all numbers that there can be.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use libxc_safe::Errno;
use rustix::event::{PollFd, PollFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

use crate::error::{Error, Result};

/// Contexts that may be open at once.
const OPEN_MAX: usize = 1024;
/// Open descriptors, as [`Open`] packs them; 0 for a free place.
static OPEN: [AtomicU64; OPEN_MAX] = [const { AtomicU64::new(0) }; OPEN_MAX];

/// An open descriptor, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    fd: i32,
    driver: u32,
    /// Objects that it can have at once.
    objects: u32,
}

impl Open {
    /// Set in every word that is in use.
    const USED: u64 = 1 << 63;
    const DRIVER_AT: u32 = 24;
    const OBJECTS_AT: u32 = 32;

    fn pack(self) -> u64 {
        Self::USED
            | u64::from(self.objects) << Self::OBJECTS_AT
            | u64::from(self.driver) << Self::DRIVER_AT
            | u64::from(self.fd.cast_unsigned())
    }

    fn unpack(word: u64) -> Option<Self> {
        (word & Self::USED != 0).then_some(Self {
            fd: (word & 0xff_ffff) as i32,
            driver: (word >> Self::DRIVER_AT & 0xff) as u32,
            objects: (word >> Self::OBJECTS_AT & 0x7fff_ffff) as u32,
        })
    }
}

/// Bytes of the guardian's stack.
const STACK_BYTES: usize = 64 * 1024;

/// `RDMA_VERBS_IOCTL`, `rdma/rdma_user_ioctl_cmds.h`.
const RDMA_VERBS_IOCTL: Opcode = 0xc018_1b01;
/// `UVERBS_OBJECT_MR`, `rdma/ib_user_ioctl_cmds.h`.
const OBJECT_MR: u16 = 7;
/// `UVERBS_METHOD_MR_DESTROY`.
const METHOD_MR_DESTROY: u16 = 1;
/// `UVERBS_ATTR_F_MANDATORY`.
const MANDATORY: u16 = 1;
/// What is known of the kernel's interface, for the comparison with its headers.
pub const KERNEL_NUMBERS: &[(&str, u64)] = &[
    ("RDMA_VERBS_IOCTL", RDMA_VERBS_IOCTL as u64),
    ("UVERBS_OBJECT_MR", OBJECT_MR as u64),
    ("UVERBS_METHOD_MR_DESTROY", METHOD_MR_DESTROY as u64),
    ("UVERBS_ATTR_DESTROY_MR_HANDLE", 0),
    ("UVERBS_ATTR_F_MANDATORY", MANDATORY as u64),
    ("RDMA_DRIVER_RXE", DRIVER_RXE as u64),
    ("RDMA_DRIVER_SIW", DRIVER_SIW as u64),
    (
        "sizeof(struct ib_uverbs_ioctl_hdr) + sizeof(struct ib_uverbs_attr)",
        size_of::<DestroyMr>() as u64,
    ),
    (
        "offsetof(struct ib_uverbs_ioctl_hdr, driver_id)",
        std::mem::offset_of!(DestroyMr, driver_id) as u64,
    ),
];
/// Numbers of drivers that `enum rdma_driver_id` may come to.
const DRIVERS_MAX: u32 = 64;
/// `RDMA_DRIVER_RXE`.
const DRIVER_RXE: u32 = 14;
/// `RDMA_DRIVER_SIW`.
const DRIVER_SIW: u32 = 18;
/// A handle that no object has.
const NO_OBJECT: u64 = u32::MAX as u64 - 1;

/// `struct ib_uverbs_ioctl_hdr` with one attribute.
#[repr(C)]
struct DestroyMr {
    length: u16,
    object_id: u16,
    method_id: u16,
    num_attrs: u16,
    reserved1: u64,
    driver_id: u32,
    reserved2: u32,
    attr_id: u16,
    attr_len: u16,
    attr_flags: u16,
    attr_reserved: u16,
    attr_data: u64,
}

// SAFETY: the argument is the structure itself, laid out as the kernel's; it is 40 bytes, as its own
// `length` says, and the kernel writes into it at most (flags of attributes).
unsafe impl Ioctl for DestroyMr {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        RDMA_VERBS_IOCTL
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Destroys a region, by the kernel's own interface.
fn destroy_mr(fd: BorrowedFd<'_>, driver_id: u32, handle: u64) -> Result<(), Errno> {
    let request = DestroyMr {
        length: size_of::<DestroyMr>() as u16,
        object_id: OBJECT_MR,
        method_id: METHOD_MR_DESTROY,
        num_attrs: 1,
        reserved1: 0,
        driver_id,
        reserved2: 0,
        attr_id: 0,
        attr_len: 0,
        attr_flags: MANDATORY,
        attr_reserved: 0,
        attr_data: handle,
    };
    // SAFETY: the request is what a uverbs descriptor expects under this number; another kind of
    // descriptor refuses the number.
    unsafe { rustix::ioctl::ioctl(fd, request) }
}

/// The driver behind a descriptor: the kernel refuses requests that name another one before it looks
/// for the object.
fn driver_of(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    (0..DRIVERS_MAX)
        .find(|driver| destroy_mr(fd, *driver, NO_OBJECT) == Err(Errno::NOENT))
        .ok_or(Errno::OPNOTSUPP)
}

/// A descriptor that the guardian knows of, until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    place: usize,
    driver: u32,
}

impl Guarded {
    /// Lets the guardian know of `fd`, which has at most `objects` objects at once.
    pub(super) fn new(fd: BorrowedFd<'_>, objects: u32) -> Result<Self, Errno> {
        let driver = driver_of(fd)?;
        if fd.as_raw_fd() > 0xff_ffff || objects > 0x7fff_ffff {
            return Err(Errno::MFILE);
        }
        let word = Open { fd: fd.as_raw_fd(), driver, objects }.pack();
        let take = |place: &AtomicU64| {
            place.compare_exchange(0, word, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        OPEN.iter().position(take).map(|place| Self { place, driver }).ok_or(Errno::MFILE)
    }
}

impl Guarded {
    /// Whether the device is software, which reads and writes memory as this program does.
    pub(super) fn is_software(&self) -> bool {
        matches!(self.driver, DRIVER_RXE | DRIVER_SIW)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        OPEN[self.place].store(0, Ordering::SeqCst);
    }
}

/// What the guardian waits on; never freed.
struct Watched {
    parent: OwnedFd,
}

/// The guardian that runs.
#[derive(Debug)]
pub struct Guardian {
    pid: rustix::process::Pid,
    /// Readable when it has ended.
    ended: OwnedFd,
}

impl AsFd for Guardian {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Guardian {
    /// Another one in the place of one that has ended, as somebody has killed it.
    ///
    /// # Errors
    /// [`Error::Guardian`].
    pub fn again(&mut self) -> Result<()> {
        let options = rustix::process::WaitOptions::NOHANG;
        let _ = rustix::process::waitpid(Some(self.pid), options);
        *self = start()?;
        Ok(())
    }
}

/// Starts the guardian, before any device is opened.
///
/// # Errors
/// [`Error::Guardian`].
pub fn start() -> Result<Guardian> {
    let failed = |errno| Error::Guardian { errno };
    let own = rustix::process::getpid();
    let flags = rustix::process::PidfdFlags::empty();
    let parent = rustix::process::pidfd_open(own, flags).map_err(failed)?;
    // Both are used by the guardian for as long as it lives, which may be longer than we do.
    let watched = Box::into_raw(Box::new(Watched { parent }));
    let stack = Box::leak(vec![0_u128; STACK_BYTES / 16].into_boxed_slice());
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: a stack of its own, aligned to 16 bytes; `watched` lives for ever. The new process runs
    // `guard` alone, which touches atomics, its stack and `watched`, makes system calls without
    // libc (so without this thread's errno, which it shares), and never returns into Rust's
    // runtime. Signals are blocked while it is made, so that it keeps them blocked: those sent to
    // the group are meant for this process.
    let pid = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::clone(guard, top.cast(), flags, watched.cast());
        let errno = super::last_errno();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if pid < 0 {
            return Err(failed(errno));
        }
        pid
    };
    let pid = rustix::process::Pid::from_raw(pid).ok_or_else(|| failed(Errno::SRCH))?;
    let flags = rustix::process::PidfdFlags::empty();
    let ended = rustix::process::pidfd_open(pid, flags).map_err(failed)?;
    Ok(Guardian { pid, ended })
}

/// The guardian's life.
extern "C" fn guard(watched: *mut c_void) -> c_int {
    // SAFETY: what `start` gave, which is never freed or written.
    let watched = unsafe { &*watched.cast::<Watched>() };
    // Who kills the daemon by its name is not to kill both.
    let _ = rustix::thread::set_name(c"ibd-guardian");
    loop {
        let mut fds = [PollFd::new(&watched.parent, PollFlags::IN)];
        if rustix::event::poll(&mut fds, None) == Ok(1) {
            break;
        }
    }
    for place in &OPEN {
        let Some(open) = Open::unpack(place.load(Ordering::SeqCst)) else { continue };
        // SAFETY: the descriptor was open when its owner died, nobody is left to close it, and it is
        // used before this process ends. Were it another one, the kernel would refuse the request.
        let fd = unsafe { BorrowedFd::borrow_raw(open.fd) };
        // The kernel gives an object the lowest number that is free.
        for handle in 0..open.objects {
            // What is no region, or none any more, is refused.
            let _ = destroy_mr(fd, open.driver, u64::from(handle));
        }
    }
    // SAFETY: ends this process alone, without running anything of the one that died.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_fit_into_a_word() {
        let check = |fd, driver, objects| {
            let open = Open { fd, driver, objects };
            assert_eq!(Open::unpack(open.pack()), Some(open));
        };
        check(0, 0, 0);
        check(0xff_ffff, DRIVERS_MAX - 1, 0x7fff_ffff);
        check(17, 14, 1300);
        assert_eq!(Open::unpack(0), None);
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        assert_eq!(size_of::<DestroyMr>(), 40);
        assert_eq!(std::mem::offset_of!(DestroyMr, attr_id), 24);
    }

    #[test]
    fn what_is_no_verbs_device_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&file);
        assert!(destroy_mr(fd, 0, 0).is_err());
        assert_eq!(driver_of(fd), Err(Errno::OPNOTSUPP));
    }
}
