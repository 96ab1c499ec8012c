//! The configuration of every domain that xlr made, as it was given: what a reboot builds from.
//!
//! In: the texts of the configuration. Out: `/var/lib/xlr/domains/DOMID.UUID`, from the domain's
//! creation to its end. Other tools end domains too, and the host's end ends all of them, so
//! [`State::prune`] takes away what belongs to no domain any more.

use super::{State, StateError, names, read, remove, replace};
use crate::config::source::Sources;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;

/// A configuration that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The start of the host that the domain belongs to: later ones have domains of the same
    /// numbers, and with the same UUIDs.
    #[serde(default)]
    pub boot: String,
    /// The domain's creation.
    pub generation: u64,
    /// Its UUID, also where the texts name none.
    pub uuid: Uuid,
    /// Whether the domain has ended and is kept: what its configuration says of its end was done.
    #[serde(default)]
    pub settled: bool,
    /// Name and content of each text, in the order in which they apply.
    texts: Vec<(String, Vec<u8>)>,
}

impl Saved {
    /// What is to be kept of a domain.
    #[must_use]
    pub fn of(sources: &Sources, uuid: Uuid, generation: u64) -> Self {
        let texts = sources.iter().map(|(_, source)| (source.name.clone(), source.text.clone()));
        Self { boot: boot(), generation, uuid, settled: false, texts: texts.collect() }
    }

    /// The same for a domain that has ended, is given another UUID and is kept so.
    #[must_use]
    pub fn of_uuid(self, uuid: Uuid) -> Self {
        Self { uuid, settled: true, ..self }
    }

    /// The same for a domain that has ended and is kept.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { settled: true, ..self }
    }

    /// The same with one more text, in place of the one that had this name.
    #[must_use]
    pub fn with(mut self, name: &str, text: String) -> Self {
        self.texts.retain(|(other, _)| other != name);
        self.texts.push((name.to_owned(), text.into_bytes()));
        self
    }

    /// The texts again.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        for (name, text) in &self.texts {
            sources.add(name.as_str(), text.as_slice());
        }
        sources
    }
}

/// The start of the host.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

impl State {
    fn saved_path(&self, domid: u16, uuid: Uuid) -> PathBuf {
        self.domains().join(format!("{domid}.{uuid}"))
    }

    /// Keeps a domain's configuration.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn save(&self, domid: u16, saved: &Saved) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(saved).unwrap_or_default();
        replace(&self.saved_path(domid, saved.uuid), &bytes)
    }

    /// The configuration of a domain.
    ///
    /// # Errors
    /// [`StateError::NotSaved`] if none is kept of this start of the host, [`StateError::Damaged`].
    pub fn saved(&self, domid: u16, uuid: Uuid) -> Result<Saved, StateError> {
        let path = self.saved_path(domid, uuid);
        let bytes = read(&path)?.ok_or(StateError::NotSaved { domid })?;
        let saved: Saved = serde_json::from_slice(&bytes)
            .map_err(|error| StateError::Damaged { path, why: error.to_string() })?;
        if saved.boot == boot() { Ok(saved) } else { Err(StateError::NotSaved { domid }) }
    }

    /// Forgets a domain's configuration.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn forget(&self, domid: u16, uuid: Uuid) -> Result<(), StateError> {
        remove(&self.saved_path(domid, uuid))
    }

    /// Forgets the configurations of all domains but those that are `alive`, and half-written ones.
    ///
    /// # Errors
    /// Those of `alive`; [`StateError::Io`].
    pub fn prune<E: From<StateError>>(
        &self,
        alive: impl FnOnce() -> Result<Vec<(u16, Uuid)>, E>,
    ) -> Result<(), E> {
        let kept = names(&self.domains())?;
        if kept.is_empty() {
            return Ok(());
        }
        // Asked for only now: a domain exists before its configuration is written, so that no
        // configuration seen above belongs to a domain that came after this answer.
        let alive: Vec<String> =
            alive()?.into_iter().map(|(domid, uuid)| format!("{domid}.{uuid}")).collect();
        // One that is being put in place bears its final name in front.
        for name in kept.iter().filter(|name| !alive.iter().any(|alive| name.starts_with(alive))) {
            remove(&self.domains().join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::state;
    use super::*;

    #[test]
    fn what_is_kept_comes_back_until_its_domain_is_gone() {
        let (state, root) = state("saved");
        let mut sources = Sources::default();
        sources.add("a.cfg", b"name = \"\xff\"\n".as_slice());
        sources.add("command line", "memory = 1");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        state.save(3, &Saved::of(&sources, one, 5)).unwrap();
        state.save(4, &Saved::of(&sources, two, 6)).unwrap();
        let saved = state.saved(3, one).unwrap();
        let texts = |sources: &Sources| {
            sources.iter().map(|(_, s)| (s.name.clone(), s.text.clone())).collect::<Vec<_>>()
        };
        assert_eq!(texts(&saved.sources()), texts(&sources));
        assert_eq!((saved.uuid, saved.generation), (one, 5));
        assert!(matches!(state.saved(3, two), Err(StateError::NotSaved { domid: 3 })));
        state.prune(|| Ok::<_, StateError>(vec![(4, two), (5, one)])).unwrap();
        assert_eq!(names(&state.domains()).unwrap(), [format!("4.{two}")]);
        state.forget(4, two).unwrap();
        state.forget(4, two).unwrap();
        let earlier = Saved { boot: String::from("earlier"), ..Saved::of(&sources, one, 5) };
        state.save(8, &earlier).unwrap();
        assert!(matches!(state.saved(8, one), Err(StateError::NotSaved { domid: 8 })));
        std::fs::write(state.saved_path(9, one), "{").unwrap();
        assert!(matches!(state.saved(9, one), Err(StateError::Damaged { .. })));
        std::fs::remove_dir_all(root).unwrap();
    }
}
