//! Numbers on the command line.
//!
//! A name is told from a number by its digits, as under xl: `+5` is a name, so that nothing happens
//! to domain 5 because of it.

use std::str::FromStr;

/// The number that a word of ASCII digits is; none for any other word, or a number that does not fit.
#[must_use]
pub fn digits<T: FromStr>(word: &str) -> Option<T> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) { word.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn only_digits_are_a_number() {
        for (word, number) in [
            ("5", Some(5)),
            ("0", Some(0)),
            ("007", Some(7)),
            ("65535", Some(65535)),
            ("65536", None),
            ("+5", None),
            ("-5", None),
            (" 5", None),
            ("5 ", None),
            ("0x5", None),
            ("٥", None),
            ("", None),
        ] {
            assert_eq!(digits::<u16>(word), number, "{word:?}");
        }
    }
}
