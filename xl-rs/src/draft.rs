//! A file that has its name only when it is whole.
//!
//! In: a path. Out: a file to be written, which stands under that path once it is done. Killed on the
//! way it leaves nothing, where the file system has files without a name. Never replaces anything but
//! a file.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file on its way.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    /// The name that it has until it is done, if it has one.
    interim: Option<PathBuf>,
}

impl Draft {
    /// Makes a file for `path`, with these rights; none if something else than a file is there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn of(path: &Path, mode: u32) -> io::Result<Option<Self>> {
        let path = match std::fs::metadata(path) {
            Ok(found) if !found.is_file() => return Ok(None),
            // The file that a link leads to, not the link.
            Ok(_) => path.canonicalize()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let nameless = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match open(folder, nameless, Mode::from_raw_mode(mode)) {
            Ok(fd) => Ok(Some(Self { file: fd.into(), path, interim: None })),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let interim = interim(&path);
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(true).mode(mode);
                let file = options.open(&interim)?;
                Ok(Some(Self { file, path, interim: Some(interim) }))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Brings it to the disk and gives it its name.
    ///
    /// # Errors
    /// What the operating system says; there is no file then.
    pub fn done(mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.interim.is_none() {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let link = |to: &Path| linkat(CWD, &own, CWD, to, AtFlags::SYMLINK_FOLLOW);
            match link(&self.path) {
                Ok(()) => return Ok(()),
                // A link replaces nothing.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let interim = interim(&self.path);
            match std::fs::remove_file(&interim) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            link(&interim)?;
            self.interim = Some(interim);
        }
        if let Some(interim) = &self.interim {
            std::fs::rename(interim, &self.path)?;
        }
        self.interim = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(interim) = &self.interim {
            // Whoever cannot write there was told of that already.
            let _ = std::fs::remove_file(interim);
        }
    }
}

fn interim(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("xlr-draft-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let path = folder.join("core");
        for text in ["first", "second"] {
            let draft = Draft::of(&path, 0o600).unwrap().unwrap();
            draft.file().write_all(text.as_bytes()).unwrap();
            let before = names();
            draft.done().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{before:?}");
            assert_eq!(names(), ["core"]);
        }
        let draft = Draft::of(&path, 0o600).unwrap().unwrap();
        draft.file().write_all(b"third").unwrap();
        drop(draft);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(), ["core"]);
        std::os::unix::fs::symlink("core", folder.join("link")).unwrap();
        let draft = Draft::of(&folder.join("link"), 0o600).unwrap().unwrap();
        draft.file().write_all(b"fourth").unwrap();
        draft.done().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "fourth");
        assert!(Draft::of(&folder, 0o600).unwrap().is_none(), "a folder");
        assert!(Draft::of(Path::new("/dev/null"), 0o600).unwrap().is_none(), "a device");
        assert!(Draft::of(&folder.join("none/core"), 0o600).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
