//! Writes cpio archives (newc), the form of an initramfs.
//!
//! Archives may follow each other: the kernel reads one after the other, later files win. Each
//! archive is padded to 512 bytes, so that the next one begins aligned.

use std::collections::BTreeSet;

/// An archive in the making.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    made: BTreeSet<String>,
    inode: u32,
}

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

impl Cpio {
    /// An empty archive.
    pub fn new() -> Cpio {
        Cpio::default()
    }

    /// Adds a directory and its parents. `path` has no leading slash.
    pub fn dir(&mut self, path: &str) {
        if path.is_empty() || self.made.contains(path) {
            return;
        }
        self.dir_mode(path, 0o755);
    }

    /// Adds a directory with its permission bits.
    pub fn dir_mode(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entry(path, DIRECTORY | mode, &[], (0, 0));
    }

    /// Adds a file with its permission bits.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.parents(path);
        self.entry(path, REGULAR | mode, data, (0, 0));
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, SYMLINK | 0o777, target.as_bytes(), (0, 0));
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER | mode, &[], (major, minor));
    }

    /// Whether the path was added already.
    pub fn has(&self, path: &str) -> bool {
        self.made.contains(path)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        let end = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(end, 0);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8], device: (u32, u32)) {
        self.made.insert(path.into());
        self.inode += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(data.len()).expect("files of an initramfs are far below 4 GiB"),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(path.len() + 1).expect("paths are short"),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        let end = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_one_file() {
        let mut cpio = Cpio::new();
        cpio.file("a/b", 0o644, b"xyz");
        let bytes = cpio.finish();
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(&bytes[..14], b"07070100000001");
        // directory "a": header 110, name 2 bytes: ends at 112; the file's header follows.
        assert_eq!(&bytes[112..118], b"070701");
        assert_eq!(&bytes[112 + 110..112 + 114], b"a/b\0");
        assert_eq!(&bytes[112 + 116..112 + 119], b"xyz");
    }
}
