//! The peek offset of a socket (`SO_PEEK_OFF`, socket(7)).
//!
//! A negative offset leaves MSG_PEEK as it always was. From 0 on the kernel counts it down by what a
//! receive takes away, in the same step: whoever holds the socket afterwards can tell how much of a
//! receive was done, even if the process that made it is no more.
//!
//! In: an open socket. Out: the offset. Other files are refused by the kernel.

use rustix::io::Errno;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// The offset.
///
/// # Errors
/// ENOTSOCK for what is no socket.
pub fn offset(socket: impl AsFd) -> Result<i32, Errno> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which is that long, and the length to
    // `len`; nobody else borrows either. The descriptor is open as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    done(result).map(|()| value)
}

/// Sets the offset.
///
/// # Errors
/// ENOTSOCK for what is no socket, EOPNOTSUPP for kinds of sockets that have none.
pub fn set_offset(socket: impl AsFd, value: i32) -> Result<(), Errno> {
    // SAFETY: the kernel reads one int, which `value` is. The descriptor is open as long as `socket` is
    // borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    done(result)
}

fn done(result: c_int) -> Result<(), Errno> {
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_a_receive_takes_is_counted_down() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert_eq!(offset(&near), Ok(-1));
        for value in [-1000, i32::MIN, 5] {
            set_offset(&near, value).unwrap();
            assert_eq!(offset(&near), Ok(value));
        }
        far.write_all(b"abcdefgh").unwrap();
        let mut bytes = [0; 3];
        near.read_exact(&mut bytes).unwrap();
        assert_eq!((&bytes, offset(&near)), (b"abc", Ok(2)));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(offset(&file), Err(Errno::NOTSOCK));
        assert_eq!(set_offset(&file, 0), Err(Errno::NOTSOCK));
    }
}
