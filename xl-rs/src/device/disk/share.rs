//! Who uses a medium already: a disk is never shared by accident.
//!
//! In: a medium, and whether a guest shall write to it. Out: nothing, or the one in the way. Several
//! may read; whoever writes is alone. Looked at are guests' disks, loop devices, and dom0 itself. While
//! that is found out, and until the nodes of the new disk tell of it, the lock of xl's scripts is held:
//! neither tool can come between the two.

use super::spec::DiskSpec;
use super::target::{DeviceNumber, Medium, Target};
use super::{DiskError, loops};
use crate::commands::warn;
use crate::device::list::texts;
use crate::device::wait::{HOTPLUG, Woken, readable};
use crate::device::{DeviceError, vdev};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;
use xen_sys::types::Domid;
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
    /// Takes it. Whoever holds it has it for as long as a disk is attached: that is told, and waited
    /// for as long as a script may take. None if `interrupt` can be read sooner.
    ///
    /// # Errors
    /// [`DiskError::Look`], [`DiskError::Locked`].
    pub fn take(interrupt: Option<BorrowedFd<'_>>) -> Result<Option<Self>, DiskError> {
        Self::take_at(&Path::new(LOCKS).join("block"), interrupt, Instant::now() + HOTPLUG)
    }

    fn take_at(
        path: &Path,
        interrupt: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<Option<Self>, DiskError> {
        let failed = |operation| move |source| look_failed(operation, path, source);
        let directory = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed("make"))?;
        let mut told = false;
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path).map_err(failed("open"))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    if !told {
                        let path = path.display();
                        warn(format_args!("waiting for who attaches a disk and holds {path}"));
                        told = true;
                    }
                    file = match wait(file, interrupt, deadline).map_err(failed("lock"))? {
                        Waited::Locked(file) => file,
                        Waited::Signal => return Ok(None),
                        Waited::Time => return Err(DiskError::Locked { path: path.to_owned() }),
                    };
                }
                Err(errno) => return Err(failed("lock")(errno.into())),
            }
            // Whoever releases it removes the file: then another one has taken its place.
            let own = file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
            let there = std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
            if own.is_ok_and(|own| there.is_ok_and(|there| own == there)) {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

/// What ended the waiting for a lock.
enum Waited {
    Locked(File),
    Signal,
    Time,
}

/// Locks a file that somebody else has locked. A thread waits: only so can something else end that.
/// One that is left behind gives the lock back as soon as it has it.
fn wait(file: File, interrupt: Option<BorrowedFd<'_>>, deadline: Instant) -> io::Result<Waited> {
    let (ended, end) = UnixStream::pair()?;
    let waiting = std::thread::Builder::new().spawn(move || {
        let locked = loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                locked => break locked.map(|()| file),
            }
        };
        drop(end);
        locked
    })?;
    match readable(&ended, interrupt, deadline)? {
        Woken::Ready => match waiting.join() {
            Ok(locked) => Ok(Waited::Locked(locked?)),
            Err(_) => Err(io::ErrorKind::Other.into()),
        },
        Woken::Signal => Ok(Waited::Signal),
        Woken::Time => Ok(Waited::Time),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: who waits for it sees that the file is gone, and opens another one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes sure that a medium can be had as a disk wants it. The lock is held. What `own` has is free:
/// that domain goes first.
///
/// # Errors
/// [`DiskError::InUse`]; what cannot be looked at.
pub fn check(
    spec: &DiskSpec,
    target: &Target,
    own: Option<Domid>,
    _lock: &Lock,
    store: &mut Client,
) -> Result<(), DeviceError> {
    let writes = !spec.read_only;
    let own = own.map(|domid| domid.to_string());
    let own = own.as_deref();
    let user = match target.medium {
        Medium::Block(number) => match in_the_way(&served(store)?, own, number, writes) {
            Some(guest) => Some(guest),
            None => host(&target.path, number, writes)?,
        },
        Medium::File { device, inode } => {
            let loops = loops::over(device, inode, writes)?;
            match loops.is_empty() {
                true => None,
                false => behind(&served(store)?, own, loops, writes),
            }
        }
    };
    match user {
        None => Ok(()),
        Some(user) => {
            let (vdev, path) = (spec.vdev.clone(), target.path.clone());
            Err(DiskError::InUse { vdev, path, user }.into())
        }
    }
}

/// A disk that dom0 serves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Served {
    domid: String,
    devid: String,
    number: Option<DeviceNumber>,
    writes: bool,
}

/// A guest other than `own` that has a block device, and is in the way.
fn in_the_way(
    served: &[Served],
    own: Option<&str>,
    number: DeviceNumber,
    writes: bool,
) -> Option<User> {
    let mut others = served.iter().filter(|disk| own != Some(&disk.domid));
    let other = others.find(|disk| disk.number == Some(number) && (writes || disk.writes))?;
    let vdev = other.devid.parse().map_or_else(|_| other.devid.clone(), vdev::name);
    Some(User::Guest { domid: other.domid.clone(), vdev, writes: other.writes })
}

/// Who is in the way of a file, of which loop devices are in the way: the guest behind one says more
/// than the loop device. One that only `own` has is free.
fn behind(
    served: &[Served],
    own: Option<&str>,
    loops: Vec<(User, DeviceNumber)>,
    writes: bool,
) -> Option<User> {
    loops.into_iter().find_map(|(user, number)| {
        let mut disks = served.iter().filter(|disk| disk.number == Some(number));
        match in_the_way(served, own, number, writes) {
            Some(guest) => Some(guest),
            None if own.is_some() && disks.any(|disk| own == Some(&disk.domid)) => None,
            None => Some(user),
        }
    })
}

/// The disks that dom0 serves.
fn served(store: &mut Client) -> Result<Vec<Served>, Error> {
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
    let paths = devices.iter().flat_map(|(domid, devid)| {
        ["physical-device", "mode"].map(|node| format!("{BACKENDS}/{domid}/{devid}/{node}"))
    });
    let mut values = texts(paths, store)?.into_iter().map(Option::unwrap_or_default);
    let mut served = Vec::with_capacity(devices.len());
    for (domid, devid) in devices {
        let (Some(device), Some(mode)) = (values.next(), values.next()) else { break };
        let number = DeviceNumber::of_node(&device);
        served.push(Served { domid, devid, number, writes: mode.contains('w') });
    }
    Ok(served)
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
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    /// A domain that goes is in nobody's way, unless somebody else has the same.
    #[test]
    fn ones_own_is_free() {
        let number = DeviceNumber { major: 7, minor: 3 };
        let disk = |domid: &str, writes| Served {
            domid: domid.to_owned(),
            devid: String::from("51712"),
            number: Some(number),
            writes,
        };
        let loops =
            || vec![(User::Loop { device: PathBuf::from("/dev/loop3"), writes: true }, number)];
        let check =
            |served: &[Served], own: Option<&str>, way: Option<&str>, file: Option<&str>| {
                let name = |user: Option<User>| match user {
                    Some(User::Guest { domid, .. }) => Some(domid),
                    other => other.map(|_| String::from("loop")),
                };
                let found = name(in_the_way(served, own, number, true));
                assert_eq!(found.as_deref(), way, "{served:?} {own:?}");
                let found = name(behind(served, own, loops(), true));
                assert_eq!(found.as_deref(), file, "{served:?} {own:?}");
            };
        check(&[], None, None, Some("loop"));
        check(&[], Some("5"), None, Some("loop"));
        check(&[disk("5", true)], None, Some("5"), Some("5"));
        check(&[disk("5", true)], Some("5"), None, None);
        check(&[disk("5", false), disk("6", false)], Some("5"), Some("6"), Some("6"));
    }

    /// Who waits for the lock is neither kept for ever nor deaf.
    #[test]
    fn a_lock_is_waited_for_with_a_limit() {
        let root = std::env::temp_dir().join(format!("xlr-block-lock-{}", std::process::id()));
        let path = root.join("block");
        let soon = || Instant::now() + Duration::from_millis(20);
        let long = || Instant::now() + Duration::from_secs(60);
        let held = Lock::take_at(&path, None, soon()).unwrap().unwrap();
        assert!(matches!(Lock::take_at(&path, None, soon()), Err(DiskError::Locked { .. })));
        let (signal, sender) = UnixStream::pair().unwrap();
        drop(sender);
        assert!(Lock::take_at(&path, Some(signal.as_fd()), long()).unwrap().is_none());
        let other = std::thread::spawn({
            let path = path.clone();
            move || Lock::take_at(&path, None, long()).unwrap().is_some()
        });
        drop(held);
        assert!(other.join().unwrap());
        std::fs::remove_dir_all(root).unwrap();
    }

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
