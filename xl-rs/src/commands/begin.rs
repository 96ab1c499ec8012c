//! The last step of every making: a domain that was made begins to run, and stands.
//!
//! In: a domain that is paused and recorded, and the signals that are held. Out: one that stands, or
//! nothing, if a signal came before that.

use super::build::Made;
use super::error::CommandError;
use super::signals::Signals;
use crate::state::State;
use domain_builder::apply::Created;
use libxc_safe::Xen;
use xenstore::client::Client;

/// Lets a domain run that was made, or takes it back if a signal came before it ran. From here on
/// signals end the process, and the domain stays.
pub fn begin(
    mut made: Made,
    paused: bool,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<Created, CommandError> {
    match let_run(std::slice::from_mut(&mut made), paused, xen, signals) {
        Ok(()) => made.settle(state),
        Err(error) => {
            made.undo(xen, store, state);
            Err(error)
        }
    }
}

/// The same for several domains: all of them stand then, or none is left.
pub fn begin_all(
    mut all: Vec<Made>,
    paused: bool,
    xen: &Xen,
    store: &mut Client,
    state: &State,
    signals: &Signals,
) -> Result<(), CommandError> {
    match let_run(&mut all, paused, xen, signals) {
        Ok(()) => all.into_iter().try_for_each(|made| made.settle(state).map(drop)),
        Err(error) => {
            all.into_iter().rev().for_each(|made| made.undo(xen, store, state));
            Err(error)
        }
    }
}

fn let_run(
    all: &mut [Made],
    paused: bool,
    xen: &Xen,
    signals: &Signals,
) -> Result<(), CommandError> {
    let mut begun = if signals.seen() { Err(CommandError::Interrupted) } else { Ok(()) };
    for made in all {
        if begun.is_ok() && !paused {
            begun = made.unpause(xen);
        }
    }
    if begun.is_ok() && signals.release() {
        // It came while the domain began to run: who sent it wants no domain.
        signals.hold();
        begun = Err(CommandError::Interrupted);
    }
    begun
}
