//! Addresses and routes, as far as a routed interface needs them: those of IPv4.

use super::link::Link;
use super::socket::{Ask, Rtnetlink};
use super::{Doing, NetlinkError};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable as _};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;

/// A network, or one address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its first address.
    pub address: Ipv4Addr,
    /// How many bits of it count.
    pub prefix_bits: u8,
}

impl Destination {
    /// Reads `a.b.c.d` or `a.b.c.d/n`; bits beyond the prefix must be clear, as the kernel wants
    /// them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix_bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
                (address, bits.parse().ok().filter(|bits| digits && *bits <= 32)?)
            }
            None => (text, 32),
        };
        let address: Ipv4Addr = address.parse().ok()?;
        let beyond = u32::MAX.checked_shr(u32::from(prefix_bits)).unwrap_or(0);
        (u32::from(address) & beyond == 0).then_some(Self { address, prefix_bits })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Rtnetlink {
    /// The first address of an interface that is not a secondary one.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn address(&mut self, link: &Link) -> Result<Option<Ipv4Addr>, NetlinkError> {
        let doing = Doing { operation: "read the addresses of", subject: &link.name };
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut found = None;
        self.exchange(doing, GETADDR, Ask::List, &message, |body| {
            let message = AddressMessage::parse(body).map_err(|error| doing.decode(&error))?;
            let secondary = message.header.flags.contains(AddressHeaderFlags::Secondary);
            if found.is_none() && message.header.index == link.index && !secondary {
                found = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                    _ => None,
                });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives an interface an address that no other host shares its link with.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`].
    pub fn add_address(&mut self, link: &Link, address: Ipv4Addr) -> Result<(), NetlinkError> {
        let subject = format!("{} the address {address}", link.name);
        let doing = Doing { operation: "give", subject: &subject };
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = link.index;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
        ];
        let create = NLM_F_CREATE | NLM_F_EXCL;
        self.exchange(doing, NEWADDR, Ask::Do(create), &message, |_| Ok(()))
    }

    /// Sends what is for `destination` to an interface, as from `source`.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`].
    pub fn add_route(
        &mut self,
        link: &Link,
        destination: Destination,
        source: Ipv4Addr,
        metric: u32,
    ) -> Result<(), NetlinkError> {
        let subject = format!("a route to {destination} by {}", link.name);
        let doing = Doing { operation: "add", subject: &subject };
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = destination.prefix_bits;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Link;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Destination(destination.address.into()),
            RouteAttribute::Oif(link.index),
            RouteAttribute::PrefSource(source.into()),
            RouteAttribute::Priority(metric),
        ];
        let create = NLM_F_CREATE | NLM_F_EXCL;
        self.exchange(doing, NEWROUTE, Ask::Do(create), &message, |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for (text, expected) in [
            ("10.0.0.2", Some("10.0.0.2/32")),
            ("10.0.0.0/24", Some("10.0.0.0/24")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.0.0.2/32", Some("10.0.0.2/32")),
            ("10.0.0.2/24", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0.0", None),
            ("fe80::1", None),
            ("", None),
        ] {
            let found = Destination::parse(text).map(|destination| destination.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }
}
