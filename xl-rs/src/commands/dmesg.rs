//! `dmesg`: the hypervisor's log.

use super::error::CommandError;
use super::{print, print_json};
use crate::cli::DmesgArgs;
use libxc_safe::Xen;
use serde_json::json;

/// Runs the command. Bytes are passed on as they are: guests can write any of them.
pub fn run(arguments: &DmesgArgs) -> Result<(), CommandError> {
    let log = Xen::open()?.read_console(None, arguments.clear)?;
    if arguments.json {
        return print_json(&json!({ "text": String::from_utf8_lossy(&log.bytes) }));
    }
    print(&log.bytes)
}
