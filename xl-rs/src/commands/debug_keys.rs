//! `debug-keys`: press keys on the hypervisor's console. What they print goes to its log.

use super::error::CommandError;
use crate::cli::DebugKeysArgs;
use libxc_safe::Xen;

/// Runs the command.
pub fn run(arguments: &DebugKeysArgs) -> Result<(), CommandError> {
    Ok(Xen::open()?.send_debug_keys(&arguments.keys)?)
}
