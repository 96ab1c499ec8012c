//! `consoled`: serves channels until a signal comes.

use super::error::CommandError;
use super::print;
use crate::consoled::ConsoledError;
use crate::consoled::daemon::Daemon;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Runs the command.
pub fn run() -> Result<(), CommandError> {
    let mut daemon = Daemon::start()?;
    print(format!("consoled: ready, {} channels\n", daemon.count()).as_bytes())?;
    tell_manager().map_err(|source| ConsoledError::Io {
        operation: "tell the service manager, at $NOTIFY_SOCKET, that it is ready",
        source,
    })?;
    Ok(daemon.run()?)
}

/// Tells the service manager that started this, if one did, that it is ready.
fn tell_manager() -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let name = name.as_encoded_bytes();
    let address = match name.split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(std::path::Path::new(&*String::from_utf8_lossy(name)))?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address)?;
    Ok(())
}
