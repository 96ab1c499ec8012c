//! Who uses a medium already: a disk is never shared by accident.
//!
//! In: a medium, and whether a guest shall write to it. Out: nothing, or the one in the way. Several
//! may read; whoever writes is alone. Looked at are guests' disks, loop devices, and dom0 itself. While
//! that is found out, and until the nodes of the new disk tell of it, the lock of xl's scripts is held:
//! neither tool can come between the two.

use super::spec::DiskSpec;
use super::target::{DeviceNumber, Medium, Target};
use super::{DiskError, loops};
use crate::device::{DeviceError, vdev};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use xenstore::client::{Client, Error, Nodes};
use xenstore::wire::{Reply, Request};

/// Where xl's scripts have their lock.
const LOCKS: &str = "/var/run/xen-hotplug";
/// Where the disks are that dom0 serves.
const BACKENDS: &str = "/local/domain/0/backend/vbd";

/// Who is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A guest.
    Guest {
        /// Its domid.
        domid: String,
        /// The name that the disk has there.
        vdev: String,
        /// Whether it writes.
        writes: bool,
    },
    /// A loop device.
    Loop {
        /// Where it is.
        device: PathBuf,
        /// Whether it can be written through.
        writes: bool,
    },
    /// dom0.
    Host {
        /// For what.
        what: &'static str,
    },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = |writes: bool| if writes { "for writing" } else { "for reading" };
        match self {
            Self::Guest { domid, vdev, writes } => {
                write!(f, "domain {domid} has it as {vdev} {}; ", access(*writes))?;
            }
            Self::Loop { device, writes } => {
                let path = device.display();
                write!(f, "{path} is over it {} (losetup -d {path} frees it); ", access(*writes))?;
            }
            Self::Host { what } => write!(f, "{what}; ")?,
        }
        f.write_str("whoever writes to a disk must be alone with it")
    }
}

/// The lock of xl's scripts; gone when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes it. Whoever holds it has it for as long as a disk is attached.
    ///
    /// # Errors
    /// [`DiskError::Look`].
    pub fn take() -> Result<Self, DiskError> {
        let path = Path::new(LOCKS).join("block");
        let failed = |operation| {
            let path = path.clone();
            move |source| DiskError::Look { operation, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o755).create(LOCKS).map_err(failed("make"))?;
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).map_err(failed("open"))?;
            match flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => continue,
                locked => locked.map_err(|errno| failed("lock")(errno.into()))?,
            }
            // Whoever releases it removes the file: then another one has taken its place.
            let own = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
            let there = std::fs::metadata(&path).map(|metadata| (metadata.dev(), metadata.ino()));
            if own.is_ok_and(|own| there.is_ok_and(|there| own == there)) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: who waits for it sees that the file is gone, and opens another one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes sure that a medium can be had as a disk wants it. The lock is held.
///
/// # Errors
/// [`DiskError::InUse`]; what cannot be looked at.
pub fn check(
    spec: &DiskSpec,
    target: &Target,
    _lock: &Lock,
    store: &mut Client,
) -> Result<(), DeviceError> {
    let writes = !spec.read_only;
    let user = match target.medium {
        Medium::Block(number) => {
            let guest = guest(number, writes, store)?;
            match guest {
                Some(guest) => Some(guest),
                None => host(&target.path, number, writes)?,
            }
        }
        Medium::File { device, inode } => match loops::over(device, inode, writes)? {
            // Who is behind it says more.
            Some((user, number)) => Some(guest(number, writes, store)?.unwrap_or(user)),
            None => None,
        },
    };
    match user {
        None => Ok(()),
        Some(user) => {
            let (vdev, path) = (spec.vdev.clone(), target.path.clone());
            Err(DiskError::InUse { vdev, path, user }.into())
        }
    }
}

/// A guest that has a block device, and is in the way.
fn guest(number: DeviceNumber, writes: bool, store: &mut Client) -> Result<Option<User>, Error> {
    let mut devices = Vec::new();
    let domids = directory(store, BACKENDS)?;
    let requests: Vec<Request> = domids
        .iter()
        .map(|domid| Request::directory(format!("{BACKENDS}/{domid}")))
        .collect::<Result<_, _>>()?;
    for (domid, reply) in domids.iter().zip(store.batch(&requests)?) {
        match reply {
            Ok(Reply::Directory(devids)) => {
                devices.extend(devids.into_iter().map(|devid| (domid.clone(), devid)));
            }
            // Gone meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    let mut requests = Vec::with_capacity(devices.len() * 2);
    for (domid, devid) in &devices {
        for node in ["physical-device", "mode"] {
            requests.push(Request::read(format!("{BACKENDS}/{domid}/{devid}/{node}"))?);
        }
    }
    let mut values = store.batch(&requests)?.into_iter().map(|reply| match reply {
        Ok(Reply::Value(value)) => Ok(String::from_utf8_lossy(&value).into_owned()),
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(String::new()),
    });
    for (domid, devid) in &devices {
        let (Some(device), Some(mode)) = (values.next(), values.next()) else { break };
        let others_write = mode?.contains('w');
        if DeviceNumber::of_node(&device?) == Some(number) && (writes || others_write) {
            let vdev = devid.parse().map_or_else(|_| devid.clone(), vdev::name);
            return Ok(Some(User::Guest { domid: domid.clone(), vdev, writes: others_write }));
        }
    }
    Ok(None)
}

fn directory(store: &mut Client, path: &str) -> Result<Vec<String>, Error> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        names => names,
    }
}

/// Whether dom0 itself is in the way.
fn host(path: &Path, number: DeviceNumber, writes: bool) -> Result<Option<User>, DiskError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| DiskError::Look { operation, path, source }
    };
    if writes {
        // The kernel gives a device that is mounted, or part of another one, to nobody for himself.
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        return match open(path, flags, Mode::empty()) {
            Ok(_) => Ok(None),
            Err(Errno::BUSY) => Ok(Some(User::Host {
                what: "dom0 has mounted it, or uses it for LVM, RAID, device mapper or swap",
            })),
            Err(errno) => Err(failed("open", path)(errno.into())),
        };
    }
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mounts = std::fs::read_to_string(MOUNTS).map_err(failed("read", Path::new(MOUNTS)))?;
    Ok(mounted_for_writing(&mounts, number)
        .then_some(User::Host { what: "dom0 has mounted it for writing" }))
}

/// Whether a table of mounts (proc(5)) has that device, writable.
fn mounted_for_writing(mounts: &str, number: DeviceNumber) -> bool {
    let device = format!("{}:{}", number.major, number.minor);
    mounts.lines().any(|line| {
        // number, parent, major:minor, root, mount point, options … - type source super-options
        let of_device = line.split(' ').nth(2) == Some(device.as_str());
        let options = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(2));
        of_device && options.is_none_or(|options| options.split(',').any(|option| option == "rw"))
    })
}

/// The system's answer.
pub(super) fn look_failed(
    operation: &'static str,
    path: impl Into<PathBuf>,
    source: impl Into<io::Error>,
) -> DiskError {
    DiskError::Look { operation, path: path.into(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_mounted_a_device_writes_to_it() {
        let mounts = "22 1 0:21 / /sys rw - sysfs sysfs rw\n\
                      30 1 253:1 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw,errors=x\n\
                      31 1 8:1 / /boot rw,relatime - ext4 /dev/sda1 ro\n\
                      32 1 8:2 / /mnt ro,relatime - ext4 /dev/sda2 rw\n";
        let check = |major, minor, writes| {
            let number = DeviceNumber { major, minor };
            assert_eq!(mounted_for_writing(mounts, number), writes, "{number:?}");
        };
        check(253, 1, true);
        check(8, 1, false);
        // Only this mount point is read-only.
        check(8, 2, true);
        check(8, 3, false);
        check(25, 1, false);
    }
}
