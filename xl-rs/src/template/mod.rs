//! Templates: one text and values → one or many configurations.
//!
//! ```text
//!   TEMPLATE, values ──render──▶ text ──split──▶ configurations, each line with the template's
//! ```
//!
//! In: a template (Jinja's language, by minijinja), and values. Out: texts of xl.cfg, and for every line of
//! them the line of the template that it came from, so that a problem is shown there. Pure: no file, no
//! clock, no chance; the same input gives the same bytes.
//!
//! A value that is not defined is an error. What is inserted is escaped as in a string of xl.cfg
//! ([`format`]); [`functions`] has what a template can call.

pub mod cluster;
pub mod format;
pub mod functions;
pub mod marks;
pub mod ranges;
pub mod split;
pub mod values;

use crate::config::diagnostic::Problem;
use crate::config::source::{Origin, Sources};
use crate::config::tree::Span;
use marks::Marked;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use std::sync::Arc;

/// A larger text is not a template.
pub const MAX_LENGTH: usize = 1 << 20;
/// All configurations of a template together.
pub const MAX_OUTPUT: usize = 64 << 20;
/// Steps of the template's program: enough for thousands of guests, and an end to endless loops.
const FUEL: u64 = 5_000_000;
/// How deep macros may call each other.
const DEEPEST: usize = 200;

/// One configuration that a template makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// What it is called, without `.cfg`; none if the template does not say, and makes one only.
    pub name: Option<String>,
    /// The text.
    pub text: String,
    /// The template, and the line of it for each line of the text.
    pub origin: Arc<Origin>,
}

impl Configuration {
    /// The text as a source whose problems are shown in the template.
    pub fn add_to(&self, sources: &mut Sources, template: &str) -> usize {
        sources.add_rendered(template, self.text.as_bytes(), Arc::clone(&self.origin))
    }
}

/// Renders a template. `name` is what messages call it.
///
/// # Errors
/// Every problem, with the template as its only source.
pub fn render(
    name: &str,
    template: &str,
    values: &Value,
) -> Result<Vec<Configuration>, (Sources, Vec<Problem>)> {
    let mut sources = Sources::default();
    let source = sources.add(name, template);
    let whole = Span { source, start: 0, end: 0 };
    let refuse = |problem: Problem| Err((sources.clone(), vec![problem]));
    if template.len() > MAX_LENGTH {
        let message = format!("the template is larger than {} KiB", MAX_LENGTH >> 10);
        return refuse(
            Problem::error(whole, message, "").help("check that this is the file you meant"),
        );
    }
    if let Some(at) = template.find(marks::is_reserved) {
        let span = Span { source, start: at, end: at + 1 };
        let problem = Problem::error(span, "a control character in the template", "here");
        return refuse(problem.help("remove it: a template is text"));
    }
    let plain = match evaluate(name, template, values) {
        Ok(plain) => plain,
        Err(error) => return refuse(problem_of(&error, template, source)),
    };
    // The text never depends on the marks: where they would change it, lines are not known.
    let marked = evaluate(name, &marks::mark(template), values).ok();
    let marked = marked.map(|text| marks::read(&text)).filter(|marked| marked.text == plain);
    let marked = marked.unwrap_or_else(|| Marked { lines: Vec::new(), text: plain });
    split::split(marked, template).or_else(|wrong| {
        let span = line_span(template, source, wrong.line);
        refuse(Problem::error(span, wrong.message, "here").help(wrong.help))
    })
}

fn evaluate(name: &str, template: &str, values: &Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("xl.cfg".into()));
    environment.set_formatter(format::write);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEEPEST);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()?;
    environment.set_syntax(syntax);
    functions::add(&mut environment);
    let template = environment.template_from_named_str(name, template)?;
    let mut out = Bounded(Vec::new());
    template.render_captured_to(values.clone(), &mut out)?;
    String::from_utf8(out.0)
        .map_err(|_| Error::new(ErrorKind::BadSerialization, "the result is not UTF-8 text"))
}

/// Memory with an end.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            let message = format!("the template makes more than {} MiB", MAX_OUTPUT >> 20);
            return Err(std::io::Error::other(message));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the engine says, at its place in the template.
fn problem_of(error: &Error, template: &str, source: usize) -> Problem {
    let span = match error.range() {
        Some(range) => Span { source, start: range.start, end: range.end },
        None => line_span(template, source, error.line().unwrap_or(1)),
    };
    let mut message = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, _) => String::from("this value is not defined"),
        (ErrorKind::OutOfFuel, _) => String::from("the template does not come to an end"),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        message.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    let help = match error.kind() {
        ErrorKind::UndefinedError => {
            "give it by --set NAME=VALUE or in a file of --values, or write {{ NAME | default(…) }}"
        }
        ErrorKind::SyntaxError => {
            "{{ … }} inserts a value, {% … %} is a statement, {# … #} a comment"
        }
        ErrorKind::UnknownFunction | ErrorKind::UnknownFilter => {
            "docs/templates.md lists the functions and filters that there are"
        }
        _ => return Problem::error(span, message, "here"),
    };
    Problem::error(span, message, "here").help(help)
}

/// A line without the blanks around it; lines count from 1.
fn line_span(template: &str, source: usize, line: usize) -> Span {
    let mut start = 0;
    for (number, text) in (1..).zip(template.split_inclusive('\n')) {
        if number == line {
            let blank = text.len() - text.trim_start().len();
            let start = start + blank.min(text.trim_end_matches('\n').len());
            return Span { source, start, end: start + text.trim().len() };
        }
        start += text.len();
    }
    Span { source, start, end: start }
}

#[cfg(test)]
mod tests;
