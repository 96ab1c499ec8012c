//! Interfaces: what one is, and how it is changed.

use super::socket::{Ask, Rtnetlink};
use super::{Doing, NetlinkError, name_problem};
use netlink_packet_core::Parseable as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge, InfoData, InfoKind,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rustix::io::Errno;

const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it, which a new name does not change.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The most bytes in a packet.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// The number of the bridge that it is a port of.
    pub master: Option<u32>,
    /// What it is as a bridge.
    pub bridge: Option<Bridge>,
}

/// What matters of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether it keeps VLANs apart.
    pub filters_vlans: bool,
    /// The VLAN that a new port is put into; 0 for none.
    pub default_vlan: u16,
}

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The hardware's address.
    Address([u8; 6]),
    /// The name, which only an interface that is down can change.
    Name(&'a str),
    /// The most bytes in a packet.
    Mtu(u32),
    /// The bridge that it becomes a port of.
    Master(&'a Link),
    /// Takes packets from now on.
    Up,
    /// Takes none any more.
    Down,
}

impl Rtnetlink {
    /// The interface of this name; `None` when there is none.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        if name_problem(name).is_some() {
            return Ok(None);
        }
        let doing = Doing { operation: "look up interface", subject: name };
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let mut found = None;
        let answer = self.exchange(doing, GETLINK, Ask::One, &message, |body| {
            let message = LinkMessage::parse(body).map_err(|error| doing.decode(&error))?;
            found = Some(understood(message));
            Ok(())
        });
        match answer {
            Err(NetlinkError::Refused { source: Errno::NODEV, .. }) => Ok(None),
            answer => answer.map(|()| found),
        }
    }

    /// Changes an interface.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`].
    pub fn change(&mut self, link: &Link, change: Change<'_>) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        let subject;
        let operation = match change {
            Change::Address(address) => {
                message.attributes.push(LinkAttribute::Address(address.to_vec()));
                subject = link.name.clone();
                "set the hardware address of"
            }
            Change::Name(name) => {
                message.attributes.push(LinkAttribute::IfName(name.to_owned()));
                subject = format!("{} to {name}", link.name);
                "rename"
            }
            Change::Mtu(mtu) => {
                message.attributes.push(LinkAttribute::Mtu(mtu));
                subject = format!("{} to {mtu}", link.name);
                "set the MTU of"
            }
            Change::Master(bridge) => {
                message.attributes.push(LinkAttribute::Controller(bridge.index));
                subject = format!("{} to bridge {}", link.name, bridge.name);
                "add"
            }
            Change::Up | Change::Down => {
                message.header.change_mask = LinkFlags::Up;
                if change == Change::Up {
                    message.header.flags = LinkFlags::Up;
                }
                subject = link.name.clone();
                if change == Change::Up { "bring up" } else { "take down" }
            }
        };
        let doing = Doing { operation, subject: &subject };
        self.exchange(doing, SETLINK, Ask::Do(0), &message, |_| Ok(()))
    }

    /// Puts a bridge's port into one VLAN, untagged, and out of the bridge's usual one.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`].
    pub fn into_vlan(
        &mut self,
        port: &Link,
        bridge: Bridge,
        vlan: u16,
    ) -> Result<(), NetlinkError> {
        let subject = format!("{} into VLAN {vlan}", port.name);
        let doing = Doing { operation: "put", subject: &subject };
        let message =
            of_vlan(port, vlan, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged);
        self.exchange(doing, SETLINK, Ask::Do(0), &message, |_| Ok(()))?;
        if bridge.default_vlan == 0 || bridge.default_vlan == vlan {
            return Ok(());
        }
        let subject = format!("{} out of VLAN {}", port.name, bridge.default_vlan);
        let doing = Doing { operation: "take", subject: &subject };
        let message = of_vlan(port, bridge.default_vlan, BridgeVlanInfoFlags::empty());
        self.exchange(doing, DELLINK, Ask::Do(0), &message, |_| Ok(()))
    }
}

fn of_vlan(port: &Link, vlan: u16, flags: BridgeVlanInfoFlags) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = port.index;
    let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan });
    message.attributes = vec![LinkAttribute::AfSpecBridge(vec![info])];
    message
}

fn understood(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        bridge: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::LinkInfo(info) => link.bridge = bridge(&info),
            _ => {}
        }
    }
    link
}

fn bridge(info: &[LinkInfo]) -> Option<Bridge> {
    if !info.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Bridge))) {
        return None;
    }
    let mut bridge = Bridge::default();
    for info in info {
        let LinkInfo::Data(InfoData::Bridge(data)) = info else { continue };
        for item in data {
            match item {
                InfoBridge::VlanFiltering(filters) => bridge.filters_vlans = *filters,
                InfoBridge::VlanDefaultPvid(vlan) => bridge.default_vlan = *vlan,
                _ => {}
            }
        }
    }
    Some(bridge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable as _;

    fn emitted(message: &LinkMessage) -> LinkMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        LinkMessage::parse(&bytes).expect("what was written")
    }

    #[test]
    fn a_bridge_is_seen() {
        let mut message = LinkMessage::default();
        message.header.index = 4;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("xenbr0".into()),
            LinkAttribute::Mtu(9000),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![
                    InfoBridge::VlanFiltering(true),
                    InfoBridge::VlanDefaultPvid(1),
                ])),
            ]),
        ];
        let expected = Link {
            index: 4,
            name: "xenbr0".into(),
            mtu: 9000,
            up: true,
            master: None,
            bridge: Some(Bridge { filters_vlans: true, default_vlan: 1 }),
        };
        assert_eq!(understood(emitted(&message)), expected);
    }

    #[test]
    fn a_vlan_is_asked_for_in_the_bridges_family() {
        let port =
            Link { index: 9, name: "v".into(), mtu: 0, up: false, master: None, bridge: None };
        let message = of_vlan(&port, 7, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        // struct ifinfomsg, then IFLA_AF_SPEC with IFLA_BRIDGE_VLAN_INFO: flags 6, VLAN 7.
        assert_eq!((bytes[0], bytes[4]), (7, 9));
        assert_eq!(bytes[16..], [12, 0, 26, 0, 8, 0, 2, 0, 6, 0, 7, 0]);
    }
}
