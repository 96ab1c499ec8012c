//! The console of one run: what is kept of it, and where.
//!
//! In: lines with the time at which they came. Out: a file of all of them, up to [`MOST`] bytes, and
//! the last of them for reports. Nothing grows with what a guest prints.

use super::error::RunError;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most bytes of a file.
pub const MOST: u64 = 64 << 20;
/// Most bytes that reports show.
const TAIL: usize = 64 << 10;

/// What a console has said.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<(BufWriter<File>, PathBuf)>,
    /// Why the file could not be written, once; the guest is watched on all the same.
    failed: Option<RunError>,
    bytes: u64,
    tail: VecDeque<String>,
    tail_bytes: usize,
}

/// A new file in the place of an old one. Neither a link nor a device that stands there is written to.
///
/// # Errors
/// The system's.
pub fn fresh(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
        std::fs::remove_file(path)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A line as it is shown and kept.
#[must_use]
pub fn stamped(at: Duration, line: &str) -> String {
    format!("[{:>9.3}] {line}\n", at.as_secs_f64())
}

impl Log {
    /// One that is kept in this file as well.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn in_file(path: &Path) -> Result<Self, RunError> {
        let file = fresh(path).map_err(RunError::write(path))?;
        Ok(Self { file: Some((BufWriter::new(file), path.to_owned())), ..Self::default() })
    }

    /// Takes a line that was [`stamped`].
    pub fn add(&mut self, line: String) {
        if let Some((file, path)) = &mut self.file {
            let before = self.bytes;
            self.bytes = self.bytes.saturating_add(line.len() as u64);
            let written = match (before <= MOST, self.bytes <= MOST) {
                (true, true) => file.write_all(line.as_bytes()),
                (true, false) => {
                    let mib = MOST >> 20;
                    writeln!(
                        file,
                        "what comes after the first {mib} MiB is not kept here, but for the end:"
                    )
                }
                (false, _) => Ok(()),
            };
            if let Err(error) = written {
                self.failed = Some(RunError::write(path.as_path())(error));
                self.file = None;
            }
        }
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > TAIL
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_bytes -= first.len();
        }
    }

    /// Brings what was added to the file; where that was too much, its end, too: there the panic is.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn finish(&mut self) -> Result<(), RunError> {
        if let Some((file, path)) = &mut self.file {
            let last: &[String] = match self.bytes > MOST {
                true => self.tail.make_contiguous(),
                false => &[],
            };
            let written = last.iter().try_for_each(|line| file.write_all(line.as_bytes()));
            written.and_then(|()| file.flush()).map_err(RunError::write(path.as_path()))?;
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The last of what was said.
    #[must_use]
    pub fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_time() {
        let check = |millis, line, expected| {
            assert_eq!(stamped(Duration::from_millis(millis), line), expected);
        };
        check(0, "", "[    0.000] \n");
        check(61_002, "x", "[   61.002] x\n");
    }

    /// A link that somebody put in the place of a file would lead root elsewhere.
    #[test]
    fn a_link_is_not_followed() {
        let root = std::env::temp_dir().join(format!("xlr-run-link-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        let (target, own) = (root.join("target"), root.join("own"));
        for is_link in [true, false] {
            std::fs::write(&target, "theirs").unwrap();
            match is_link {
                true => std::os::unix::fs::symlink(&target, &own).unwrap(),
                false => std::fs::hard_link(&target, &own).unwrap(),
            }
            let made = fresh(&own).and_then(|mut file| file.write_all(b"own"));
            assert_eq!(made.is_err(), is_link);
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "theirs");
            std::fs::remove_file(&own).unwrap();
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    /// A guest is watched on where its log cannot be written, and that is told in the end.
    #[test]
    fn a_full_disk_ends_nothing() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = Some((BufWriter::new(full), PathBuf::from("/dev/full")));
        let mut log = Log { file, ..Log::default() };
        log.add("x".repeat(1 << 16));
        log.add(String::from("last\n"));
        assert_eq!(log.tail(), "last\n");
        assert!(matches!(log.finish(), Err(RunError::Write { .. })));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let path = std::env::temp_dir().join(format!("xlr-run-log-{}", std::process::id()));
        let mut log = Log::in_file(&path).unwrap();
        let line = format!("{}\n", "x".repeat(1 << 20));
        for _ in 0..70 {
            log.add(line.clone());
        }
        log.add(String::from("last\n"));
        log.finish().unwrap();
        assert_eq!(log.tail(), "last\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= MOST + TAIL as u64 + 100, "{}", text.len());
        assert!(text.ends_with("is not kept here, but for the end:\nlast\n"));
        std::fs::remove_file(path).unwrap();
    }
}
