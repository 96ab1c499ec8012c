//! What there is to be seen of network interfaces.
//!
//! In: a domain. Out: what the toolstack's own copy says of its interfaces, how far their halves are,
//! and the numbers that the guest wrote into its own, which nothing here depends on.

use crate::device::vif::Mac;
use crate::device::vif::nic::interface_name;
use crate::device::{Address, DeviceError, Kind, list};
use crate::output::interfaces::InterfaceRow;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Nodes of the toolstack's own copy, of the guest's half, and of the backend's.
const OWN: [&str; 8] = ["mac", "vifname", "bridge", "script", "ip", "mtu", "vlan", "rate"];
const GUEST: [&str; 5] =
    ["state", "event-channel", "tx-ring-ref", "rx-ring-ref", "multi-queue-num-queues"];
const BACKEND: [&str; 2] = ["state", "multi-queue-max-queues"];

/// The interfaces of a domain, by ascending number.
///
/// # Errors
/// [`DeviceError`].
pub fn interfaces(domid: Domid, store: &mut Client) -> Result<Vec<InterfaceRow>, DeviceError> {
    let addresses = list::devices_of(Kind::Vif, domid, store)?;
    let mut paths = Vec::new();
    for address in &addresses {
        let directories = [address.libxl_path(), address.frontend_path(), address.backend_path()];
        for (directory, names) in directories.iter().zip([&OWN[..], &GUEST, &BACKEND]) {
            paths.extend(names.iter().map(|name| format!("{directory}/{name}")));
        }
    }
    let values = list::texts(paths, store)?;
    let each = OWN.len() + GUEST.len() + BACKEND.len();
    Ok(addresses
        .iter()
        .zip(values.chunks(each))
        .map(|(address, values)| row(address, values))
        .collect())
}

fn row(address: &Address, values: &[Option<String>]) -> InterfaceRow {
    let (own, rest) = values.split_at(OWN.len().min(values.len()));
    let (guest, backend) = rest.split_at(GUEST.len().min(rest.len()));
    let text = |at: usize| own.get(at).cloned().flatten();
    let number = |values: &[Option<String>], at: usize| -> Option<u32> {
        let text = values.get(at)?.as_deref()?;
        // A sign is none of xenstore's.
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let max_queues = number(backend, 1);
    let usual = interface_name(address.domid.0, address.devid);
    InterfaceRow {
        domid: address.domid.0,
        devid: address.devid,
        backend_domid: address.backend.0,
        mac: text(0).as_deref().and_then(Mac::parse).unwrap_or(Mac([0; 6])).to_string(),
        interface: text(1).unwrap_or(usual),
        bridge: text(2),
        script: text(3),
        ip: text(4),
        mtu: number(own, 5),
        vlan: text(6),
        rate: text(7),
        state: number(guest, 0),
        event_channel: number(guest, 1),
        tx_ring_ref: number(guest, 2),
        rx_ring_ref: number(guest, 3),
        // No guest uses more than it may.
        queues: number(guest, 4).filter(|queues| Some(*queues) <= max_queues),
        backend_state: number(backend, 0),
        max_queues,
        backend_path: address.backend_path(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_word_is_a_number_or_none() {
        let address = Address { kind: Kind::Vif, domid: Domid(3), devid: 1, backend: Domid(0) };
        let check = |word: &str, max: &str, expected: Option<u32>| {
            let mut values = vec![None; OWN.len() + GUEST.len() + BACKEND.len()];
            values[OWN.len() + 4] = Some(word.to_owned());
            values[OWN.len() + GUEST.len() + 1] = Some(max.to_owned());
            assert_eq!(row(&address, &values).queues, expected, "{word:?} of {max:?}");
        };
        check("2", "4", Some(2));
        check("4", "4", Some(4));
        check("5", "4", None);
        check("4294967296", "4", None);
        check("-1", "4", None);
        check("+1", "4", None);
        check("", "4", None);
        check("1", "", None);
        let nothing = row(&address, &[]);
        assert_eq!(
            (nothing.interface.as_str(), nothing.mac.as_str()),
            ("vif3.1", "00:00:00:00:00:00")
        );
    }
}
