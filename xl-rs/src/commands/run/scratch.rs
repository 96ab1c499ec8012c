//! Files that a guest hands out: it writes a tar stream to a scratch block device.
//!
//! In: a size, and what the guest has written. Out: a disk of zeros, and files in a folder. The stream is
//! a guest's and not to be trusted: plain files and folders only, with names that stay within the
//! folder, no more of them than [`MOST_FILES`]; what else there is is told and left out. No link is ever
//! made, so none is followed. Sparse files, which could be larger than the device, are left out, too.

use super::error::RunError;
use crate::device::disk::spec::{DiskSpec, USUAL_SCRIPT};
use crate::device::vdev;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};
use uuid::Uuid;

/// Its name in the guest.
pub const VDEV: &str = "xvdz";
/// Most files and folders that are taken.
const MOST_FILES: usize = 10_000;
/// Longest name, and longest header that is read into memory.
const LONGEST_NAME: u64 = 4096;
const LONGEST_HEADER: u64 = 64 << 10;
/// Most folders in each other: each of them is one on the host, and takes of the guest only a letter.
const DEEPEST: usize = 32;
/// Sizes are multiples of it.
const BLOCK: u64 = 4096;

/// Reads a size.
///
/// # Errors
/// [`RunError::Size`].
pub fn size(text: &str) -> Result<u64, RunError> {
    let refused = || RunError::Size { text: text.to_owned() };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" | "m" => 1 << 20,
        "GiB" | "G" | "g" => 1_u64 << 30,
        _ => return Err(refused()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let bytes = bytes.filter(|bytes| (1..1 << 42).contains(bytes)).ok_or_else(refused)?;
    Ok(bytes.next_multiple_of(BLOCK))
}

/// A scratch device's medium; its file goes with this value.
#[derive(Debug)]
pub struct Scratch {
    image: PathBuf,
}

/// What was taken out of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many files.
    pub files: usize,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

impl Scratch {
    /// A medium of zeros.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn make(folder: &Path, bytes: u64) -> Result<Self, RunError> {
        let folder = std::path::absolute(folder).map_err(RunError::write(folder))?;
        // A name that nobody else has: neither another runner, nor who may write to the folder.
        let image = folder.join(format!(".scratch-{}", Uuid::new_v4().simple()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&image);
        let file = made.map_err(RunError::write(image.as_path()))?;
        let scratch = Self { image };
        file.set_len(bytes).map_err(RunError::write(scratch.image.as_path()))?;
        Ok(scratch)
    }

    /// The disk that the guest has of it.
    ///
    /// # Errors
    /// [`RunError::Taken`].
    pub fn disk(&self, others: &[DiskSpec]) -> Result<DiskSpec, RunError> {
        let taken = RunError::Taken { vdev: VDEV };
        let Some(devid) = vdev::number(VDEV) else { return Err(taken) };
        if others.iter().any(|disk| disk.devid == devid) {
            return Err(taken);
        }
        Ok(DiskSpec {
            target: self.image.display().to_string(),
            vdev: VDEV.to_owned(),
            devid,
            read_only: false,
            cdrom: false,
            discard: true,
            direct_io_safe: false,
            trusted: true,
            script: USUAL_SCRIPT.to_owned(),
        })
    }

    /// Takes the files out, into this folder, which is not there yet.
    ///
    /// # Errors
    /// [`RunError::Write`]: the folder cannot be written.
    pub fn unpack(&self, into: &Path) -> Result<Taken, RunError> {
        let file = File::open(&self.image).map_err(RunError::write(self.image.as_path()))?;
        // Neither a link nor anything else that somebody put there is written to.
        DirBuilder::new().mode(0o755).create(into).map_err(RunError::write(into))?;
        let taken = unpack(io::BufReader::new(file), into);
        // Only if there is nothing in it.
        let _ = std::fs::remove_dir(into);
        taken
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is an empty file's worth of names in the user's own folder.
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Takes files out of a stream.
fn unpack(stream: impl Read, into: &Path) -> Result<Taken, RunError> {
    let mut taken = Taken::default();
    let mut archive = Archive::new(stream);
    let Ok(entries) = archive.entries() else { return Ok(taken) };
    let (mut long_name, mut count) = (None, 0);
    for entry in entries.raw(true) {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                taken.left_out.push(format!("what comes after is no tar stream: {error}"));
                break;
            }
        };
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                long_name = read(&mut entry, LONGEST_NAME).map(|mut name| {
                    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                    name
                });
                continue;
            }
            EntryType::XHeader => {
                if let Some(header) = read(&mut entry, LONGEST_HEADER) {
                    let fields = tar::PaxExtensions::new(&header).filter_map(Result::ok);
                    let path = fields.filter(|field| field.key_bytes() == b"path").last();
                    long_name = path.map(|field| field.value_bytes().to_vec()).or(long_name);
                }
                continue;
            }
            EntryType::XGlobalHeader | EntryType::GNULongLink => continue,
            _ => {}
        }
        count += 1;
        if count > MOST_FILES {
            taken.left_out.push(format!("all that comes after {MOST_FILES} files"));
            break;
        }
        let name = long_name.take().unwrap_or_else(|| entry.header().path_bytes().into_owned());
        match take(&mut entry, &name, into)? {
            Ok(is_file) => taken.files += usize::from(is_file),
            Err(why) => taken.left_out.push(format!("{}: {why}", String::from_utf8_lossy(&name))),
        }
    }
    Ok(taken)
}

/// The bytes of a header's own entry, unless there are too many.
fn read(entry: &mut Entry<'_, impl Read>, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    (entry.header().size().ok()? <= most).then_some(())?;
    entry.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Takes one entry; tells whether it is a file, or why it is left out.
fn take(
    entry: &mut Entry<'_, impl Read>,
    name: &[u8],
    into: &Path,
) -> Result<Result<bool, String>, RunError> {
    let Some(path) = inside(name, into) else {
        return Ok(Err(String::from("it leads out of the folder, or too deep")));
    };
    let is_file = match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => true,
        EntryType::Directory => false,
        other => return Ok(Err(format!("it is {other:?}, and neither a file nor a folder"))),
    };
    if is_file && path == into {
        return Ok(Err(String::from("it has no name")));
    }
    let folder = if is_file { path.parent().unwrap_or(into) } else { &path };
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    if let Err(error) = made {
        return left_out(error, folder);
    }
    if !is_file {
        return Ok(Ok(false));
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Err(String::from("it is there twice")));
        }
        Err(error) => return left_out(error, &path),
    };
    io::copy(entry, &mut file).map_err(RunError::write(path.as_path()))?;
    Ok(Ok(true))
}

/// What the guest's own names are the cause of is told; that there is no room is another matter.
fn left_out(error: io::Error, path: &Path) -> Result<Result<bool, String>, RunError> {
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG | Errno::LOOP) => {
            Ok(Err(error.to_string()))
        }
        _ => Err(RunError::write(path)(error)),
    }
}

/// Where a name leads in a folder; none if it leads elsewhere, or too deep.
fn inside(name: &[u8], folder: &Path) -> Option<PathBuf> {
    if name.len() as u64 > LONGEST_NAME || name.contains(&0) {
        return None;
    }
    let (mut path, mut depth) = (folder.to_owned(), 0);
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => {
                path.push(part);
                depth += 1;
            }
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (depth <= DEEPEST).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tar::{Builder, Header};

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text}");
        check("64MiB", Some(64 << 20));
        check("1 GiB", Some(1 << 30));
        check("3K", Some(4096));
        for text in ["", "MiB", "64", "0M", "-1M", "1.5G", "99999999999999999999G", "5000G"] {
            check(text, None);
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("xlr-scratch-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// An entry whose name need not be one that a decent writer would write.
    fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, bytes: &[u8]) {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o4777);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }

    #[test]
    fn files_and_folders_and_nothing_else() {
        let out = folder("kinds");
        let mut builder = Builder::new(Vec::new());
        for (kind, name, bytes) in [
            (EntryType::Regular, "result.xml", &b"<x/>"[..]),
            (EntryType::Regular, "./logs/a.log", b"a"),
            (EntryType::Directory, "./", b""),
            (EntryType::Directory, "empty/", b""),
            (EntryType::Regular, "/etc/passwd", b"root"),
            (EntryType::Regular, "../outside", b"x"),
            (EntryType::Regular, "logs/../../outside", b"x"),
            (EntryType::Symlink, "logs/link", b""),
            (EntryType::Char, "null", b""),
            (EntryType::Regular, "result.xml", b"again"),
            (EntryType::Regular, "result.xml/below", b"x"),
            (EntryType::GNUSparse, "sparse", b"x"),
        ] {
            add(&mut builder, kind, name, bytes);
        }
        let long = "n".repeat(180);
        let mut header = Header::new_gnu();
        header.set_size(1);
        builder.append_data(&mut header, format!("long/{long}"), &b"l"[..]).unwrap();
        let taken = unpack(builder.into_inner().unwrap().as_slice(), &out).unwrap();
        assert_eq!(taken.files, 4, "{taken:?}");
        assert_eq!(taken.left_out.len(), 7, "{taken:?}");
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(read("result.xml"), "<x/>");
        assert_eq!(read("logs/a.log"), "a");
        assert_eq!(read("etc/passwd"), "root");
        assert_eq!(read(&format!("long/{long}")), "l");
        assert!(out.join("empty").is_dir() && !out.parent().unwrap().join("outside").exists());
        std::fs::remove_dir_all(out).unwrap();
    }

    /// Names that the host cannot have, that say nothing, or that would fill it with folders, break
    /// no run.
    #[test]
    fn names_that_cannot_be_are_left_out() {
        let out = folder("names");
        let long = "n".repeat(255);
        let (deep, longest) = ("d/".repeat(40) + "x", format!("{long}/").repeat(15) + &long);
        for name in [deep.as_str(), &format!("{long}n"), &longest, ".", "/", ""] {
            let mut builder = Builder::new(Vec::new());
            let bytes = [name.as_bytes(), b"\0"].concat();
            add(&mut builder, EntryType::GNULongName, "././@LongLink", &bytes);
            add(&mut builder, EntryType::Regular, "short", b"x");
            add(&mut builder, EntryType::Regular, "last", b"x");
            let own = out.join("own");
            let taken = unpack(builder.into_inner().unwrap().as_slice(), &own).unwrap();
            assert_eq!((taken.files, taken.left_out.len()), (1, 1), "{name}: {taken:?}");
            assert!(own.join("last").is_file(), "{name}");
            std::fs::remove_dir_all(own).unwrap();
        }
        std::fs::remove_dir_all(out).unwrap();
    }

    #[test]
    fn what_is_no_stream_gives_nothing() {
        let out = folder("none");
        let check = |bytes: &[u8], left_out: usize| {
            let taken = unpack(bytes, &out).unwrap();
            assert_eq!((taken.files, taken.left_out.len()), (0, left_out), "{taken:?}");
        };
        check(&[0; 8192], 0);
        check(&[], 0);
        check(&[7; 8192], 1);
        std::fs::remove_dir_all(out).unwrap();
    }

    /// Streams with some bytes changed: what comes out of them stays in the folder.
    #[test]
    fn fuzz_scratch() {
        let given = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
        let mut builder = Builder::new(Vec::new());
        for (kind, name) in [
            (EntryType::Regular, "a/b"),
            (EntryType::Directory, "c/"),
            (EntryType::GNULongName, "././@LongLink"),
            (EntryType::XHeader, "pax"),
            (EntryType::Regular, "d"),
        ] {
            add(&mut builder, kind, name, b"19 path=../outside\n");
        }
        let whole = builder.into_inner().unwrap();
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        let out = folder("mutated");
        let own = out.join("own");
        for _ in 0..given.unwrap_or(300) {
            let mut bytes = whole.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            // A header counts by its sum only.
            for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
            let _ = unpack(bytes.as_slice(), &own);
            let beside = std::fs::read_dir(&out).unwrap().count();
            assert!(beside <= 1, "something was written beside the folder");
            let _ = std::fs::remove_dir_all(&own);
        }
        std::fs::remove_dir_all(out).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever stands in a stream, nothing is written outside of the folder.
        #[test]
        fn names_stay_inside(name in prop::collection::vec(prop::sample::select(b"a../".to_vec()), 0..40)) {
            let folder = Path::new("/out");
            if let Some(path) = inside(&name, folder) {
                prop_assert!(path.starts_with(folder));
                prop_assert!(!path.components().any(|part| part == Component::ParentDir));
            }
        }

        #[test]
        fn any_bytes_survive(mut bytes in prop::collection::vec(any::<u8>(), 0..2048), mark: bool) {
            if mark && bytes.len() > 263 {
                bytes[257..263].copy_from_slice(b"ustar\0");
            }
            let out = folder("fuzz");
            let _ = unpack(bytes.as_slice(), &out);
            std::fs::remove_dir_all(out).unwrap();
        }
    }
}
