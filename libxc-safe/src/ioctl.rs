//! One way to make an ioctl: a number, a pointer, the return value or an errno.

use std::ffi::c_void;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

struct Request {
    number: Opcode,
    argument: *mut c_void,
}

// SAFETY: `as_ptr` is the argument that the caller of `ioctl` vouches for, the output is the
// plain return value, and IS_MUTATING is true, so memory is taken as changed by the call.
unsafe impl Ioctl for Request {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.number
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(out)
    }
}

/// Makes the ioctl `number` with `argument`; returns what the driver returned, not negative.
///
/// # Safety
///
/// `argument` must point at what the driver behind `fd` expects for `number`, readable and
/// writable as it needs, including everything that the argument itself points at, and nothing
/// that the driver writes may be borrowed elsewhere.
pub(crate) unsafe fn ioctl<T>(fd: impl AsFd, number: u32, argument: *mut T) -> Result<u32, Errno> {
    // SAFETY: the caller vouches for the argument.
    let out = unsafe {
        rustix::ioctl::ioctl(fd, Request { number: number as Opcode, argument: argument.cast() })
    }?;
    Ok(out.cast_unsigned())
}
