//! What is done at one domain's end, in a thread of its own: whoever waits for a backend there holds
//! up no other domain.
//!
//! In: a task. Out: how it ended; what fails is told. Carried to its end once begun: signals are the
//! supervisor's. Killed on the way it leaves what any command leaves, and the next supervisor goes on.

use super::book::{Answer, Key, Task};
use crate::cli::program;
use crate::commands::begin::begin;
use crate::commands::build::{Halts, Job, configuration};
use crate::commands::end::{Meant, Outcome, Wish, carry_out};
use crate::commands::error::{CommandError, chain};
use crate::commands::remove::identify;
use crate::commands::signals::Signals;
use crate::commands::tell;
use crate::config::source::Sources;
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::{ShutdownReason, Xen};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::{Client, RETURN_PATIENCE};

/// Does it.
pub fn carry_out_task(task: Task, halts: Halts) -> Answer {
    let (done, what) = match task {
        Task::End(key) => (finish(key, halts), format!("domain {}", key.domid)),
        Task::Restart(uuid) => (start_again(uuid), format!("restart of {uuid}")),
    };
    done.unwrap_or_else(|error| {
        tell(format_args!("{}: {what}: {}", program::name(), chain(&error)));
        Answer::Kept
    })
}

/// What the configuration of a domain that has ended says.
fn finish(key: Key, halts: Halts) -> Result<Answer, CommandError> {
    let xen = Xen::open()?;
    let domid = Domid(key.domid);
    let own = |info: &libxc_safe::DomainInfo| info.uuid == key.uuid.into_bytes() && !info.dying;
    let Some(info) = xen.domain_info(domid)?.filter(own) else { return Ok(Answer::Gone) };
    let ended = info.shutdown.filter(|reason| *reason != ShutdownReason::Suspend);
    let Some(reason) = ended else { return Ok(Answer::Elsewhere) };
    let mut store = Client::connect()?;
    store.outlive_store(RETURN_PATIENCE);
    let (identity, ours) = identify(&mut store, &info)?;
    if !ours {
        return Ok(Answer::Kept);
    }
    let state = State::open()?;
    let Some(_end) = state.lock_if_free(Subject::End(domid.0))? else {
        return Ok(Answer::Elsewhere);
    };
    if state.saved(domid.0, key.uuid)?.settled {
        return Ok(Answer::Kept);
    }
    tell(format_args!("Domain {domid} has shut down, reason code {}", reason.code()));
    let signals = Signals::unheard()?;
    let meant = Meant { identity: &identity, reason, wish: Wish::AsConfigured, halts };
    match carry_out(&meant, &xen, &mut store, &state, &signals)? {
        Outcome::Restarted(made) => {
            let created = begin(*made, false, &xen, &mut store, &state, &signals)?;
            tell(format_args!("Domain {domid} has been started again as domain {}", created.domid));
            Ok(Answer::Gone)
        }
        Outcome::Removed | Outcome::Gone => Ok(Answer::Gone),
        Outcome::Kept => Ok(Answer::Kept),
    }
}

/// Makes the domain of a restart whose command was killed when the old domain was gone already.
fn start_again(uuid: Uuid) -> Result<Answer, CommandError> {
    let state = State::open()?;
    let Some(path) = state.cut_short_of(uuid)? else { return Ok(Answer::Elsewhere) };
    let text =
        std::fs::read(&path).map_err(|source| CommandError::Read { path: path.clone(), source })?;
    let mut sources = Sources::default();
    sources.add(path.display().to_string(), text);
    let (sources, config) = configuration(sources, true)?;
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    store.outlive_store(RETURN_PATIENCE);
    let mut job = Job::prepare(sources, config, uuid, &xen, &mut store, true)?;
    let locks = job.lock(&state)?;
    let taken = xen.domains()?.iter().any(|info| info.uuid == uuid.into_bytes() && !info.dying);
    if taken || !path.exists() {
        // Somebody else was quicker.
        return Ok(Answer::Elsewhere);
    }
    job.restart = Some(path);
    let signals = Signals::unheard()?;
    let made = job.make(locks, &xen, &mut store, &state, &signals, Halts::default())?;
    let created = begin(made, false, &xen, &mut store, &state, &signals)?;
    let name = &job.spec.name;
    tell(format_args!("{name}, whose restart was cut short, runs as domain {}", created.domid));
    Ok(Answer::Gone)
}
