//! A PCI device: `[DDDD:]BB:DD.F[@VSLOT][,key=value…]`, or `name=…` in place of the address.
//!
//! Numbers are hexadecimal. Stricter than libxlutil, which does not look at what follows an address
//! behind `bdf=`, and takes any text for a flag.

use super::{Part, SpecError};
use crate::pci::Bdf;
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, map, map_opt, opt, value};
use nom::sequence::terminated;
use nom::{IResult, Parser, branch::alt};

/// Which function of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// This one.
    One(u8),
    /// `*`: all that are there.
    All,
}

/// Where a device is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// PCI domain (segment).
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
    /// Function.
    pub function: Function,
}

impl Address {
    /// The function, where one is meant.
    #[must_use]
    pub const fn one(self) -> Option<Bdf> {
        match self.function {
            Function::One(function) => Some(self.at(function)),
            Function::All => None,
        }
    }

    /// A function of the device.
    #[must_use]
    pub const fn at(self, function: u8) -> Bdf {
        Bdf { segment: self.segment, bus: self.bus, device: self.device, function }
    }
}

/// How reserved memory of a device is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdmPolicy {
    /// A conflict is an error.
    Strict,
    /// A conflict is tolerated.
    Relaxed,
}

/// Which device is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By address.
    Address(Address),
    /// By the name it was made assignable under.
    Name(String),
}

/// A device as it was written. `None` is what was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pci {
    /// Which device.
    pub which: Which,
    /// Its slot in the guest.
    pub vslot: Option<u8>,
    /// The guest may write to all of its configuration space.
    pub permissive: Option<bool>,
    /// MSI is offered for INTx.
    pub msi_translate: Option<bool>,
    /// Taken from its driver without asking.
    pub seize: Option<bool>,
    /// The guest may change its power state.
    pub power_management: Option<bool>,
    /// Policy for reserved memory.
    pub rdm_policy: Option<RdmPolicy>,
}

const HELP: &str = "write \"0000:03:00.0\", or \"03:00.*\" for all functions";

/// Reads a device.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Pci, SpecError> {
    let whole = Part::whole(text);
    let (mut address, mut name) = (None, None);
    let mut pci = Pci {
        which: Which::Name(String::new()),
        vslot: None,
        permissive: None,
        msi_translate: None,
        seize: None,
        power_management: None,
        rdm_policy: None,
    };
    let mut parts = whole.split_commas().peekable();
    if let Some(first) = parts.next_if(|part| !part.text.contains('=')) {
        let (bdf, vslot) = match first.split_once('@') {
            Some((bdf, vslot)) => (bdf, Some(vslot)),
            None => (first, None),
        };
        address = Some(self::address(bdf)?);
        pci.vslot = vslot.map(slot).transpose()?;
    }
    while let Some(part) = parts.next() {
        // A comma may end the text.
        if part.text.is_empty() && parts.peek().is_none() && part.at > 0 {
            break;
        }
        let Some((key, value)) = part.split_once('=') else {
            return Err(part.error(format!("{:?} is no key=value", part.text), HELP));
        };
        match key.text {
            "bdf" => address = Some(self::address(value)?),
            "name" => name = Some(value.text.to_owned()),
            "vslot" => pci.vslot = Some(slot(value)?),
            "permissive" => pci.permissive = Some(value.flag()?),
            "msitranslate" => pci.msi_translate = Some(value.flag()?),
            "seize" => pci.seize = Some(value.flag()?),
            "power_mgmt" => pci.power_management = Some(value.flag()?),
            "rdm_policy" => {
                pci.rdm_policy = Some(match value.text {
                    "strict" => RdmPolicy::Strict,
                    "relaxed" => RdmPolicy::Relaxed,
                    _ => {
                        let message = format!("{:?} is no rdm_policy", value.text);
                        return Err(value.error(message, "strict or relaxed"));
                    }
                });
            }
            _ => {
                let message = format!("a PCI device has no parameter {:?}", key.text);
                let help = "vslot permissive msitranslate seize power_mgmt rdm_policy name bdf";
                return Err(key.error(message, help));
            }
        }
    }
    pci.which = match (address, name) {
        (Some(address), None) => Which::Address(address),
        (None, Some(name)) => Which::Name(name),
        (Some(_), Some(_)) => {
            return Err(whole.error("an address and a name at once", "remove one of the two"));
        }
        (None, None) => return Err(whole.error("neither an address nor a name", HELP)),
    };
    Ok(pci)
}

fn address(part: Part<'_>) -> Result<Address, SpecError> {
    let long = (terminated(hex(0xffff), char(':')), terminated(hex(0xff), char(':')), rest);
    let short = (terminated(hex(0xff), char(':')), rest);
    let mut grammar = all_consuming(alt((
        map(long, |(segment, bus, (device, function))| (segment, bus, device, function)),
        map(short, |(bus, (device, function))| (0, bus, device, function)),
    )));
    let message = || part.error(format!("{:?} is no PCI address", part.text), HELP);
    let (_, (segment, bus, device, function)) =
        grammar.parse(part.text).map_err(|_: nom::Err<nom::error::Error<&str>>| message())?;
    // `hex` has checked the limits.
    Ok(Address { segment, bus: bus as u8, device: device as u8, function })
}

/// `DD.F`.
fn rest(input: &str) -> IResult<&str, (u16, Function)> {
    let one = map_opt(one_of("01234567"), |digit| digit.to_digit(8));
    let function =
        alt((value(Function::All, char('*')), map(one, |number| Function::One(number as u8))));
    let (rest, (device, function)) = (terminated(hex(0x1f), char('.')), function).parse(input)?;
    Ok((rest, (device, function)))
}

fn hex(most: u16) -> impl Fn(&str) -> IResult<&str, u16> {
    move |input| {
        let digits = take_while_m_n(1, 4, |character: char| character.is_ascii_hexdigit());
        map_opt(digits, |digits| {
            u16::from_str_radix(digits, 16).ok().filter(|&number| number <= most)
        })
        .parse(input)
    }
}

fn slot(part: Part<'_>) -> Result<u8, SpecError> {
    match all_consuming(opt(hex(0x1f))).parse(part.text) {
        Ok((_, Some(slot))) => Ok(slot as u8),
        _ => Err(part.error(format!("{:?} is no slot", part.text), "a slot is 0 to 1f")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u16, bus: u8, device: u8, function: Function) -> Which {
        Which::Address(Address { segment, bus, device, function })
    }

    #[test]
    fn addresses_options_and_names() {
        let check = |text: &str| parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(check("03:1f.7").which, at(0, 3, 31, Function::One(7)));
        assert_eq!(check("0001:FF:00.*").which, at(1, 255, 0, Function::All));
        assert_eq!(check("bdf=3:0.1").which, at(0, 3, 0, Function::One(1)));
        assert_eq!(check("3:0.1,").vslot, None);
        let full =
            check("03:00.0@1e,permissive=1,msitranslate=0,seize=1,power_mgmt=0,rdm_policy=strict");
        assert_eq!(full.vslot, Some(0x1e));
        assert_eq!((full.permissive, full.msi_translate), (Some(true), Some(false)));
        assert_eq!((full.seize, full.power_management), (Some(true), Some(false)));
        assert_eq!(full.rdm_policy, Some(RdmPolicy::Strict));
        assert_eq!(check("name=gpu,vslot=3").which, Which::Name("gpu".into()));
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, range, words) in [
            ("", 0..0, "no PCI address"),
            ("03", 0..2, "no PCI address"),
            ("03:00", 0..5, "no PCI address"),
            ("03:20.0", 0..7, "no PCI address"),
            ("03:00.8", 0..7, "no PCI address"),
            ("103:00.0", 0..8, "no PCI address"),
            ("10000:00:00.0", 0..13, "no PCI address"),
            ("03:00.0x", 0..8, "no PCI address"),
            (" 03:00.0", 0..8, "no PCI address"),
            ("03:00.0@20", 8..10, "no slot"),
            ("03:00.0@", 8..8, "no slot"),
            ("03:00.0,,seize=1", 8..8, "no key=value"),
            ("03:00.0,seize", 8..13, "no key=value"),
            ("03:00.0,seize=yes", 14..17, "neither 0 nor 1"),
            ("03:00.0,sieze=1", 8..13, "no parameter"),
            ("03:00.0,rdm_policy=none", 19..23, "no rdm_policy"),
            ("03:00.0,name=gpu", 0..16, "at once"),
            ("seize=1", 0..7, "neither an address"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
