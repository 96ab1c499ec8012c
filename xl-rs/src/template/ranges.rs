//! Lists of numbers as CPU lists are written (`0-3,8`), and amounts of memory.
//!
//! Pure. Only plain numbers and ranges: what `all` or `nodes:0` mean only a host knows.

use crate::config::reader;
use std::fmt::Write as _;

/// No host has more CPUs.
const HIGHEST: u32 = 0xffff;

/// The numbers of a text such as `0-3,8`, in its order.
///
/// # Errors
/// What is wrong with it.
pub fn expand(text: &str) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for term in text.split(',').map(str::trim) {
        let (low, high) = term.split_once('-').unwrap_or((term, term));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number: &u32| digits && *number <= HIGHEST)
        };
        match (number(low.trim()), number(high.trim())) {
            (Some(low), Some(high)) if low <= high => numbers.extend(low..=high),
            _ => return Err(format!("{term:?} is no number and no range such as 0-3")),
        }
        if numbers.len() > HIGHEST as usize + 1 {
            return Err(String::from("more numbers than there are CPUs"));
        }
    }
    Ok(numbers)
}

/// Numbers as a text: in ascending order, neighbours as ranges.
#[must_use]
pub fn compact(numbers: &[u32]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let (mut out, mut rest) = (String::new(), sorted.as_slice());
    while let Some(&first) = rest.first() {
        let run = (first..).zip(rest).take_while(|(expected, found)| expected == *found).count();
        if !out.is_empty() {
            out.push(',');
        }
        let last = rest[run - 1];
        // Writing into a String cannot fail.
        let _ = if run == 1 { write!(out, "{first}") } else { write!(out, "{first}-{last}") };
        rest = &rest[run..];
    }
    out
}

/// The part with this number, from 0, of so many parts; sizes differ by one at most.
///
/// # Errors
/// What is wrong.
pub fn part(numbers: &[u32], index: usize, of: usize) -> Result<Vec<u32>, String> {
    if index >= of || of > numbers.len() {
        return Err(format!("there is no part {index} of {of} among {} numbers", numbers.len()));
    }
    // The number of parts is at most that of the numbers, which is small.
    let at = |index: usize| index * numbers.len() / of;
    Ok(numbers[at(index)..at(index + 1)].to_vec())
}

/// KiB of an amount as xl.cfg has it: a number of MiB, or a text with a unit.
///
/// # Errors
/// What is wrong.
pub fn amount_kib(text: &str) -> Result<u64, String> {
    reader::amount_kib(text)
        .ok_or_else(|| format!("{text:?} is no amount of memory: write 512 for MiB, or 4G"))
}

/// An amount as a text with the largest unit that leaves it whole.
#[must_use]
pub fn amount_text(kib: u64) -> String {
    match kib {
        kib if kib.is_multiple_of(1 << 30) && kib > 0 => format!("{}T", kib >> 30),
        kib if kib.is_multiple_of(1 << 20) && kib > 0 => format!("{}G", kib >> 20),
        kib if kib.is_multiple_of(1 << 10) => format!("{}M", kib >> 10),
        kib => format!("{kib}K"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_numbers() {
        for (text, numbers) in [
            ("0", Some(vec![0])),
            ("0-3,8", Some(vec![0, 1, 2, 3, 8])),
            (" 4 - 5 , 2", Some(vec![4, 5, 2])),
            ("", None),
            ("3-1", None),
            ("0,,1", None),
            ("all", None),
            ("nodes:0", None),
            ("+1", None),
            ("65536", None),
            ("0-65535,0-65535", None),
        ] {
            assert_eq!(expand(text).ok(), numbers, "{text:?}");
        }
        for (kib, text) in [(0, "0M"), (1, "1K"), (1024, "1M"), (4 << 20, "4G"), (1 << 30, "1T")] {
            assert_eq!(amount_text(kib), text);
        }
        assert_eq!(amount_kib("4G"), Ok(4 << 20));
        assert!(amount_kib("4X").is_err());
    }

    proptest! {
        #[test]
        fn a_text_of_numbers_has_those_numbers(numbers in proptest::collection::btree_set(0u32..200, 1..40)) {
            let numbers: Vec<u32> = numbers.into_iter().collect();
            prop_assert_eq!(expand(&compact(&numbers)), Ok(numbers));
        }

        #[test]
        fn parts_cover_and_do_not_overlap(count in 1usize..100, of in 1usize..100) {
            let numbers: Vec<u32> = (10..).take(count).collect();
            let parts: Result<Vec<_>, _> = (0..of).map(|index| part(&numbers, index, of)).collect();
            match parts {
                Ok(parts) => prop_assert_eq!(parts.concat(), numbers),
                Err(_) => prop_assert!(of > count),
            }
        }

        #[test]
        fn amounts_survive(kib in 1u64..1 << 40) {
            prop_assert_eq!(amount_kib(&amount_text(kib)), Ok(kib));
        }
    }
}
