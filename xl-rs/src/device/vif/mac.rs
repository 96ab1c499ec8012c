//! The hardware address of an interface: the one that was written, or one of Xen's own that stays
//! the same for the same domain.

use std::fmt;
use uuid::Uuid;

/// The part that was given to Xen.
const XEN: [u8; 3] = [0x00, 0x16, 0x3e];

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of a domain's interface that names none: Xen's prefix, then 23 bits of BLAKE3
    /// over the UUID's 16 bytes and the device number's 4, little-endian. As under xl the topmost of
    /// the last 24 bits is clear.
    #[must_use]
    pub fn derived(domain: Uuid, devid: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(domain.as_bytes()).update(&devid.to_le_bytes());
        let [a, b, c, ..] = *hasher.finalize().as_bytes();
        Self([XEN[0], XEN[1], XEN[2], a & 0x7f, b, c])
    }

    /// Reads six pairs of hexadecimal digits between colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
            // from_str_radix would take a sign.
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// What keeps it from being a host's own address.
    #[must_use]
    pub fn problem(self) -> Option<&'static str> {
        (self.0[0] & 1 == 1).then_some("it is the address of a group, not of one interface")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guests are told apart by these, and batch systems keep leases for them: they never change.
    #[test]
    fn derived_addresses_stay() {
        let uuid = Uuid::from_u128(0x1111_1111_2222_3333_4444_5555_5555_5555);
        assert_eq!(Mac::derived(uuid, 0).to_string(), "00:16:3e:74:93:2a");
        assert_eq!(Mac::derived(uuid, 1).to_string(), "00:16:3e:38:fd:37");
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("00:16:3e:00:00:01", Some("00:16:3e:00:00:01")),
            ("0:16:3E:a:B:1", Some("00:16:3e:0a:0b:01")),
            ("00:16:3e:00:00", None),
            ("00:16:3e:00:00:01:02", None),
            ("00:16:3e:00:00:001", None),
            ("00:16:3e:00:00:+1", None),
            ("00:16:3e:00:00:", None),
            ("", None),
        ] {
            assert_eq!(Mac::parse(text).map(|mac| mac.to_string()).as_deref(), expected, "{text}");
        }
        assert!(Mac([1, 0, 0, 0, 0, 0]).problem().is_some());
        assert!(Mac([2, 0, 0, 0, 0, 0]).problem().is_none());
    }

    proptest! {
        #[test]
        fn derived_addresses_are_xens(bits in any::<u128>(), devid in any::<u32>()) {
            let mac = Mac::derived(Uuid::from_u128(bits), devid);
            prop_assert_eq!(&mac.0[..3], &XEN);
            prop_assert!(mac.0[3] < 0x80 && mac.problem().is_none());
            prop_assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
        }
    }
}
