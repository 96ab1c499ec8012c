//! The ramdisk's file, as it was when the plan was made.
//!
//! In: a path. Out: an open regular file, its length, and whether somebody wrote to it since. Never
//! looks inside: the guest gets the bytes as they are.

use super::error::{ImageError, Problem};
use super::source::{Identity, open_regular};
use std::fs::File;
use std::path::{Path, PathBuf};

/// An open ramdisk.
#[derive(Debug)]
pub struct Ramdisk {
    path: PathBuf,
    file: File,
    opened: Identity,
}

impl Ramdisk {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`ImageError`]: there is none, it cannot be read, or it is no regular file.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let (file, metadata) =
            open_regular(path).map_err(|problem| ImageError::of_ramdisk(path, problem))?;
        Ok(Self { path: path.to_owned(), file, opened: Identity::of(&metadata) })
    }

    /// Its length when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.opened.size_bytes
    }

    /// Its bytes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes sure that nobody has written to the file since it was opened. Ask after copying it, or
    /// the guest may have parts of two ramdisks. That it was replaced under its name does not matter.
    ///
    /// # Errors
    /// [`Problem::Changed`]; [`Problem::Io`] if the file cannot be looked at.
    pub fn check_unchanged(&self) -> Result<(), ImageError> {
        let problem = match self.file.metadata() {
            Ok(metadata) if Identity::of(&metadata).same_content(&self.opened) => return Ok(()),
            Ok(_) => Problem::Changed,
            Err(source) => Problem::io("stat", source),
        };
        Err(ImageError::of_ramdisk(&self.path, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_ramdisk_is_a_regular_file_and_stays_as_it_is() {
        let error = |path: &str| Ramdisk::open(Path::new(path)).unwrap_err().to_string();
        assert!(error("/dev/null").contains("ramdisk /dev/null: it is a device"));
        assert!(error("/").contains("directory"), "{}", error("/"));
        assert!(error("/nowhere").contains("check ramdisk="), "{}", error("/nowhere"));

        let path = std::env::temp_dir().join(format!("ramdisk-{}", std::process::id()));
        std::fs::write(&path, "some bytes").unwrap();
        let ramdisk = Ramdisk::open(&path).unwrap();
        assert_eq!(ramdisk.bytes(), 10);
        ramdisk.check_unchanged().unwrap();
        // Under another name in its place, or gone: the open file is what it was.
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        ramdisk.check_unchanged().unwrap();
        let mut file = File::options().write(true).open(path.with_extension("old")).unwrap();
        file.write_all(b"more").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
        file.set_modified(later).unwrap();
        let changed = ramdisk.check_unchanged().unwrap_err().to_string();
        assert!(changed.contains("changed while"), "{changed}");
        std::fs::remove_file(path.with_extension("old")).unwrap();
    }
}
