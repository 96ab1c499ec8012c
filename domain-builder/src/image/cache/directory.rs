//! The cache's directory.
//!
//! In: a path. Out: operations on names inside the one directory that was checked; the path is not
//! walked again. Never follows a link inside, and never uses a directory that others may write.

use super::error::CacheError;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Names are no links, and no child inherits the descriptors.
const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);
/// `f_type` of file systems that live in memory (`linux/magic.h`).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// An open directory of ours.
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens the directory, made with mode 0700 if it is missing.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let fail = |operation| move |source| CacheError::io(operation, path, source);
        let flags = SAFE | OFlags::DIRECTORY | OFlags::RDONLY;
        let open = || fs::openat(CWD, path, flags, Mode::empty()).map_err(io::Error::from);
        let fd = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .map_err(fail("make the directory"))?;
                open()
            }
            result => result,
        }
        .map_err(fail("open the directory"))?;
        let stat = fs::fstat(&fd).map_err(|e| fail("stat the directory")(e.into()))?;
        let own_uid = rustix::process::geteuid().as_raw();
        if stat.st_uid != own_uid {
            let path = path.to_owned();
            return Err(CacheError::Owner { path, uid: stat.st_uid, own_uid });
        }
        if stat.st_mode & 0o022 != 0 {
            let path = path.to_owned();
            return Err(CacheError::Writable { path, mode: stat.st_mode & 0o7777 });
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The error of an operation on a name inside.
    pub fn error(
        &self,
        operation: &'static str,
        name: &str,
    ) -> impl Fn(io::Error) -> CacheError + use<> {
        let path = self.path.join(name);
        move |source| CacheError::io(operation, &path, source)
    }

    /// Opens a file for reading.
    pub fn file(&self, name: &str) -> io::Result<File> {
        let fd = fs::openat(&self.fd, name, SAFE | OFlags::RDONLY, Mode::empty())?;
        Ok(File::from(fd))
    }

    /// The bytes of a small file; at most `limit_bytes` of them.
    pub fn read(&self, name: &str, limit_bytes: u64) -> io::Result<Vec<u8>> {
        // Room for the index of some kernels, so that one read does it.
        let mut bytes = Vec::with_capacity(8192);
        self.file(name)?.take(limit_bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Makes an empty file in place of whatever had the name.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        let flags = SAFE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(File::from(fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Puts `bytes` under `name`: readers see the old file or the new one, whole. `temporary` is
    /// used on the way.
    pub fn replace(&self, name: &str, temporary: &str, bytes: &[u8]) -> io::Result<()> {
        self.create(temporary)?.write_all(bytes)?;
        self.rename(temporary, name)
    }

    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file; one that is not there is fine.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Sets a file's time of modification to now.
    pub fn touch(&self, name: &str) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        Ok(fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A file's time of modification in nanoseconds since 1970; the lowest number if there is none.
    pub fn mtime_ns(&self, name: &str) -> i64 {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat
                .st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(stat.st_mtime_nsec as i64),
            Err(_) => i64::MIN,
        }
    }

    /// Names of all files.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Keeps every other holder out until the file is dropped; the kernel drops it for the dead.
    pub fn lock(&self, name: &str) -> io::Result<File> {
        let flags = SAFE | OFlags::RDWR | OFlags::CREATE;
        let file = File::from(fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?);
        loop {
            match fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result.map(|()| file)?),
            }
        }
    }

    /// Bytes that could be had: of memory where the file system lives in memory, else of disk.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let kind = fs::fstatfs(&self.fd)?.f_type as u64;
        if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
            let text = std::fs::read_to_string("/proc/meminfo")?;
            return available_bytes(&text).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        let stat = fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Whether a file is ours alone to write.
pub(super) fn is_private(metadata: &Metadata) -> bool {
    metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::available_bytes;

    #[test]
    fn meminfo_is_read() {
        let check = |text, want| assert_eq!(available_bytes(text), want, "{text}");
        check("MemTotal:  9 kB\nMemAvailable:     400 kB\nBuffers: 1 kB\n", Some(400 * 1024));
        check("MemAvailable: 400\n", None);
        check("MemAvailable: kB\n", None);
        check("MemAvailable: 18446744073709551615 kB\n", None);
        check("MemTotal: 1 kB\n", None);
    }
}
