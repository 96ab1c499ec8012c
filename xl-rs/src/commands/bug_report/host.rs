//! What dom0 itself knows: versions, daemons, logs, files of xlr's.

use domain_builder::image::CacheOptions;
use rustix::fs::OFlags;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The folders where xlr keeps its state.
const STATE: [&str; 2] = [crate::state::RUN, crate::state::LIB];
/// Where Xen's daemons log.
const LOGS: &str = "/var/log/xen";
/// Programs whose state is told.
const PROGRAMS: [&str; 7] =
    ["xenstored", "oxenstored", "xenconsoled", "xl", "xlr", "xenwatch", "xenbus"];
/// The most that is taken of one file, from its end.
const TAIL_BYTES: u64 = 16 << 10;
/// The most files of one folder.
const FILES_MAX: usize = 40;

/// Versions of xlr, of dom0 and of its distribution, and who asks.
pub fn versions(xlr: &str) -> io::Result<String> {
    let system = rustix::system::uname();
    let texts = [system.release(), system.version(), system.machine()];
    let kernel: Vec<_> = texts.iter().map(|text| text.to_string_lossy()).collect();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let user = rustix::process::geteuid().as_raw();
    let devices: Vec<&str> = ["/dev/xen/privcmd", "/dev/xen/hypercall", "/dev/xen/xenbus"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    Ok(format!(
        "{xlr}\nkernel: {}\nsystem: {}\ncommand line: {}user: {user}\ndevices: {}\n",
        kernel.join(" "),
        pretty.unwrap_or("unknown"),
        fs::read_to_string("/proc/cmdline").unwrap_or_else(|_| String::from("unknown\n")),
        devices.join(" "),
    ))
}

/// Files of xlr's, with their contents where those are small.
pub fn state() -> io::Result<String> {
    let mut out = String::new();
    for folder in STATE {
        let (files, more) = match files(Path::new(folder), |_| true) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let _ = writeln!(out, "{folder}: none");
                continue;
            }
            files => files?,
        };
        for path in files {
            add_file(&mut out, &path);
        }
        add_rest(&mut out, more);
    }
    if let Some(folder) = CacheOptions::default().directory {
        add_listing(&mut out, &folder);
    }
    Ok(out)
}

/// Names and sizes of a folder's files: kernels are long, and say nothing to people.
fn add_listing(out: &mut String, folder: &Path) {
    // Writing into a String cannot fail.
    let _ = match files(folder, |_| true) {
        Ok((found, more)) => {
            let _ = writeln!(out, "{}:", folder.display());
            for path in found {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                let _ = writeln!(out, "  {name} {bytes} bytes");
            }
            add_rest(out, more);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            writeln!(out, "{}: none", folder.display())
        }
        Err(error) => writeln!(out, "{}: {error}", folder.display()),
    };
}

/// The processes of Xen's daemons and tools: a hung one shows where it waits.
pub fn daemons() -> io::Result<String> {
    let mut out = String::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        let number = entry.file_name().to_string_lossy().parse().ok();
        if number.is_none_or(|pid: u32| pid == std::process::id()) {
            continue;
        }
        let text = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        let name = text("comm");
        if !PROGRAMS.contains(&name.trim()) {
            continue;
        }
        let status = text("status");
        let field =
            |key| status.lines().find_map(|line| line.strip_prefix(key)).map_or("", str::trim);
        let _ = writeln!(
            out,
            "{} {} state {}, waits in {}, {}: {}",
            field("Pid:"),
            name.trim(),
            field("State:"),
            text("wchan"),
            field("VmRSS:"),
            text("cmdline").replace('\0', " "),
        );
    }
    if out.is_empty() {
        out.push_str("none of Xen's daemons runs\n");
    }
    Ok(out)
}

/// How much memory dom0 has left.
pub fn memory() -> io::Result<String> {
    let text = fs::read_to_string("/proc/meminfo")?;
    Ok(text.lines().take(5).map(|line| format!("{line}\n")).collect())
}

/// What dom0's kernel said of Xen.
pub fn kernel_log() -> io::Result<String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut log = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")?;
    let mut out = String::new();
    // Longer than any record; a record does not come in pieces.
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(out),
            Ok(count) => {
                let text = String::from_utf8_lossy(&record[..count]);
                let line = text.lines().next().unwrap_or_default();
                if line.to_ascii_lowercase().contains("xen") {
                    let _ = writeln!(out, "{line}");
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(out),
            // Records that were overwritten while we read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The ends of the logs of Xen's daemons; those of guests' consoles only if they are wanted.
pub fn logs(guest_consoles: bool) -> io::Result<String> {
    let mut out = String::new();
    let (files, more) = files(Path::new(LOGS), |name| guest_consoles || !is_of_guest(name))?;
    files.iter().for_each(|path| add_file(&mut out, path));
    add_rest(&mut out, more);
    Ok(out)
}

/// Whether a log holds what a guest printed.
fn is_of_guest(name: &str) -> bool {
    name.starts_with("guest-") || name.starts_with("qemu-dm-")
}

/// The files of a folder and of the folders in it that `wanted` names, the last changed first, no
/// more than [`FILES_MAX`]; and how many there are beyond that.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<(Vec<PathBuf>, usize)> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            // What cannot be looked at, or goes while we look, is left out.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && depth < 2 {
                folders.push((entry.path(), depth + 1));
            } else if metadata.is_file() && wanted(&entry.file_name().to_string_lossy()) {
                found.push((metadata.modified().ok(), entry.path()));
            }
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    let more = found.len().saturating_sub(FILES_MAX);
    found.truncate(FILES_MAX);
    Ok((found.into_iter().map(|(_, path)| path).collect(), more))
}

fn add_rest(out: &mut String, more: usize) {
    if more > 0 {
        let _ = writeln!(out, "--- {more} older files are left out");
    }
}

fn add_file(out: &mut String, path: &Path) {
    let _ = match tail(path) {
        Ok((length, text)) => writeln!(out, "--- {} ({length} bytes)\n{text}", path.display()),
        Err(error) => writeln!(out, "--- {}: {error}", path.display()),
    };
}

/// A file's length and end.
fn tail(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok((length, String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_file_and_the_newest_files() {
        let folder = std::env::temp_dir().join(format!("xlr-logs-{}", std::process::id()));
        fs::create_dir_all(folder.join("console")).unwrap();
        let long = "x".repeat(TAIL_BYTES as usize) + "end\n";
        fs::write(folder.join("long"), &long).unwrap();
        fs::write(folder.join("console/guest-a.log"), "said\n").unwrap();
        let (length, text) = tail(&folder.join("long")).unwrap();
        assert_eq!(length, long.len() as u64);
        assert!(text.ends_with("xend") && text.len() < long.len() - 3);
        let (mut found, more) = files(&folder, |_| true).unwrap();
        assert_eq!(more, 0);
        found.sort();
        assert_eq!(found, [folder.join("console/guest-a.log"), folder.join("long")]);
        assert!(files(&folder.join("none"), |_| true).is_err());
        let mut listed = String::new();
        add_listing(&mut listed, &folder.join("console"));
        assert!(listed.ends_with("/console:\n  guest-a.log 5 bytes\n"), "{listed}");
        listed.clear();
        add_listing(&mut listed, &folder.join("none"));
        assert!(listed.ends_with("/none: none\n"), "{listed}");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// A host of many guests: their logs do not push out Xen's own.
    #[test]
    fn logs_that_are_not_wanted_take_no_place() {
        let folder = std::env::temp_dir().join(format!("xlr-many-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("xenstored.log"), "old\n").unwrap();
        for number in 0..=FILES_MAX {
            let path = folder.join(format!("guest-{number}.log"));
            fs::write(&path, "new\n").unwrap();
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
            File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        }
        let (found, more) = files(&folder, |name| !is_of_guest(name)).unwrap();
        assert_eq!((found, more), (vec![folder.join("xenstored.log")], 0));
        let (found, more) = files(&folder, |_| true).unwrap();
        assert_eq!((found.len(), more), (FILES_MAX, 2));
        let mut told = String::new();
        add_rest(&mut told, more);
        assert_eq!(told, "--- 2 older files are left out\n");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// On any machine: what is read here needs neither Xen nor root.
    #[test]
    fn versions_are_known_everywhere() {
        let text = versions("xlr 1").unwrap();
        assert!(text.starts_with("xlr 1\nkernel: "), "{text}");
    }
}
