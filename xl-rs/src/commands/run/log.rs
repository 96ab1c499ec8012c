//! The console of one run: what is kept of it, and where.
//!
//! In: lines with the time at which they came. Out: a file of all of them, up to [`MOST`] bytes, and
//! the last of them for reports. Nothing grows with what a guest prints.

use super::error::RunError;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write as _};
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
    bytes: u64,
    tail: VecDeque<String>,
    tail_bytes: usize,
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
        let file = File::create(path).map_err(RunError::write(path))?;
        Ok(Self { file: Some((BufWriter::new(file), path.to_owned())), ..Self::default() })
    }

    /// Takes a line that was [`stamped`].
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn add(&mut self, line: String) -> Result<(), RunError> {
        if let Some((file, path)) = &mut self.file {
            let before = self.bytes;
            self.bytes = self.bytes.saturating_add(line.len() as u64);
            let written = match (before <= MOST, self.bytes <= MOST) {
                (true, true) => file.write_all(line.as_bytes()),
                (true, false) => {
                    let mib = MOST >> 20;
                    writeln!(file, "what comes after the first {mib} MiB is not kept here")
                }
                (false, _) => Ok(()),
            };
            written.map_err(RunError::write(path.as_path()))?;
        }
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > TAIL
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_bytes -= first.len();
        }
        Ok(())
    }

    /// Brings what was added to the file.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn flush(&mut self) -> Result<(), RunError> {
        match &mut self.file {
            Some((file, path)) => file.flush().map_err(RunError::write(path.as_path())),
            None => Ok(()),
        }
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

    #[test]
    fn what_is_kept_is_bounded() {
        let path = std::env::temp_dir().join(format!("xlr-run-log-{}", std::process::id()));
        let mut log = Log::in_file(&path).unwrap();
        let line = format!("{}\n", "x".repeat(1 << 20));
        for _ in 0..70 {
            log.add(line.clone()).unwrap();
        }
        log.add(String::from("last\n")).unwrap();
        log.flush().unwrap();
        assert_eq!(log.tail(), "last\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= MOST + 100, "{}", text.len());
        assert!(text.ends_with("first 64 MiB is not kept here\n"));
        std::fs::remove_file(path).unwrap();
    }
}
