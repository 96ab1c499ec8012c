//! The loop devices over files.
//!
//! In: an open file, or the name of a loop device. Out: a loop device that serves the file; one that
//! is gone. [`free`] returns when it really is: whoever attaches the file next finds nobody in the
//! way. It waits for the kernel's word on that, which comes when the backend has let go.

use super::share::{User, look_failed};
use super::target::DeviceNumber;
use super::{DiskError, Target};
use crate::device::wait::{DESTROY, Woken, readable};
use host_sys::loops::{Claim, claim, free as clear, path, status};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A file that a loop device serves, by its file system's number and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// As `stat` gives it.
    pub device: u64,
    /// As `stat` gives it.
    pub inode: u64,
}

impl Served {
    /// As a node has it: hexadecimal.
    #[must_use]
    pub fn node(self) -> String {
        format!("{:x}:{:x}", self.device, self.inode)
    }

    /// What such a node says.
    #[must_use]
    pub fn of_node(text: &str) -> Option<Self> {
        let (device, inode) = text.split_once(':')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(Self { device: number(device)?, inode: number(inode)? })
    }
}

/// Takes one for a file.
///
/// # Errors
/// [`DiskError::Loop`].
pub fn take(target: &Target, read_only: bool) -> Result<Claim, DiskError> {
    let name = target.path.to_string_lossy();
    claim(&target.file, read_only, &name)
        .map_err(|errno| DiskError::Loop { path: target.path.clone(), source: errno.into() })
}

/// The block device's number.
///
/// # Errors
/// [`DiskError::Look`].
pub fn number(number: u32) -> Result<DeviceNumber, DiskError> {
    let device = path(number);
    let metadata = std::fs::metadata(&device).map_err(|e| look_failed("look at", &device, e))?;
    Ok(DeviceNumber::of(metadata.rdev()))
}

/// The loop devices over a file that are in the way of who wants to use it.
///
/// # Errors
/// [`DiskError::Look`].
pub fn over(
    file_device: u64,
    file_inode: u64,
    writes: bool,
) -> Result<Vec<(User, DeviceNumber)>, DiskError> {
    let mut found = Vec::new();
    for (number, _) in bound()? {
        let device = path(number);
        let opened = open(&device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let status = match opened.and_then(status) {
            Ok(status) => status,
            // Freed meanwhile.
            Err(Errno::NXIO | Errno::NOENT) => continue,
            Err(errno) => return Err(look_failed("open", &device, errno)),
        };
        let same = (status.file_device, status.file_inode) == (file_device, file_inode);
        if same && (writes || !status.read_only) {
            let number = self::number(number)?;
            found.push((User::Loop { device, writes: !status.read_only }, number));
        }
    }
    Ok(found)
}

/// The loop devices that serve a file, each with its path as the kernel has it.
fn bound() -> Result<Vec<(u32, String)>, DiskError> {
    const BLOCK: &str = "/sys/block";
    let entries = std::fs::read_dir(BLOCK).map_err(|error| look_failed("list", BLOCK, error))?;
    let mut bound = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| look_failed("list", BLOCK, error))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        if let Some(number) = number
            && let Some(file) = file_of(number)
        {
            bound.push((number, file));
        }
    }
    Ok(bound)
}

/// The file that a loop device serves.
fn file_of(number: u32) -> Option<String> {
    let attribute = format!("/sys/block/loop{number}/loop/backing_file");
    std::fs::read_to_string(attribute).ok().map(|text| text.trim_end().to_owned())
}

/// Frees the loop device that a disk's `node` names, if it still serves its file: where that is not
/// known, as of a disk that xl attached, any. Waits until it is free.
///
/// # Errors
/// [`DiskError::Free`].
pub fn free(node: &Path, own: Option<Served>) -> Result<(), DiskError> {
    let Some(number) = number_in(node) else { return Ok(()) };
    let Some(file) = file_of(number) else { return Ok(()) };
    let failed =
        |source: io::Error| DiskError::Free { device: path(number), file: file.clone(), source };
    // Before it is freed, so that no event is missed.
    let events = events().map_err(|errno| failed(errno.into()))?;
    let opened = open(path(number), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let cleared = opened.map(File::from).and_then(|device| {
        let status = status(&device)?;
        let now = Served { device: status.file_device, inode: status.file_inode };
        // Somebody has freed it, and somebody else has taken it since.
        if own.is_some_and(|own| own != now) {
            return Ok(false);
        }
        clear(device).map(|()| true)
    });
    match cleared {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(Errno::NXIO | Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno.into())),
    }
    let deadline = Instant::now() + DESTROY;
    // Not looked at by opening it: that would keep it.
    while file_of(number).as_ref() == Some(&file) {
        match readable(&events, None, deadline) {
            Ok(Woken::Ready) => drain(&events).map_err(|errno| failed(errno.into()))?,
            Ok(Woken::Signal | Woken::Time) => return Err(failed(io::ErrorKind::TimedOut.into())),
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    Ok(())
}

/// The number in `/dev/loopN`.
fn number_in(node: &Path) -> Option<u32> {
    let number = node.to_str()?.strip_prefix("/dev/loop")?.parse().ok()?;
    (PathBuf::from(format!("/dev/loop{number}")) == node).then_some(number)
}

/// The kernel's events about its devices.
fn events() -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(KOBJECT_UEVENT),
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 1))?;
    Ok(socket)
}

/// Takes all events. What they say does not matter: everything is looked at anew.
fn drain(events: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = [0; 8192];
    loop {
        match recv(events, &mut buffer[..], RecvFlags::empty()) {
            // Some were too many: whoever looks anew misses nothing.
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_noted() {
        let served = Served { device: 0xfd01, inode: u64::MAX };
        assert_eq!(Served::of_node(&served.node()), Some(served));
        for text in ["", ":", "1", "1:", "1:x", "1:2:3"] {
            assert_eq!(Served::of_node(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_loop_devices_are_freed() {
        for (node, number) in [
            ("/dev/loop7", Some(7)),
            ("/dev/loop07", None),
            ("/dev/loop", None),
            ("/dev/loop7p1", None),
            ("/dev/sda", None),
            ("", None),
        ] {
            assert_eq!(number_in(Path::new(node)), number, "{node}");
        }
    }
}
