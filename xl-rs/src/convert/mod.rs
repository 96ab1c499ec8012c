//! Definitions of other toolstacks into xl.cfg.
//!
//! In: a domain's XML as libvirt has it ([`libvirt`]), or what `xl list -l` prints ([`libxl`]). Out: a text
//! of xl.cfg for each domain, and every element that it does not carry, by its path. Nothing is left out
//! in silence: whatever a converter did not take stands in [`Converted::left`]. Pure.

pub mod libvirt;
pub mod libxl;

use crate::config::tree::{Assignment, Kind, Operator, Span, Tree, Value};

/// A domain in another form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Its name.
    pub name: String,
    /// The configuration.
    pub text: String,
    /// What it does not carry.
    pub left: Vec<Left>,
}

/// Something that is not carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it stands in the document, as in `domain/devices/graphics`.
    pub path: String,
    /// Its line, where that is known.
    pub line: Option<usize>,
    /// What it says, or why it is not carried; may be empty.
    pub what: String,
}

/// Why a document cannot be converted at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

/// The domains of a document, whose form is seen from its beginning.
///
/// # Errors
/// [`Wrong`]: it is neither XML nor JSON, or of something else.
pub fn convert(text: &str) -> Result<Vec<Converted>, Wrong> {
    match text.trim_start().chars().next() {
        Some('<') => libvirt::convert(text),
        Some('[' | '{') => libxl::convert(text),
        _ => {
            let what = String::from("neither libvirt's XML nor the JSON of xl list -l");
            Err(Wrong { line: 1, column: 1, what })
        }
    }
}

/// A configuration that is being written.
#[derive(Clone, Debug, Default)]
struct Definition {
    tree: Tree,
}

impl Definition {
    fn set(&mut self, key: &str, kind: Kind) {
        let value = Value { kind, span: Span::default() };
        let (key, key_span) = (key.to_owned(), Span::default());
        let assignment = Assignment { key, key_span, operator: Operator::Set, value };
        self.tree.assignments.push(assignment);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.set(key, Kind::String(text.as_bytes().to_vec()));
    }

    /// A number; one below zero goes into quotes.
    fn number(&mut self, key: &str, number: i64) {
        match number {
            0.. => self.set(key, Kind::Number(number.to_string())),
            _ => self.text(key, &number.to_string()),
        }
    }

    fn flag(&mut self, key: &str) {
        self.number(key, 1);
    }

    /// An amount of memory, in MiB where it is whole.
    fn memory(&mut self, key: &str, kib: u64) {
        match i64::try_from(kib >> 10) {
            Ok(mib) if kib.is_multiple_of(1 << 10) => self.number(key, mib),
            _ => self.text(key, &format!("{kib}K")),
        }
    }

    /// A list of texts; nothing if there are none.
    fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            let item = |text: &String| Value {
                kind: Kind::String(text.as_bytes().to_vec()),
                span: Span::default(),
            };
            self.set(key, Kind::List(texts.iter().map(item).collect()));
        }
    }

    /// The text, whatever bytes are in it.
    fn finish(&self) -> String {
        String::from_utf8_lossy(&self.tree.to_text()).into_owned()
    }
}

#[cfg(test)]
mod tests;
