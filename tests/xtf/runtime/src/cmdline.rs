//! The kernel command line: `key=value` words.

/// The bytes before the terminator, or all when there is none.
#[must_use]
pub fn bytes(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == 0).next().unwrap_or(line)
}

/// The value of the last word `key=value`; `None` when there is no such word or it is not UTF-8.
#[must_use]
pub fn value<'a>(line: &'a [u8], key: &str) -> Option<&'a str> {
    bytes(line)
        .split(u8::is_ascii_whitespace)
        .filter_map(|word| word.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
        .next_back()
        .and_then(|value| str::from_utf8(value).ok())
}
