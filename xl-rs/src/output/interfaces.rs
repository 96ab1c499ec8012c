//! The table of `network-list`, and the same as JSON.

use serde::Serialize;
use std::fmt::Write;

/// One network interface, as listings show it. What only the guest can know is the guest's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InterfaceRow {
    /// The domain that has it.
    pub domid: u16,
    /// Its number there.
    pub devid: u32,
    /// The domain that serves it.
    pub backend_domid: u16,
    /// Its hardware address.
    pub mac: String,
    /// What dom0 calls its end.
    pub interface: String,
    /// The bridge that was named for it.
    pub bridge: Option<String>,
    /// What connected it.
    pub script: Option<String>,
    /// The guest's addresses that were named for it.
    pub ip: Option<String>,
    /// The most bytes in a packet, if that was set.
    pub mtu: Option<u32>,
    /// The VLAN.
    pub vlan: Option<String>,
    /// What the guest may send: bytes, and the microseconds that they are for.
    pub rate: Option<String>,
    /// How far the guest's half is.
    pub state: Option<u32>,
    /// How far the backend's half is.
    pub backend_state: Option<u32>,
    /// The guest's event channel, if it has one for both directions.
    pub event_channel: Option<u32>,
    /// The grant of the ring by which the guest sends.
    pub tx_ring_ref: Option<u32>,
    /// The grant of the ring by which the guest receives.
    pub rx_ring_ref: Option<u32>,
    /// How many pairs of rings the guest uses.
    pub queues: Option<u32>,
    /// How many it may use.
    pub max_queues: Option<u32>,
    /// The backend's directory.
    pub backend_path: String,
}

/// The table, header and all.
#[must_use]
pub fn table(rows: &[InterfaceRow]) -> String {
    let mut out = format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}\n",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    );
    for row in rows {
        // xl's sign for what is not there.
        let number = |value: Option<u32>| value.map_or(-1, i64::from);
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{:<3} {:<2} {}{:>6} {:>5} {:>6} {:>5}/{:<11} {:<30}",
            row.devid,
            row.backend_domid,
            row.mac,
            row.devid,
            number(row.state),
            number(row.event_channel),
            number(row.tx_ring_ref),
            number(row.rx_ring_ref),
            row.backend_path,
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
        let row = InterfaceRow {
            domid: 1,
            mac: String::from("00:16:3e:00:00:01"),
            state: Some(4),
            tx_ring_ref: Some(520),
            rx_ring_ref: Some(521),
            backend_path: String::from("/local/domain/0/backend/vif/1/0"),
            ..InterfaceRow::default()
        };
        let other = InterfaceRow { devid: 1, tx_ring_ref: Some(1034), ..row.clone() };
        assert_eq!(
            table(&[row, other]),
            "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       \n\
             0   0  00:16:3e:00:00:01     0     4     -1   520/521         /local/domain/0/backend/vif/1/0\n\
             1   0  00:16:3e:00:00:01     1     4     -1  1034/521         /local/domain/0/backend/vif/1/0\n"
        );
    }
}
