//! The syntax tree of an xl.cfg: what was written, and where.
//!
//! Comes from [`super::parse`], goes into [`super::settings`]. Knows neither keys nor meanings, and
//! keeps strings as bytes because xl.cfg passes any 8-bit text through.

use std::fmt;

/// A stretch of one source text, in bytes. `source` indexes [`super::source::Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Which text.
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// `=` or `+=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Replaces what was set before.
    Set,
    /// Joins strings, or appends to a list.
    Append,
}

/// One `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The key: a lower-case letter, then letters, digits, `.` and `_`.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// How the value joins what was set before.
    pub operator: Operator,
    /// The value.
    pub value: Value,
}

/// A value and where it stands, quotes and brackets included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// The three forms a value can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted string, escapes resolved.
    String(Vec<u8>),
    /// An unquoted number, as written.
    Number(String),
    /// A bracketed list.
    List(Vec<Value>),
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The assignments in the order of the file.
    pub assignments: Vec<Assignment>,
}

impl Span {
    /// The part of a string literal's span that covers `start..end` of its text, when the literal
    /// holds no escapes (`text_len` tells); the whole literal otherwise.
    #[must_use]
    pub fn inside_literal(self, text_len: usize, start: usize, end: usize) -> Self {
        if self.end - self.start == text_len + 2 && end <= text_len {
            Self { source: self.source, start: self.start + 1 + start, end: self.start + 1 + end }
        } else {
            self
        }
    }
}

impl Kind {
    /// What to call it in a message.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Number(_) => "a number",
            Self::List(_) => "a list",
        }
    }
}

impl Tree {
    /// The same tree with every span zeroed, so that two trees can be compared by content.
    #[must_use]
    pub fn without_spans(mut self) -> Self {
        fn clear(value: &mut Value) {
            value.span = Span::default();
            if let Kind::List(items) = &mut value.kind {
                items.iter_mut().for_each(clear);
            }
        }
        for assignment in &mut self.assignments {
            assignment.key_span = Span::default();
            clear(&mut assignment.value);
        }
        self
    }

    /// The tree as xl.cfg text, one assignment per line. Bytes, because strings are.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for assignment in &self.assignments {
            out.extend_from_slice(assignment.key.as_bytes());
            out.extend_from_slice(match assignment.operator {
                Operator::Set => b" = ",
                Operator::Append => b" += ",
            });
            write_value(&assignment.value, &mut out);
            out.push(b'\n');
        }
        out
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_text()))
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match &value.kind {
        Kind::Number(text) => out.extend_from_slice(text.as_bytes()),
        Kind::String(bytes) => write_string(bytes, out),
        Kind::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write_value(item, out);
            }
            out.push(b']');
        }
    }
}

fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match escape_letter(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The letter that stands for `byte` after a backslash, where it needs one inside `"…"`.
const fn escape_letter(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x07 => b'a',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x0b => b'v',
        _ => return None,
    })
}
