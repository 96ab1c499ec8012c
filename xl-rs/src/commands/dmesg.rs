//! `dmesg`: the hypervisor's log.

use super::error::CommandError;
use super::print;
use crate::cli::DmesgArgs;
use libxc_safe::Xen;

/// Runs the command. Bytes are passed on as they are: guests can write any of them.
pub fn run(arguments: &DmesgArgs) -> Result<(), CommandError> {
    let log = Xen::open()?.read_console(None, arguments.clear)?;
    print(&log.bytes)
}
