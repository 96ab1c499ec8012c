//! What `config check --json` prints.

use crate::config::Loaded;
use crate::config::diagnostic::{Problem, Severity};
use crate::config::schema::document;
use crate::config::source::Sources;
use crate::config::tree::Span;
use serde_json::{Value, json};

/// One file: whether it would do, its problems, and what it sets.
#[must_use]
pub fn file(name: &str, loaded: &Loaded) -> Value {
    let worst = loaded.problems.iter().map(|problem| problem.severity);
    let status = match worst.max_by_key(|severity| *severity == Severity::Error) {
        None => "ok",
        Some(Severity::Warning) => "warned",
        Some(Severity::Error) => "refused",
    };
    let problems = loaded.problems.iter().map(|found| problem(found, &loaded.sources));
    let problems: Vec<Value> = problems.collect();
    let settings = document(&loaded.settings);
    json!({ "file": name, "status": status, "problems": problems, "settings": settings })
}

/// A file that could not be read.
#[must_use]
pub fn unread(name: &str, why: &str) -> Value {
    let problem = json!({
        "severity": "error", "message": why, "label": null, "help": null, "place": null, "fix": null,
    });
    json!({ "file": name, "status": "refused", "problems": [problem], "settings": null })
}

fn problem(problem: &Problem, sources: &Sources) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let label = Some(&problem.label).filter(|label| !label.is_empty());
    let fix = problem.fix.as_ref().map(|fix| {
        let place = place(fix.span, sources);
        json!({ "place": place, "text": fix.text })
    });
    json!({
        "severity": severity, "message": problem.message, "label": label, "help": problem.help,
        "place": problem.span.map(|span| place(span, sources)), "fix": fix,
    })
}

/// Where a span begins and ends. Lines and columns count from 1, columns in bytes.
fn place(span: Span, sources: &Sources) -> Value {
    let Some(source) = sources.get(span.source) else { return Value::Null };
    let at = |offset: usize| {
        let before = &source.text[..offset.min(source.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        (line, 1 + before.len() - start)
    };
    let ((line, column), (end_line, end_column)) = (at(span.start), at(span.end));
    json!({
        "file": source.name, "line": line, "column": column,
        "end_line": end_line, "end_column": end_column,
        "start_byte": span.start, "end_byte": span.end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn a_problem_has_its_place_and_its_fix() {
        let mut sources = Sources::default();
        sources.add("a.cfg", "name = 'a'\nkernel = '/k'\nmemmory = 64\n");
        let json = file("a.cfg", &load(sources));
        assert_eq!(json["status"], "warned");
        assert_eq!(json["settings"], json!({ "name": "a", "kernel": "/k", "memmory": 64 }));
        let found = &json["problems"][0];
        assert_eq!(found["place"]["line"], 3, "{json:#}");
        assert_eq!(found["place"]["end_column"], 8, "{json:#}");
        assert_eq!(found["fix"]["text"], "memory", "{json:#}");
        assert_eq!(json["problems"][1]["place"], Value::Null, "{json:#}");
    }
}
