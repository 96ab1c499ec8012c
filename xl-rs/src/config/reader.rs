//! Typed reading of settings: strings, numbers, sizes and lists, each refused where it stands when
//! it is something else.
//!
//! Comes before [`super::lower`], which gives the keys their meaning. Collects problems instead of
//! stopping at the first.

use super::diagnostic::Problem;
use super::settings::{Setting, Settings};
use super::tree::{Kind, Operator, Span, Value};
use std::ops::RangeInclusive;

/// A thing and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The thing.
    pub value: T,
    /// Where its text stands, quotes included.
    pub span: Span,
}

/// Settings being read, and what was wrong with them so far.
#[derive(Debug)]
pub struct Reader<'a> {
    settings: &'a Settings,
    /// What was found wrong.
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Starts reading.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, problems: Vec::new() }
    }

    /// The setting as it stands.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a Setting> {
        self.settings.get(key)
    }

    /// All settings.
    #[must_use]
    pub fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// A string. A bare number counts as its text, as under xl. Must be UTF-8 without control
    /// characters but line ends and tabs, since it goes into paths, nodes and command lines.
    pub fn text(&mut self, key: &str) -> Option<At<String>> {
        let value = &self.get(key)?.value;
        match as_text(value) {
            Ok(text) => Some(At { value: text.to_owned(), span: value.span }),
            Err(found) => {
                let message = format!("{key} must be a string, not {found}");
                self.refuse(value.span, message, "a string in quotes belongs here", None);
                None
            }
        }
    }

    /// A string that is not empty.
    pub fn filled(&mut self, key: &str) -> Option<At<String>> {
        let text = self.text(key)?;
        if text.value.is_empty() {
            let help = format!("give {key} a value, or remove the line");
            self.refuse(text.span, format!("{key} is empty"), "empty", Some(help));
            return None;
        }
        Some(text)
    }

    /// A whole number within `range`, in C's notation (`0x` hexadecimal, leading `0` octal).
    pub fn number(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<At<i64>> {
        let value = &self.one_number(key)?.value;
        let limits = format!("a number from {} to {}", range.start(), range.end());
        match as_text(value).ok().and_then(c_number) {
            Some(number) if range.contains(&number) => Some(At { value: number, span: value.span }),
            Some(_) => {
                let message = format!("{key} is out of range");
                self.refuse(value.span, message, &format!("expected {limits}"), None);
                None
            }
            None => {
                let message = format!("{key} is not a number");
                let example = 1.clamp(*range.start(), *range.end());
                let help = format!("write {key} = {example}, without a unit");
                self.refuse(value.span, message, &format!("expected {limits}"), Some(help));
                None
            }
        }
    }

    /// A flag: any number but 0 sets it, as under xl.
    pub fn flag(&mut self, key: &str) -> bool {
        self.number(key, i64::MIN..=i64::MAX).is_some_and(|number| number.value != 0)
    }

    /// An amount of memory in KiB: a number of MiB, or a string with a unit (`"4G"`, `"512MiB"`).
    pub fn memory_kib(&mut self, key: &str, limits_kib: RangeInclusive<u64>) -> Option<At<u64>> {
        let value = &self.one_number(key)?.value;
        let found = as_text(value).map_err(|_| Amount::Nonsense).and_then(memory);
        let found = match found {
            Ok(kib) if kib < *limits_kib.start() => Err(Amount::TooSmall),
            Ok(kib) if kib > *limits_kib.end() => Err(Amount::TooLarge),
            found => found,
        };
        let wrong = match found {
            Ok(kib) => return Some(At { value: kib, span: value.span }),
            Err(wrong) => wrong,
        };
        let (low, high) = (limits_kib.start() >> 10, limits_kib.end() >> 10);
        let limits = format!("expected {low} to {high} MiB");
        let (what, label) = match wrong {
            Amount::Negative => ("is negative", limits.as_str()),
            Amount::TooSmall => ("is too small", limits.as_str()),
            Amount::TooLarge => ("is too large", limits.as_str()),
            Amount::Unit => ("has an unknown unit", "units are K, M, G and T"),
            Amount::Nonsense => ("is not an amount of memory", "expected a number of MiB"),
        };
        let help = format!("write {key} = 512 for 512 MiB, or {key} = \"4G\"");
        self.refuse(value.span, format!("{key} {what}"), label, Some(help));
        None
    }

    /// The setting, unless it was joined from parts: that makes no number, as under xl, which
    /// falls back to its default then.
    fn one_number(&mut self, key: &str) -> Option<&'a Setting> {
        let setting = self.get(key)?;
        if setting.operator == Operator::Append {
            let message = format!("{key} is a number and cannot be joined with +=");
            let help = format!("write {key} = …");
            self.refuse(setting.key_span, message, "+= joins text and lists", Some(help));
            return None;
        }
        Some(setting)
    }

    /// A string, or the strings of a list; the flag tells whether it was a list.
    pub fn text_or_list(&mut self, key: &str) -> Option<(bool, Vec<At<String>>)> {
        let Kind::List(items) = &self.get(key)?.value.kind else {
            return Some((false, vec![self.text(key)?]));
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match as_text(item) {
                Ok(text) => texts.push(At { value: text.to_owned(), span: item.span }),
                Err(found) => {
                    let message = format!("an item of {key} must be a string, not {found}");
                    self.refuse(item.span, message, "a string in quotes belongs here", None);
                    return None;
                }
            }
        }
        Some((true, texts))
    }

    /// Notes an error.
    pub fn refuse(&mut self, span: Span, message: String, label: &str, help: Option<String>) {
        self.problems.push(Problem { help, ..Problem::error(span, message, label) });
    }
}

pub(super) fn as_text(value: &Value) -> Result<&str, &'static str> {
    match &value.kind {
        Kind::Number(text) => Ok(text),
        Kind::List(_) => Err("a list"),
        Kind::String(bytes) if bytes.contains(&0) => Err("text with a NUL byte"),
        Kind::String(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(is_stray) => Err("text with a control character"),
            Ok(text) => Ok(text),
            Err(_) => Err("bytes that are not UTF-8 text"),
        },
    }
}

/// Control characters that no path, node or command line needs, and that messages would carry to
/// the terminal. Long strings have line ends in them.
fn is_stray(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// A whole number as `strtol` with base 0 reads it, but only if nothing is left over.
#[must_use]
pub fn c_number(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // from_str_radix would take a second sign.
    if !digits.starts_with(|character: char| character.is_digit(radix)) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

/// Why a text is no amount of memory, or not one that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Negative,
    TooSmall,
    TooLarge,
    Unit,
    Nonsense,
}

/// KiB of an amount as `memory` takes it.
#[must_use]
pub fn amount_kib(text: &str) -> Option<u64> {
    memory(text).ok()
}

/// KiB from a number of MiB or a number with a unit.
fn memory(text: &str) -> Result<u64, Amount> {
    let text = text.trim();
    // In a hexadecimal number letters are digits.
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let letter = |c: char| c.is_ascii_alphabetic() && !hexadecimal || "kKmMgGtT".contains(c);
    let (digits, unit) = text.split_at(text.find(letter).unwrap_or(text.len()));
    let number = c_number(digits.trim_end()).ok_or(Amount::Nonsense)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 10,
        "k" | "kb" | "kib" => 0,
        "m" | "mb" | "mib" => 10,
        "g" | "gb" | "gib" => 20,
        "t" | "tb" | "tib" => 30,
        _ => return Err(Amount::Unit),
    };
    let number = u64::try_from(number).map_err(|_| Amount::Negative)?;
    number.checked_mul(1 << shift).ok_or(Amount::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cs() {
        for (text, number) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("010", Some(8)),
            ("0x1f", Some(31)),
            ("0X1F", Some(31)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            (" 7", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("09", None),
            ("0x", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("0x-1", None),
            ("7 ", None),
            ("4G", None),
            ("1f", None),
        ] {
            assert_eq!(c_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn memory_takes_units() {
        use Amount::{Negative, Nonsense, TooLarge, Unit};
        for (text, kib) in [
            ("512", Ok(512 << 10)),
            ("0x200", Ok(512 << 10)),
            ("0x1dK", Ok(29)),
            ("4G", Ok(4 << 20)),
            ("4 GiB", Ok(4 << 20)),
            ("4gb", Ok(4 << 20)),
            ("64m", Ok(64 << 10)),
            ("2048k", Ok(2048)),
            ("1T", Ok(1 << 30)),
            ("", Err(Nonsense)),
            ("G", Err(Nonsense)),
            ("lots", Err(Nonsense)),
            ("1.5G", Err(Nonsense)),
            ("-", Err(Nonsense)),
            ("4X", Err(Unit)),
            ("4GG", Err(Unit)),
            ("4Gx", Err(Unit)),
            ("4Gbb", Err(Unit)),
            ("4 pages", Err(Unit)),
            ("-1", Err(Negative)),
            ("-1G", Err(Negative)),
            ("9223372036854775807T", Err(TooLarge)),
        ] {
            assert_eq!(memory(text), kib, "{text:?}");
        }
    }
}
