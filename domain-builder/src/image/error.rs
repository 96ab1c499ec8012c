//! Why a kernel image or a ramdisk cannot be used.
//!
//! In: nothing. Out: [`ImageError`], which names the file and says what to do. Never holds bytes of
//! the image, and never repeats the error that it wraps.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with which file.
#[derive(Debug)]
pub struct ImageError {
    /// The key that names it: `kernel` or `ramdisk`.
    pub key: &'static str,
    /// The file as the caller named it.
    pub path: PathBuf,
    /// What is wrong with it. Boxed: errors are rare, results are moved often.
    pub problem: Box<Problem>,
}

impl ImageError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self { key: "kernel", path: path.to_owned(), problem: Box::new(problem) }
    }

    pub(super) fn of_ramdisk(path: &Path, problem: Problem) -> Self {
        Self { key: "ramdisk", ..Self::new(path, problem) }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, path, problem } = self;
        write!(f, "{key} {}: {problem}", path.display())?;
        match **problem {
            Problem::NotFound => write!(f, "; check {key}= in the configuration"),
            Problem::NotAFile { .. } => write!(f, "; {key}= must name a regular file"),
            _ => Ok(()),
        }
    }
}

impl Error for ImageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// What can be wrong with a kernel image. Lengths and offsets are in bytes.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The path leads nowhere.
    #[error("no such file")]
    NotFound,
    /// The file exists, and this user may not read it.
    #[error("permission denied; run as root or make the file readable")]
    PermissionDenied,
    /// A directory, device, pipe or socket.
    #[error("it is a {kind}")]
    NotAFile {
        /// What was found instead, in words.
        kind: &'static str,
    },
    /// Another failure of the operating system.
    #[error("cannot {operation} it")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Nothing in the file.
    #[error("the file is empty; copy the kernel again")]
    Empty,
    /// The file or what it decodes to is larger than the caller allows.
    #[error("{what} exceeds the limit of {limit_bytes} bytes; is this a kernel?")]
    TooLarge {
        /// Which of the sizes.
        what: &'static str,
        /// The limit that was exceeded.
        limit_bytes: u64,
    },
    /// Size or time stamps moved between two looks.
    #[error("the file changed while it was read; try again when whoever writes it is done")]
    Changed,
    /// No known magic number.
    #[error(
        "not a kernel image (it begins with {head}); needed is an ELF file or a bzImage, \
         as it is or packed by gzip, xz, lzma, bzip2, lz4 or zstd"
    )]
    NotAKernel {
        /// The first bytes, as hexadecimal digits.
        head: String,
    },
    /// Known, and left out on purpose.
    #[error("packed by {format}, which is not supported; unpack it or use gzip, xz, lz4 or zstd")]
    UnsupportedFormat {
        /// The format's name.
        format: &'static str,
    },
    /// A bzImage whose header does not describe a payload inside the file.
    #[error("bzImage: {reason}; copy the kernel again, or use its uncompressed vmlinux")]
    BzImage {
        /// What the header says that cannot be.
        reason: String,
    },
    /// The packed data is damaged or ends early.
    #[error(
        "the {format} data is damaged or cut off after {decoded_bytes} decoded bytes; copy the kernel again"
    )]
    Corrupt {
        /// The format's name.
        format: &'static str,
        /// How far decoding went.
        decoded_bytes: u64,
        /// The decoder's complaint.
        #[source]
        source: io::Error,
    },
    /// The length appended to a bzImage's payload differs from what came out.
    #[error(
        "the payload should decode to {declared_bytes} bytes and decodes to {decoded_bytes}; copy the kernel again"
    )]
    LengthMismatch {
        /// Length that the image declares.
        declared_bytes: u64,
        /// Length that came out.
        decoded_bytes: u64,
    },
    /// Decoded, and not an ELF file inside.
    #[error("what the {format} data holds is not an ELF file; is this a kernel?")]
    NotElfInside {
        /// The format's name.
        format: &'static str,
    },
    /// An ELF file for something else than 64-bit x86.
    #[error("an ELF file for {found}; needed is a 64-bit x86-64 kernel")]
    WrongMachine {
        /// Class or machine in words.
        found: String,
    },
    /// ELF headers that contradict themselves or the file.
    #[error("ELF: {reason}; copy or build the kernel again")]
    Elf {
        /// Which header says what.
        reason: String,
    },
    /// Xen notes that break their own rules.
    #[error("Xen note {note}: {reason}; build the kernel again")]
    Note {
        /// The note's name as in `public/elfnote.h`.
        note: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A sound kernel that cannot be a PV guest.
    #[error(transparent)]
    NotPv(#[from] NotPv),
}

impl Problem {
    /// An error of `open` or `stat`, told apart where the user can do something about it.
    pub(super) fn io(operation: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::Io { operation, source },
        }
    }
}

/// Why a kernel cannot be started as a PV guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPv {
    /// Neither notes nor a `__xen_guest` section.
    #[error(
        "not a PV kernel: it carries no Xen notes; use one built with CONFIG_XEN_PV, \
         or type=\"hvm\" where that is offered"
    )]
    NoNotes,
    /// Only the PVH entry point is there.
    #[error(
        "not a PV kernel: its only Xen entry point is for PVH; use a kernel built with \
         CONFIG_XEN_PV, or type=\"pvh\" where that is offered"
    )]
    PvhOnly,
    /// LOADER is something else than `generic`.
    #[error("the kernel wants the loader {loader:?}, which does not exist here; \"generic\" does")]
    Loader {
        /// What the note says.
        loader: String,
    },
    /// XEN_VERSION is something else than `xen-3.0`.
    #[error("the kernel is made for {version:?}; \"xen-3.0\" is what every Xen offers")]
    XenVersion {
        /// What the note says.
        version: String,
    },
    /// A required feature that a PV guest never gets.
    #[error("the kernel requires the feature {feature}, which PV guests do not have")]
    Feature {
        /// Name of the feature.
        feature: String,
    },
    /// BSD_SYMTAB is `yes`.
    #[error("the kernel wants its symbol table loaded (BSD_SYMTAB), which is not supported")]
    SymbolTable,
    /// Addresses that cannot be.
    #[error("the kernel's notes and segments contradict each other: {reason}; build it again")]
    Addresses {
        /// Which ones.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_can_mend_is_told_apart() {
        let check = |errno, want| {
            let error = Problem::io("open", io::Error::from_raw_os_error(errno));
            let error = ImageError::new(Path::new("/k"), error);
            assert!(error.to_string().starts_with(want), "{error}");
        };
        check(2, "kernel /k: no such file; check kernel=");
        check(20, "kernel /k: no such file; check kernel=");
        check(13, "kernel /k: permission denied; run as root or make");
        check(5, "kernel /k: cannot open it");
    }
}
