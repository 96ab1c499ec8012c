//! The values that a template is given: files of TOML, and `--set` on the command line.
//!
//! Later ones override earlier ones, key by key; `--set` comes last. Pure.

use minijinja::Value;
use toml::{Table, Value as Toml};

/// Joins tables: where both have a table it is joined, elsewhere the second counts.
pub fn join(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Toml::Table(before)), Toml::Table(after)) => join(before, after),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Reads `KEY=VALUE`, where KEY may be `a.b`.
///
/// # Errors
/// What is wrong with it.
pub fn assignment(text: &str) -> Result<Table, String> {
    let Some((path, value)) = text.split_once('=') else {
        return Err(format!("{text:?} is no assignment: write NAME=VALUE"));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && part.chars().all(plain)
    };
    let mut parts: Vec<&str> = path.split('.').collect();
    if !parts.iter().all(|part| name(part)) {
        return Err(format!(
            "{path:?} is no name of a value: letters, digits and _, with . between"
        ));
    }
    let mut table = Table::new();
    let Some(last) = parts.pop() else { return Ok(table) };
    table.insert(last.to_owned(), scalar(value));
    for part in parts.into_iter().rev() {
        table = Table::from_iter([(part.to_owned(), Toml::Table(table))]);
    }
    Ok(table)
}

/// A value as TOML has it (16, true, ["a", "b"]); what is none, or a fraction or a date, is a text.
fn scalar(text: &str) -> Toml {
    let read = toml::from_str::<Table>(&format!("value = {text}"));
    // A second line would be a second value.
    let alone = read.ok().filter(|table| table.len() == 1 && !text.contains('\n'));
    match alone.and_then(|mut table| table.remove("value")) {
        None | Some(Toml::Float(_) | Toml::Datetime(_)) => Toml::String(text.to_owned()),
        Some(value) => value,
    }
}

/// The values as the engine has them.
#[must_use]
pub fn of(table: &Table) -> Value {
    Value::from_pairs(table.iter().map(|(key, value)| (key.as_str(), one(value))))
}

fn one(value: &Toml) -> Value {
    match value {
        Toml::String(text) => Value::from(text.as_str()),
        Toml::Integer(number) => Value::from(*number),
        Toml::Float(number) => Value::from(*number),
        Toml::Boolean(truth) => Value::from(*truth),
        Toml::Datetime(date) => Value::from(date.to_string()),
        Toml::Array(items) => items.iter().map(one).collect(),
        Toml::Table(table) => of(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|text| toml::from_str::<Table>(text).expect(text));
            assert_eq!(assignment(text).ok(), expected, "{text:?}");
        };
        check("nodes=16", Some("nodes = 16"));
        check("name=job-17", Some("name = 'job-17'"));
        check("name=007", Some("name = '007'"));
        check("memory=4G", Some("memory = '4G'"));
        check("quiet=true", Some("quiet = true"));
        check("numa=[\"0-3\", \"4-7\"]", Some("numa = ['0-3', '4-7']"));
        check("site.bridge=br0", Some("[site]\nbridge = 'br0'"));
        check("extra=a=b", Some("extra = 'a=b'"));
        check("day=2026-01-01", Some("day = '2026-01-01'"));
        check("version=1.10", Some("version = '1.10'"));
        check("a=1\nb=2", Some("a = \"1\\nb=2\""));
        check("empty=", Some("empty = ''"));
        check("nodes", None);
        check("=1", None);
        check("a..b=1", None);
        check("1a=1", None);
    }

    #[test]
    fn later_values_count_key_by_key() {
        let mut all: Table = toml::from_str("a = 1\n[site]\nb = 1\nc = 1").unwrap();
        join(&mut all, toml::from_str("a = 2\n[site]\nc = 2").unwrap());
        assert_eq!(all, toml::from_str("a = 2\n[site]\nb = 1\nc = 2").unwrap());
        join(&mut all, toml::from_str("site = 3").unwrap());
        assert_eq!(all, toml::from_str("a = 2\nsite = 3").unwrap());
    }
}
