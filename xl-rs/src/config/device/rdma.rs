//! An InfiniBand device that a guest is given: `backend-device=rxe0, pages=8192` → [`Rdma`].
//!
//! Lists are separated by blanks. Pure: whether dom0 has such a device is looked at later.

use super::{Part, SpecError};
use std::net::IpAddr;

/// An InfiniBand device as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdma {
    /// dom0's device that serves it.
    pub device: String,
    /// Its number among those of the domain.
    pub devid: Option<u32>,
    /// How many of its pages the guest may have shared with dom0 at once.
    pub pages: u32,
    /// How many queue pairs it may have.
    pub qps: Option<u32>,
    /// How many completion queues.
    pub cqs: Option<u32>,
    /// How many memory regions.
    pub mrs: Option<u32>,
    /// How many programs may have it open.
    pub contexts: Option<u32>,
    /// The entries of the port's GID table that it may use; all where there is none.
    pub gids: Vec<u16>,
    /// The partitions that it may use, by key; all where there is none.
    pub pkeys: Vec<u16>,
    /// The peers that it may reach, by the beginning of their GIDs; all where there is none.
    pub destinations: Vec<Prefix>,
}

/// The first bits of a GID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The GID, without what follows its first bits.
    pub gid: u128,
    /// How many bits count.
    pub bits: u8,
}

/// Pages where none are named: 4 MiB.
pub const DEFAULT_PAGES: u32 = 1024;

const HELP: &str = "write \"backend-device=rxe0, pages=8192\"; see docs/xl.cfg.md for the rest";
const GID_HELP: &str =
    "write a GID or an IPv4 address, with the number of bits that count: 10.9.0.0/24";

impl Rdma {
    /// A text of which [`parse`] makes the same.
    #[must_use]
    pub fn text(&self) -> String {
        let mut parts = vec![format!("backend-device={}", self.device)];
        parts.extend(self.devid.map(|devid| format!("devid={devid}")));
        parts.push(format!("pages={}", self.pages));
        parts.extend(self.limits().into_iter().map(|(key, limit)| format!("{key}={limit}")));
        parts.extend(self.policy().into_iter().map(|(key, list)| format!("{key}={list}")));
        parts.join(",")
    }

    /// The limits that are set, by name.
    #[must_use]
    pub fn limits(&self) -> Vec<(&'static str, u32)> {
        let limits =
            [("qps", self.qps), ("cqs", self.cqs), ("mrs", self.mrs), ("contexts", self.contexts)];
        limits.into_iter().filter_map(|(key, limit)| Some((key, limit?))).collect()
    }

    /// The lists that are set, by name, separated by blanks.
    #[must_use]
    pub fn policy(&self) -> Vec<(&'static str, String)> {
        let gids = self.gids.iter().map(u16::to_string).collect();
        let pkeys = self.pkeys.iter().map(|pkey| format!("{pkey:#06x}")).collect();
        let destinations = self.destinations.iter().map(Prefix::text).collect();
        [("gids", gids), ("pkeys", pkeys), ("destinations", destinations)]
            .into_iter()
            .filter(|(_, list): &(_, Vec<String>)| !list.is_empty())
            .map(|(key, list)| (key, list.join(" ")))
            .collect()
    }
}

impl Prefix {
    fn text(&self) -> String {
        format!("{}/{}", std::net::Ipv6Addr::from_bits(self.gid), self.bits)
    }
}

/// Reads a description.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Rdma, SpecError> {
    let whole = Part::whole(text);
    let mut rdma = Rdma {
        device: String::new(),
        devid: None,
        pages: DEFAULT_PAGES,
        qps: None,
        cqs: None,
        mrs: None,
        contexts: None,
        gids: Vec::new(),
        pkeys: Vec::new(),
        destinations: Vec::new(),
    };
    let mut seen: Vec<&str> = Vec::new();
    for part in whole.split_commas().map(Part::trim_start) {
        if part.text.is_empty() && part.at == text.len() {
            // A comma at the end, as in a list.
            continue;
        }
        let Some((key, value)) = part.split_once('=') else {
            return Err(part.error("no key=value", HELP));
        };
        if seen.contains(&key.text) {
            return Err(key.error(format!("{} is there twice", key.text), "remove one of the two"));
        }
        seen.push(key.text);
        match key.text {
            "backend-device" => rdma.device = device(value)?,
            "devid" => rdma.devid = Some(number(value, 0)?),
            "pages" => rdma.pages = number(value, 1)?,
            "qps" => rdma.qps = Some(number(value, 1)?),
            "cqs" => rdma.cqs = Some(number(value, 1)?),
            "mrs" => rdma.mrs = Some(number(value, 1)?),
            "contexts" => rdma.contexts = Some(number(value, 1)?),
            "gids" => rdma.gids = list(value, gid_index)?,
            "pkeys" => rdma.pkeys = list(value, pkey)?,
            "destinations" => rdma.destinations = list(value, prefix)?,
            unknown => {
                let message = format!("there is no parameter {unknown:?}");
                return Err(key.error(message, HELP));
            }
        }
    }
    match rdma.device.is_empty() {
        true => Err(whole.error("no backend-device is named", HELP)),
        false => Ok(rdma),
    }
}

/// The name of a device becomes part of a path.
fn device(part: Part<'_>) -> Result<String, SpecError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let good = (1..64).contains(&part.text.len())
        && part.text.bytes().all(plain)
        && !part.text.starts_with('.');
    match good {
        true => Ok(part.text.to_owned()),
        false => {
            let message = format!("{:?} is no name of a device", part.text);
            Err(part.error(message, "rdma link shows the devices of dom0"))
        }
    }
}

/// More than any device has.
const MOST: u32 = 1 << 24;

fn number(part: Part<'_>, least: u32) -> Result<u32, SpecError> {
    let digits = part.text.bytes().all(|byte| byte.is_ascii_digit());
    let number = part.text.parse().ok().filter(|number| digits && (least..=MOST).contains(number));
    number.ok_or_else(|| {
        let message = format!("{:?} is not a number from {least} to {MOST}", part.text);
        part.error(message, HELP)
    })
}

fn list<T>(
    part: Part<'_>,
    item: impl Fn(Part<'_>) -> Result<T, SpecError>,
) -> Result<Vec<T>, SpecError> {
    let mut items = Vec::new();
    let mut rest = Some(part.trim_start());
    while let Some(now) = rest.filter(|now| !now.text.is_empty()) {
        let (first, after) = match now.split_once(' ') {
            Some((first, after)) => (first, Some(after.trim_start())),
            None => (now, None),
        };
        items.push(item(first)?);
        rest = after;
    }
    match items.is_empty() {
        true => Err(part.error("an empty list would allow nothing", "leave it out to allow all")),
        false => Ok(items),
    }
}

fn gid_index(part: Part<'_>) -> Result<u16, SpecError> {
    let index = number(part, 0)?;
    u16::try_from(index).map_err(|_| part.error(format!("no GID table has an entry {index}"), HELP))
}

fn pkey(part: Part<'_>) -> Result<u16, SpecError> {
    let digits = part.text.strip_prefix("0x").unwrap_or_default();
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| plain).ok_or_else(|| {
        let message = format!("{:?} is no partition key", part.text);
        part.error(message, "keys are hexadecimal: 0xffff")
    })
}

fn prefix(part: Part<'_>) -> Result<Prefix, SpecError> {
    let (address, bits) = match part.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (part, None),
    };
    let wrong = || address.error(format!("{:?} is no GID", address.text), GID_HELP);
    let (gid, most) = match address.text.parse().map_err(|_| wrong())? {
        IpAddr::V6(gid) => (gid.to_bits(), 128),
        // RoCE has an IPv4 address in this form.
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 32),
    };
    let bits = match bits {
        None => 128,
        Some(bits) => match bits.text.parse::<u8>() {
            Ok(count) if count <= most && bits.text.bytes().all(|b| b.is_ascii_digit()) => {
                count + (128 - most)
            }
            _ => {
                let message = format!("{:?} is not a number of bits up to {most}", bits.text);
                return Err(bits.error(message, GID_HELP));
            }
        },
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ok(Prefix { gid: gid & mask, bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_read_back() {
        for (text, again) in [
            ("backend-device=rxe0", "backend-device=rxe0,pages=1024"),
            ("pages=8192, backend-device=mlx5_0,", "backend-device=mlx5_0,pages=8192"),
            (
                "backend-device=rxe0,devid=2,qps=1,cqs=2,mrs=3,contexts=4",
                "backend-device=rxe0,devid=2,pages=1024,qps=1,cqs=2,mrs=3,contexts=4",
            ),
            (
                "backend-device=rxe0,gids=0  1 ,pkeys=0xffff 0x8001,destinations=10.9.0.7/24 fe80::/64",
                "backend-device=rxe0,pages=1024,gids=0 1,pkeys=0xffff 0x8001,\
                 destinations=::ffff:10.9.0.0/120 fe80::/64",
            ),
            (
                "backend-device=rxe0,destinations=fe80::1 ::/0",
                "backend-device=rxe0,pages=1024,destinations=fe80::1/128 ::/0",
            ),
        ] {
            let rdma = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(rdma.text(), again, "{text:?}");
            assert_eq!(parse(&rdma.text()), Ok(rdma), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, range, words) in [
            ("", 0..0, "no backend-device"),
            ("pages=8", 0..7, "no backend-device"),
            ("backend-device=", 15..15, "no name of a device"),
            ("backend-device=../x", 15..19, "no name of a device"),
            ("backend-device=rxe0,pages", 20..25, "no key=value"),
            ("backend-device=rxe0, pages=0", 27..28, "not a number from 1"),
            ("backend-device=rxe0,pages=+1", 26..28, "not a number from 1"),
            ("backend-device=rxe0,page=1", 20..24, "no parameter \"page\""),
            ("backend-device=rxe0,qps=1,qps=2", 26..29, "qps is there twice"),
            ("backend-device=rxe0,gids=", 25..25, "an empty list"),
            ("backend-device=rxe0,gids=0 65536", 27..32, "no GID table"),
            ("backend-device=rxe0,pkeys=ffff", 26..30, "no partition key"),
            ("backend-device=rxe0,destinations=10.0.0.0/33", 42..44, "bits up to 32"),
            ("backend-device=rxe0,destinations=fe80::/64 x", 43..44, "no GID"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
