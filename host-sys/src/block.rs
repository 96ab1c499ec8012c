//! Facts about a block device (`linux/fs.h`).
//!
//! In: an open block device. Out: its sizes. Other files are refused by the kernel.

use crate::ioctl::call;
use rustix::io::Errno;
use std::ffi::c_int;
use std::os::fd::AsFd;

/// `_IO(0x12, 104)`.
const BLKSSZGET: u32 = 0x1268;
/// `_IOR(0x12, 114, size_t)`.
const BLKGETSIZE64: u32 = 0x8008_1272;

/// Bytes of a logical sector.
///
/// # Errors
/// ENOTTY for what is no block device.
pub fn sector_bytes(device: impl AsFd) -> Result<u32, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: BLKSSZGET writes one int, which `bytes` is; nobody else borrows it. No other driver
    // gives this number a meaning that reads or writes more.
    unsafe { call(device, BLKSSZGET, (&raw mut bytes).cast()) }?;
    Ok(bytes.unsigned_abs())
}

/// Bytes of the whole device.
///
/// # Errors
/// ENOTTY for what is no block device.
pub fn size_bytes(device: impl AsFd) -> Result<u64, Errno> {
    let mut bytes: u64 = 0;
    // SAFETY: BLKGETSIZE64 writes one u64, which `bytes` is; nobody else borrows it. The number
    // encodes that length, so a driver that takes it for its own writes no more.
    unsafe { call(device, BLKGETSIZE64, (&raw mut bytes).cast()) }?;
    Ok(bytes)
}
