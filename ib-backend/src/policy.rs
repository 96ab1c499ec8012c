//! What a guest may be and whom it may reach: source GIDs, partitions, destinations.
//!
//! In: the backend's nodes. Out: yes or no, asked when a QP changes state and when a table is queried.
//! What a node does not limit is allowed: a guest without policy speaks as dom0 does.

use std::net::Ipv6Addr;

use crate::error::Error;

/// A GID, in network byte order.
pub type Gid = [u8; 16];

/// One allowed source: a GID, or its index in the device's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Index(u32),
    Gid(Gid),
}

/// A range of GIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    bits: u128,
    len: u32,
}

impl Prefix {
    fn holds(self, gid: &Gid) -> bool {
        let rest = 128 - self.len;
        rest == 128 || (u128::from_be_bytes(*gid) ^ self.bits) >> rest == 0
    }
}

/// A guest's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    sources: Option<Vec<Source>>,
    pkeys: Option<Vec<u16>>,
    destinations: Option<Vec<Prefix>>,
}

impl Policy {
    /// The policy that nodes say: `gids`, `pkeys`, `destinations`, each a list.
    ///
    /// # Errors
    /// [`Error::Node`] for what cannot be read: a policy is never guessed.
    pub fn from_nodes(
        backend: &str,
        mut read: impl FnMut(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut all = |name: &str| read(name).map(|value| (format!("{backend}/{name}"), value));
        Ok(Self {
            sources: list(all("gids"), "GID or index of one", source)?,
            pkeys: list(all("pkeys"), "P_Key", pkey)?,
            destinations: list(all("destinations"), "range of GIDs such as fe80::/64", prefix)?,
        })
    }

    /// Whether the guest may speak as the GID at this index of the table.
    #[must_use]
    pub fn allows_source(&self, index: u32, gid: &Gid) -> bool {
        self.sources.as_ref().is_none_or(|sources| {
            sources.iter().any(|source| match source {
                Source::Index(allowed) => *allowed == index,
                Source::Gid(allowed) => allowed == gid,
            })
        })
    }

    /// Whether the guest may be in this partition. The top bit says full or limited member, and is no
    /// part of the partition's number.
    #[must_use]
    pub fn allows_pkey(&self, pkey: u16) -> bool {
        let number = pkey & 0x7fff;
        self.pkeys
            .as_ref()
            .is_none_or(|pkeys| pkeys.iter().any(|allowed| allowed & 0x7fff == number))
    }

    /// Whether the guest may connect to this GID; `None` is a path without one, by LID alone.
    #[must_use]
    pub fn allows_destination(&self, gid: Option<&Gid>) -> bool {
        self.destinations
            .as_ref()
            .is_none_or(|ranges| gid.is_some_and(|gid| ranges.iter().any(|range| range.holds(gid))))
    }
}

/// A list's items, all of which must be readable.
fn list<T>(
    node: Option<(String, String)>,
    expected: &'static str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Error> {
    let Some((path, text)) = node else { return Ok(None) };
    let items = text.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty());
    let read = items.map(|item| {
        let wrong = || Error::Node { path: path.clone(), value: item.to_owned(), expected };
        read(item).ok_or_else(wrong)
    });
    read.collect::<Result<_, _>>().map(Some)
}

fn source(text: &str) -> Option<Source> {
    if let Ok(index) = text.parse() {
        return Some(Source::Index(index));
    }
    text.parse::<Ipv6Addr>().ok().map(|address| Source::Gid(address.octets()))
}

fn pkey(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/').unwrap_or((text, "128"));
    let len = len.parse().ok().filter(|len| *len <= 128)?;
    Some(Prefix { bits: address.parse::<Ipv6Addr>().ok()?.to_bits(), len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(gids: &str, pkeys: &str, destinations: &str) -> Option<Policy> {
        let read = |name: &str| {
            let value = match name {
                "gids" => gids,
                "pkeys" => pkeys,
                _ => destinations,
            };
            (value != "-").then(|| value.to_owned())
        };
        Policy::from_nodes("/b", read).ok()
    }

    fn gid(text: &str) -> Gid {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    #[test]
    fn what_is_not_limited_is_allowed() {
        let any = policy("-", "-", "-").unwrap();
        assert!(any.allows_source(7, &gid("fe80::1")) && any.allows_pkey(1));
        assert!(any.allows_destination(None) && any.allows_destination(Some(&gid("::1"))));
    }

    #[test]
    fn lists_limit() {
        let some = policy("1, fe80::5", "0x8001 0x7fff", "::ffff:10.9.0.0/120 fe80::7").unwrap();
        let sources =
            [(1, "::", true), (0, "::", false), (9, "fe80::5", true), (9, "fe80::6", false)];
        for (index, text, allowed) in sources {
            assert_eq!(some.allows_source(index, &gid(text)), allowed, "{index} {text}");
        }
        for (pkey, allowed) in [(0x8001, true), (1, true), (0xffff, true), (2, false)] {
            assert_eq!(some.allows_pkey(pkey), allowed, "{pkey:#x}");
        }
        let destinations = [
            ("::ffff:10.9.0.200", true),
            ("::ffff:10.9.1.1", false),
            ("fe80::7", true),
            ("fe80::8", false),
        ];
        for (text, allowed) in destinations {
            assert_eq!(some.allows_destination(Some(&gid(text))), allowed, "{text}");
        }
        assert!(!some.allows_destination(None));
        let nothing = policy("", "", "").unwrap();
        assert!(!nothing.allows_source(0, &gid("::")) && !nothing.allows_pkey(0xffff));
        assert!(!nothing.allows_destination(Some(&gid("::1"))));
        assert!(policy("-", "-", "::/0").unwrap().allows_destination(Some(&gid("fe80::8"))));
    }

    #[test]
    fn a_policy_is_never_guessed() {
        assert!(policy("fe80::/64", "-", "-").is_none());
        assert!(policy("-", "0x12345", "-").is_none());
        assert!(policy("-", "-", "fe80::/129").is_none());
        assert!(policy("-", "-", "everything").is_none());
    }
}
