//! Configurations of domains that are being started again, kept while no domain has them.
//!
//! In: the text of a configuration, before the old domain is taken down. Out:
//! `/var/lib/xlr/restarts/UUID.cfg`, a configuration that `create` takes, until a domain of that
//! UUID stands. Whatever comes between, a failure, a signal or the host's end, costs a domain its
//! memory and never its configuration. Not a thing to be swept: only whoever wants the domain knows
//! what to do with it.

use super::lock::Subject;
use super::{State, StateError, make_directory, names, remove, replace};
use std::path::PathBuf;
use uuid::Uuid;

impl State {
    fn restarts(&self) -> PathBuf {
        self.lib.join("restarts")
    }

    fn restart_path(&self, uuid: Uuid) -> PathBuf {
        self.restarts().join(format!("{uuid}.cfg"))
    }

    /// Keeps the configuration of a domain that is about to be taken down; gives the file.
    ///
    /// # Errors
    /// [`StateError::Io`]: the domain may not be taken down then.
    pub fn begin_restart(&self, uuid: Uuid, text: &[u8]) -> Result<PathBuf, StateError> {
        make_directory(&self.restarts())?;
        let path = self.restart_path(uuid);
        replace(&path, text)?;
        Ok(path)
    }

    /// The domain stands, or was not taken down.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn end_restart(&self, uuid: Uuid) -> Result<(), StateError> {
        remove(&self.restart_path(uuid))
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
        state.end_restart(uuid).unwrap();
        state.end_restart(uuid).unwrap();
        assert!(state.cut_short().unwrap().is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
