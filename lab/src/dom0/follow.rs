//! Follows a growing file until a text appears in it, woken by the kernel at every change.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that is followed from its beginning; it need not exist yet, its directory must.
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    notify: OwnedFd,
    /// All that was read so far.
    pub text: Vec<u8>,
}

impl Follow {
    /// Begins to follow `path`.
    pub fn new(path: &Path) -> io::Result<Follow> {
        let notify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
        inotify::add_watch(&notify, dir, flags)?;
        Ok(Follow { path: path.into(), file: None, notify, text: Vec::new() })
    }

    /// Waits until `needle` is in the file, or `limit` is over; `sink` gets what is new.
    /// Returns whether the needle was found.
    pub fn until(
        &mut self,
        needle: &str,
        limit: Duration,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let before = self.text.len();
            self.read_more()?;
            sink(&self.text[before..]);
            let from = before.saturating_sub(needle.len());
            if contains(&self.text[from..], needle.as_bytes()) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(left)?;
        }
    }

    /// Waits until there is more; whether there is within `limit`.
    pub fn more(&mut self, limit: Duration) -> io::Result<bool> {
        let (before, deadline) = (self.text.len(), Instant::now() + limit);
        loop {
            self.read_more()?;
            if self.text.len() > before {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(left)?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.text)?;
        }
        Ok(())
    }

    fn wait(&self, left: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&self.notify, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // What changed does not matter: the file is read again.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.notify, &mut buffer);
        while events.next().is_ok() {}
        Ok(())
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || text.windows(needle.len()).any(|window| window == needle)
}

/// `lab follow FILE TEXT SECONDS`: prints the file as it grows until the text is there.
pub fn main(args: &[String]) -> io::Result<i32> {
    let [file, needle, seconds] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let limit = Duration::from_secs(seconds.parse().map_err(|_| io::ErrorKind::InvalidInput)?);
    let mut follow = Follow::new(Path::new(file))?;
    let found = follow.until(needle, limit, crate::session::show)?;
    println!();
    Ok(i32::from(!found))
}
