//! The functions of libibverbs, as C programs call them.
//!
//! One contract holds for all of them, and every `SAFETY` below rests on it: **a program passes
//! pointers as `verbs(7)` demands**. Objects are those that this library made and that were not destroyed
//! yet; attributes, lists and results point to structures of the header's, readable or writable as the
//! call needs, for as long as it takes. Each object of ours begins with the header's structure, so that
//! a pointer to one is a pointer to the other; it is a `Box` that is given back where it is destroyed.
//!
//! Failures are told as the manual pages say: an errno as the value, or -1 or NULL with `errno` set.

pub mod device;
mod fork;
pub mod memory;
pub mod pair;
pub mod queue;
pub mod text;

use crate::error::Error;
use std::ffi::c_int;

/// Sets `errno`.
fn set_errno(errno: c_int) {
    // SAFETY: the address is this thread's own `errno`, always valid.
    unsafe { *libc::__errno_location() = errno };
}

/// What failed, as the return value of functions that return an errno.
fn code(outcome: Result<(), Error>) -> c_int {
    match outcome {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

/// Sets `errno` and gives it.
fn fail(error: &Error) -> c_int {
    let errno = error.errno().raw_os_error();
    set_errno(errno);
    errno
}

/// An object for the program, or NULL with `errno` set.
fn object<T>(outcome: Result<Box<T>, Error>) -> *mut T {
    match outcome {
        Ok(object) => Box::into_raw(object),
        Err(error) => {
            fail(&error);
            std::ptr::null_mut()
        }
    }
}

/// Says on standard error why something failed that a program can only tell an errno of.
fn explain(what: &str, error: &Error) {
    eprintln!("libibverbs (xlr): {what}: {error}");
}
