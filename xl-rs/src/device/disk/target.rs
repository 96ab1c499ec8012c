//! The medium of a disk: opened, and looked at.
//!
//! In: a path, and whether the guest may write. Out: a block device or a file that can be served. What
//! only QEMU could read is told by its first and last bytes, whatever the configuration says.

use super::DiskError;
use super::spec::DiskSpec;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a sector, and of what images of other formats begin or end with.
const SECTOR_BYTES: u64 = 512;

/// A medium that is open.
#[derive(Debug)]
pub struct Target {
    /// Where it really is.
    pub path: PathBuf,
    /// Open as the guest shall use it.
    pub file: File,
    /// Which of the two it is.
    pub medium: Medium,
}

/// What can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A block device, by its number.
    Block(DeviceNumber),
    /// A file, by its file system's number and its own.
    File {
        /// As `stat` gives it.
        device: u64,
        /// As `stat` gives it.
        inode: u64,
    },
}

/// The number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// From what `stat` gives.
    #[must_use]
    pub fn of(rdev: u64) -> Self {
        Self { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) }
    }

    /// As `physical-device` has it: hexadecimal.
    #[must_use]
    pub fn node(self) -> String {
        format!("{:x}:{:x}", self.major, self.minor)
    }

    /// What such a node says.
    #[must_use]
    pub fn of_node(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl Target {
    /// Opens the medium of a disk.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(spec: &DiskSpec) -> Result<Self, DiskError> {
        let given = Path::new(&spec.target);
        let failed = |source| DiskError::Open {
            vdev: spec.vdev.clone(),
            path: given.to_owned(),
            read_only: spec.read_only,
            source,
        };
        let path = std::fs::canonicalize(given).map_err(failed)?;
        // Neither a terminal nor a FIFO holds us up before it is known what it is.
        let mut options = OpenOptions::new();
        options.read(true).write(!spec.read_only);
        options.custom_flags((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits() as i32);
        let what = |metadata: &std::fs::Metadata| kind(metadata.file_type());
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if let Some(what) = what(&metadata) {
            return Err(DiskError::Neither { vdev: spec.vdev.clone(), path, what });
        }
        let file = options.open(&path).map_err(failed)?;
        // What the path led to may have changed meanwhile.
        let metadata = file.metadata().map_err(failed)?;
        if let Some(what) = what(&metadata) {
            return Err(DiskError::Neither { vdev: spec.vdev.clone(), path, what });
        }
        let medium = if metadata.file_type().is_block_device() {
            Medium::Block(DeviceNumber::of(metadata.rdev()))
        } else {
            check_image(spec, &path, &file, metadata.len())?;
            Medium::File { device: metadata.dev(), inode: metadata.ino() }
        };
        Ok(Self { path, file, medium })
    }
}

/// What it is, if it can hold no disk.
fn kind(kind: std::fs::FileType) -> Option<&'static str> {
    Some(match kind {
        _ if kind.is_file() || kind.is_block_device() => return None,
        _ if kind.is_dir() => "a directory",
        _ if kind.is_char_device() => "a character device",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "something else",
    })
}

fn check_image(spec: &DiskSpec, path: &Path, file: &File, bytes: u64) -> Result<(), DiskError> {
    if bytes < SECTOR_BYTES {
        return Err(DiskError::Short { vdev: spec.vdev.clone(), path: path.to_owned(), bytes });
    }
    let sector = |at: u64| -> io::Result<[u8; 8]> {
        let mut begin = [0; 8];
        file.read_exact_at(&mut begin, at)?;
        Ok(begin)
    };
    let failed = |source| DiskError::Look { operation: "read", path: path.to_owned(), source };
    let first = sector(0).map_err(failed)?;
    let last = sector(bytes - SECTOR_BYTES).map_err(failed)?;
    match format(&first, &last) {
        Some(format) => {
            Err(DiskError::Image { vdev: spec.vdev.clone(), path: path.to_owned(), format })
        }
        None => Ok(()),
    }
}

/// The format of an image, by the beginning of its first and of its last sector.
fn format(first: &[u8; 8], last: &[u8; 8]) -> Option<&'static str> {
    const VHD: &[u8; 8] = b"conectix";
    match first {
        [b'Q', b'F', b'I', 0xfb, 0, 0, 0, 1] => Some("qcow"),
        [b'Q', b'F', b'I', 0xfb, ..] => Some("qcow2"),
        [b'Q', b'E', b'D', 0, ..] => Some("qed"),
        b"vhdxfile" => Some("vhdx"),
        [b'K', b'D', b'M', b'V', ..] => Some("vmdk"),
        _ if first == VHD || last == VHD => Some("vhd"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_bytes() {
        let none = [0; 8];
        for (first, last, expected) in [
            (b"QFI\xfb\0\0\0\x01", &none, Some("qcow")),
            (b"QFI\xfb\0\0\0\x02", &none, Some("qcow2")),
            (b"QFI\xfb\0\0\0\x03", &none, Some("qcow2")),
            (b"QED\0\0\0\0\0", &none, Some("qed")),
            (b"conectix", &none, Some("vhd")),
            (&none, b"conectix", Some("vhd")),
            (b"vhdxfile", &none, Some("vhdx")),
            (b"KDMV\x01\0\0\0", &none, Some("vmdk")),
            (&none, &none, None),
            (b"QFIx\0\0\0\x02", &none, None),
        ] {
            assert_eq!(format(first, last), expected, "{first:?} {last:?}");
        }
    }

    #[test]
    fn device_numbers_are_hexadecimal() {
        let number = DeviceNumber { major: 253, minor: 16 };
        assert_eq!(number.node(), "fd:10");
        assert_eq!(DeviceNumber::of_node("fd:10"), Some(number));
        for text in ["", "fd", "fd:", ":10", "g:1", "fd:10:1"] {
            assert_eq!(DeviceNumber::of_node(text), None, "{text:?}");
        }
    }
}
