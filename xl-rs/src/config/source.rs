//! The texts a configuration was read from: the file, then one per assignment on the command line.
//!
//! Spans of the tree point in here. Reads no file itself.

use super::tree::Span;

/// One text and what to call it in a message.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's path, or a description such as `command line`.
    pub name: String,
    /// Its bytes, as read.
    pub text: Vec<u8>,
}

impl Source {
    /// Whether this is an assignment from the command line, whose quotes a shell has seen first.
    #[must_use]
    pub fn is_assignment(&self) -> bool {
        self.name == "command line"
    }

    /// Whether this is no text at all: showing a line of it would help nobody. A few control
    /// characters are slips, which have lines to be shown.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        let head = &self.text[..self.text.len().min(4096)];
        let strange = |byte: &&u8| byte.is_ascii_control() && !matches!(byte, 9..=13 | 27);
        head.contains(&0) || head.iter().filter(strange).count() > (head.len() / 16).max(8)
    }
}

/// All texts of one configuration, in the order in which they apply.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

impl Sources {
    /// Adds a text and returns its index.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Vec<u8>>) -> usize {
        self.list.push(Source { name: name.into(), text: text.into() });
        self.list.len() - 1
    }

    /// The text with this index. Indices come from [`Self::add`] of the same object.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Source> {
        self.list.get(index)
    }

    /// All texts with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Source)> {
        self.list.iter().enumerate()
    }

    /// All texts as one, each from the start of a line: what stands last counts, as it did before.
    #[must_use]
    pub fn joined(&self) -> Vec<u8> {
        let mut joined = Vec::new();
        for source in &self.list {
            joined.extend_from_slice(&source.text);
            if !joined.ends_with(b"\n") {
                joined.push(b'\n');
            }
        }
        joined
    }

    /// `name:line` of a span's start, lines counted from 1.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let Some(source) = self.get(span.source) else { return String::from("configuration") };
        let before = &source.text[..span.start.min(source.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{}:{line}", source.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Sources;

    #[test]
    fn joined_texts_keep_their_lines() {
        let check = |texts: &[&str], joined: &str| {
            let mut sources = Sources::default();
            for text in texts {
                sources.add("a", *text);
            }
            assert_eq!(sources.joined(), joined.as_bytes(), "{texts:?}");
        };
        check(&[], "");
        check(&["a = 1\n", "b = 2"], "a = 1\nb = 2\n");
        check(&["a = 1", "a = 2\n"], "a = 1\na = 2\n");
    }
}
