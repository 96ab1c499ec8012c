//! Readiness, in the store: a daemon has a node while it is there, so that who watches hears of it.
//!
//! In: a client of the store. Out: a node. It may outlive a daemon that is killed: who reads it asks
//! for the daemon's lock as well.

use xenstore::client::{Client, Error, Nodes as _};

/// The node of `supervise`.
pub const SUPERVISE: &str = "/tool/xlr-supervise";
/// The node of `consoled`.
pub const CONSOLED: &str = "/tool/xlr-consoled";

/// Says that this process is ready.
pub fn announce(store: &mut Client, node: &str) -> Result<(), Error> {
    store.write(node, std::process::id().to_string())
}

/// Takes it back.
pub fn withdraw(store: &mut Client, node: &str) -> Result<(), Error> {
    match store.rm(node) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
