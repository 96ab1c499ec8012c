//! The result of a template, cut where a configuration begins.
//!
//! In: a text with separators, its lines in the template. Out: the configurations. What stands before
//! the first of several may only be comment.

use super::Configuration;
use super::marks::{self, Marked};
use crate::config::source::Origin;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A longer name is no file's.
const LONGEST_NAME: usize = 200;

/// What is wrong with the result, and in which line of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Line of the template.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

/// Cuts a result.
///
/// # Errors
/// A name that no file can have, one that comes twice, or text that belongs to no configuration.
pub fn split(marked: Marked, template: &str) -> Result<Vec<Configuration>, Wrong> {
    let Marked { text, lines } = marked;
    let line_at = |offset: usize| {
        let line = text[..offset].matches('\n').count();
        lines.get(line).copied().unwrap_or(1)
    };
    let template: Arc<str> = template.into();
    let lines_from = |offset: usize, part: &str| {
        let first = text[..offset].matches('\n').count();
        let last = (first + part.split_inclusive('\n').count()).min(lines.len());
        let lines = lines.get(first..last).unwrap_or_default().to_vec();
        Arc::new(Origin { template: Arc::clone(&template), lines })
    };
    let Some(begin) = marks::find_separator(&text) else {
        let origin = lines_from(0, &text);
        return Ok(vec![Configuration { name: None, text, origin }]);
    };
    let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if let Some(at) = text[..begin].split('\n').position(is_code) {
        let line = lines.get(at).copied().unwrap_or(1);
        let message = String::from("this line belongs to no configuration");
        let help = "write it after {{ config(…) }}, or into a macro that each of them calls";
        return Err(Wrong { line, message, help });
    }
    let (mut found, mut seen) = (Vec::new(), BTreeMap::new());
    let mut offset = begin;
    while let Some((name, rest)) = marks::take_separator(&text[offset..]) {
        let line = line_at(offset);
        check_name(name).map_err(|message| Wrong { line, message, help: NAME_HELP })?;
        if seen.insert(name.to_owned(), line).is_some() {
            let message = format!("two configurations are called {name:?}");
            return Err(Wrong { line, message, help: "give each a name of its own" });
        }
        let start = text.len() - rest.len();
        let length = marks::find_separator(rest).unwrap_or(rest.len());
        // The rest of the separator's own line is no line of the configuration.
        let body = &rest[..length];
        let body = body.strip_prefix('\n').unwrap_or(body);
        let origin = lines_from(start + (rest[..length].len() - body.len()), body);
        found.push(Configuration { name: Some(name.to_owned()), text: body.to_owned(), origin });
        offset = start + length;
    }
    Ok(found)
}

const NAME_HELP: &str = "letters, digits, -, _ and . make a name; .cfg is added to it";

fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > LONGEST_NAME {
        Err(format!("a configuration's name has 1 to {LONGEST_NAME} characters"))
    } else if name.starts_with('.') || !name.bytes().all(plain) {
        Err(format!("{name:?} is no name for a file of a configuration"))
    } else {
        Ok(())
    }
}
