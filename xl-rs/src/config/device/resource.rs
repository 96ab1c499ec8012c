//! Resources of the host that a guest may be given: I/O ports, I/O memory, interrupts.
//!
//! Ports and memory are hexadecimal, interrupts decimal, as under xl. Stricter in that nothing may
//! stand around the numbers.

use super::{Part, SpecError};

/// I/O ports, bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Pages of I/O memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The first page's frame number on the host.
    pub first_mfn: u64,
    /// How many.
    pub pages: u64,
    /// Where they go in the guest, if that is not where they are on the host.
    pub gfn: Option<u64>,
}

/// `2f8` or `2f8-2ff`.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn io_ports(text: &str) -> Result<Ports, SpecError> {
    let whole = Part::whole(text);
    let (first, last) = match whole.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(whole)?, port(whole)?),
    };
    if first > last {
        return Err(whole.error("this range ends before it begins", "write \"2f8-2ff\""));
    }
    Ok(Ports { first, last })
}

fn port(part: Part<'_>) -> Result<u16, SpecError> {
    let port = hexadecimal(part).and_then(|number| u16::try_from(number).ok());
    port.ok_or_else(|| {
        let message = format!("{:?} is no I/O port", part.text);
        part.error(message, "ports are hexadecimal, 0 to ffff: write \"2f8-2ff\"")
    })
}

/// `START,NUMBER[@GFN]`, in pages.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn io_memory(text: &str) -> Result<Memory, SpecError> {
    const HELP: &str =
        "write \"START,NUMBER\" in hexadecimal pages, and @GFN for a place of its own";
    let whole = Part::whole(text);
    let Some((first, rest)) = whole.split_once(',') else {
        return Err(whole.error(format!("{text:?} names no I/O memory"), HELP));
    };
    let (pages, gfn) = match rest.split_once('@') {
        Some((pages, gfn)) => (pages, Some(gfn)),
        None => (rest, None),
    };
    let page = |part: Part<'_>| {
        let wrong = || part.error(format!("{:?} is no hexadecimal number", part.text), HELP);
        hexadecimal(part).ok_or_else(wrong)
    };
    Ok(Memory { first_mfn: page(first)?, pages: page(pages)?, gfn: gfn.map(page).transpose()? })
}

/// An interrupt's number.
///
/// # Errors
/// [`SpecError`] about all of it.
pub fn irq(text: &str) -> Result<u32, SpecError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let message = format!("{text:?} is no interrupt");
        Part::whole(text).error(message, "an interrupt is a decimal number")
    })
}

fn hexadecimal(part: Part<'_>) -> Option<u64> {
    let digits = part.text.strip_prefix("0x").unwrap_or(part.text);
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xl_takes_is_taken() {
        assert_eq!(io_ports("2f8"), Ok(Ports { first: 0x2f8, last: 0x2f8 }));
        assert_eq!(io_ports("2f8-2FF"), Ok(Ports { first: 0x2f8, last: 0x2ff }));
        let memory = |gfn| Memory { first_mfn: 0xfed9f, pages: 1, gfn };
        assert_eq!(io_memory("fed9f,1"), Ok(memory(None)));
        assert_eq!(io_memory("0xfed9f,1@a0"), Ok(memory(Some(0xa0))));
        assert_eq!(irq("10"), Ok(10));
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (found, range) in [
            (io_ports("").map(drop), 0..0),
            (io_ports("x").map(drop), 0..1),
            (io_ports("2f8-").map(drop), 4..4),
            (io_ports("2ff-2f8").map(drop), 0..7),
            (io_ports("10000").map(drop), 0..5),
            (io_memory("fed9f").map(drop), 0..5),
            (io_memory("fed9f,").map(drop), 6..6),
            (io_memory("fed9f,1@").map(drop), 8..8),
            (io_memory("fed9f,+1").map(drop), 6..8),
            (irq("").map(drop), 0..0),
            (irq("+1").map(drop), 0..2),
            (irq("0x1").map(drop), 0..3),
        ] {
            assert_eq!(found.map_err(|error| error.range), Err(range));
        }
    }
}
