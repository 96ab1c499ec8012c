//! A network interface: `key=value` and flags between commas.

mod mode;
mod support;

pub use mode::Mode;
pub use support::{vlan_number, wanted};

use super::rate::{self, Rate};
use super::{Part, SpecError};
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::char;
use nom::combinator::{all_consuming, map_res};
use nom::multi::separated_list1;
use nom::{IResult, Parser};

/// What the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Xen's network protocol alone.
    Vif,
    /// An emulated card beside it.
    Ioemu,
}

/// An interface as it was written. `None` is what was not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vif {
    /// `mac`.
    pub mac: Option<[u8; 6]>,
    /// `type`.
    pub kind: Option<Kind>,
    /// `bridge`.
    pub bridge: Option<String>,
    /// `gatewaydev`, once called `netdev`.
    pub gateway_device: Option<String>,
    /// `ip`.
    pub ip: Option<String>,
    /// `script`.
    pub script: Option<String>,
    /// `backend`.
    pub backend: Option<String>,
    /// `vifname`.
    pub interface: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// `rate`.
    pub rate: Option<Rate>,
    /// `devid`.
    pub devid: Option<u32>,
    /// `mtu`.
    pub mtu: Option<u16>,
    /// `vlan`, for the script.
    pub vlan: Option<String>,
    /// `trusted`, `untrusted`.
    pub trusted: Option<bool>,
    /// What replication needs, as written.
    pub colo: Vec<(String, String)>,
}

impl Vif {
    /// A description of which [`parse`] makes the same interface.
    #[must_use]
    pub fn text(&self) -> String {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let mac = self.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        let kind = self.kind.map(|kind| match kind {
            Kind::Vif => String::from("vif"),
            Kind::Ioemu => String::from("ioemu"),
        });
        let mut parts = Vec::new();
        for (key, value) in [
            ("mac", mac),
            ("type", kind),
            ("bridge", self.bridge.clone()),
            ("gatewaydev", self.gateway_device.clone()),
            ("ip", self.ip.clone()),
            ("script", self.script.clone()),
            ("backend", self.backend.clone()),
            ("vifname", self.interface.clone()),
            ("model", self.model.clone()),
            ("rate", self.rate.map(|rate| rate.text())),
            ("devid", number(self.devid)),
            ("mtu", number(self.mtu.map(u32::from))),
            ("vlan", self.vlan.clone()),
        ] {
            parts.extend(value.map(|value| format!("{key}={value}")));
        }
        let trusted = |trusted| String::from(if trusted { "trusted" } else { "untrusted" });
        parts.extend(self.trusted.map(trusted));
        parts.extend(self.colo.iter().map(|(key, value)| format!("{key}={value}")));
        parts.join(",")
    }
}

const HELP: &str =
    "write \"mac=00:16:3e:xx:xx:xx, bridge=xenbr0\"; an empty text is an interface, too";

/// Reads an interface. An empty text is one with nothing but defaults.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Vif, SpecError> {
    let mut vif = Vif::default();
    // Empty parts are skipped, as under xl.
    for part in Part::whole(text).split_commas().map(Part::trim_start) {
        match part.split_once('=') {
            _ if part.text.is_empty() => {}
            Some((key, value)) => named(&mut vif, key, value)?,
            None => match part.text {
                "trusted" => vif.trusted = Some(true),
                "untrusted" => vif.trusted = Some(false),
                _ => return Err(part.error(format!("{:?} is no key=value", part.text), HELP)),
            },
        }
    }
    Ok(vif)
}

fn named(vif: &mut Vif, key: Part<'_>, value: Part<'_>) -> Result<(), SpecError> {
    let text = || Some(value.text.to_owned());
    match key.text {
        "mac" => vif.mac = Some(mac(value)?),
        "type" => {
            vif.kind = Some(match value.text {
                "vif" => Kind::Vif,
                "ioemu" => Kind::Ioemu,
                _ => {
                    let message = format!("{:?} is no type of an interface", value.text);
                    return Err(value.error(message, "vif or ioemu"));
                }
            });
        }
        "bridge" => vif.bridge = text(),
        "gatewaydev" | "netdev" => vif.gateway_device = text(),
        "ip" => vif.ip = text(),
        "script" => vif.script = text(),
        "backend" => vif.backend = text(),
        "vifname" => vif.interface = text(),
        "model" => vif.model = text(),
        "rate" => vif.rate = Some(rate::read(value)?),
        "devid" => vif.devid = Some(number(value, u32::MAX)?),
        // IPv4 needs no less; 16 bits are what the header of IP can tell.
        "mtu" => vif.mtu = Some(number(value, u32::from(u16::MAX))? as u16),
        "vlan" => vif.vlan = text(),
        // xl says that it is not supported, and goes on.
        "accel" => {}
        name if name == "forwarddev" || name.starts_with("colo_") => {
            vif.colo.push((name.to_owned(), value.text.to_owned()));
        }
        name => {
            let message = format!("an interface has no parameter {name:?}");
            return Err(key.error(message, HELP));
        }
    }
    Ok(())
}

fn number(part: Part<'_>, most: u32) -> Result<u32, SpecError> {
    let digits = part.text.bytes().all(|byte| byte.is_ascii_digit());
    let number = part.text.parse().ok().filter(|&number| digits && number <= most);
    number.ok_or_else(|| {
        part.error(format!("{:?} is not a number up to {most}", part.text), "write a whole number")
    })
}

/// Six pairs of hexadecimal digits, `:` between them.
fn mac(part: Part<'_>) -> Result<[u8; 6], SpecError> {
    let byte = map_res(
        take_while_m_n(1, 2, |character: char| character.is_ascii_hexdigit()),
        |digits: &str| u8::from_str_radix(digits, 16),
    );
    let parsed: IResult<&str, Vec<u8>> =
        all_consuming(separated_list1(char(':'), byte)).parse(part.text);
    parsed.ok().and_then(|(_, bytes)| bytes.try_into().ok()).ok_or_else(|| {
        let message = format!("{:?} is no MAC address", part.text);
        part.error(message, "write six bytes, 00:16:3e:12:34:56")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_written_as_it_was_meant() {
        for text in [
            "",
            "mac=00:16:3e:00:00:01,bridge=b,gatewaydev=eth1,ip=10.0.0.2 10.0.0.3,script=/a b",
            "type=vif,backend=0,vifname=x,model=e1000,rate=10Mb/s@20ms,devid=7,mtu=9000,vlan=5",
            "script=,trusted",
            "untrusted,rate=1GB/s",
        ] {
            let vif = parse(text).expect(text);
            assert_eq!(parse(&vif.text()), Ok(vif), "{text}");
        }
    }

    #[test]
    fn every_parameter() {
        let text = "mac=00:16:3E:1:ab:ff, bridge=xenbr0,type=vif,model=e1000,vifname=v0,script=s,\
                    ip=10.0.0.1 10.0.0.2,gatewaydev=eth0,backend=net,rate=1MB/s@1s,devid=3,\
                    mtu=9000,vlan=7,untrusted,accel=x,colo_a=b,forwarddev=c";
        let vif = parse(text).expect("an interface");
        assert_eq!(vif.mac, Some([0, 0x16, 0x3e, 1, 0xab, 0xff]));
        assert_eq!(vif.rate.map(|rate| rate.bytes_per_interval), Some(1_000_000));
        assert_eq!((vif.kind, vif.devid, vif.mtu), (Some(Kind::Vif), Some(3), Some(9000)));
        assert_eq!(vif.ip.as_deref(), Some("10.0.0.1 10.0.0.2"));
        for (found, expected) in [
            (&vif.bridge, "xenbr0"),
            (&vif.model, "e1000"),
            (&vif.interface, "v0"),
            (&vif.script, "s"),
            (&vif.gateway_device, "eth0"),
            (&vif.backend, "net"),
            (&vif.vlan, "7"),
        ] {
            assert_eq!(found.as_deref(), Some(expected));
        }
        assert_eq!((vif.trusted, vif.colo.len()), (Some(false), 2));
        assert_eq!(parse(""), Ok(Vif::default()));
        assert_eq!(parse(", ,trusted,").map(|vif| vif.trusted), Ok(Some(true)));
        assert_eq!(parse("netdev=e").map(|vif| vif.gateway_device), Ok(Some("e".into())));
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, range, words) in [
            ("mac=00:16:3e", 4..12, "no MAC address"),
            ("mac=00:16:3e:00:00:00:00", 4..24, "no MAC address"),
            ("mac=00-16-3e-00-00-00", 4..21, "no MAC address"),
            ("mac=00:16:3e:00:00:100", 4..22, "no MAC address"),
            ("bridge=a, brigde=b", 10..16, "no parameter \"brigde\""),
            ("bridge=a,xenbr0", 9..15, "no key=value"),
            ("type=e1000", 5..10, "no type of an interface"),
            ("mtu=65536", 4..9, "not a number"),
            ("devid=+1", 6..8, "not a number"),
            ("rate=10@1s", 5..7, "no rate"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
