//! Records of what is under way: a domain that is being made, nodes that are still to be removed.
//!
//! In: what is about to be done. Out: a file under `/run/xlr/pending` that says so, written before
//! the domain exists and removed when it is whole. The command that works on it holds a lock on the
//! file; a record that nobody holds is one whose command was killed, or could not reach xenstored,
//! and the next command finishes it. A record grows by whole lines, of which the last one counts.

use super::lock::{is_at, try_lock, wait};
use super::{State, StateError, names, read};
use crate::device::Address;
use crate::device::detach::Force;
use crate::pci::Bdf;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use uuid::Uuid;
use xen_sys::types::Domid;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A domain is being made. It is paused and has never run.
    Making,
    /// A domain is made, and about to run: it stands as soon as it does.
    Whole,
    /// Whatever there is of the domain is to go, even if it runs.
    Removing,
    /// A dead domain is given another UUID and this name.
    SettingAside,
    /// A domain belongs to the command that holds the record, while it is made and while it runs: it goes
    /// when that command has ended.
    Leased,
    /// A device is being attached to the domain, or detached from it; the domain itself is fine.
    Device,
}

/// One domain, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is under way.
    pub phase: Phase,
    /// The domain's name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its creation, if it is known: no two have the same, even with the same UUID.
    pub generation: Option<u64>,
    /// Its domid; none while it is not known.
    pub domid: Option<u16>,
    /// Who serves its console.
    pub console_domid: u16,
    /// Directories in xenstore that it brought with it.
    pub brought: Vec<String>,
    /// The UUID that a domain is to have that is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Uuid>,
    /// Devices that are to go, beside those that its nodes name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Address>,
    /// How they are being detached, where they are not being attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach: Option<Force>,
    /// What a device was asked to be that is being attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// PCI functions that are being given to the domain, or taken from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Bdf>,
}

impl Record {
    /// Its domid.
    #[must_use]
    pub fn domain(&self) -> Option<Domid> {
        self.domid.map(Domid)
    }
}

/// The records of leased domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Those whose commands are at work, by name.
    pub held: Vec<String>,
    /// Whether there are others, whose domains are to go.
    pub left: bool,
}

/// A record that this process holds.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: PathBuf,
    /// What it says.
    pub record: Record,
}

impl State {
    /// Writes a record and holds it.
    ///
    /// # Errors
    /// [`StateError::Io`]: nothing may be begun then.
    pub fn record(&self, record: Record) -> Result<Held, StateError> {
        let records = self.records();
        // Nobody takes a name with a dot in front for a record: locked before it can be seen.
        let (hidden, file) = unique(|number| {
            let path = records.join(format!(".{}.{number}", std::process::id()));
            let mut open = OpenOptions::new();
            let file = open.create_new(true).append(true).mode(0o600).open(&path);
            let file = file.map_err(|source| StateError::io("write", &path, source))?;
            // Whoever sweeps may be quicker, and take it for one that was left.
            let taken = try_lock(&file, &path)? && is_at(&file, &path);
            Ok(taken.then_some((path, file)))
        })?;
        let mut held = Held { file, path: hidden.clone(), record };
        held.write()?;
        let generation = held.record.generation.unwrap_or_default();
        let name = format!("{}.{generation:016x}", held.record.uuid);
        held.path = unique(|number| {
            let path = records.join(format!("{name}.{number}"));
            match renameat_with(CWD, &hidden, CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Some(path)),
                Err(errno) => Err(StateError::io("write", &path, errno.into())),
            }
        })?;
        Ok(held)
    }

    /// The records that nobody holds any more, now held by this process; of one that cannot be read,
    /// why.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn abandoned(&self) -> Result<Vec<Result<Held, StateError>>, StateError> {
        let all = names(&self.records())?;
        Ok(all.iter().filter_map(|name| self.take_over(name).transpose()).collect())
    }

    /// The records of leased domains.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn leases(&self) -> Result<Leases, StateError> {
        let mut leases = Leases::default();
        let mut all = names(&self.records())?;
        all.retain(|name| !name.starts_with('.'));
        if all.is_empty() {
            return Ok(leases);
        }
        let _looking = self.looking()?;
        for name in all {
            let path = self.records().join(&name);
            let leased = read(&path)?.and_then(|bytes| last(&bytes));
            if leased.is_none_or(|record| record.phase != Phase::Leased) {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => leases.left = true,
                Err(Errno::WOULDBLOCK) => leases.held.push(name),
                Err(errno) => return Err(StateError::io("lock", &path, errno.into())),
            }
        }
        Ok(leases)
    }

    /// A stream that comes to its end when no command holds this record any more.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn record_released(&self, name: &str) -> Result<UnixStream, StateError> {
        let path = self.records().join(name);
        let failed = |source| StateError::io("await", &self.records(), source);
        let (came, end) = UnixStream::pair().map_err(failed)?;
        let await_release = move || {
            if let Ok(file) = File::open(&path) {
                // Whoever reads the stream looks again, and is told what is wrong.
                let _ = wait(&file, FlockOperation::LockShared);
            }
            drop(end);
        };
        std::thread::Builder::new()
            .name(String::from("lease"))
            .spawn(await_release)
            .map_err(failed)?;
        Ok(came)
    }

    /// One of them; none if its command is at work, or has finished.
    fn take_over(&self, name: &str) -> Result<Option<Held>, StateError> {
        let path = self.records().join(name);
        let file = match OpenOptions::new().append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::io("open", &path, source)),
        };
        if !self.try_for_sure(&file, &path)? || !is_at(&file, &path) {
            return Ok(None);
        }
        if name.starts_with('.') {
            // Killed before it began.
            super::remove(&path)?;
            return Ok(None);
        }
        let bytes = read(&path)?.unwrap_or_default();
        let Some(record) = last(&bytes) else {
            let uuid = name.split('.').next().unwrap_or_default();
            let why = format!("no record of the domain with UUID {uuid}, which may be half made");
            return Err(StateError::Damaged { path, why });
        };
        Ok(Some(Held { file, path, record }))
    }
}

/// The first of the numbers from 0 on for which `attempt` succeeds, and what it gives then; a name
/// that is there already belongs to someone else.
fn unique<T>(
    mut attempt: impl FnMut(u32) -> Result<Option<T>, StateError>,
) -> Result<T, StateError> {
    let mut number = 0;
    loop {
        match attempt(number) {
            Ok(Some(done)) => return Ok(done),
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            }
            Err(error) => return Err(error),
            Ok(None) => {}
        }
        number += 1;
    }
}

/// The last whole line that can be read.
fn last(bytes: &[u8]) -> Option<Record> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n')?;
    bytes[..whole].rsplit(|&byte| byte == b'\n').find_map(|line| serde_json::from_slice(line).ok())
}

impl Held {
    /// Changes what it says.
    ///
    /// # Errors
    /// [`StateError::Io`]: it says what it said before.
    pub fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), StateError> {
        change(&mut self.record);
        self.write()
    }

    fn write(&mut self) -> Result<(), StateError> {
        // A line of its own, also behind one that was cut off where the disk was full.
        let mut line = vec![b'\n'];
        line.extend(serde_json::to_vec(&self.record).unwrap_or_default());
        line.push(b'\n');
        // One write: killed before it, the line is not there; after it, it is whole.
        let written = self.file.write_all(&line);
        written.map_err(|source| StateError::io("write", &self.path, source))
    }

    /// Nothing is left to be done.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn finish(self) -> Result<(), StateError> {
        super::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::state;
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn record() -> Record {
        Record {
            phase: Phase::Making,
            name: String::from("a"),
            uuid: Uuid::from_u128(7),
            generation: Some(9),
            domid: None,
            console_domid: 0,
            brought: vec![String::from("/vm")],
            aside: None,
            devices: Vec::new(),
            detach: None,
            description: None,
            functions: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_held_until_it_is_finished_or_abandoned() {
        let (state, root) = state("record");
        let mut held = state.record(record()).unwrap();
        held.update(|record| record.domid = Some(2)).unwrap();
        // Cut off where the disk was full.
        held.file.write_all(b"\n{\"phase\":").unwrap();
        held.update(|record| record.domid = Some(3)).unwrap();
        assert!(state.abandoned().unwrap().is_empty(), "its command is at work");
        drop(held);
        let found = state.abandoned().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_ref().unwrap().record, Record { domid: Some(3), ..record() });
        assert!(state.abandoned().unwrap().is_empty(), "one sweep at a time");
        found.into_iter().for_each(|held| held.unwrap().finish().unwrap());
        assert!(names(&state.records()).unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_lease_is_seen_until_its_command_ends() {
        let (state, root) = state("lease");
        let arrivals = state.arrivals().unwrap();
        let has_come = || {
            let mut fds = [PollFd::new(&arrivals, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
        };
        assert!(!has_come());
        let _other = state.record(record()).unwrap();
        assert_eq!(state.leases().unwrap(), Leases::default());
        let held = state.record(Record { phase: Phase::Leased, ..record() }).unwrap();
        assert!(has_come());
        arrivals.take();
        assert!(!has_come());
        let leases = state.leases().unwrap();
        assert_eq!((leases.held.len(), leases.left), (1, false), "{leases:?}");
        let mut released = state.record_released(&leases.held[0]).unwrap();
        drop(held);
        assert_eq!(io::Read::read(&mut released, &mut [0]).unwrap(), 0);
        // Until somebody has finished it: a sweep may be kept from it.
        assert_eq!(state.leases().unwrap(), Leases { held: Vec::new(), left: true });
        let mut swept = state.abandoned().unwrap();
        swept.pop().unwrap().unwrap().finish().unwrap();
        assert_eq!(state.leases().unwrap(), Leases::default());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_last_whole_line_counts() {
        let line =
            |domid: u16| serde_json::to_string(&Record { domid: Some(domid), ..record() }).unwrap();
        let check = |text: String, domid: Option<u16>| {
            let found = last(text.as_bytes()).map(|record| record.domid.unwrap());
            assert_eq!(found, domid, "{text}");
        };
        check(String::new(), None);
        check(line(1), None);
        check(format!("{}\n", line(1)), Some(1));
        check(format!("{}\n{}\n", line(1), line(2)), Some(2));
        check(format!("{}\n{}", line(1), line(2)), Some(1));
        check(format!("{}\n{}\n", line(1), &line(2)[..20]), Some(1));
        check(format!("\n{}\n\n{}\n", line(1), line(2)), Some(2));
        check(format!("\n{}\n\n{}\n{}\n", line(1), &line(2)[..20], line(3)), Some(3));
        check(String::from("{}\n"), None);
    }

    #[test]
    fn what_was_killed_before_it_began_goes() {
        let (state, root) = state("hidden");
        std::fs::write(state.records().join(".4711"), "").unwrap();
        assert!(state.abandoned().unwrap().is_empty());
        assert!(names(&state.records()).unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_damaged_record_holds_up_no_other() {
        let (state, root) = state("damaged");
        std::fs::write(state.records().join("0.damaged"), "").unwrap();
        drop(state.record(record()).unwrap());
        let found = state.abandoned().unwrap();
        assert!(matches!(&found[..], [Err(StateError::Damaged { .. }), Ok(_)]), "{found:?}");
        std::fs::remove_dir_all(root).unwrap();
    }

    /// A record of the same domain, and what a process of the same number has left.
    #[test]
    fn no_record_takes_the_place_of_another() {
        let (state, root) = state("unique");
        let hidden = state.records().join(format!(".{}.0", std::process::id()));
        std::fs::write(hidden, "").unwrap();
        let removing = Record { phase: Phase::Removing, ..record() };
        let held = [record(), removing].map(|record| state.record(record).unwrap());
        drop(held);
        let found: Vec<_> = state.abandoned().unwrap().into_iter().map(Result::unwrap).collect();
        let phases: Vec<_> = found.iter().map(|held| held.record.phase).collect();
        assert_eq!(phases, [Phase::Making, Phase::Removing]);
        std::fs::remove_dir_all(root).unwrap();
    }

    proptest::proptest! {
        /// Whatever stands in a file of `/run/xlr`, it is a record or none.
        #[test]
        fn any_bytes_survive(bytes: Vec<u8>) {
            let _ = last(&bytes);
        }
    }
}
