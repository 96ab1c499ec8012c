//! The texts a configuration was read from: the file, then one per assignment on the command line.
//!
//! Spans of the tree point in here. Reads no file itself.

use super::tree::Span;
use std::sync::Arc;

/// Where a text came from that a template has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The template's text.
    pub template: Arc<str>,
    /// The template's line, from 1, for each line of the text; shorter where it is not known.
    pub lines: Vec<usize>,
}

/// One text and what to call it in a message.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's path, or a description such as `command line`.
    pub name: String,
    /// Its bytes, as read.
    pub text: Vec<u8>,
    /// The template that has made it; the name is the template's then.
    pub origin: Option<Arc<Origin>>,
}

impl Source {
    /// Whether this is an assignment from the command line, whose quotes a shell has seen first.
    #[must_use]
    pub fn is_assignment(&self) -> bool {
        self.name == "command line"
    }

    /// The line, from 1, that a place lies in: the template's, if one has made the text.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count();
        match &self.origin {
            None => line + 1,
            Some(origin) => origin.lines.get(line).copied().unwrap_or(1),
        }
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
        self.list.push(Source { name: name.into(), text: text.into(), origin: None });
        self.list.len() - 1
    }

    /// Adds a text that a template of this name has made.
    pub fn add_rendered(
        &mut self,
        template: impl Into<String>,
        text: impl Into<Vec<u8>>,
        origin: Arc<Origin>,
    ) -> usize {
        let origin = Some(origin);
        self.list.push(Source { name: template.into(), text: text.into(), origin });
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
        format!("{}:{}", source.name, source.line(span.start))
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
