//! `consoled`: serves channels until a signal comes.

use super::error::CommandError;
use super::notify::tell_manager;
use super::print;
use crate::consoled::ConsoledError;
use crate::consoled::daemon::Daemon;

/// Runs the command.
pub fn run() -> Result<(), CommandError> {
    let mut daemon = Daemon::start()?;
    daemon.announce()?;
    print(format!("consoled: ready, {} channels\n", daemon.count()).as_bytes())?;
    tell_manager().map_err(|source| ConsoledError::Io {
        operation: "tell the service manager, at $NOTIFY_SOCKET, that it is ready",
        source,
    })?;
    Ok(daemon.run()?)
}
