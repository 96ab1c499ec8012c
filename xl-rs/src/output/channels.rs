//! The table of `channel-list`, and the same as JSON.

use crate::printable;
use serde::Serialize;
use std::fmt::Write;

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelRow {
    /// Whose.
    pub domid: u16,
    /// Its place among the domain's channels, from 0 on.
    pub index: usize,
    /// The number of its console, which `console -n` takes.
    #[serde(rename = "console")]
    pub number: u32,
    /// Its name.
    pub name: String,
    /// `pty` or `socket`.
    pub connection: String,
    /// The socket's path.
    pub path: Option<String>,
    /// Who serves it.
    pub backend_domid: Option<u16>,
    /// What the guest says is its state.
    pub state: Option<u32>,
    /// The guest's event channel.
    #[serde(rename = "event_channel")]
    pub port: Option<u32>,
    /// The guest's ring.
    #[serde(rename = "ring_ref")]
    pub ring: Option<u32>,
    /// The terminal's path.
    pub tty: Option<String>,
}

/// The table, header and all.
#[must_use]
pub fn table(rows: &[ChannelRow]) -> String {
    let mut out = format!(
        "{:<3} {:<2} {:<5} {:<6} {:>8} {:<10} {:<30}\n",
        "Idx", "BE", "state", "evt-ch", "ring-ref", "connection", ""
    );
    let number = |value: Option<u32>| value.map_or_else(|| String::from("-1"), |n| n.to_string());
    for row in rows {
        let backend = row.backend_domid.map_or(0, u32::from);
        let (state, port, ring) = (number(row.state), number(row.port), number(row.ring));
        let connection = printable::line(&row.connection);
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "{:<3} {backend:<2} {state:<5} {port:<6} {ring:<8} {connection:<10} ",
            row.index
        );
        if row.connection == "pty" {
            let tty = printable::line(row.tty.as_deref().unwrap_or_default());
            let _ = write!(out, "{tty:<30} ");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `xl channel-list` of Xen 4.17 prints them.
    #[test]
    fn columns_are_xls() {
        let pty = ChannelRow {
            domid: 3,
            index: 0,
            number: 1,
            name: "one".into(),
            connection: "pty".into(),
            path: None,
            backend_domid: Some(0),
            state: Some(1),
            port: None,
            ring: None,
            tty: None,
        };
        let socket = ChannelRow { index: 1, number: 2, connection: "socket".into(), ..pty.clone() };
        assert_eq!(
            table(&[pty, socket]),
            "Idx BE state evt-ch ring-ref connection                               \n\
             0   0  1     -1     -1       pty                                       \n\
             1   0  1     -1     -1       socket     \n"
        );
    }
}
