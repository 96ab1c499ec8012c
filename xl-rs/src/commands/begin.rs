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
    let mut begun = if signals.seen() { Err(CommandError::Interrupted) } else { Ok(()) };
    if begun.is_ok() && !paused {
        begun = made.unpause(xen);
    }
    if begun.is_ok() && signals.release() {
        // It came while the domain began to run: who sent it wants no domain.
        signals.hold();
        begun = Err(CommandError::Interrupted);
    }
    match begun {
        Ok(()) => made.settle(state),
        Err(error) => {
            made.undo(xen, store, state);
            Err(error)
        }
    }
}
