//! What of a well-formed description cannot be had, and what could not work.
//!
//! [`super::parse`] takes what xl's parser takes; this comes after it, for who wants the interface.

use super::mode::Mode;
use super::{Kind, Part, SpecError, Vif};
use crate::netlink::{Destination, name_problem};

/// The least that the kernel takes (`ETH_MIN_MTU`).
const LEAST_MTU: u16 = 68;
/// A larger one would not fit into the name `vifDOMID.DEVID`.
const LARGEST_DEVID: u32 = 65535;

/// Reads an interface that is wanted.
///
/// # Errors
/// [`SpecError`]: the description is broken, or asks for what is not supported or could not work.
pub fn wanted(text: &str) -> Result<Vif, SpecError> {
    let vif = super::parse(text)?;
    for problem in [emulated, backend, names, mac, mtu, devid, address, replicated] {
        problem(text, &vif)?;
    }
    Ok(vif)
}

type Checked = Result<(), SpecError>;

/// The value of the last part with one of these keys; what stands there counts.
fn value<'a>(text: &'a str, keys: &[&str]) -> Part<'a> {
    let whole = Part::whole(text);
    let parts = whole.split_commas().map(Part::trim_start).filter_map(|part| part.split_once('='));
    parts.filter(|(key, _)| keys.contains(&key.text)).last().map_or(whole, |(_, value)| value)
}

fn emulated(text: &str, vif: &Vif) -> Checked {
    if vif.kind != Some(Kind::Ioemu) {
        return Ok(());
    }
    let message = "a PV guest has no emulated interface";
    Err(value(text, &["type"]).error(message, "leave type out, or write type=vif"))
}

fn backend(text: &str, vif: &Vif) -> Checked {
    match vif.backend.as_deref() {
        None | Some("" | "0" | "Domain-0") => Ok(()),
        Some(other) => {
            let message = format!("its backend would be in domain {other}, and only dom0's serve");
            Err(value(text, &["backend"]).error(message, "leave backend out"))
        }
    }
}

fn names(text: &str, vif: &Vif) -> Checked {
    let gateway: &[&str] = &["gatewaydev", "netdev"];
    for (keys, name) in [
        (&["bridge"] as &[&str], &vif.bridge),
        (&["vifname"], &vif.interface),
        (gateway, &vif.gateway_device),
    ] {
        let Some(name) = name else { continue };
        if let Some(problem) = name_problem(name) {
            let message = format!("{name:?} cannot be the name of an interface: {problem}");
            return Err(value(text, keys).error(message, "at most 15 bytes, no blanks, / or :"));
        }
    }
    Ok(())
}

fn mac(text: &str, vif: &Vif) -> Checked {
    if vif.mac.is_none_or(|mac| mac[0] & 1 == 0) {
        return Ok(());
    }
    let message = "this is the address of a group, not of one interface";
    Err(value(text, &["mac"]).error(message, "the first byte must be even: 00:16:3e:12:34:56"))
}

fn mtu(text: &str, vif: &Vif) -> Checked {
    // xl takes 0 for none.
    if vif.mtu.is_none_or(|mtu| mtu == 0 || mtu >= LEAST_MTU) {
        return Ok(());
    }
    let message = format!("no interface has an MTU of less than {LEAST_MTU}");
    Err(value(text, &["mtu"]).error(message, "1500 is usual, 9000 what large frames take"))
}

fn devid(text: &str, vif: &Vif) -> Checked {
    if vif.devid.is_none_or(|devid| devid <= LARGEST_DEVID) {
        return Ok(());
    }
    let message = format!("a device number is at most {LARGEST_DEVID}");
    Err(value(text, &["devid"]).error(message, "leave devid out to have the next free one"))
}

/// What only a script of the user's can make sense of is left to it.
fn address(text: &str, vif: &Vif) -> Checked {
    match Mode::of_script(vif.script.as_deref()) {
        Mode::Bridged => match vif.vlan.as_deref() {
            Some(vlan) if vlan_number(vlan).is_none() => {
                let message = format!("{vlan:?} is not the number of a VLAN");
                Err(value(text, &["vlan"]).error(message, "a number from 1 to 4094"))
            }
            _ => Ok(()),
        },
        Mode::Routed => {
            let all = vif.ip.as_deref().unwrap_or_default();
            let wrong = all.split_whitespace().find(|one| Destination::parse(one).is_none());
            wrong.map_or(Ok(()), |wrong| {
                let message = format!("{wrong:?} is no IPv4 address or network to route to");
                let help = "write ip=10.0.0.2, or ip=10.0.0.2 10.1.0.0/16 for several";
                Err(value(text, &["ip"]).error(message, help))
            })
        }
        Mode::Bare | Mode::Script(_) => Ok(()),
    }
}

fn replicated(text: &str, vif: &Vif) -> Checked {
    let Some((key, _)) = vif.colo.first() else { return Ok(()) };
    let message = format!("{key} belongs to replicated guests, which are not supported");
    Err(value(text, &[key]).error(message, "leave it out"))
}

/// The number of a VLAN.
#[must_use]
pub fn vlan_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=4094).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_pointed_at() {
        for (text, range, words) in [
            ("type=ioemu", 5..10, "no emulated interface"),
            ("bridge=a, backend=net", 18..21, "domain net"),
            ("bridge=", 7..7, "it is empty"),
            ("bridge=sixteen--letters", 7..23, "longer than 15"),
            ("vifname=a/b", 8..11, "cannot be the name"),
            ("netdev=a b", 7..10, "cannot be the name"),
            ("mac=01:00:00:00:00:00", 4..21, "address of a group"),
            ("mtu=67", 4..6, "less than 68"),
            ("devid=65536", 6..11, "at most 65535"),
            ("vlan=0", 5..6, "not the number of a VLAN"),
            ("vlan=1-2", 5..8, "not the number of a VLAN"),
            ("script=vif-route,ip=10.0.0", 20..26, "no IPv4 address"),
            ("colo_a=b", 7..8, "replicated"),
            ("mtu=1,mtu=2", 10..11, "less than 68"),
            ("bridge", 0..6, "no key=value"),
        ] {
            let error = wanted(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }

    #[test]
    fn the_rest_is() {
        for text in [
            "",
            "backend=0",
            "backend=Domain-0",
            "mac=00:16:3e:00:00:01,bridge=xenbr0,mtu=9000,vlan=7,rate=1Gb/s,trusted,model=e1000",
            "mtu=0",
            "script=vif-route,ip=10.0.0.2 10.1.0.0/16,gatewaydev=eth1",
            // What a script does with these is its own affair.
            "script=mine,vlan=1-2,ip=fe80::1",
            "ip=fe80::1",
        ] {
            assert!(wanted(text).is_ok(), "{text:?}: {:?}", wanted(text));
        }
    }
}
