//! Slots: at most two emulators run on one machine at once, whoever started them.
//!
//! An emulator keeps a processor busy; more of them than processors only make every time limit
//! wrong. A slot is a file lock, so it is free again however its holder ended.

use crate::error::{Context as _, Result};
use crate::report;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many emulators run at once.
pub const SLOTS: usize = 2;

/// A held slot; dropping it frees it.
pub struct Slot {
    _file: File,
    /// How long it had to be waited for.
    pub waited: Duration,
}

/// Takes a free slot, waiting for one where needed.
pub fn take() -> Result<Slot> {
    take_of(&std::env::temp_dir())
}

fn take_of(dir: &Path) -> Result<Slot> {
    let start = Instant::now();
    let paths: Vec<PathBuf> =
        (0..SLOTS).map(|index| dir.join(format!("xlr-qemu-{index}.lock"))).collect();
    let mut told = false;
    let mut tell = || {
        if !told {
            report::note("waiting: as many emulators run on this machine as it can bear");
            paths.iter().for_each(|path| report::note(&format!("  {}", holder(path))));
            told = true;
        }
    };
    // Who comes first is served first: the kernel lets those who wait for one lock in by turns.
    let queue_path = dir.join("xlr-qemu-queue.lock");
    let queue = open(&queue_path)?;
    if !try_lock(&queue, &queue_path)? {
        tell();
        queue.lock().on("lock", &queue_path)?;
    }
    loop {
        for path in &paths {
            let file = open(path)?;
            if try_lock(&file, path)? {
                return Ok(Slot { _file: file, waited: start.elapsed() });
            }
        }
        tell();
        // A lock on either of two files: the kernel offers no wait for that.
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Opens a lock file, which may be another user's.
fn open(path: &Path) -> Result<File> {
    let existing = OpenOptions::new().read(true).open(path);
    existing.or_else(|_| File::create(path)).on("open", path)
}

fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).on("lock", path),
    }
}

/// Who holds the lock, in words. The kernel knows it, and only for processes that this one can see.
fn holder(path: &Path) -> String {
    let inode = std::fs::metadata(path).map_or(0, |metadata| metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let Some(pid) = holder_in(&locks, inode) else {
        return format!("{}: held by nobody, or not to be seen from here", path.display());
    };
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
    let words: Vec<String> = line
        .split(|&byte| byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).chars().take(60).collect())
        .collect();
    let place = std::fs::read_link(proc.join("cwd")).unwrap_or_default();
    format!("process {pid} in {}: {}", place.display(), words.join(" "))
}

/// The process that holds a whole-file lock on `inode`, from the text of `/proc/locks`.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        // `1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF`; a waiting one has `->` after the number.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = words[..] else { return None };
        let (_, found) = file.rsplit_once(':')?;
        if found.parse() == Ok(inode) { pid.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 00:1f:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 33 00:1f:78 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE -1 00:1f:79 0 EOF\n";
        for (inode, pid) in [(77, Some(22)), (78, None), (79, None), (1, None)] {
            assert_eq!(holder_in(locks, inode), pid, "inode {inode}");
        }
    }

    /// A lock of this process is found as this process, and is free again when it is dropped.
    #[test]
    fn a_slot_is_held_and_freed() {
        let dir = std::env::temp_dir().join(format!("xlr-slot-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let slots: Vec<Slot> = (0..SLOTS).map(|_| take_of(&dir).expect("free")).collect();
        let path = dir.join("xlr-qemu-0.lock");
        assert!(!try_lock(&open(&path).expect("there"), &path).expect("tried"));
        let said = holder(&path);
        assert!(said.starts_with(&format!("process {} in", std::process::id())), "{said}");
        drop(slots);
        assert!(take_of(&dir).expect("free again").waited < Duration::from_secs(1));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
