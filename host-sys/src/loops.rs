//! Loop devices: block devices over files (`linux/loop.h`).
//!
//! In: open files. Out: a loop device that serves one, and what the kernel says of it. A [`Claim`]
//! frees its device when it is dropped, and also when the process is killed, until it is kept.

use crate::ioctl::call;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;

const LOOP_CLR_FD: u32 = 0x4c01;
const LOOP_SET_STATUS64: u32 = 0x4c04;
const LOOP_GET_STATUS64: u32 = 0x4c05;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const LOOP_CTL_GET_FREE: u32 = 0x4c82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// Sector size that a guest finds on a file, whatever the disk below has.
const SECTOR_BYTES: u32 = 512;

/// How often a free device is asked for, when others are quicker to take it.
const ATTEMPTS_MAX: u32 = 64;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

impl LoopInfo64 {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        sizelimit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// What the kernel says of a loop device that serves a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Device number of the file system that holds the file, as `stat` gives it.
    pub file_device: u64,
    /// Inode number of the file.
    pub file_inode: u64,
    /// Whether nobody can write through it.
    pub read_only: bool,
    /// Whether it goes when nobody has it open any more.
    pub auto_clear: bool,
    /// Whether it goes around the page cache.
    pub direct_io: bool,
}

/// A loop device that was taken, and goes with this value unless it is kept.
#[derive(Debug)]
pub struct Claim {
    device: File,
    number: u32,
}

/// Takes a free loop device for `file`, direct I/O where the file system can.
///
/// # Errors
/// What the kernel says; ENOENT where its loop driver is not loaded, EBUSY when others took every
/// device that was free.
pub fn claim(file: impl AsFd, read_only: bool, name: &str) -> Result<Claim, Errno> {
    let control = open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut config = LoopConfig {
        fd: file.as_fd().as_raw_fd().cast_unsigned(),
        block_size: SECTOR_BYTES,
        info: LoopInfo64::EMPTY,
        reserved: [0; 8],
    };
    // With AUTOCLEAR the kernel itself frees it when we are killed.
    config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if read_only {
        config.info.flags |= LO_FLAGS_READ_ONLY;
    }
    // The last byte stays 0: the kernel takes it for a C string.
    let room = config.info.file_name.len() - 1;
    for (to, from) in config.info.file_name[..room].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    for _ in 0..ATTEMPTS_MAX {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument; `control` is the loop driver's control device.
        let number = unsafe { call(&control, LOOP_CTL_GET_FREE, std::ptr::null_mut()) }?;
        let Ok(number) = u32::try_from(number) else { return Err(Errno::RANGE) };
        let flags = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let device = open(path(number), flags | OFlags::CLOEXEC, Mode::empty())?;
        // SAFETY: LOOP_CONFIGURE reads one struct loop_config, which `config` is, and writes nothing;
        // the file that it names by number is open for as long as `file` is borrowed.
        let done = unsafe { call(&device, LOOP_CONFIGURE, (&raw mut config).cast::<c_void>()) };
        match done {
            Ok(_) => return Ok(Claim { device: File::from(device), number }),
            // Somebody else was quicker.
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::BUSY)
}

impl Claim {
    /// The device's number: 7 for `/dev/loop7`.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn status(&self) -> Result<Status, Errno> {
        status(&self.device)
    }

    /// Leaves the device to whoever has it open or frees it later.
    ///
    /// # Errors
    /// The kernel's answer; the device goes then.
    pub fn keep(self) -> Result<(), Errno> {
        let mut info = info(&self.device)?;
        info.flags &= !LO_FLAGS_AUTOCLEAR;
        // SAFETY: LOOP_SET_STATUS64 reads one struct loop_info64, which `info` is.
        unsafe { call(&self.device, LOOP_SET_STATUS64, (&raw mut info).cast()) }?;
        Ok(())
    }
}

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Where a loop device is.
#[must_use]
pub fn path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// What the kernel says of a loop device; [`Errno::NXIO`] for one that serves no file.
///
/// # Errors
/// The kernel's answer.
pub fn status(device: impl AsFd) -> Result<Status, Errno> {
    let info = info(device)?;
    Ok(Status {
        file_device: info.device,
        file_inode: info.inode,
        read_only: info.flags & LO_FLAGS_READ_ONLY != 0,
        auto_clear: info.flags & LO_FLAGS_AUTOCLEAR != 0,
        direct_io: info.flags & LO_FLAGS_DIRECT_IO != 0,
    })
}

fn info(device: impl AsFd) -> Result<LoopInfo64, Errno> {
    let mut info = LoopInfo64::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes one struct loop_info64, which `info` is; nobody else borrows
    // it. No other driver gives this number a meaning that reads or writes more.
    unsafe { call(device, LOOP_GET_STATUS64, (&raw mut info).cast()) }?;
    Ok(info)
}

/// Frees a loop device: at once, or when the last one who has it open lets go.
///
/// # Errors
/// The kernel's answer; [`Errno::NXIO`] if it served no file.
pub fn free(device: impl AsFd) -> Result<(), Errno> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { call(device, LOOP_CLR_FD, std::ptr::null_mut()) }?;
    Ok(())
}
