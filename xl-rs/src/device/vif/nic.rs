//! A network interface with nothing left open, and the nodes that describe it, as xl writes them.
//!
//! Pure: specification, domain and number → [`Nic`] → entries of backend and frontend.

use super::mac::Mac;
use crate::config::device::rate::Rate;
use crate::config::device::vif::{Mode, Vif};
use uuid::Uuid;

/// xl's bridge where none is named.
pub const DEFAULT_BRIDGE: &str = "xenbr0";
/// xl's interface towards the network, for routed interfaces.
pub const DEFAULT_GATEWAY_DEVICE: &str = "eth0";
/// What an interface has unless something else is said.
pub const DEFAULT_MTU: u32 = 1500;
/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its number among the domain's interfaces.
    pub devid: u32,
    /// The guest's hardware address.
    pub mac: Mac,
    /// How dom0's end is connected.
    pub mode: Mode,
    /// The bridge; a name even where none is used, as under xl.
    pub bridge: String,
    /// A name for dom0's end.
    pub interface: Option<String>,
    /// Addresses of the guest, between blanks.
    pub ip: Option<String>,
    /// dom0's interface towards the network.
    pub gateway_device: Option<String>,
    /// How fast the guest may send.
    pub rate: Option<Rate>,
    /// The most bytes in a packet.
    pub mtu: Option<u32>,
    /// The VLAN of the bridge.
    pub vlan: Option<String>,
    /// Whether the guest trusts dom0 with its packets.
    pub trusted: bool,
}

impl Nic {
    /// The interface that a description asks for.
    #[must_use]
    pub fn new(vif: &Vif, devid: u32, domain: Uuid) -> Self {
        // xl takes the address of zeros for none.
        let written = vif.mac.filter(|mac| *mac != [0; 6]).map(Mac);
        Self {
            devid,
            mac: written.unwrap_or_else(|| Mac::derived(domain, devid)),
            mode: Mode::of_script(vif.script.as_deref()),
            bridge: vif.bridge.clone().unwrap_or_else(|| DEFAULT_BRIDGE.into()),
            interface: vif.interface.clone(),
            ip: vif.ip.clone(),
            gateway_device: vif.gateway_device.clone(),
            rate: vif.rate,
            // xl takes 0 for none.
            mtu: vif.mtu.filter(|mtu| *mtu != 0).map(u32::from),
            vlan: vif.vlan.clone(),
            trusted: vif.trusted.unwrap_or(true),
        }
    }

    /// What the backend's directory holds beside what every device has there.
    #[must_use]
    pub fn backend(&self) -> Vec<(&'static str, String)> {
        let mut nodes = vec![("script", self.mode.script().display().to_string())];
        let mut optional = |name, value: Option<String>| {
            if let Some(value) = value {
                nodes.push((name, value));
            }
        };
        optional("vifname", self.interface.clone());
        optional("mac", Some(self.mac.to_string()));
        optional("ip", self.ip.clone());
        optional("gatewaydev", self.gateway_device.clone());
        // An interval of none is no limit, as under xl.
        let rate = self.rate.filter(|rate| rate.interval_us > 0);
        optional(
            "rate",
            rate.map(|rate| format!("{},{}", rate.bytes_per_interval, rate.interval_us)),
        );
        let mtu = self.mtu.filter(|mtu| *mtu != DEFAULT_MTU);
        optional("mtu", mtu.map(|mtu| mtu.to_string()));
        optional("vlan", self.vlan.clone());
        nodes.push(("bridge", self.bridge.clone()));
        nodes.push(("handle", self.devid.to_string()));
        nodes.push(("type", "vif".into()));
        // The backend waits until this says that dom0's end is connected.
        nodes.push(("hotplug-status", String::new()));
        nodes
    }

    /// What the frontend's directory holds beside what every device has there, and the guest may
    /// change.
    #[must_use]
    pub fn frontend(&self) -> Vec<(&'static str, String)> {
        let trusted = if self.trusted { "1" } else { "0" };
        vec![
            ("handle", self.devid.to_string()),
            ("mac", self.mac.to_string()),
            ("trusted", trusted.into()),
        ]
    }

    /// What stands beside it and the guest may only read.
    #[must_use]
    pub fn frontend_read_only(&self) -> Vec<(&'static str, String)> {
        vec![("mtu", self.mtu.unwrap_or(DEFAULT_MTU).to_string())]
    }
}

/// What dom0 calls its end before it is given another name.
#[must_use]
pub fn interface_name(domid: u16, devid: u32) -> String {
    format!("vif{domid}.{devid}")
}

/// The interfaces of a domain. One that names no number gets one by xl's rule, from the largest that is
/// named upwards.
#[must_use]
pub fn nics(vifs: &[Vif], domain: Uuid) -> Vec<Nic> {
    let mut next = vifs.iter().filter_map(|vif| vif.devid).max().map_or(0, |most| most + 1);
    let numbered = vifs.iter().map(|vif| {
        let devid = vif.devid.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        Nic::new(vif, devid, domain)
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::device::vif::parse;

    fn nic(text: &str) -> Nic {
        Nic::new(&parse(text).expect(text), 2, Uuid::nil())
    }

    fn value(nodes: &[(&'static str, String)], name: &str) -> Option<String> {
        nodes.iter().find(|(node, _)| *node == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn nodes_are_xls() {
        for (text, node, expected) in [
            ("", "bridge", Some("xenbr0")),
            ("", "script", Some("/etc/xen/scripts/vif-bridge")),
            ("", "hotplug-status", Some("")),
            ("", "handle", Some("2")),
            ("", "type", Some("vif")),
            ("", "mtu", None),
            ("", "rate", None),
            ("", "vifname", None),
            ("mtu=1500", "mtu", None),
            ("mtu=0", "mtu", None),
            ("mtu=9000", "mtu", Some("9000")),
            ("rate=10Mb/s", "rate", Some("62500,50000")),
            ("vifname=x", "vifname", Some("x")),
            ("ip=10.0.0.2 10.0.0.3", "ip", Some("10.0.0.2 10.0.0.3")),
            ("netdev=eth1", "gatewaydev", Some("eth1")),
            ("vlan=7", "vlan", Some("7")),
            ("bridge=b", "bridge", Some("b")),
            ("script=mine", "script", Some("/etc/xen/scripts/mine")),
            ("script=/root/mine", "script", Some("/root/mine")),
            ("script=", "script", Some("/bin/true")),
            ("mac=00:16:3e:00:00:01", "mac", Some("00:16:3e:00:00:01")),
        ] {
            assert_eq!(value(&nic(text).backend(), node).as_deref(), expected, "{text:?} {node}");
        }
        for (text, trusted, mtu) in
            [("", "1", "1500"), ("untrusted,mtu=1400", "0", "1400"), ("trusted", "1", "1500")]
        {
            let nic = nic(text);
            assert_eq!(value(&nic.frontend(), "trusted").as_deref(), Some(trusted), "{text:?}");
            assert_eq!(value(&nic.frontend_read_only(), "mtu").as_deref(), Some(mtu), "{text:?}");
        }
    }

    #[test]
    fn an_address_of_zeros_is_none() {
        assert_eq!(nic("mac=00:00:00:00:00:00").mac, nic("").mac);
    }

    #[test]
    fn numbers() {
        for (texts, expected) in [
            (vec!["", "", ""], vec![0, 1, 2]),
            (vec!["", "devid=5", ""], vec![6, 5, 7]),
            (vec!["devid=0", ""], vec![0, 1]),
        ] {
            let vifs: Vec<Vif> = texts.iter().map(|text| parse(text).expect(text)).collect();
            let found: Vec<u32> = nics(&vifs, Uuid::nil()).iter().map(|nic| nic.devid).collect();
            assert_eq!(found, expected, "{texts:?}");
        }
    }
}
