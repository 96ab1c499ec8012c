//! Configurations of domains that are being started again, kept while no domain has them.
//!
//! In: the text of a configuration, before the old domain is taken down. Out:
//! `/var/lib/xlr/restarts/UUID.cfg`, a configuration that `create` takes, until a domain of that
//! UUID stands. Whatever comes between, a failure, a signal or the host's end, costs a domain its
//! memory and never its configuration. Not a thing to be swept: only whoever wants the domain knows
//! what to do with it. An empty file of that name in `/run/xlr/restarts` stands beside it until the
//! host's next start: after that a domain that was wanted before is started by nobody but people.

use super::lock::Subject;
use super::{State, StateError, make_directory, names, remove, replace};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use uuid::Uuid;

impl State {
    fn restarts(&self) -> PathBuf {
        self.lib.join("restarts")
    }

    fn restart_path(&self, uuid: Uuid) -> PathBuf {
        self.restarts().join(format!("{uuid}.cfg"))
    }

    /// Where it says which are of this start of the host.
    fn restarts_now(&self) -> PathBuf {
        self.run.join("restarts")
    }

    fn now_path(&self, uuid: Uuid) -> PathBuf {
        self.restarts_now().join(uuid.to_string())
    }

    /// Keeps the configuration of a domain that is about to be taken down; gives the file.
    ///
    /// # Errors
    /// [`StateError::Io`]: the domain may not be taken down then.
    pub fn begin_restart(&self, uuid: Uuid, text: &[u8]) -> Result<PathBuf, StateError> {
        make_directory(&self.restarts())?;
        make_directory(&self.restarts_now())?;
        replace(&self.now_path(uuid), b"")?;
        let path = self.restart_path(uuid);
        replace(&path, text)?;
        Ok(path)
    }

    /// The domain stands, or was not taken down.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn end_restart(&self, uuid: Uuid) -> Result<(), StateError> {
        remove(&self.restart_path(uuid))?;
        remove(&self.now_path(uuid))
    }

    /// A domain was started again.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn count_restart(&self) -> Result<(), StateError> {
        let path = self.restart_count();
        // A byte each: whoever appends at the same time loses none.
        let mut open = OpenOptions::new();
        let opened = open.append(true).create(true).mode(0o600).open(&path);
        opened
            .and_then(|mut file| file.write_all(b"."))
            .map_err(|source| StateError::io("write", &path, source))
    }

    /// How many were, since the host's start.
    #[must_use]
    pub fn restarts_counted(&self) -> u64 {
        std::fs::metadata(self.restart_count()).map_or(0, |found| found.len())
    }

    fn restart_count(&self) -> PathBuf {
        self.run.join("restarts.count")
    }

    /// The configuration of a restart that has not come to its end, if no command works on it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn cut_short_of(&self, uuid: Uuid) -> Result<Option<PathBuf>, StateError> {
        let path = self.restart_path(uuid);
        Ok((path.exists() && !self.is_locked(Subject::Uuid(uuid))?).then_some(path))
    }

    /// Restarts that have not come to their end, and that no command works on: UUID and file.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn cut_short(&self) -> Result<Vec<(Uuid, PathBuf)>, StateError> {
        let mut found = Vec::new();
        for uuid in self.restarting()? {
            found.extend(self.cut_short_of(uuid)?.map(|path| (uuid, path)));
        }
        Ok(found)
    }

    /// Restarts that have not come to their end, whoever works on them.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn restarting(&self) -> Result<Vec<Uuid>, StateError> {
        let uuid = |name: &String| name.strip_suffix(".cfg").and_then(|uuid| uuid.parse().ok());
        Ok(names(&self.restarts())?.iter().filter_map(uuid).collect())
    }

    /// Those of them that began since the host's start.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn restarting_now(&self) -> Result<Vec<Uuid>, StateError> {
        let now = names(&self.restarts_now())?;
        let begun = |uuid: &Uuid| now.contains(&uuid.to_string());
        Ok(self.restarting()?.into_iter().filter(begun).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::state;
    use super::*;

    #[test]
    fn a_restart_is_cut_short_when_nobody_works_on_it() {
        let (state, root) = state("restart");
        let uuid = Uuid::from_u128(7);
        assert!(state.cut_short().unwrap().is_empty());
        let lock = state.lock(Subject::Uuid(uuid), |_| {}).unwrap();
        let path = state.begin_restart(uuid, b"name = \"a\"\n").unwrap();
        assert!(state.cut_short().unwrap().is_empty(), "its command is at work");
        assert_eq!(state.restarting().unwrap(), [uuid]);
        drop(lock);
        assert_eq!(state.cut_short().unwrap(), [(uuid, path.clone())]);
        assert_eq!(std::fs::read(&path).unwrap(), b"name = \"a\"\n");
        assert_eq!(state.restarting_now().unwrap(), [uuid]);
        std::fs::remove_dir_all(root.join("run/restarts")).unwrap();
        assert!(state.restarting_now().unwrap().is_empty(), "the host was started again");
        assert_eq!(state.cut_short().unwrap(), [(uuid, path)], "it is told all the same");
        state.begin_restart(uuid, b"name = \"a\"\n").unwrap();
        assert_eq!(state.restarting_now().unwrap(), [uuid]);
        for count in 0..3 {
            assert_eq!(state.restarts_counted(), count);
            state.count_restart().unwrap();
        }
        state.end_restart(uuid).unwrap();
        state.end_restart(uuid).unwrap();
        assert!(names(&root.join("run/restarts")).unwrap().is_empty());
        assert!(state.cut_short().unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
