//! Text of others, made safe for a terminal.
//!
//! In: names, values and messages that a file, another toolstack or a guest may have written. Out:
//! the same with `?` for every character that a terminal would act on. Never touches what goes into
//! JSON or into xenstore.

use std::borrow::Cow;

/// Whether the character steers a terminal instead of being shown: control characters, and those
/// that turn the direction in which the text around them is shown.
#[must_use]
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of one line: a name, or part of a message.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    without(text, steers)
}

/// Text of several lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, |character| steers(character) && !matches!(character, '\n' | '\t'))
}

fn without(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&bad) { Cow::Owned(text.replace(bad, "?")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        for (text, one, several) in [
            ("", "", ""),
            ("web-1 größer 日本", "web-1 größer 日本", "web-1 größer 日本"),
            ("\x1b[31mred", "?[31mred", "?[31mred"),
            ("a\nb\tc\r", "a?b?c?", "a\nb\tc?"),
            ("\u{7f}\u{9b}2J\0", "??2J?", "??2J?"),
            ("safe\u{202e}gpj", "safe?gpj", "safe?gpj"),
            ("\u{2066}x\u{2069}\u{200f}", "?x??", "?x??"),
        ] {
            assert_eq!(line(text), one, "{text:?}");
            assert_eq!(lines(text), several, "{text:?}");
        }
    }
}
