//! Files put into a folder: all of them or none, each whole.
//!
//! In: names and texts. Out: the folder with them. All are written beside their places first; then
//! each takes its place, and if one cannot, those before it give theirs back. Killed in between it
//! leaves files that begin with a dot, and every configuration whole, the old one or the new one.

use crate::commands::error::CommandError;
use rustix::fs::{RenameFlags, renameat_with};
use std::fs::{self, File as Open, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What a file that is there would undergo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is none.
    New,
    /// None at all.
    Same,
    /// It has this in it.
    Differs(Vec<u8>),
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CommandError {
    move |source| CommandError::Write { what: path.display().to_string(), source }
}

/// Compares a file with what is there.
pub fn compare(folder: &Path, file: &File) -> Result<Change, CommandError> {
    let path = folder.join(&file.name);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Change::New),
        Err(source) => Err(CommandError::Read { path, source }),
        Ok(found) if !found.is_file() => {
            let source = io::Error::other("it is there, and is no regular file");
            Err(failed(&path)(source))
        }
        Ok(_) => match fs::read(&path) {
            Ok(bytes) if bytes == file.text.as_bytes() => Ok(Change::Same),
            Ok(bytes) => Ok(Change::Differs(bytes)),
            Err(source) => Err(CommandError::Read { path, source }),
        },
    }
}

/// One file on its way.
struct Placing {
    /// Where the new text waits, and after the exchange the old one.
    beside: PathBuf,
    path: PathBuf,
    /// Whether there is a file in its place.
    replaces: bool,
}

/// Writes files, and tells how many changed.
pub fn write(folder: &Path, files: &[File]) -> Result<usize, CommandError> {
    write_with(folder, files, |_| Ok(()))
}

/// The same with a word before each exchange, for tests.
fn write_with(
    folder: &Path,
    files: &[File],
    before: impl Fn(usize) -> io::Result<()>,
) -> Result<usize, CommandError> {
    let is_new = !folder.exists();
    if is_new {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let mut placings = Vec::new();
    let done = prepare(folder, files, &mut placings).and_then(|()| {
        for (index, placing) in placings.iter().enumerate() {
            let placed = before(index).and_then(|()| place(placing));
            if let Err(source) = placed {
                placings[..index].iter().rev().for_each(take_back);
                return Err(failed(&placing.path)(source));
            }
        }
        Ok(())
    });
    for placing in &placings {
        // Where it has been moved to its place there is nothing to remove.
        let _ = fs::remove_file(&placing.beside);
    }
    if let Err(error) = done {
        if is_new {
            // It was not there, and is empty again.
            let _ = fs::remove_dir(folder);
        }
        return Err(error);
    }
    Open::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    Ok(placings.len())
}

fn prepare(folder: &Path, files: &[File], placings: &mut Vec<Placing>) -> Result<(), CommandError> {
    for file in files {
        let change = compare(folder, file)?;
        if change == Change::Same {
            continue;
        }
        let path = folder.join(&file.name);
        let beside = folder.join(format!(".{}.{}.new", file.name, std::process::id()));
        placings.push(Placing {
            beside: beside.clone(),
            path,
            replaces: matches!(change, Change::Differs(_)),
        });
        let written = OpenOptions::new().write(true).create_new(true).open(&beside);
        let written = written.and_then(|mut open| {
            open.write_all(file.text.as_bytes())?;
            open.sync_all()
        });
        written.map_err(failed(&beside))?;
    }
    Ok(())
}

/// Brings a file to its place. One that is there goes to where the new one was.
fn place(placing: &Placing) -> io::Result<()> {
    let flags = if placing.replaces { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    let folder = rustix::fs::CWD;
    renameat_with(folder, &placing.beside, folder, &placing.path, flags)?;
    Ok(())
}

fn take_back(placing: &Placing) {
    let flags = if placing.replaces { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    let folder = rustix::fs::CWD;
    // What cannot be moved back stays: it is a whole file, and the error names the one that failed.
    let _ = renameat_with(folder, &placing.path, folder, &placing.beside, flags);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xlr-render-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn files(texts: &[(&str, &str)]) -> Vec<File> {
        texts
            .iter()
            .map(|(name, text)| File { name: (*name).into(), text: (*text).into() })
            .collect()
    }

    fn found(folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read_to_string(entry.path()).unwrap_or_default())
            })
            .collect()
    }

    fn expected(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
        texts.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
    }

    #[test]
    fn files_are_written_and_those_that_are_there_replaced() {
        let folder = scratch("write").join("deep");
        assert_eq!(write(&folder, &files(&[("a", "1"), ("b", "2")])).unwrap(), 2);
        fs::write(folder.join("own"), "x").unwrap();
        assert_eq!(write(&folder, &files(&[("a", "1"), ("b", "3"), ("c", "4")])).unwrap(), 2);
        assert_eq!(found(&folder), expected(&[("a", "1"), ("b", "3"), ("c", "4"), ("own", "x")]));
        fs::remove_dir_all(folder).unwrap();
    }

    /// Wherever it fails, all is as it was.
    #[test]
    fn nothing_is_left_half_made() {
        let folder = scratch("half");
        let many = files(&[("a", "new"), ("b", "new"), ("c", "new")]);
        let fails_at =
            |at| move |index| if index == at { Err(io::Error::other("no")) } else { Ok(()) };
        for at in 0..3 {
            assert!(write_with(&folder, &many, fails_at(at)).is_err());
            assert!(!folder.exists(), "{at}");
        }
        write(&folder, &files(&[("a", "old"), ("c", "old")])).unwrap();
        for at in 0..3 {
            assert!(write_with(&folder, &many, fails_at(at)).is_err());
            assert_eq!(found(&folder), expected(&[("a", "old"), ("c", "old")]), "{at}");
        }
        fs::create_dir(folder.join("d")).unwrap();
        let blocked = files(&[("a", "new"), ("d", "new")]);
        let error = write(&folder, &blocked).expect_err("a folder is in the way").to_string();
        assert!(error.contains("/d"), "{error}");
        fs::remove_dir(folder.join("d")).unwrap();
        assert_eq!(found(&folder), expected(&[("a", "old"), ("c", "old")]));
        fs::remove_dir_all(folder).unwrap();
    }
}
