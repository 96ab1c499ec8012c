//! Everything that a command could leave in dom0 as one value: a [`Snapshot`], the files of both
//! toolstacks, and what the hypervisor has free.

use crate::dom0::host::{Stop, Verdict, run};
use crate::dom0::snapshot::{self, Snapshot};
use crate::{ensure, leftovers};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

/// Where toolstacks keep files.
const DIRECTORIES: [&str; 4] = ["/run/xlr", "/var/lib/xlr", "/var/lib/xen", "/run/lock"];

/// Files that the first use brings and nobody removes; xl leaves its own, too.
const LASTING: [&str; 4] =
    ["/run/xlr/version", "/run/xlr/restarts.count", "/var/lib/xlr/version", "/run/lock/xl"];

/// Locks, each a file of its own. One that nobody holds is no lock, and the next command removes it:
/// a paused create leaves the one that holds until its process has ended.
const SAVED: &str = "/var/lib/xlr/domains/";
const LOCKS: &str = "/run/xlr/locks";

/// Frees of a domain's own structures come a little after its end; a page or two may cross a
/// boundary of what `xl info` counts in.
const SLACK_MIB: u64 = 1;

/// What was there at one moment.
pub struct Dump {
    snapshot: Snapshot,
    files: BTreeSet<String>,
    free_mib: u64,
    claimed_mib: u64,
}

impl Dump {
    /// Whether somebody misses a file. The configuration of a domain that another tool has ended stays
    /// until the next create of xlr.
    fn is_wanted(&self, file: &str) -> bool {
        let saved = file.strip_prefix(SAVED).and_then(|name| name.split('.').next());
        saved.is_none_or(|domid| self.snapshot.domains.contains_key(domid))
    }
}

/// Takes one.
pub fn take() -> Result<Dump, Stop> {
    let mut files = BTreeSet::new();
    for directory in DIRECTORIES {
        walk(Path::new(directory), &mut files)?;
    }
    files.retain(|file| !file.starts_with(LOCKS) || is_held(Path::new(file)));
    let info = run("/xen/bin/xl info")?.success()?.out;
    let fact = |key: &str| {
        let line =
            info.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
        let value = line.and_then(|line| line.split_once(':')?.1.trim().parse().ok());
        value.ok_or_else(|| Stop::Failed(format!("xl info has no {key}: {info}")))
    };
    Ok(Dump {
        snapshot: snapshot::take()?,
        files,
        free_mib: fact("free_memory")?,
        claimed_mib: fact("outstanding_claims")?,
    })
}

fn is_held(lock: &Path) -> bool {
    let Ok(file) = std::fs::File::open(lock) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Fails the case if anything is different now.
pub fn unchanged(before: &Dump, after: &str) -> Verdict {
    let now = take()?;
    let mut found = leftovers::compare(&before.snapshot, &now.snapshot);
    found.extend(now.files.difference(&before.files).map(|file| format!("file left: {file}")));
    let gone = before.files.difference(&now.files).filter(|file| before.is_wanted(file));
    found.extend(gone.map(|file| format!("file gone: {file}")));
    if now.free_mib + SLACK_MIB < before.free_mib {
        found.push(format!("{} MiB are free, {} MiB were", now.free_mib, before.free_mib));
    }
    if now.claimed_mib != before.claimed_mib {
        found.push(format!("{} MiB are claimed, {} were", now.claimed_mib, before.claimed_mib));
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Stop::Failed(format!("{after} left something: {}", found.join("; ")))),
    }
}

/// The directories of xenstore that the first domain brings, and that stay after its end.
const TOPS: [&str; 2] = ["/vm", "/libxl"];

/// Makes the next create the first one; nothing is in them where there is no domain.
pub fn without_tops() -> Verdict {
    for top in TOPS {
        run(&format!("/usr/bin/xenstore-rm {top}"))?;
    }
    Ok(())
}

/// Fails the case if the create that failed has left them.
pub fn no_tops(after: &str) -> Verdict {
    for top in TOPS {
        let said = run(&format!("/usr/bin/xenstore-read {top}"))?;
        ensure!(said.code != 0, "{after} left {top}");
    }
    Ok(())
}

fn walk(directory: &Path, files: &mut BTreeSet<String>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        } else if !LASTING.iter().any(|lasting| path == Path::new(lasting)) {
            files.insert(path.display().to_string());
        }
    }
    Ok(())
}
