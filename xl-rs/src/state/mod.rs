//! What xlr remembers between commands, and how commands keep out of each other's way.
//!
//! In: what a command is about to do. Out: files. Under `/run/xlr`, gone with the host's next
//! start: a lock file per name and per domain ([`lock`]) and a record per create that is under way
//! or removal that is still to be done ([`record`]). Under `/var/lib/xlr`: the configuration of
//! every domain that xlr made ([`saved`]), and of those being started again ([`restart`]). Beside
//! them the files that xl and libxl share with their kin: [`xl_lock`], [`history`], [`userdata`].
//!
//! Never asks the hypervisor or xenstore anything: what a command that was killed has left is
//! removed by the next one, [`crate::commands`] does that.

pub mod arrivals;
pub mod error;
pub mod history;
pub mod lock;
pub mod record;
pub mod restart;
pub mod saved;
pub mod userdata;
pub mod xl_lock;

pub use error::StateError;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Locks and records.
pub const RUN: &str = "/run/xlr";
/// Configurations.
pub const LIB: &str = "/var/lib/xlr";
/// Version of everything below the two directories. A change that an older xlr would misread
/// raises it.
pub const VERSION: u32 = 1;

/// Longest file that is read back; a configuration may have 1 MiB, and JSON makes it longer.
const MAX_BYTES: u64 = 16 << 20;

/// The two directories, there and of a version that this build understands.
#[derive(Clone, Debug)]
pub struct State {
    run: PathBuf,
    lib: PathBuf,
}

impl State {
    /// Makes the directories where they are missing, and looks at their version.
    ///
    /// # Errors
    /// [`StateError`]: they cannot be written, or are of a newer version.
    pub fn open() -> Result<Self, StateError> {
        Self::at(Path::new(RUN), Path::new(LIB))
    }

    /// As [`Self::open`], elsewhere.
    ///
    /// # Errors
    /// As there.
    pub fn at(run: &Path, lib: &Path) -> Result<Self, StateError> {
        let state = Self { run: run.to_owned(), lib: lib.to_owned() };
        let parts = [(run, vec![state.locks(), state.records()]), (lib, vec![state.domains()])];
        for (root, parts) in parts {
            parts.iter().try_for_each(|part| make_directory(part))?;
            check_version(root, true)?;
        }
        Ok(state)
    }

    /// The directories where there are some already; most commands need none.
    ///
    /// # Errors
    /// [`StateError`]: of a newer version, or not readable.
    pub fn existing() -> Result<Option<Self>, StateError> {
        let state = Self { run: RUN.into(), lib: LIB.into() };
        match std::fs::metadata(state.records()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::io("look at", &state.records(), source)),
            Ok(_) => {}
        }
        check_version(&state.run, false)?;
        Ok(Some(state))
    }

    /// Where lock files are.
    fn locks(&self) -> PathBuf {
        self.run.join("locks")
    }

    /// Where records of what is under way are.
    fn records(&self) -> PathBuf {
        self.run.join("pending")
    }

    /// Where configurations are.
    fn domains(&self) -> PathBuf {
        self.lib.join("domains")
    }
}

/// Makes a directory for root alone, and its parents.
fn make_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StateError::io("make", path, source))
}

fn check_version(root: &Path, write: bool) -> Result<(), StateError> {
    let path = root.join("version");
    // One that is empty was cut off by a power failure before its bytes were on the disk.
    match read(&path)?.filter(|text| !text.is_empty()) {
        Some(text) => {
            match std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()) {
                Some(version) if version <= VERSION => Ok(()),
                Some(found) => Err(StateError::Newer { root: root.to_owned(), found }),
                None => Err(StateError::Damaged { path, why: String::from("no version in it") }),
            }
        }
        None if write => {
            replace(&path, format!("{VERSION}\n").as_bytes())?;
            // Written once, and read by every command after the next start of the host.
            let synced = [path.as_path(), root].into_iter().try_for_each(sync);
            synced.map_err(|source| StateError::io("write", &path, source))
        }
        None => Ok(()),
    }
}

/// The bytes of a file; none if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::io("open", path, source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| StateError::io("read", path, source))?;
    Ok(Some(bytes))
}

/// Puts a file in place, whole or not at all: whoever reads it sees the old bytes or the new ones.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_new(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|source| {
        // What could not be put in place serves nobody.
        let _ = std::fs::remove_file(&new);
        StateError::io("write", path, source)
    })
}

/// Brings a file or directory to the disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    open.open(path)?.write_all(bytes)
}

/// Removes a file; that there is none is as good.
fn remove(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StateError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Names of the files in a directory; none if there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>, StateError> {
    let failed = |source| StateError::io("list", directory, source);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // Names that are no text are not ours.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two directories of this test's own.
    pub(super) fn state(name: &str) -> (State, PathBuf) {
        let root = std::env::temp_dir().join(format!("xlr-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        (State::at(&root.join("run"), &root.join("lib")).unwrap(), root)
    }

    #[test]
    fn a_newer_version_is_refused() {
        let (_, root) = state("version");
        let open = || State::at(&root.join("run"), &root.join("lib"));
        let check = |text: &str, part: &str, wrong: Option<&str>| {
            std::fs::write(root.join(part).join("version"), text).unwrap();
            match (open(), wrong) {
                (Ok(_), None) => {}
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
                (opened, _) => panic!("{text:?}: {opened:?}"),
            }
            std::fs::write(root.join(part).join("version"), "1\n").unwrap();
        };
        check("1\n", "run", None);
        check("1", "lib", None);
        check("2\n", "run", Some("version 2"));
        check("2\n", "lib", Some("version 2"));
        check("", "run", None);
        check("", "lib", None);
        check("one\n", "run", Some("no version"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let (_, root) = state("unwritable");
        std::fs::write(root.join("file"), "").unwrap();
        let error = State::at(&root.join("file"), &root.join("lib")).unwrap_err();
        assert!(error.to_string().contains("file/locks"), "{error}");
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn files_are_replaced_whole() {
        let (_, root) = state("replace");
        let path = root.join("a");
        replace(&path, b"one").unwrap();
        replace(&path, b"2").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(read(&root.join("b")).unwrap(), None);
        assert_eq!(names(&root).unwrap(), ["a", "lib", "run"]);
        remove(&path).unwrap();
        remove(&path).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
    }
}
