//! Records of what is under way: a domain that is being made, nodes that are still to be removed.
//!
//! In: what is about to be done. Out: a file under `/run/xlr/pending` that says so, written before
//! the domain exists and removed when it is whole. The command that works on it holds a lock on the
//! file; a record that nobody holds is one whose command was killed, or could not reach xenstored,
//! and the next command finishes it. A record grows by whole lines, of which the last one counts.

use super::lock::{is_at, try_lock};
use super::{State, StateError, names, read};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use uuid::Uuid;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A domain is being made. It is paused and has never run.
    Making,
    /// Whatever there is of the domain is to go, even if it runs.
    Removing,
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
        let name = format!("{}.{:016x}", record.uuid, record.generation.unwrap_or_default());
        let path = self.records().join(name);
        // Nobody looks at a name with a dot in front: locked before it can be seen.
        let hidden = self.records().join(format!(".{}", std::process::id()));
        let failed = |source| StateError::io("write", &path, source);
        let file = loop {
            let mut open = OpenOptions::new();
            let file = open.create(true).truncate(true).write(true).mode(0o600).open(&hidden);
            let file = file.map_err(failed)?;
            // Whoever sweeps may be quicker, and take it for one that was left.
            if try_lock(&file, &hidden)? && is_at(&file, &hidden) {
                break file;
            }
        };
        let mut held = Held { file, path: hidden.clone(), record };
        held.write()?;
        std::fs::rename(&hidden, &path).map_err(failed)?;
        held.path = path;
        Ok(held)
    }

    /// The records that nobody holds any more, now held by this process.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn abandoned(&self) -> Result<Vec<Held>, StateError> {
        let mut found = Vec::new();
        for name in names(&self.records())? {
            let path = self.records().join(&name);
            let mut open = OpenOptions::new();
            // Gone meanwhile: its command has finished.
            let Ok(file) = open.append(true).open(&path) else { continue };
            if !try_lock(&file, &path)? || !is_at(&file, &path) {
                continue;
            }
            if name.starts_with('.') {
                // Killed before it began.
                super::remove(&path)?;
                continue;
            }
            let bytes = read(&path)?.unwrap_or_default();
            let Some(record) = last(&bytes) else {
                return Err(StateError::Damaged { path, why: String::from("no record in it") });
            };
            found.push(Held { file, path, record });
        }
        Ok(found)
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
        let mut line = serde_json::to_vec(&self.record).unwrap_or_default();
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

    fn record() -> Record {
        Record {
            phase: Phase::Making,
            name: String::from("a"),
            uuid: Uuid::from_u128(7),
            generation: Some(9),
            domid: None,
            console_domid: 0,
            brought: vec![String::from("/vm")],
        }
    }

    #[test]
    fn a_record_is_held_until_it_is_finished_or_abandoned() {
        let (state, root) = state("record");
        let mut held = state.record(record()).unwrap();
        held.update(|record| record.domid = Some(3)).unwrap();
        assert!(state.abandoned().unwrap().is_empty(), "its command is at work");
        drop(held);
        let found = state.abandoned().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].record, Record { domid: Some(3), ..record() });
        assert!(state.abandoned().unwrap().is_empty(), "one sweep at a time");
        found.into_iter().for_each(|held| held.finish().unwrap());
        assert!(names(&state.records()).unwrap().is_empty());
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
        check(String::from("{}\n"), None);
    }

    #[test]
    fn what_was_killed_before_it_began_goes() {
        let (state, root) = state("hidden");
        std::fs::write(state.records().join(".4711"), "").unwrap();
        assert!(state.abandoned().unwrap().is_empty());
        assert!(names(&state.records()).unwrap().is_empty());
        std::fs::write(state.records().join("x.1"), "").unwrap();
        assert!(matches!(state.abandoned(), Err(StateError::Damaged { .. })));
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
