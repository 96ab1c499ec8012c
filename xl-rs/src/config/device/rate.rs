//! The rate of a network interface: `N[GMK](B|b)/s[@N[mu]s]` → bytes per interval.

use super::{Part, SpecError};
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, opt, recognize};
use nom::sequence::preceded;
use nom::{IResult, Parser};

/// How much may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes in each interval.
    pub bytes_per_interval: u64,
    /// Length of an interval.
    pub interval_us: u32,
}

impl Rate {
    /// A text of which [`parse`] makes the same rate. Above 4 GB a second, which no text can have to the
    /// byte, that is one that is hardly faster.
    #[must_use]
    pub fn text(self) -> String {
        let interval = u128::from(self.interval_us.max(1));
        let bytes = (u128::from(self.bytes_per_interval) * 1_000_000).div_ceil(interval);
        let units = [(1, ""), (1_000, "K"), (1_000_000, "M"), (1_000_000_000, "G")];
        let (count, unit) = units
            .iter()
            .find_map(|(size, unit)| Some((u32::try_from(bytes.div_ceil(*size)).ok()?, *unit)))
            .unwrap_or((u32::MAX, "G"));
        format!("{}{unit}B/s@{interval}us", count.max(1))
    }
}

/// xl's interval where none is given.
const DEFAULT_INTERVAL_US: u32 = 50_000;
const HELP: &str = "write \"10Mb/s\" (bits) or \"1MB/s\" (bytes), and @20ms for the interval";

/// Reads a rate.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Rate, SpecError> {
    read(Part::whole(text))
}

pub(super) fn read(part: Part<'_>) -> Result<Rate, SpecError> {
    let (speed, interval) = match part.split_once('@') {
        Some((speed, interval)) => (speed, Some(interval)),
        None => (part, None),
    };
    let bytes_per_second = bytes_per_second(speed)?;
    let interval_us = interval.map_or(Ok(DEFAULT_INTERVAL_US), interval_us)?;
    let product = bytes_per_second.checked_mul(u64::from(interval_us));
    let bytes = product.ok_or_else(|| part.error("this rate is too large", HELP))? / 1_000_000;
    Ok(Rate { bytes_per_interval: bytes, interval_us })
}

fn bytes_per_second(part: Part<'_>) -> Result<u64, SpecError> {
    let mut grammar =
        all_consuming((digits, opt(one_of("GMK")), one_of("Bb"), char('/'), char('s')));
    let parsed: IResult<&str, _> = grammar.parse(part.text);
    let (_, (number, unit, bits, ..)) =
        parsed.map_err(|_| part.error(format!("{:?} is no rate", part.text), HELP))?;
    let factor = match unit {
        Some('G') => 1_000_000_000,
        Some('M') => 1_000_000,
        Some(_) => 1_000,
        None => 1,
    };
    // 32 bits times 10^9 fit into 64.
    let value = u64::from(count(part, number)?) * factor;
    Ok(if bits == 'b' { value / 8 } else { value })
}

fn interval_us(part: Part<'_>) -> Result<u32, SpecError> {
    let mut grammar = all_consuming((digits, opt(one_of("mu")), opt(char('s'))));
    let parsed: IResult<&str, _> = grammar.parse(part.text);
    let (_, (number, unit, _)) =
        parsed.map_err(|_| part.error(format!("{:?} is no interval", part.text), HELP))?;
    let factor = match unit {
        Some('m') => 1_000,
        Some(_) => 1,
        None => 1_000_000,
    };
    let value = count(part, number)?.checked_mul(factor);
    value.ok_or_else(|| part.error("this interval is too long", HELP))
}

fn digits(input: &str) -> IResult<&str, &str> {
    take_while1(|character: char| character.is_ascii_digit()).parse(input)
}

/// A number from 1 to 2^32 - 1 in C's notation: a leading 0 means octal, which only its own digits
/// follow.
fn count(part: Part<'_>, digits: &str) -> Result<u32, SpecError> {
    let octal: IResult<&str, &str> = all_consuming(recognize(preceded(
        char('0'),
        take_while1(|character: char| character.is_digit(8)),
    )))
    .parse(digits);
    let number = match octal {
        Ok((_, digits)) => u32::from_str_radix(digits, 8).ok(),
        Err(_) if digits.len() > 1 && digits.starts_with('0') => None,
        Err(_) => digits.parse().ok(),
    };
    let message = || part.error(format!("{digits} is not a number from 1 to {}", u32::MAX), HELP);
    number.filter(|number| *number != 0).ok_or_else(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_xls() {
        for (text, bytes, interval_us) in [
            ("10Mb/s", 62_500, 50_000),
            ("1MB/s", 50_000, 50_000),
            ("250KB/s@20ms", 5_000, 20_000),
            ("8b/s@1s", 1, 1_000_000),
            ("8b/s@1", 1, 1_000_000),
            ("1GB/s@1u", 1_000, 1),
            ("1GB/s@1us", 1_000, 1),
            ("010B/s@1s", 8, 1_000_000),
            ("7b/s", 0, 50_000),
            ("4294967295GB/s@1us", 4_294_967_295_000, 1),
        ] {
            let rate = Rate { bytes_per_interval: bytes, interval_us };
            assert_eq!(parse(text), Ok(rate), "{text:?}");
        }
        for (text, range, words) in [
            ("", 0..0, "no rate"),
            ("10", 0..2, "no rate"),
            ("10Mb", 0..4, "no rate"),
            ("10mb/s", 0..6, "no rate"),
            ("-1B/s", 0..5, "no rate"),
            ("0B/s", 0..4, "not a number from 1"),
            ("09B/s", 0..4, "not a number from 1"),
            ("4294967296B/s", 0..13, "not a number from 1"),
            ("1B/s@", 5..5, "no interval"),
            ("1B/s@x", 5..6, "no interval"),
            ("1B/s@4295s", 5..10, "too long"),
            ("4294967295GB/s@4294s", 0..20, "too large"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert!(error.range == range || words.starts_with("not a"), "{text:?}: {error:?}");
        }
    }

    proptest::proptest! {
        /// What was read is written so that it reads the same.
        #[test]
        fn a_rate_reads_back(count in 1..=u32::MAX / 8, interval_us in 1..=1_000_000_u32) {
            let rate = parse(&format!("{count}B/s@{interval_us}us")).expect("good");
            proptest::prop_assert_eq!(parse(&rate.text()), Ok(rate));
        }
    }
}
