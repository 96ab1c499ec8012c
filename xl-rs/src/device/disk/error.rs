//! What can be wrong with a disk on the host.

use super::share::User;
use crate::device::wait::HOTPLUG;
use std::io;
use std::path::PathBuf;

/// Why a disk cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The medium is not there, or may not be opened.
    #[error("disk {vdev}: cannot open {} for {}", path.display(), purpose(*read_only))]
    Open {
        /// Its name in the guest.
        vdev: String,
        /// Where it should be.
        path: PathBuf,
        /// Whether for reading only.
        read_only: bool,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Neither block device nor file.
    #[error("disk {vdev}: {} is {what}, neither a block device nor a file", path.display())]
    Neither {
        /// Its name in the guest.
        vdev: String,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An image in a format that only QEMU reads.
    #[error(
        "disk {vdev}: {} holds a {format} image, and dom0's kernel serves raw disks only: qemu-img \
         convert -O raw makes one of it", path.display()
    )]
    Image {
        /// Its name in the guest.
        vdev: String,
        /// Where it is.
        path: PathBuf,
        /// What its first bytes say.
        format: &'static str,
    },
    /// Somebody else uses the medium.
    #[error("disk {vdev}: {} is in use: {user}", path.display())]
    InUse {
        /// Its name in the guest.
        vdev: String,
        /// Where it is.
        path: PathBuf,
        /// By whom.
        user: User,
    },
    /// A file is shorter than a sector.
    #[error("disk {vdev}: {} has {bytes} bytes, less than a sector of 512", path.display())]
    Short {
        /// Its name in the guest.
        vdev: String,
        /// Where it is.
        path: PathBuf,
        /// How many there are.
        bytes: u64,
    },
    /// A loop device could not be had.
    #[error("no loop device for {}{}", path.display(), loop_advice(source))]
    Loop {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A loop device could not be freed.
    #[error("cannot free {}, over {file}; losetup -d {} does it once nobody has it open", device.display(), device.display())]
    Free {
        /// The loop device.
        device: PathBuf,
        /// The file that it serves.
        file: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody else attaches a disk, and does not come to an end.
    #[error(
        "whoever attaches another disk has held {} for {} s; fuser -v {} tells who that is",
        path.display(), HOTPLUG.as_secs(), path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// Something that is looked at to find out who uses a medium.
    #[error("cannot {operation} {}", path.display())]
    Look {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

const fn purpose(read_only: bool) -> &'static str {
    if read_only { "reading" } else { "reading and writing" }
}

/// What helps against it.
fn loop_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (modprobe loop gives dom0 loop devices)",
        _ => "",
    }
}
