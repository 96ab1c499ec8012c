//! The table of `block-list`, and the same as JSON.

use serde::Serialize;
use std::fmt::Write;

/// One disk. What the guest's half says, the guest has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiskRow {
    /// The domain.
    pub domid: u16,
    /// Its name in the guest, as it was written.
    pub vdev: String,
    /// Its number.
    pub devid: u32,
    /// Who serves it.
    pub backend_domid: u16,
    /// Block device or file.
    pub target: Option<String>,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// State of the guest's half; none if it has written no number.
    pub state: Option<i64>,
    /// Event channel that the guest's half names.
    pub event_channel: Option<i64>,
    /// Grant of the ring that the guest's half names.
    pub ring_ref: Option<i64>,
    /// The backend's half in xenstore.
    pub backend_path: String,
}

/// The table, header and all.
#[must_use]
pub fn table(rows: &[DiskRow]) -> String {
    let mut out = format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    );
    for row in rows {
        let number = |value: Option<i64>| value.unwrap_or(-1);
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}",
            row.devid,
            row.backend_domid,
            row.domid,
            number(row.state),
            number(row.event_channel),
            number(row.ring_ref),
            row.backend_path
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what xl prints.
    #[test]
    fn the_table_is_xls() {
        let row = DiskRow {
            domid: 1,
            vdev: String::from("xvda"),
            devid: 51712,
            backend_domid: 0,
            target: Some(String::from("/tmp/a.img")),
            read_only: false,
            state: Some(4),
            event_channel: Some(8),
            ring_ref: None,
            backend_path: String::from("/local/domain/0/backend/vbd/1/51712"),
        };
        assert_eq!(
            table(&[row]),
            "Vdev  BE  handle state evt-ch ring-ref BE-path                       \n\
             51712 0   1      4     8      -1       /local/domain/0/backend/vbd/1/51712\n"
        );
    }
}
