//! Marks in a template, from which the line of the template is known for every line of the result.
//!
//! A mark is put before the first character of every stretch of text on a line, where it changes nothing
//! about what the engine strips; statements get none. The reserved characters never occur in a template.

use std::collections::BTreeSet;

/// Begins a mark, or the name of a configuration.
const BEGIN: char = '\u{1}';
/// Ends a mark.
const END: char = '\u{2}';
/// Begins the name of a configuration ([`separator`]).
const NAME: char = '\u{3}';

/// Whether a template must not hold this character.
#[must_use]
pub const fn is_reserved(character: char) -> bool {
    matches!(character, BEGIN | END | NAME)
}

/// What a template emits where a configuration begins.
#[must_use]
pub fn separator(name: &str) -> String {
    format!("{NAME}{name}{END}")
}

/// Takes a separator from the beginning of a text: its name, and what follows it.
#[must_use]
pub fn take_separator(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(NAME)?.split_once(END)
}

/// Where the next separator begins.
#[must_use]
pub fn find_separator(text: &str) -> Option<usize> {
    text.find(NAME)
}

/// A text and, for each of its lines, the line of the template that it begins in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// The text without marks.
    pub text: String,
    /// Lines of the template; shorter than the text where they are not known.
    pub lines: Vec<usize>,
}

/// The template with marks.
#[must_use]
pub fn mark(template: &str) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let (mut rest, mut line, mut fresh) = (template, 1, true);
    while let Some(character) = rest.chars().next() {
        let tag = [("{%", "%}"), ("{{", "}}"), ("{#", "#}")];
        if let Some((begin, end)) = tag.into_iter().find(|(begin, _)| rest.starts_with(begin)) {
            // A tag that strips what is before it must find blanks there, and no mark.
            if begin == "{{" && fresh && !rest[2..].starts_with(['-', '+']) {
                push(&mut out, line);
            }
            let length = 2 + tag_length(&rest[2..], end, begin != "{#");
            out.push_str(&rest[..length]);
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
            fresh = true;
            continue;
        }
        if character == '\n' {
            line += 1;
            fresh = true;
        } else if fresh && !character.is_whitespace() {
            push(&mut out, line);
            fresh = false;
        }
        out.push(character);
        rest = &rest[character.len_utf8()..];
    }
    out
}

/// The words in the tags of a template: every name that it uses is among them.
#[must_use]
pub fn words(template: &str) -> BTreeSet<&str> {
    let (mut words, mut rest) = (BTreeSet::new(), template);
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let tag = [("{%", "%}"), ("{{", "}}"), ("{#", "#}")];
        let Some((begin, end)) = tag.into_iter().find(|(begin, _)| rest.starts_with(begin)) else {
            rest = &rest[1..];
            continue;
        };
        let length = 2 + tag_length(&rest[2..], end, begin != "{#");
        if begin != "{#" {
            let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            words.extend(rest[..length].split(word).filter(|word| !word.is_empty()));
        }
        rest = &rest[length..];
    }
    words
}

fn push(out: &mut String, line: usize) {
    out.push_str(&format!("{BEGIN}{line}{END}"));
}

/// How long a tag is after its beginning, its end included; strings in it may hold what looks like one.
fn tag_length(text: &str, end: &str, strings: bool) -> usize {
    let (mut quote, mut escaped) = (None, false);
    for (at, character) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if text[at..].starts_with(end) => return at + end.len(),
            None if strings && matches!(character, '"' | '\'') => quote = Some(character),
            None => {}
        }
    }
    text.len()
}

/// Takes the marks out of a result, and learns the lines from them.
#[must_use]
pub fn read(marked: &str) -> Marked {
    let (mut text, mut lines, mut current) =
        (String::with_capacity(marked.len()), Vec::new(), None);
    for line in marked.split_inclusive('\n') {
        let mut first = None;
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(BEGIN) {
            text.push_str(before);
            let (number, behind) = after.split_once(END).unwrap_or((after, ""));
            if let Ok(number) = number.parse() {
                first.get_or_insert(number);
                current = Some(number);
            }
            rest = behind;
        }
        text.push_str(rest);
        // A line without a mark of its own came with the one before it.
        lines.push(first.or(current).unwrap_or(1));
    }
    Marked { text, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_before_text_and_never_where_blanks_are_stripped() {
        let check = |template: &str, expected: &str| {
            let shown = mark(template).replace(BEGIN, "<").replace(END, ">");
            assert_eq!(shown, expected, "{template:?}");
        };
        check("", "");
        check("a = 1\n  b = 2\n\n", "<1>a = 1\n  <2>b = 2\n\n");
        check("{% if x %}\na\n{% endif %}\n", "{% if x %}\n<2>a\n{% endif %}\n");
        check("  {{ a }} b\n{{- c }}\n", "  <1>{{ a }} <1>b\n{{- c }}\n");
        check("{# a\nb #}c\n", "{# a\nb #}<2>c\n");
        check("{{ \"}}\" }}x{{ '\\'}}' }}", "<1>{{ \"}}\" }}<1>x{{ '\\'}}' }}");
        check("{% unclosed", "{% unclosed");
    }

    #[test]
    fn words_stand_in_tags() {
        let check = |template: &str, expected: &[&str]| {
            assert_eq!(words(template).into_iter().collect::<Vec<_>>(), expected, "{template:?}");
        };
        check("a {b} {", &[]);
        check(
            "a {{ b | c(\"}}d\") }} e {# f #} {% set g = g.h %}",
            &["b", "c", "d", "g", "h", "set"],
        );
        check("{{ a", &["a"]);
    }

    #[test]
    fn what_is_read_is_the_text_and_its_lines() {
        let check = |marked: &str, text: &str, lines: &[usize]| {
            let marked = marked.replace('<', &BEGIN.to_string()).replace('>', &END.to_string());
            let found = read(&marked);
            assert_eq!((found.text.as_str(), found.lines.as_slice()), (text, lines), "{marked:?}");
        };
        check("", "", &[]);
        check("<1>a\n  <3>b<3>c\nd\n", "a\n  bc\nd\n", &[1, 3, 3]);
        check("\n<2>a", "\na", &[1, 2]);
        check("<x>a<", "a", &[1]);
    }
}
