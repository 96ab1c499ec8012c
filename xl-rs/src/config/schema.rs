//! The JSON Schema of a configuration, from the table of keys.
//!
//! In: [`super::keys::KEYS`], and settings that were read. Out: a schema (draft 2020-12), and a
//! configuration as the document that it describes: one object, key by key. Pure.
//!
//! The schema knows form and limits of every key. What needs more than one key (maxmem below memory),
//! or the syntax of a description, only [`super::load`] sees. A key that is in no table is refused, where
//! `create` warns; a key that has no effect is marked as deprecated.

use super::keys::{Fate, Form, KEYS, Key};
use super::reader::c_number;
use super::settings::Settings;
use super::tree::{Kind, Value as Written};
use serde_json::{Map, Value, json};

/// What the schema calls itself.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// A number in a text, in C's notation.
const NUMBER: &str = r"^[ \t\n]*[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$";
/// An amount of memory in a text.
const AMOUNT: &str = r"^[ \t]*\+?(0[xX][0-9a-fA-F]+|[0-9]+)[ \t]*([kKmMgGtT]([iI]?[bB])?)?[ \t]*$";

/// The whole schema.
#[must_use]
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in KEYS.iter().filter(|key| key.fate != Fate::Part) {
        properties.insert(key.name.to_owned(), property(key));
    }
    json!({
        "$schema": DIALECT,
        "title": "xl.cfg as xlr reads it",
        "description": "A configuration as one object; xlr config check --json prints it as settings.",
        "type": "object",
        "properties": properties,
        "required": ["name", "kernel"],
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut found = match key.fate {
        Fate::Honoured => of_form(key.form),
        // Asking for nothing is fine.
        Fate::Refused(_) => json!({ "enum": ["", "0", 0, []] }),
        Fate::Ignored(_) | Fate::Part => json!({}),
    };
    let what = match key.fate {
        Fate::Honoured | Fate::Part => {
            let parts = parts(key.name);
            if parts.is_empty() { key.what.to_owned() } else { format!("{}; {parts}", key.what) }
        }
        Fate::Refused(why) => format!("Cannot be honoured: {why}"),
        Fate::Ignored(why) => format!("Has no effect: {why}"),
    };
    if key.name == "vif" {
        // An empty text is an interface, too.
        found = of_form(Form::TextOrTexts);
        found["anyOf"][0] = json!({ "const": "" });
    }
    found["description"] = what.into();
    if matches!(key.fate, Fate::Ignored(_)) {
        found["deprecated"] = true.into();
    }
    found
}

/// The parts of the strings in a list.
fn parts(name: &str) -> String {
    let parts = KEYS.iter().filter_map(|key| key.name.strip_prefix(name)?.strip_prefix('.'));
    let parts: Vec<&str> = parts.collect();
    if parts.is_empty() { String::new() } else { format!("parts: {}", parts.join(", ")) }
}

fn of_form(form: Form) -> Value {
    let text = json!({ "type": ["string", "integer"] });
    let filled = json!({ "type": ["string", "integer"], "minLength": 1 });
    match form {
        Form::Text => text,
        Form::Filled => filled,
        Form::OneOf(words) => {
            // A bare number counts as its text.
            let numbers = words.iter().filter_map(|word| word.parse::<u8>().ok());
            let words = words.iter().map(|&word| Value::from(word));
            json!({ "enum": words.chain(numbers.map(Value::from)).collect::<Vec<_>>() })
        }
        Form::Number(range) => number(*range.start(), *range.end()),
        Form::Flag => number(i64::MIN, i64::MAX),
        Form::Memory(range_kib) => json!({ "anyOf": [
            { "type": "integer", "minimum": range_kib.start() >> 10, "maximum": range_kib.end() >> 10 },
            { "type": "string", "pattern": AMOUNT },
        ] }),
        Form::TextOrTexts => json!({ "anyOf": [text.clone(), { "type": "array", "items": text }] }),
        Form::Texts => json!({ "anyOf": [
            { "type": "array", "items": filled }, { "const": "" },
        ] }),
        Form::Items => json!({ "type": "array", "items": filled }),
        Form::Any => json!({}),
    }
}

fn number(low: i64, high: i64) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": low, "maximum": high },
        { "type": "string", "pattern": NUMBER },
    ] })
}

/// A configuration as the document that the schema describes. Bytes that are no text are replaced;
/// `load` has refused them.
#[must_use]
pub fn document(settings: &Settings) -> Value {
    let pairs = settings.iter().map(|(key, setting)| (key.clone(), value(&setting.value)));
    Value::Object(pairs.collect())
}

fn value(written: &Written) -> Value {
    match &written.kind {
        Kind::String(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Kind::Number(text) => c_number(text).map_or_else(|| text.clone().into(), Value::from),
        Kind::List(items) => items.iter().map(value).collect(),
    }
}
