//! One way to make an ioctl: a number, an argument, the return value or an errno.

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;
use std::os::fd::AsFd;

struct Request {
    number: Opcode,
    argument: *mut c_void,
}

// SAFETY: `as_ptr` is the argument that the caller of `call` vouches for, the output is the plain
// return value, and IS_MUTATING is true, so memory is taken as changed by the call.
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

/// Makes the ioctl `number`; returns what the driver returned, not negative.
///
/// # Safety
///
/// `argument` must be what the driver behind `fd` expects for `number`: a number that it does not
/// take for an address, or an address of memory that is readable and writable as the driver needs
/// and borrowed nowhere else. The driver is not known by the file's type: the ioctl's number has to
/// mean the same, or nothing, to every driver that the caller may hand in.
pub(crate) unsafe fn call(
    fd: impl AsFd,
    number: u32,
    argument: *mut c_void,
) -> Result<IoctlOutput, Errno> {
    // SAFETY: the caller vouches for number and argument.
    unsafe { rustix::ioctl::ioctl(fd, Request { number: Opcode::from(number), argument }) }
}
