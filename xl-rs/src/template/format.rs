//! How values are written into a configuration.
//!
//! A string is escaped as inside the quotes of xl.cfg, of either kind, so that no value can end the string
//! that it stands in. A list becomes a list of xl.cfg, a truth value 1 or 0. What xl.cfg has no form
//! for (nothing, a table, a fraction) is an error.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};
use std::fmt::Write as _;

/// Writes a value: the engine's formatter.
///
/// # Errors
/// What has no form.
pub fn write(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut text = String::new();
    if value.is_safe() {
        text.push_str(value.as_str().unwrap_or_default());
    } else if let Some(string) = value.as_str() {
        escape(string, &mut text);
    } else {
        literal(value, &mut text)?;
    }
    out.write_str(&text).map_err(|_| Error::new(ErrorKind::WriteFailure, "cannot write"))
}

/// A value as a literal of xl.cfg: strings in quotes.
///
/// # Errors
/// What has no form.
pub fn literal(value: &Value, out: &mut String) -> Result<(), Error> {
    let refuse = |what: &str| {
        let message = format!("xl.cfg has no form for {what}: write what is meant as a text");
        Err(Error::new(ErrorKind::InvalidOperation, message))
    };
    match value.kind() {
        ValueKind::Bool => out.push(if value.is_true() { '1' } else { '0' }),
        ValueKind::Number if value.is_integer() => {
            let text = value.to_string();
            if text.starts_with('-') {
                // A bare number has no sign.
                let _ = write!(out, "\"{text}\"");
            } else {
                out.push_str(&text);
            }
        }
        ValueKind::Number => return refuse("a fraction"),
        ValueKind::String => {
            out.push('"');
            escape(value.as_str().unwrap_or_default(), out);
            out.push('"');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                literal(&item, out)?;
            }
            out.push(']');
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => return refuse("nothing (none)"),
        ValueKind::Map => return refuse("a table"),
        _ => return refuse("this value"),
    }
    Ok(())
}

/// A text as it stands between quotes of either kind.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
}
