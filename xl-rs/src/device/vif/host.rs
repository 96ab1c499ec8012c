//! dom0's end of an interface: a port of a bridge, or an interface that is routed to.
//!
//! In: the [`Nic`], and what the backend called its interface. Out: it is connected, with the MTU that the guest is to
//! be told. Does by netlink what xl's scripts `vif-bridge` and `vif-route` do by starting programs. The
//! interface and all that was added to it go with the backend.

use super::nic::{DEFAULT_GATEWAY_DEVICE, Nic};
use crate::config::device::vif::{Mode, vlan_number};
use crate::netlink::{Bridge, Change, Destination, Link, NetlinkError, Rtnetlink};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The largest address that no bridge takes for its own, as xl's scripts set it.
const PORT_ADDRESS: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
/// xl's metric of a route to a guest.
const METRIC: u32 = 2;

/// Why dom0's end could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is no such bridge.
    #[error(
        "there is no bridge {bridge}: make it with ip link add {bridge} type bridge, or name another \
         one by bridge="
    )]
    NoBridge {
        /// The name.
        bridge: String,
    },
    /// It is an interface of another kind.
    #[error(
        "{name} is not a bridge of the kernel's: name one by bridge=, or a script= that serves it"
    )]
    NotBridge {
        /// The name.
        name: String,
    },
    /// VLANs are wanted of a bridge that mixes them.
    #[error(
        "bridge {bridge} does not keep VLANs apart: ip link set {bridge} type bridge vlan_filtering 1"
    )]
    Unfiltered {
        /// The name.
        bridge: String,
    },
    /// A VLAN that is none.
    #[error("vlan={vlan} is not a number from 1 to 4094")]
    BadVlan {
        /// What was written.
        vlan: String,
    },
    /// There is no interface towards the network.
    #[error("there is no interface {name} to route by: name one by gatewaydev=")]
    NoGateway {
        /// The name.
        name: String,
    },
    /// It has no address.
    #[error("{name} has no IPv4 address to route by: give it one, or name another by gatewaydev=")]
    NoAddress {
        /// The name.
        name: String,
    },
    /// Not an address.
    #[error("ip={text} is no IPv4 address or network, and a routed interface takes no other")]
    BadAddress {
        /// What was written.
        text: String,
    },
    /// The backend made none.
    #[error("the backend made no interface {name}; see dmesg")]
    NoInterface {
        /// What it should be called.
        name: String,
    },
    /// A new name that cannot be had.
    #[error("there is an interface {name} already: choose another vifname=")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A setting of the kernel's.
    #[error("cannot write {}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What an interface needs of dom0, looked up before anything is made for it.
#[derive(Debug)]
pub struct Ready {
    netlink: Option<Rtnetlink>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Bridge { link: Link, bridge: Bridge, vlan: Option<u16> },
    Route { source: Ipv4Addr, destinations: Vec<Destination> },
    Neither,
}

/// Looks up what the interface needs.
///
/// # Errors
/// [`HostError`]: what is missing, or cannot be used.
pub fn ready(nic: &Nic) -> Result<Ready, HostError> {
    if matches!(nic.mode, Mode::Bare | Mode::Script(_)) {
        return Ok(Ready { netlink: None, way: Way::Neither });
    }
    let mut netlink = Rtnetlink::open()?;
    let way = match nic.mode {
        Mode::Bridged => to_bridge(&mut netlink, nic)?,
        _ => to_route(&mut netlink, nic)?,
    };
    Ok(Ready { netlink: Some(netlink), way })
}

fn to_bridge(netlink: &mut Rtnetlink, nic: &Nic) -> Result<Way, HostError> {
    let name = || nic.bridge.clone();
    let link = netlink.link(&nic.bridge)?.ok_or_else(|| HostError::NoBridge { bridge: name() })?;
    let bridge = link.bridge.ok_or_else(|| HostError::NotBridge { name: name() })?;
    let vlan = nic
        .vlan
        .as_deref()
        .map(|text| vlan_number(text).ok_or_else(|| HostError::BadVlan { vlan: text.to_owned() }));
    let vlan = vlan.transpose()?;
    if vlan.is_some() && !bridge.filters_vlans {
        return Err(HostError::Unfiltered { bridge: name() });
    }
    Ok(Way::Bridge { link, bridge, vlan })
}

fn to_route(netlink: &mut Rtnetlink, nic: &Nic) -> Result<Way, HostError> {
    let name = nic.gateway_device.as_deref().unwrap_or(DEFAULT_GATEWAY_DEVICE);
    let owned = || name.to_owned();
    let gateway = netlink.link(name)?.ok_or_else(|| HostError::NoGateway { name: owned() })?;
    let source =
        netlink.address(&gateway)?.ok_or_else(|| HostError::NoAddress { name: owned() })?;
    Ok(Way::Route { source, destinations: destinations(nic.ip.as_deref().unwrap_or_default())? })
}

/// Reads addresses and networks between blanks.
///
/// # Errors
/// [`HostError::BadAddress`].
pub fn destinations(text: &str) -> Result<Vec<Destination>, HostError> {
    let read = |text: &str| {
        Destination::parse(text).ok_or_else(|| HostError::BadAddress { text: text.to_owned() })
    };
    text.split_whitespace().map(read).collect()
}

impl Ready {
    /// Makes sure that no interface has the name that this one shall get.
    ///
    /// # Errors
    /// [`HostError::NameTaken`].
    pub fn check_name(&mut self, nic: &Nic) -> Result<(), HostError> {
        let (Some(netlink), Some(name)) = (&mut self.netlink, &nic.interface) else {
            return Ok(());
        };
        match netlink.link(name)? {
            Some(_) => Err(HostError::NameTaken { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Connects the interface that the backend has made, called `name` so far; returns the MTU it has then, where that is
    /// not what the guest was told already.
    ///
    /// # Errors
    /// [`HostError`]: what could not be done. What was done goes with the backend.
    pub fn connect(&mut self, nic: &Nic, name: &str) -> Result<Option<u32>, HostError> {
        let Some(netlink) = &mut self.netlink else { return Ok(None) };
        let gone = || HostError::NoInterface { name: name.to_owned() };
        let mut link = netlink.link(name)?.ok_or_else(gone)?;
        if link.up {
            netlink.change(&link, Change::Down)?;
        }
        if let Some(name) = &nic.interface {
            netlink.change(&link, Change::Name(name))?;
            link.name.clone_from(name);
        }
        match &self.way {
            Way::Neither => Ok(None),
            Way::Bridge { link: master, bridge, vlan } => {
                netlink.change(&link, Change::Address(PORT_ADDRESS))?;
                // The bridge's own MTU is the smallest of its ports'.
                let mtu = nic.mtu.unwrap_or(master.mtu);
                netlink.change(&link, Change::Mtu(mtu))?;
                netlink.change(&link, Change::Master(master))?;
                // Before it is up: no packet of its gets into another VLAN.
                if let Some(vlan) = *vlan {
                    netlink.into_vlan(&link, *bridge, vlan)?;
                }
                netlink.change(&link, Change::Up)?;
                Ok(Some(mtu))
            }
            Way::Route { source, destinations } => {
                if let Some(mtu) = nic.mtu {
                    netlink.change(&link, Change::Mtu(mtu))?;
                }
                netlink.add_address(&link, *source)?;
                netlink.change(&link, Change::Up)?;
                proxy_arp(&link.name)?;
                for destination in destinations {
                    netlink.add_route(&link, *destination, *source, METRIC)?;
                }
                Ok(None)
            }
        }
    }
}

/// Answers the guest's questions for other hosts' hardware addresses with dom0's own.
fn proxy_arp(interface: &str) -> Result<(), HostError> {
    let path = PathBuf::from("/proc/sys/net/ipv4/conf").join(interface).join("proxy_arp");
    std::fs::write(&path, "1").map_err(|source| HostError::Setting { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text| {
            let all = destinations(text).ok()?;
            Some(all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        for (text, expected) in [
            ("", Some("")),
            (" 10.0.0.2  10.1.0.0/16", Some("10.0.0.2/32 10.1.0.0/16")),
            ("10.0.0.2 nonsense", None),
            ("fe80::1", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text:?}");
        }
    }
}
