//! Patterns that are looked for in a guest's lines.
//!
//! In: what the user wrote. Out: automata whose size is bounded; they take time in proportion to the
//! line, whatever stands in it.

use super::error::RunError;
use regex::{Regex, RegexBuilder};

/// The most memory of a pattern's automaton, twice: once as it is, once for what is cached of it.
const BYTES: usize = 4 << 20;

/// Patterns, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Regex>);

impl Patterns {
    /// Reads them.
    ///
    /// # Errors
    /// [`RunError::Pattern`], [`RunError::Empty`].
    pub fn new(texts: &[String]) -> Result<Self, RunError> {
        let compile = |text: &String| {
            let built = RegexBuilder::new(text).size_limit(BYTES).dfa_size_limit(BYTES).build();
            let pattern = built.map_err(|source| RunError::Pattern {
                text: text.clone(),
                source: Box::new(source),
            })?;
            match pattern.is_match("") {
                true => Err(RunError::Empty { text: text.clone() }),
                false => Ok(pattern),
            }
        };
        texts.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Regex> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_or_refused() {
        let check = |text: &str, good: bool| {
            assert_eq!(Patterns::new(&[text.to_owned()]).is_ok(), good, "{text}");
        };
        check("All tests passed", true);
        check("Kernel panic|Test result: FAILURE", true);
        check("(", false);
        // What any line has says nothing: a variable of a script that is not set.
        for text in ["", "a|", ".*", "x*", "^$", "(?:)"] {
            check(text, false);
        }
        check("((a{1000}){1000}){1000}", false);
    }
}
