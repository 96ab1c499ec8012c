//! What a guest prints of its own command line, which says nothing of how it fares.
//!
//! In: the command line, and lines that the guest has printed. Out: the lines without what echoes it.
//! Words are what blanks separate; quotes, and what punctuation is around them, are no part of them. An
//! echo is
//!
//! - two or more words that follow each other on the command line in the same order,
//! - a word of the command line with an equals sign in it, also within another word that punctuation
//!   divides,
//! - any word of the command line, in a line that speaks of a command line, or that has no other word
//!   beside a time stamp,
//! - the beginning of a word of the command line, at the end of a line that speaks of one: kernels cut
//!   long lines.
//!
//! So a guest's own "PASS" counts while "expect=PASS" stands on its command line; what stands there
//! word by word does not count, even where the guest says it of itself.

use std::borrow::Cow;
use std::ops::Range;

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

    /// The line with a gap for each echo.
    #[must_use]
    pub fn without<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let words: Vec<(usize, &str)> = words(line).collect();
        let echoes = self.echoes(line, &words);
        let whole = words.iter().zip(&echoes).filter(|(_, echo)| **echo);
        let mut gaps: Vec<Range<usize>> =
            whole.map(|(&(at, word), _)| at..at + word.len()).collect();
        for own in self.words.iter().filter(|own| own.contains('=')) {
            let found = line.match_indices(own.as_str()).map(|(at, _)| at..at + own.len());
            gaps.extend(found.filter(|found| stands_alone(line, found)));
        }
        if gaps.is_empty() {
            return Cow::Borrowed(line);
        }
        gaps.sort_by_key(|gap| (gap.start, gap.end));
        let (mut rest, mut from) = (String::with_capacity(line.len()), 0);
        for gap in gaps {
            if gap.start >= from {
                rest.push_str(&line[from..gap.start]);
                rest.push(GAP);
            }
            from = from.max(gap.end);
        }
        rest.push_str(&line[from..]);
        Cow::Owned(rest)
    }

    fn echoes(&self, line: &str, words: &[(usize, &str)]) -> Vec<bool> {
        let mut echoes = vec![false; words.len()];
        let lower_case = line.to_ascii_lowercase();
        let speaks_of_it = ["command line", "cmdline"].iter().any(|of| lower_case.contains(of));
        let is_alone = without_stamps(line).split_whitespace().nth(1).is_none();
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
            let is_cut = speaks_of_it && index + 1 == words.len() && !word.is_empty();
            if is_cut && self.words.iter().any(|own| own.starts_with(&word)) {
                echoes[index] = true;
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
    let is_around = |c: char| c.is_ascii_punctuation() && c != '=';
    word.trim_matches(is_around).replace(['"', '\''], "")
}

/// Whether what is found in a line is no part of a longer name or value.
fn stands_alone(line: &str, found: &Range<usize>) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let before = line[..found.start].chars().next_back();
    let after = line[found.end..].chars().next();
    !before.is_some_and(|c| goes_on(c) || c == '.') && !after.is_some_and(goes_on)
}

/// A line without the time and the processor that a kernel puts before it.
fn without_stamps(mut line: &str) -> &str {
    let is_stamp = |c| matches!(c, '0'..='9' | '.' | ' ' | 'T' | 'C');
    while let Some((stamp, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && stamp.chars().all(is_stamp)
    {
        line = rest;
    }
    line
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
        check(own, "expect=PASS: PASS", "_ PASS");
        // As others list it.
        check(own, "cmdline: [console=hvc0 expect=PASS]", "cmdline: _ _");
        check(own, "<console=hvc0 expect=PASS>", "_ _");
        check(own, "(expect=PASS)", "_");
        check(own, "expect=PASS: unknown", "_ unknown");
        check(own, "unknown parameter `expect=PASS' ignored", "unknown parameter _ ignored");
        check(own, "I ignore expect=PASS.", "I ignore _");
        check(own, "cmdline=[console=hvc0|expect=PASS]:PASS", "cmdline=[_|_]:PASS");
        check(own, "[    1.000000][    T1]     quiet", "[    1.000000][    T1]     _");
        check(
            own,
            "[    0.1] Command line: console=hvc0 expect=PASS qui",
            "[    0.1] Command line: _ _ _",
        );
        check("a=1 All tests passed", "command line: a=1 All tests pas", "command line: _ _ _ _");
        // The guest's own words.
        for line in [
            "PASS",
            "all is quiet here",
            "result=PASS",
            "test_expect=PASS",
            "expect=PASSED",
            "",
            "  ",
        ] {
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
