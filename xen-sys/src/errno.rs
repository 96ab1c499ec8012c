//! Error numbers of hypercalls, negated in results. Mirrors `xen/errno.h`.
//!
//! They are Linux's numbers on x86, so that an ioctl can hand them through.

/// Not permitted to the caller.
pub const XEN_EPERM: i32 = 1;
/// No such thing.
pub const XEN_ENOENT: i32 = 2;
/// No such domain.
pub const XEN_ESRCH: i32 = 3;
/// Input or output failed.
pub const XEN_EIO: i32 = 5;
/// No such device.
pub const XEN_ENXIO: i32 = 6;
/// Too much at once.
pub const XEN_E2BIG: i32 = 7;
/// Not a kernel.
pub const XEN_ENOEXEC: i32 = 8;
/// Bad handle.
pub const XEN_EBADF: i32 = 9;
/// No child.
pub const XEN_ECHILD: i32 = 10;
/// Try again.
pub const XEN_EAGAIN: i32 = 11;
/// Would have to wait.
pub const XEN_EWOULDBLOCK: i32 = 11;
/// Out of memory.
pub const XEN_ENOMEM: i32 = 12;
/// Refused; from domctl and sysctl: wrong interface revision.
pub const XEN_EACCES: i32 = 13;
/// Bad address.
pub const XEN_EFAULT: i32 = 14;
/// In use.
pub const XEN_EBUSY: i32 = 16;
/// Exists already.
pub const XEN_EEXIST: i32 = 17;
/// Belongs elsewhere.
pub const XEN_EXDEV: i32 = 18;
/// No such device.
pub const XEN_ENODEV: i32 = 19;
/// Not a directory. Since Xen 4.18.
pub const XEN_ENOTDIR: i32 = 20;
/// A directory.
pub const XEN_EISDIR: i32 = 21;
/// Invalid argument.
pub const XEN_EINVAL: i32 = 22;
/// Too many in the system.
pub const XEN_ENFILE: i32 = 23;
/// Too many for the caller.
pub const XEN_EMFILE: i32 = 24;
/// No room.
pub const XEN_ENOSPC: i32 = 28;
/// Read-only.
pub const XEN_EROFS: i32 = 30;
/// Too many links.
pub const XEN_EMLINK: i32 = 31;
/// Out of domain.
pub const XEN_EDOM: i32 = 33;
/// Out of range.
pub const XEN_ERANGE: i32 = 34;
/// Would deadlock.
pub const XEN_EDEADLK: i32 = 35;
/// Would deadlock.
pub const XEN_EDEADLOCK: i32 = 35;
/// Name too long.
pub const XEN_ENAMETOOLONG: i32 = 36;
/// No locks left.
pub const XEN_ENOLCK: i32 = 37;
/// Not built into this Xen.
pub const XEN_ENOSYS: i32 = 38;
/// Not empty.
pub const XEN_ENOTEMPTY: i32 = 39;
/// No data.
pub const XEN_ENODATA: i32 = 61;
/// Timer expired.
pub const XEN_ETIME: i32 = 62;
/// Not a message.
pub const XEN_EBADMSG: i32 = 74;
/// Does not fit.
pub const XEN_EOVERFLOW: i32 = 75;
/// Bad sequence.
pub const XEN_EILSEQ: i32 = 84;
/// Not a socket.
pub const XEN_ENOTSOCK: i32 = 88;
/// Message too long.
pub const XEN_EMSGSIZE: i32 = 90;
/// Not supported.
pub const XEN_EOPNOTSUPP: i32 = 95;
/// Address in use.
pub const XEN_EADDRINUSE: i32 = 98;
/// Address not available.
pub const XEN_EADDRNOTAVAIL: i32 = 99;
/// No buffer space.
pub const XEN_ENOBUFS: i32 = 105;
/// Connected already.
pub const XEN_EISCONN: i32 = 106;
/// Not connected.
pub const XEN_ENOTCONN: i32 = 107;
/// Timed out.
pub const XEN_ETIMEDOUT: i32 = 110;
/// Connection refused.
pub const XEN_ECONNREFUSED: i32 = 111;
