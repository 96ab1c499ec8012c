//! The files that a policy asks about: their hashes, and whether others than root could exchange them.

use crate::policy::{Facts, FileFacts};
use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// More links on the way to a file than Linux follows.
const MOST_LINKS: usize = 40;

/// Looks at files, and hashes those that are marked.
pub fn facts(files: BTreeMap<PathBuf, bool>) -> Facts {
    let look = |(path, hashed): (PathBuf, bool)| {
        let sha256 = hashed.then(|| hash(&path).map_err(|error| error.to_string()));
        let facts = FileFacts { sha256, changeable: changeable(&path) };
        (path, facts)
    };
    files.into_iter().map(look).collect()
}

fn hash(path: &Path) -> io::Result<String> {
    // Opening a pipe must not wait for who writes to it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(io::Error::other("it is neither a file nor a block device"));
    }
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The first place on the way to a file, or the file, that others than root can change, or that
/// cannot be looked at. Who can change a folder can put another file there, after the hash and before
/// the guest has it.
pub fn changeable(path: &Path) -> Option<PathBuf> {
    let own = |metadata: &Metadata| {
        let kind = metadata.file_type();
        // udev gives every block device to a group, whose members are as good as root: they can write
        // to the host's disks.
        let others = if kind.is_block_device() { 0o002 } else { 0o022 };
        metadata.uid() == 0 && (kind.is_symlink() || metadata.mode() & others == 0)
    };
    let whole = match std::path::absolute(path) {
        Ok(whole) => whole,
        Err(_) => return Some(path.to_owned()),
    };
    let mut left: Vec<OsString> = parts(&whole);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    if !fs::metadata(&at).is_ok_and(|metadata| own(&metadata)) {
        return Some(at);
    }
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        // Of what is not found here it is not known what opening it would find.
        let Ok(metadata) = fs::symlink_metadata(&at) else { return Some(at) };
        if !own(&metadata) {
            return Some(at);
        }
        if metadata.file_type().is_symlink() {
            links += 1;
            let Ok(target) = fs::read_link(&at) else { return Some(at) };
            if links > MOST_LINKS {
                return Some(at);
            }
            let link = at.clone();
            at.pop();
            // A link of /proc leads to an open file, whatever its text says: another process's file
            // system has other files at that path.
            if !statfs(&at).is_ok_and(|folder| folder.f_type != PROC_SUPER_MAGIC) {
                return Some(link);
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
    }
    None
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use rustix::process::geteuid;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_hashed() {
        let path = std::env::temp_dir().join(format!("xlr-policy-{}", std::process::id()));
        fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(&path).unwrap(), known);
        assert!(hash(Path::new("/")).is_err() && hash(Path::new("/dev/null")).is_err());
        // The folder is everybody's.
        let found = facts(BTreeMap::from([(path.clone(), false)]));
        assert_eq!(found[&path].sha256, None);
        assert!(found[&path].changeable.is_some());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_others_can_change_is_found_on_the_way() {
        if !geteuid().is_root() || changeable(Path::new("/root")).is_some() {
            return; // only root has files of root's
        }
        let base = Path::new("/root").join(format!(".xlr-policy-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let (good, open) = (base.join("good"), base.join("open"));
        fs::write(&good, "").unwrap();
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink("../good", open.join("link")).unwrap();
        std::os::unix::fs::symlink("open/link", base.join("far")).unwrap();
        std::os::unix::fs::symlink("good", base.join("near")).unwrap();
        std::os::unix::fs::symlink("loop", base.join("loop")).unwrap();
        let check = |path: PathBuf, expected: Option<PathBuf>| {
            assert_eq!(changeable(&path), expected, "{}", path.display());
        };
        check(good.clone(), None);
        check(base.join("near"), None);
        check(base.join("far"), Some(open.clone()));
        check(open.join("../good"), Some(open.clone()));
        check(base.join("loop"), Some(base.join("loop")));
        check(base.join("missing"), Some(base.join("missing")));
        check(good.join("below"), Some(good.join("below")));
        // What a descriptor is open on has no name that holds.
        let gone = base.join("gone");
        let open_files = [&good, &gone].map(|path| File::create(path).unwrap());
        fs::remove_file(&gone).unwrap();
        for file in &open_files {
            let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
            check(path, Some(PathBuf::from("/proc/self")));
            let by_number = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            check(PathBuf::from(&by_number), Some(PathBuf::from(by_number)));
        }
        fs::remove_dir_all(base).unwrap();
    }

    /// As udev has them: root's, and writable by the group `disk`.
    #[test]
    fn block_devices_may_have_a_group() {
        let base = Path::new("/root").join(format!(".xlr-policy-device-{}", std::process::id()));
        let node = base.join("dm-0");
        if !geteuid().is_root()
            || changeable(Path::new("/root")).is_some()
            || fs::create_dir(&base).is_err()
        {
            return; // only root makes devices
        }
        // A device that there is none of: it is looked at, and never opened.
        let made = mknodat(CWD, &node, FileType::BlockDevice, Mode::empty(), makedev(259, 4095));
        for (mode, allowed) in [(0o660, true), (0o600, true), (0o662, false), (0o666, false)] {
            if made.is_ok() {
                fs::set_permissions(&node, PermissionsExt::from_mode(mode)).unwrap();
                let expected = (!allowed).then(|| node.clone());
                assert_eq!(changeable(&node), expected, "{mode:o}");
            }
        }
        fs::remove_dir_all(base).unwrap();
    }
}
