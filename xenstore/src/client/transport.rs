//! The two ways to a store: xenstored's unix socket, and the kernel's own connection.
//!
//! **Socket.** A stream of packets. xenstored reads and answers at its own pace, so a burst may fill
//! both directions; the client therefore never writes without being ready to read.
//!
//! **`/dev/xen/xenbus`** (Linux `drivers/xen/xenbus/xenbus_dev_frontend.c`) looks like a stream but
//! is none, and what follows from that is kept here and in the exchange:
//! * Each `write` is taken as (part of) one packet; bytes after its end are thrown away. One packet
//!   goes into each `write`, which may hold 4096 bytes with its header.
//! * `write` returns before the request is sent, and the kernel sends it from the file's one buffer,
//!   which the next `write` overwrites: a pipelined request garbles the one before. One request at a
//!   time is under way here, so that a burst costs a round trip for each of its requests.
//! * WATCH and UNWATCH are the exception: the kernel carries them out inside `write`, on its own
//!   connection, and reports failure as the errno of `write`. It passes on path and token only.
//! * It never reports that it can be written to, and does not notice when xenstored dies: requests
//!   then wait, and only a timeout ends them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::error::{Attempt, Error};

/// Where xenstored listens, in the order of trying; `XENSTORED_PATH` comes before.
pub const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's device.
pub const DEVICE: &str = "/dev/xen/xenbus";

/// How packets map to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Bytes may be cut and joined anywhere.
    Stream,
    /// Each write takes one packet, one packet is under way at a time, and the failure of a write
    /// answers its packet.
    PacketPerWrite {
        /// Longest packet in bytes.
        packet_max: usize,
    },
}

/// A connection to a store: bytes both ways, never blocking, with a descriptor to poll.
///
/// `read` and `write` must answer [`io::ErrorKind::WouldBlock`] instead of waiting.
pub trait Transport: Read + Write + AsFd + Send + fmt::Debug {
    /// How packets map to writes.
    fn framing(&self) -> Framing;
}

/// A unix socket of a xenstored.
#[derive(Debug)]
pub struct Socket(UnixStream);

impl Socket {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// It cannot be set to non-blocking.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self(stream))
    }

    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn connect(path: &Path) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Transport for Socket {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
}

/// The kernel's connection, as `/dev/xen/xenbus` offers it.
#[derive(Debug)]
pub struct Xenbus(File);

impl Xenbus {
    /// Length of the kernel's packet buffer in bytes, header included.
    pub const PACKET_MAX: usize = 4096;

    /// Opens the device at `path`, usually [`DEVICE`].
    ///
    /// # Errors
    /// Those of open(2); ENOENT also when the kernel has no connection to a store.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Linux and POSIX give O_NONBLOCK one bit of a non-negative int.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(path)?;
        Ok(Self(file))
    }
}

impl Read for Xenbus {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Xenbus {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Xenbus {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Transport for Xenbus {
    fn framing(&self) -> Framing {
        Framing::PacketPerWrite { packet_max: Self::PACKET_MAX }
    }
}

/// Connects to `path`, be it a socket or the kernel's device.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Transport>> {
    if std::fs::metadata(path)?.file_type().is_socket() {
        Ok(Box::new(Socket::connect(path)?))
    } else {
        Ok(Box::new(Xenbus::open(path)?))
    }
}

/// Goes through the usual places. A place that exists but refuses ends the search: a dead xenstored
/// leaves its socket behind, and the device would only wait for it. With `sockets_only` the device is
/// no place: there may be no socket just now because another one takes its place.
pub(super) fn find(sockets_only: bool) -> Result<Box<dyn Transport>, Error> {
    let mut tried = Vec::new();
    for path in some_of(places(), sockets_only) {
        match open(&path) {
            Ok(transport) => return Ok(transport),
            Err(error) => {
                let absent = error.kind() == io::ErrorKind::NotFound;
                tried.push(Attempt { path, error });
                if !absent {
                    break;
                }
            }
        }
    }
    Err(Error::Unavailable { tried })
}

fn some_of(mut places: Vec<PathBuf>, sockets_only: bool) -> Vec<PathBuf> {
    places.retain(|path| !sockets_only || path != Path::new(DEVICE));
    places
}

/// The places where a store may be, in the order of trying.
pub(crate) fn places() -> Vec<PathBuf> {
    let chosen = std::env::var_os("XENSTORED_PATH").map(PathBuf::from);
    if let Some(path) = chosen {
        return vec![path];
    }
    SOCKETS.iter().chain([&DEVICE]).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_no_place_for_what_was_a_socket() {
        let all = || SOCKETS.iter().chain([&DEVICE]).map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(some_of(all(), false), all());
        assert_eq!(some_of(all(), true), SOCKETS.map(PathBuf::from));
    }
}
