//! Facts about the host, as `info` prints them: `key : value` lines, one value, or JSON.

use serde_json::{Map, Value};
use std::fmt::Write;

/// Facts in the order of printing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts(Vec<(&'static str, Value)>);

impl Facts {
    /// Adds a fact.
    pub fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push((key, value.into()));
    }

    /// The value of one fact as `info KEY` prints it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| plain(value))
    }

    /// One line per fact, the colons under each other.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            // Writing into a String cannot fail.
            let _ = match plain(value) {
                table if table.starts_with('\n') => writeln!(out, "{key:<23}:{table}"),
                line => writeln!(out, "{key:<23}: {line}"),
            };
        }
        out
    }

    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object: Map<String, Value> =
            self.0.iter().map(|(key, value)| (String::from(*key), value.clone())).collect();
        Value::Object(object)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_xls() {
        let mut facts = Facts::default();
        facts.add("host", "dom0");
        facts.add("nr_cpus", 1);
        facts.add("xen_changeset", "");
        facts.add("numa_info", "\nnode:\n   0:");
        assert_eq!(
            facts.to_text(),
            "host                   : dom0\nnr_cpus                : 1\nxen_changeset          : \n\
             numa_info              :\nnode:\n   0:\n"
        );
        assert_eq!(facts.get("nr_cpus").as_deref(), Some("1"));
        assert_eq!(facts.get("nosuch"), None);
        assert_eq!(facts.to_json()["nr_cpus"], 1);
    }
}
