//! `channel-list`: consoles beyond the first.

use super::error::CommandError;
use super::{domain, print, print_json};
use crate::cli::ChannelListArgs;
use crate::output::channels::{ChannelRow, table};
use libxc_safe::{Domid, Xen};
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &ChannelListArgs) -> Result<(), CommandError> {
    let (xen, mut store) = (Xen::open()?, Client::connect()?);
    let mut rows = Vec::new();
    for given in &arguments.domains {
        let info = domain::find(&xen, &mut store, given)?;
        rows.extend(channels(&mut store, info.domid)?);
    }
    if arguments.json {
        return print_json(&serde_json::to_value(&rows).unwrap_or_default());
    }
    print(table(&rows).as_bytes())
}

/// The channels of a domain. What they are is read where no guest writes; what the guest says is
/// taken as numbers.
fn channels(store: &mut Client, domid: Domid) -> Result<Vec<ChannelRow>, CommandError> {
    let root = format!("/libxl/{domid}/device/console");
    let mut numbers: Vec<u32> = match store.directory(&root) {
        Ok(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    numbers.sort_unstable();
    let mut rows = Vec::new();
    for number in numbers {
        let libxl = format!("{root}/{number}");
        let frontend = format!("/local/domain/{domid}/device/console/{number}");
        let names = ["name", "connection", "path", "backend"].map(|name| format!("{libxl}/{name}"));
        let values = ["state", "port", "ring-ref", "tty"].map(|name| format!("{frontend}/{name}"));
        let read = store.read_each(names.iter().chain(&values))?.into_iter();
        let texts: Vec<_> = read.map(|value| String::from_utf8(value?).ok()).collect();
        let [name, connection, path, backend, state, port, ring, tty] = &texts[..] else {
            continue;
        };
        // A console without a name is no channel.
        let (Some(name), Some(connection)) = (name, connection) else { continue };
        let parsed = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        rows.push(ChannelRow {
            domid: domid.0,
            // xl counts channels from 0.
            index: rows.len(),
            number,
            name: name.clone(),
            connection: connection.clone(),
            path: path.clone(),
            backend_domid: backend.as_ref().and_then(|path| path.split('/').nth(3)?.parse().ok()),
            state: parsed(state),
            port: parsed(port),
            ring: parsed(ring),
            tty: tty.clone().filter(|tty| connection == "pty" && !tty.is_empty()),
        });
    }
    Ok(rows)
}
