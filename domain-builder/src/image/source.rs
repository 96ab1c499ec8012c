//! The kernel file as it lies on disk.
//!
//! In: a path. Out: an open regular file of a bearable size, its identity, its bytes. Never blocks
//! on a pipe and never reads a device.

use super::error::Problem;
use serde::{Deserialize, Serialize};
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What tells one state of one file from every other, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub dev: u64,
    pub ino: u64,
    pub size_bytes: u64,
    /// Modification of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change of content or attributes; programs cannot set it.
    pub ctime_ns: i64,
}

impl Identity {
    pub fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size_bytes: metadata.size(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether this is the same file with the same content; its attributes may differ, as they do
    /// when it is renamed.
    pub fn same_content(&self, other: &Self) -> bool {
        Self { ctime_ns: other.ctime_ns, ..*self } == *other
    }
}

/// An open kernel file.
pub(super) struct Source {
    pub file: File,
    pub identity: Identity,
}

impl Source {
    /// Opens a regular file of 1 to `limit_bytes` bytes.
    pub fn open(path: &Path, limit_bytes: u64) -> Result<Self, Problem> {
        let (file, metadata) = open_regular(path)?;
        match metadata.len() {
            0 => Err(Problem::Empty),
            len if len > limit_bytes => {
                Err(Problem::TooLarge { what: "the kernel file", limit_bytes })
            }
            _ => Ok(Self { file, identity: Identity::of(&metadata) }),
        }
    }

    /// Up to `len` bytes from the beginning.
    pub fn head(&self, len: usize) -> Result<Vec<u8>, Problem> {
        let len = len.min(usize::try_from(self.identity.size_bytes).unwrap_or(usize::MAX));
        let mut head = vec![0; len];
        self.file.read_exact_at(&mut head, 0).map_err(changed_or_io)?;
        Ok(head)
    }

    /// The whole file, as it was when it was opened.
    ///
    /// # Errors
    /// [`Problem::Changed`] if it is no longer that.
    pub fn read_all(&self) -> Result<Vec<u8>, Problem> {
        let size_bytes = self.identity.size_bytes;
        let mut bytes = Vec::new();
        let room = usize::try_from(size_bytes).ok().filter(|&n| bytes.try_reserve_exact(n).is_ok());
        if room.is_none() {
            return Err(Problem::TooLarge { what: "the kernel file", limit_bytes: size_bytes - 1 });
        }
        (&self.file)
            .take(size_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Problem::Io { operation: "read", source })?;
        let now = self.file.metadata().map_err(|source| Problem::io("stat", source))?;
        if bytes.len() as u64 != size_bytes || Identity::of(&now) != self.identity {
            return Err(Problem::Changed);
        }
        Ok(bytes)
    }
}

/// Opens a regular file for reading, and nothing else.
pub(super) fn open_regular(path: &Path) -> Result<(File, Metadata), Problem> {
    // Without O_NONBLOCK, opening a pipe waits for a writer that never comes.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(|source| Problem::io("open", source))?;
    let metadata = file.metadata().map_err(|source| Problem::io("stat", source))?;
    if metadata.is_file() {
        return Ok((file, metadata));
    }
    Err(Problem::NotAFile { kind: kind(metadata.file_type()) })
}

/// The first bytes in hexadecimal digits, for messages.
pub(super) fn hex_head(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

fn changed_or_io(source: std::io::Error) -> Problem {
    if source.kind() == std::io::ErrorKind::UnexpectedEof {
        Problem::Changed
    } else {
        Problem::Io { operation: "read", source }
    }
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "directory"
    } else if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "device"
    }
}
