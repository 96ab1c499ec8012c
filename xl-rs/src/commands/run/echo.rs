//! What a guest prints of its own command line, which says nothing of how it fares.
//!
//! In: the command line, and lines that the guest has printed. Out: the lines without what echoes it.
//! Words are what blanks separate; quotes around them, and commas after them, are no part of them. An
//! echo is
//!
//! - two or more words that follow each other on the command line in the same order,
//! - a word of the command line with an equals sign in it,
//! - any word of the command line, in a line that speaks of a command line, or that has no other word
//!   beside a time stamp.
//!
//! So a guest's own "PASS" counts while "expect=PASS" stands on its command line; what stands there
//! word by word does not count, even where the guest says it of itself.

use std::borrow::Cow;

/// What stands in the place of an echo, so that what is around it does not come together.
const GAP: char = '\u{fffc}';

/// The words of a command line.
#[derive(Clone, Debug)]
pub struct Echo {
    words: Vec<String>,
}

impl Echo {
    /// What may be printed again.
    #[must_use]
    pub fn new(command_line: &str) -> Self {
        let words = command_line.split_whitespace().map(plain);
        Self { words: words.filter(|word| !word.is_empty()).collect() }
    }

    /// The line with a gap for each word that echoes.
    #[must_use]
    pub fn without<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let words: Vec<(usize, &str)> = words(line).collect();
        let echoes = self.echoes(line, &words);
        if !echoes.contains(&true) {
            return Cow::Borrowed(line);
        }
        let (mut rest, mut from) = (String::with_capacity(line.len()), 0);
        for (&(at, word), _) in words.iter().zip(&echoes).filter(|(_, echo)| **echo) {
            rest.push_str(&line[from..at]);
            rest.push(GAP);
            from = at + word.len();
        }
        rest.push_str(&line[from..]);
        Cow::Owned(rest)
    }

    fn echoes(&self, line: &str, words: &[(usize, &str)]) -> Vec<bool> {
        let mut echoes = vec![false; words.len()];
        let speaks_of_it = line.to_ascii_lowercase().contains("command line");
        let is_alone = without_stamp(line).split_whitespace().nth(1).is_none();
        // Where on the command line the word before stands.
        let mut before = vec![false; self.words.len()];
        for (index, (_, word)) in words.iter().enumerate() {
            let word = plain(word);
            let here: Vec<bool> = self.words.iter().map(|own| *own == word).collect();
            let stands = here.contains(&true);
            echoes[index] = stands && (word.contains('=') || speaks_of_it || is_alone);
            if here.iter().skip(1).zip(&before).any(|(here, before)| *here && *before) {
                echoes[index] = true;
                echoes[index - 1] = true;
            }
            before = here;
        }
        echoes
    }
}

/// The words of a line, and where they begin.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = line.as_ptr() as usize;
    line.split_whitespace().map(move |word| (word.as_ptr() as usize - start, word))
}

/// A word without what a kernel puts around it.
fn plain(word: &str) -> String {
    word.trim_end_matches([',', ';']).replace(['"', '\''], "")
}

/// A line without the time that a kernel puts before it.
fn without_stamp(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((stamp, rest)) if stamp.chars().all(|c| matches!(c, '0'..='9' | '.' | ' ')) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_echoes_and_what_does_not() {
        let check = |command_line: &str, line: &str, rest: &str| {
            let found = Echo::new(command_line).without(line).replace(GAP, "_");
            assert_eq!(found, rest, "{command_line:?}, {line:?}");
        };
        let own = "console=hvc0 expect=PASS quiet";
        check(
            own,
            "Kernel command line: console=hvc0 expect=PASS quiet",
            "Kernel command line: _ _ _",
        );
        check(
            own,
            "[    0.012345] Command line: console=hvc0 expect=PASS",
            "[    0.012345] Command line: _ _",
        );
        check(
            own,
            "Unknown kernel command line parameters \"expect=PASS quiet\", will be passed to user space.",
            "Unknown kernel command line parameters _ _ will be passed to user space.",
        );
        // As Linux lists what its init is given.
        check(own, "[    1.000000]     expect=PASS", "[    1.000000]     _");
        check(own, "[    1.000000]     quiet", "[    1.000000]     _");
        check(own, "expect=PASS: PASS", "expect=PASS: PASS");
        // The guest's own words.
        for line in ["PASS", "all is quiet here", "result=PASS", "", "  "] {
            check(own, line, line);
        }
        // Words as they stand on the command line are never the guest's own.
        check("All tests passed", "All tests passed", "_ _ _");
        check("All tests passed", "All tests have passed", "_ _ have passed");
        check("All tests passed", "passed tests: All", "passed tests: All");
        check("say=\"All tests passed\"", "say=All tests passed", "_ _ _");
        check("", "command line: a b", "command line: a b");
        check("a a b", "a a a b", "_ _ _ _");
        check("größer = ö", "größer = ä", "_ _ ä");
    }

    proptest! {
        /// The whole command line never leaves a word of itself, wherever it stands; a line that shares
        /// no word with it stays.
        #[test]
        fn all_of_it_goes_and_nothing_else(
            words in prop::collection::vec("[a-f]{1,3}(=[a-f]{1,2})?", 2..8),
            others in prop::collection::vec("[u-z]{1,4}", 0..5),
        ) {
            let (own, other) = (words.join(" "), others.join("  "));
            let echo = Echo::new(&own);
            prop_assert_eq!(&echo.without(&other), &other);
            let line = format!("{other} {own} {other}");
            let rest = echo.without(&line);
            prop_assert!(!rest.contains(|c| matches!(c, 'a'..='f')), "{}", rest);
            prop_assert_eq!(rest.matches(GAP).count(), words.len());
        }

        #[test]
        fn any_line_survives(own in ".*", line in ".*") {
            let echo = Echo::new(&own);
            let rest = echo.without(&line);
            prop_assert!(rest.chars().count() <= line.chars().count());
        }
    }
}
