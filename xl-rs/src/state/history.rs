//! Which domids were in use lately: `domid-history`, shared with libxl.
//!
//! Whoever still speaks of a domain by its number must not meet another one. So a domid whose
//! domain has ended is not given out again for a minute: who destroys a domain adds a line `SECONDS
//! DOMID` (monotonic clock), who creates one looks there. Lines that have outlived their time go
//! with the next write. Never fails a command: without the file nothing is recent.

use super::lock::{is_at, try_lock, wait};
use super::{StateError, replace};
use rustix::fs::FlockOperation;
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Where libxl keeps it.
const DIRECTORY: &str = "/var/run/xen";
/// How long a domid rests, unless `LIBXL_DOMID_REUSE_TIMEOUT` says otherwise.
const REUSE_SECONDS: u64 = 60;
/// Longest history that is read: more than there are domids.
const MAX_BYTES: usize = 1 << 20;

/// Domids that must not be given out again yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent(Vec<u16>);

impl Recent {
    /// Reads the history; what cannot be read is no reason to refuse a create.
    #[must_use]
    pub fn read() -> Self {
        let text = std::fs::read(history()).unwrap_or_default();
        Self(
            alive(&text, now_seconds(), timeout_seconds()).into_iter().map(|line| line.1).collect(),
        )
    }

    /// Whether the domid was in use lately.
    #[must_use]
    pub fn contains(&self, domid: u16) -> bool {
        self.0.contains(&domid)
    }
}

/// Notes that a domain has ended. `tell` is called with a line for the user if another tool holds the
/// history.
///
/// # Errors
/// [`StateError::Io`]; the domain has ended all the same.
pub fn mark(domid: u16, tell: impl FnOnce(fmt::Arguments<'_>)) -> Result<(), StateError> {
    let path = history();
    let lock_path = PathBuf::from(format!("{DIRECTORY}/domid-history.lock"));
    let _lock = HistoryLock::take(&lock_path, tell)?;
    let now = now_seconds();
    let mut lines = match std::fs::read(&path) {
        Ok(text) => alive(&text, now, timeout_seconds()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(StateError::io("read", &path, source)),
    };
    lines.push((now, domid));
    let text: String = lines.iter().map(|(when, domid)| format!("{when} {domid}\n")).collect();
    replace(&path, text.as_bytes())
}

fn history() -> PathBuf {
    Path::new(DIRECTORY).join("domid-history")
}

/// The lines whose time has not run out. What is no such line is left out.
fn alive(text: &[u8], now: u64, timeout: u64) -> Vec<(u64, u16)> {
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_BYTES)]);
    text.lines()
        .filter_map(|line| {
            let (when, domid) = line.trim().split_once(' ')?;
            Some((when.parse().ok()?, domid.parse().ok()?))
        })
        .filter(|(when, _): &(u64, u16)| now.saturating_sub(*when) < timeout)
        .collect()
}

fn timeout_seconds() -> u64 {
    let chosen = std::env::var("LIBXL_DOMID_REUSE_TIMEOUT");
    chosen.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(REUSE_SECONDS)
}

fn now_seconds() -> u64 {
    u64::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or_default()
}

/// libxl's lock on the history: a `flock` on a file that goes with the lock. It is held for no
/// longer than a file takes to be written.
struct HistoryLock {
    path: PathBuf,
    _file: File,
}

impl HistoryLock {
    /// Makes the directory where no libxl has: a domid rests there as well.
    fn take(path: &Path, tell: impl FnOnce(fmt::Arguments<'_>)) -> Result<Self, StateError> {
        let directory = path.parent().unwrap_or(path);
        let made = std::fs::create_dir_all(directory);
        made.map_err(|source| StateError::io("make", directory, source))?;
        let mut tell = Some(tell);
        loop {
            let mut open = OpenOptions::new();
            let file = open.write(true).create(true).truncate(false).open(path);
            let file = file.map_err(|source| StateError::io("open", path, source))?;
            if !try_lock(&file, path)? {
                if let Some(tell) = tell.take() {
                    let path = path.display();
                    tell(format_args!("Waiting for {path}, which another tool holds"));
                }
                wait(&file, FlockOperation::LockExclusive)
                    .map_err(|errno| StateError::io("lock", path, errno.into()))?;
            }
            if is_at(&file, path) {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

impl Drop for HistoryLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{HistoryLock, alive};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn who_waits_for_the_history_says_so() {
        let root = std::env::temp_dir().join(format!("xlr-history-{}", std::process::id()));
        // Nobody has made the directory.
        let path = root.join("xen/lock");
        let held = HistoryLock::take(&path, |text| panic!("{text}")).unwrap();
        let (said, words) = mpsc::channel();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || drop(HistoryLock::take(&path, |text| said.send(text.to_string()).unwrap()))
        });
        // It does so before it waits: with no word in this time it waits without one.
        let words = words.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
        assert!(words.starts_with("Waiting for "), "it waits without a word");
        drop(held);
        waiter.join().unwrap();
        assert!(!path.exists());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn lines_rest_for_their_time() {
        let check = |text: &str, now, left: &[(u64, u16)]| {
            assert_eq!(alive(text.as_bytes(), now, 60), left, "{text:?} at {now}");
        };
        check("", 100, &[]);
        check("22 1\n29 2\n", 30, &[(22, 1), (29, 2)]);
        check("22 1\n29 2\n", 82, &[(29, 2)]);
        check("22 1\n29 2\n", 81, &[(22, 1), (29, 2)]);
        check("22 1\n29 2\n", 89, &[]);
        // From the future: the clock is monotonic, so the line is damaged, and keeps the domid back.
        check("500 7\n", 100, &[(500, 7)]);
        check("x 1\n22\n22 70000\n\n 25 3 \n", 30, &[(25, 3)]);
    }
    proptest::proptest! {
        #[test]
        fn any_bytes_survive(bytes: Vec<u8>, now: u64) {
            let _ = alive(&bytes, now, 60);
        }
    }
}
