//! A domain once more: from what `config-update` left, else from its own configuration.
//!
//! ```text
//!   prepare, lock, check ──▶ keep the text ──▶ take down ──▶ make ──▶ settle ──▶ forget the text
//!   fails: the domain stays       fails from here on: the text stays, and what to do is told
//! ```
//!
//! In: a domain that has ended, under its lock. Out: one that is paused, under its name and with its
//! UUID. Everything that can be known to fail is looked at while the old domain is still there, and
//! nobody else can have name or UUID between the two.

use super::build::{Halts, Job, Made, configuration, tell_kept};
use super::error::{CommandError, chain};
use super::kept_devices::quoted;
use super::remove::{domain_uuid, remove};
use super::set_aside::set_aside;
use super::signals::Signals;
use super::{domain, tell};
use crate::cli::program;
use crate::config::source::Sources;
use crate::device::DeviceError;
use crate::state::State;
use crate::state::userdata::{self, Kind};
use domain_builder::spec::EndAction;
use domain_builder::undo::Identity;
use libxc_safe::Xen;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Takes a dead domain down, or sets it aside, and makes it once more. Its lock is held. Signals are
/// held from the taking down on; whoever called releases them.
pub fn restart(
    action: EndAction,
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
    halts: Halts,
) -> Result<Made, CommandError> {
    let domid = identity.domid;
    let mut job = prepare(identity, xen, store, state)?;
    let locks = job.lock(state)?;
    check_free(&job, domid, xen, store)?;
    job.check_devices(domid, store, signals)?;
    signals.hold();
    if signals.seen() {
        return Err(CommandError::Stopped { domid: domid.0 });
    }
    let uuid = Uuid::from_bytes(job.spec.uuid);
    let kept = state.begin_restart(uuid, &job.text())?;
    job.restart = Some(kept.clone());
    halts.stop_restart(0);
    let taken_down = match action {
        EndAction::RenameRestart => set_aside(identity, xen, store, state, halts),
        _ => remove(xen, store, state, identity),
    };
    // The domain is gone, and what is left of a device is recorded: whether that is in the new one's
    // way is seen when that gets its own.
    let taken_down = match taken_down {
        Err(CommandError::Device(error @ DeviceError::Remains { .. }))
            if domain_uuid(xen, domid)? != Some(identity.uuid) =>
        {
            tell(format_args!("{}: warning: {}", program::name(), chain(&error)));
            Ok(())
        }
        taken_down => taken_down,
    };
    if let Err(error) = taken_down {
        match domain_uuid(xen, domid)? == Some(identity.uuid) {
            true => state.end_restart(uuid)?,
            false => tell_kept(&kept),
        }
        return Err(error);
    }
    halts.stop_restart(2);
    job.make(locks, xen, store, state, signals, halts)
}

/// Reads and checks what it is made from. It keeps its UUID, and what it was given since it was made.
fn prepare(
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
    state: &State,
) -> Result<Job, CommandError> {
    let (domid, uuid) = (identity.domid, Uuid::from_bytes(identity.uuid));
    let sources = match userdata::load(domid.0, uuid, Kind::Text)? {
        Some(text) => {
            let mut sources = Sources::default();
            sources.add("updated configuration", text);
            sources
        }
        None => {
            let mut sources = state.saved(domid.0, uuid)?.sources();
            sources.add("the domain as it was", as_it_was(domid, xen, store)?);
            sources
        }
    };
    let (sources, config) = configuration(sources, true)?;
    Job::prepare(sources, config, uuid, xen, store, true)
}

/// Name, memory and vcpus, which `rename`, `mem-max`, `mem-set` and `vcpu-set` of either tool change.
/// No guest can write these nodes.
fn as_it_was(domid: Domid, xen: &Xen, store: &mut Client) -> Result<String, CommandError> {
    let mut lines = String::new();
    for (key, node, unit) in [
        ("name", "name", ""),
        ("memory", "memory/target", "K"),
        ("maxmem", "memory/static-max", "K"),
    ] {
        let path = format!("/local/domain/{domid}/{node}");
        if let Some(value) = store.read_text_optional(path)? {
            lines.push_str(&assignment(key, &format!("{value}{unit}")));
        }
    }
    let highest = xen.domain_info(domid)?.and_then(|info| info.max_vcpu_id);
    let vcpus = highest.map_or(0, |highest| highest.saturating_add(1));
    let mut online = 0;
    for vcpu in 0..vcpus {
        let node = format!("/local/domain/{domid}/cpu/{vcpu}/availability");
        online += u32::from(store.read_optional(node)?.as_deref() == Some(b"online"));
    }
    // Nobody has set it where none is: one runs always.
    if online > 0 {
        lines.push_str(&format!("vcpus = {online}\nmaxvcpus = {vcpus}\n"));
    }
    Ok(lines)
}

/// A line of xl.cfg.
fn assignment(key: &str, value: &str) -> String {
    format!("{key} = {}\n", quoted(value))
}

/// Name and UUID must be the old domain's, or nobody's.
fn check_free(job: &Job, own: Domid, xen: &Xen, store: &mut Client) -> Result<(), CommandError> {
    let domains = domain::all(xen, store)?;
    let others = || domains.iter().filter(|other| other.info.domid != own && !other.info.dying);
    let name = job.spec.name.as_str();
    if let Some(other) = others().find(|other| other.name.as_deref() == Some(name)) {
        let domid = other.info.domid.0;
        return Err(CommandError::NameTaken { name: name.to_owned(), domid });
    }
    match others().find(|other| other.info.uuid == job.spec.uuid) {
        Some(other) => {
            let uuid = Uuid::from_bytes(job.spec.uuid);
            Err(CommandError::UuidTaken { uuid, domid: other.info.domid.0 })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn memory_is_written_to_the_kib() {
        let mut sources = Sources::default();
        sources.add("a.cfg", "name = \"a\"\nkernel = \"/k\"\nmemory = 8\n");
        sources.add("the domain as it was", assignment("memory", "12340K"));
        sources.add("the domain as it was", assignment("maxmem", "16384K"));
        let loaded = load(sources);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let read = loaded.config.map(|config| (config.memory_kib, config.max_memory_kib));
        assert_eq!(read, Some((12340, 16384)));
    }

    /// A name reads back as it was, whatever is in it.
    #[test]
    fn a_name_is_written_as_a_line() {
        for name in ["a", "a b", "it's", "\"", "\\", "a\\\"b", "ä"] {
            let mut sources = Sources::default();
            sources.add("a.cfg", "name = \"before\"\nkernel = \"/k\"\nmemory = 8\n");
            sources.add("its name", assignment("name", name));
            let loaded = load(sources);
            let read = loaded.config.map(|config| config.name.value);
            assert_eq!(read.as_deref(), Some(name), "{:?}", loaded.problems);
        }
    }
}
