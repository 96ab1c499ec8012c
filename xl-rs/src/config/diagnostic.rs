//! What is wrong with a configuration, with the place and the way out, and how it is shown.
//!
//! A [`Problem`] is plain data; [`render`] turns problems into text with the line of the source and
//! a caret. Nothing here decides whether a command goes on: that is [`super::load`]'s.

use super::source::{Source, Sources};
use super::tree::Span;
use crate::printable;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use std::fmt;

/// Whether a problem stops the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The command goes on.
    Warning,
}

/// What to write in place of a stretch of the text, so that a problem is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// What takes its place; empty to remove it.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the command.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; empty for something that is missing altogether.
    pub span: Option<Span>,
    /// What to say beside the caret.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// A change of the text that mends it, where one is sure to.
    pub fix: Option<Box<Fix>>,
}

impl Problem {
    /// An error at `span`.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: label.into(),
            help: None,
            fix: None,
        }
    }

    /// A warning at `span`.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message, label) }
    }

    /// An error without a place.
    #[must_use]
    pub fn missing(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: String::new(),
            help: None,
            fix: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with a change that mends it.
    #[must_use]
    pub fn fix(self, fix: Fix) -> Self {
        self.fix_if(Some(fix))
    }

    /// The same with a change that mends it, where there is one.
    #[must_use]
    pub fn fix_if(mut self, fix: Option<Fix>) -> Self {
        self.fix = fix.map(Box::new);
        self
    }
}

/// A problem joined with its source text, as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::lines(&self.problem.message))
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let help = printable::lines(self.problem.help.as_ref()?);
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let source = self.source.as_ref()?;
        let span = self.problem.span?;
        let end = source.inner().len();
        let start = span.start.min(end);
        let length = span.end.clamp(start, end) - start;
        let label = (!self.problem.label.is_empty())
            .then(|| printable::line(&self.problem.label).into_owned());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, start, length))))
    }
}

/// The problems as text for people, each with its line and caret, in colour if `colour`.
#[must_use]
pub fn render(problems: &[Problem], sources: &Sources, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
    let mut out = String::new();
    for problem in problems {
        let source = problem.span.and_then(|span| sources.get(span.source));
        let moved = source.and_then(|source| in_template(problem, source));
        let problem = moved.as_ref().unwrap_or(problem);
        let source = source.map(|source| {
            let text = source.origin.as_ref().map(|origin| origin.template.as_bytes());
            let text = aligned(text.unwrap_or(&source.text));
            NamedSource::new(printable::line(&source.name), text)
        });
        // Writing into a String cannot fail; a failure inside miette still leaves the message.
        if handler.render_report(&mut out, &Shown { problem, source }).is_err() {
            out.push_str(&printable::lines(&problem.message));
            out.push('\n');
        }
    }
    out
}

/// The problem with its place in the template that has made the text, and with what it has made there.
/// None if no template has.
fn in_template(problem: &Problem, source: &Source) -> Option<Problem> {
    let (span, origin) = (problem.span?, source.origin.as_ref()?);
    let line = source.line(span.start);
    let lines = origin.template.split_inclusive('\n');
    let start: usize = lines.take(line - 1).map(str::len).sum();
    let written = origin.template[start..].split('\n').next().unwrap_or_default();
    let from = source.text[..span.start.min(source.text.len())].iter().rposition(|&b| b == b'\n');
    let made = &source.text[from.map_or(0, |at| at + 1)..];
    let made = String::from_utf8_lossy(made.split(|&b| b == b'\n').next().unwrap_or_default());
    let mut moved = problem.clone();
    let text = source.text.get(span.start..span.end).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    // What stands there literally, once, is pointed at; otherwise the whole line.
    let (at, length) = match written.match_indices(&*text).collect::<Vec<_>>()[..] {
        [(at, _)] if !text.is_empty() => (at, text.len()),
        _ => (written.len() - written.trim_start().len(), written.trim().len()),
    };
    let start = start + at;
    moved.span = Some(Span { start, end: start + length, ..span });
    if made.trim() != written.trim() {
        let made = format!("made here: {}", made.trim());
        let label = std::mem::take(&mut moved.label);
        moved.label = if label.is_empty() { made } else { format!("{label}; {made}") };
    }
    Some(moved)
}

/// The text with every byte that is not UTF-8, and every byte of a character that would steer a
/// terminal, replaced by one `?`, so that offsets stay what they were.
fn aligned(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if printable::steers(character) && !matches!(character, '\n' | '\t') {
                out.extend(std::iter::repeat_n('?', character.len_utf8()));
            } else {
                out.push(character);
            }
        }
        out.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_file_line_and_points_at_the_value() {
        let mut sources = Sources::default();
        let source = sources.add("/etc/xen/hpc.cfg", "name = \"n\"\nmemory = \"x\"\n");
        let problem = Problem::error(
            Span { source, start: 20, end: 23 },
            "memory is not a number",
            "expected MiB",
        )
        .help("write memory = 512");
        let text = render(&[problem], &sources, false);
        for part in
            ["memory is not a number", "/etc/xen/hpc.cfg:2:10", "expected MiB", "memory = 512"]
        {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn what_a_report_quotes_steers_no_terminal() {
        let mut sources = Sources::default();
        let source = sources.add("/tmp/\x1b[5m.cfg", "k = \"\x1b]0;x\u{202e}\"\n");
        let span = Span { source, start: 4, end: 14 };
        let problem = Problem::error(span, "no \x1b[1m", "no \u{9b}2J").help("a\x1bb\nc");
        let text = render(&[problem], &sources, false);
        assert!(!text.contains(|c: char| printable::steers(c) && c != '\n'), "{text:?}");
        assert!(text.contains("a?b") && text.contains("no ?[1m"), "{text}");
    }

    #[test]
    fn bytes_that_are_not_text_keep_their_offsets() {
        let text = b"a\xff\xfe\r\x1b[31m\xc2\x85z";
        let shown = aligned(text);
        assert_eq!(shown.len(), text.len());
        assert_eq!(shown, "a????[31m??z");
    }

    #[test]
    fn any_span_renders() {
        let mut sources = Sources::default();
        let source = sources.add("f", b"\xff\n".to_vec());
        for span in [(0, 0), (1, 1), (2, 2), (5, 9), (2, 1)] {
            let span = Span { source, start: span.0, end: span.1 };
            assert!(render(&[Problem::error(span, "m", "l")], &sources, true).contains('m'));
        }
    }
}
