//! xl.cfg text into a [`Tree`], by nom.
//!
//! In: bytes and the index of their source. Out: the assignments that could be read, and a
//! [`Problem`] for each statement that could not; parsing goes on at the next line that begins an
//! assignment. Knows no key. Never panics, and nests no deeper than [`MAX_DEPTH`].
//!
//! The grammar, as the xl.cfg of the distributions is read:
//!
//! ```text
//! file       := statement* [assignment]
//! statement  := [assignment] (NEWLINE | ';')
//! assignment := IDENT ('=' | '+=') value
//! value      := STRING | NUMBER | '[' nl* [item (',' nl* item)* [',' nl*]] ']'
//! item       := value nl*
//! ```
//!
//! Space, tab and `#` comments may stand between any two tokens.

use super::diagnostic::{Fix, Problem};
use super::tree::{Assignment, Kind, Operator, Span, Tree, Value};
use crate::printable;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::combinator::{map, opt};
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser};

/// Lists inside lists beyond this are refused; no key of xl.cfg takes more than three.
pub const MAX_DEPTH: usize = 32;
/// A larger file is not a configuration.
pub const MAX_LENGTH: usize = 1 << 20;
/// After this many syntax errors the rest of the file is not reported on.
pub const MAX_ERRORS: usize = 20;

/// What to do about a value that is none.
pub const VALUE_HELP: &str =
    "a value is a number, a string in quotes, or a [list]: put a word in quotes";

/// Why a statement could not be read. Carries how many bytes were left there, since nom works on
/// suffixes of the text.
#[derive(Debug)]
struct Fault {
    left: usize,
    length: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    ExpectedKey,
    ExpectedOperator,
    ExpectedValue,
    ExpectedSeparator,
    ExpectedItemEnd,
    UnclosedList,
    UnclosedString,
    BadEscape(u8),
    NumericEscape,
    CarriageReturn,
    UpperCaseKey,
    Nested,
    Sign,
}

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Self { left: input.len(), length: 1, what: What::ExpectedValue }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Step<'a, T> = IResult<&'a [u8], T, Fault>;

/// Reads a text. The tree holds every assignment that could be read, in order.
#[must_use]
pub fn parse(text: &[u8], source: usize) -> (Tree, Vec<Problem>) {
    let grammar = Grammar { text, source };
    let mut tree = Tree::default();
    let mut problems = Vec::new();
    if text.len() > MAX_LENGTH {
        let span = Span { source, start: 0, end: 0 };
        let message = format!("the configuration is larger than {} KiB", MAX_LENGTH / 1024);
        problems
            .push(Problem::error(span, message, "").help("check that this is the file you meant"));
        return (tree, problems);
    }
    let mut rest = text;
    let mut seen_carriage_return = false;
    while !rest.is_empty() {
        match grammar.statement(rest) {
            Ok((next, assignment)) => {
                tree.assignments.extend(assignment);
                rest = next;
            }
            Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
                let again = fault.what == What::CarriageReturn && seen_carriage_return;
                seen_carriage_return |= fault.what == What::CarriageReturn;
                if !again {
                    problems.push(grammar.problem(&fault));
                }
                if problems.len() == MAX_ERRORS {
                    break;
                }
                rest = next_statement(&text[text.len() - fault.left..]);
            }
            // The complete parsers never ask for more.
            Err(nom::Err::Incomplete(_)) => break,
        }
    }
    (tree, problems)
}

/// The key that a text which is one assignment sets, though its value may not be readable; none if
/// the assignment adds to what is there.
#[must_use]
pub fn replaced_key(text: &[u8]) -> Option<&str> {
    let (_, (_, key, _, operator)) = (blank, identifier, blank, operator).parse(text).ok()?;
    if operator == Operator::Set { std::str::from_utf8(key).ok() } else { None }
}

/// The first line after this point that looks like an assignment.
fn next_statement(mut rest: &[u8]) -> &[u8] {
    while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
        rest = &rest[newline + 1..];
        let begins = (blank, identifier, blank, operator).parse(rest).is_ok();
        if begins {
            return rest;
        }
    }
    &[]
}

struct Grammar<'a> {
    text: &'a [u8],
    source: usize,
}

impl<'a> Grammar<'a> {
    fn span(&self, from: &[u8], to: &[u8]) -> Span {
        let total = self.text.len();
        Span { source: self.source, start: total - from.len(), end: total - to.len() }
    }

    fn statement(&self, input: &'a [u8]) -> Step<'a, Option<Assignment>> {
        let (rest, ()) = blank(input)?;
        let (rest, assignment) = match rest.first() {
            None | Some(b'\n' | b';') => (rest, None),
            Some(_) => map(|i| self.assignment(i), Some).parse(rest)?,
        };
        let (rest, ()) = blank(rest)?;
        match rest.first() {
            None => Ok((rest, assignment)),
            Some(b'\n' | b';') => Ok((&rest[1..], assignment)),
            Some(_) => fail(rest, What::ExpectedSeparator),
        }
    }

    fn assignment(&self, input: &'a [u8]) -> Step<'a, Assignment> {
        let Ok((after_key, key)) = identifier(input) else {
            let upper = input.first().is_some_and(u8::is_ascii_uppercase);
            return fail(input, if upper { What::UpperCaseKey } else { What::ExpectedKey });
        };
        let (rest, ()) = blank(after_key)?;
        let Ok((rest, operator)) = operator(rest) else {
            return fail(rest, What::ExpectedOperator);
        };
        let (rest, ()) = blank(rest)?;
        let (rest, value) = self.value(rest, 0)?;
        let key_span = self.span(input, after_key);
        // An identifier is ASCII by its definition.
        let key = String::from_utf8_lossy(key).into_owned();
        Ok((rest, Assignment { key, key_span, operator, value }))
    }

    fn value(&self, input: &'a [u8], depth: usize) -> Step<'a, Value> {
        let (rest, kind) = match input.first() {
            Some(b'"' | b'\'') => string(input)?,
            Some(b'0'..=b'9') => number(input)?,
            Some(b'[') if depth == MAX_DEPTH => return fail(input, What::Nested),
            Some(b'[') => self.list(input, depth)?,
            Some(b'-' | b'+') => return fail(input, What::Sign),
            _ => return fail(input, What::ExpectedValue),
        };
        Ok((rest, Value { kind, span: self.span(input, rest) }))
    }

    fn list(&self, input: &'a [u8], depth: usize) -> Step<'a, Kind> {
        let mut items = Vec::new();
        let (mut rest, ()) = blank_lines(&input[1..])?;
        loop {
            if let Some(b']') = rest.first() {
                return Ok((&rest[1..], Kind::List(items)));
            }
            if rest.is_empty() {
                return fail(input, What::UnclosedList);
            }
            let (after, item) = self.value(rest, depth + 1)?;
            items.push(item);
            let (after, ()) = blank_lines(after)?;
            rest = match after.first() {
                Some(b',') => blank_lines(&after[1..])?.0,
                Some(b']') => after,
                None => return fail(input, What::UnclosedList),
                Some(_) => return fail(after, What::ExpectedItemEnd),
            };
        }
    }

    /// A value without quotes put in quotes, if all that follows `=` on the line is one word.
    fn quoted(&self, at: usize) -> Option<Fix> {
        let from = self.text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let to = self.text[at..].iter().position(|&byte| byte == b'\n');
        let to = to.map_or(self.text.len(), |length| at + length);
        let line = std::str::from_utf8(&self.text[from..to]).ok()?;
        let (_, value) = line.split_once('=')?;
        let start = from + line.len() - value.trim_start().len();
        // What cannot be in such a word begins a comment.
        let word = value.split('#').next().unwrap_or_default().trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._:+-".contains(c);
        let whole = replaced_key(line.as_bytes()).is_some() && start <= at;
        (whole && !word.is_empty() && word.chars().all(plain)).then(|| Fix {
            span: Span { source: self.source, start, end: start + word.len() },
            text: format!("\"{word}\""),
        })
    }

    fn problem(&self, fault: &Fault) -> Problem {
        let start = self.text.len() - fault.left;
        let rest = &self.text[start..];
        // The end of the text or of a line has no character to point at.
        let length = if matches!(rest.first(), None | Some(b'\n')) { 0 } else { fault.length };
        let span = Span { source: self.source, start, end: start + length };
        let found = found(rest);
        match fault.what {
            What::ExpectedKey => {
                Problem::error(span, format!("expected a key, found {found}"), "key expected here")
                    .help("a line reads KEY = VALUE; a comment begins with #")
            }
            What::UpperCaseKey => {
                Problem::error(span, "a key begins with a lower-case letter", "key expected here")
                    .help("xl.cfg keys are lower case throughout")
            }
            What::ExpectedOperator => {
                Problem::error(span, format!("expected = or +=, found {found}"), "= expected here")
                    .help("keys are lower case letters, digits, . and _ only")
            }
            What::ExpectedValue => Problem::error(
                span,
                format!("expected a value, found {found}"),
                "value expected here",
            )
            .help(VALUE_HELP)
            .fix_if(self.quoted(start)),
            What::ExpectedSeparator => Problem::error(
                span,
                format!("expected the end of the line, found {found}"),
                "not part of the value before",
            )
            .help("put strings and numbers with a unit in quotes, and ; between assignments")
            .fix_if(self.quoted(start)),
            What::ExpectedItemEnd => Problem::error(
                span,
                format!("expected , or ], found {found}"),
                ", or ] expected here",
            )
            .help("items of a list are separated by commas"),
            What::UnclosedList => Problem::error(span, "this list is never closed", "opened here")
                .help("close it with ]"),
            What::UnclosedString => {
                Problem::error(span, "this string does not end on its line", "opened here")
                    .help("close it with the same quote; a string cannot go on in the next line")
            }
            What::BadEscape(byte) => {
                let letter = char::from(byte).escape_default();
                Problem::error(span, format!("\\{letter} is no escape"), "unknown escape").help(
                    "escapes are \\\" \\' \\\\ \\a \\b \\f \\n \\r \\t \\v; write \\\\ for a backslash",
                )
            }
            What::NumericEscape => {
                Problem::error(span, "numeric escapes do not work in xl.cfg", "numeric escape")
                    .help("write the character itself; any 8-bit text may stand in a string")
            }
            What::CarriageReturn => {
                Problem::error(span, "the file has DOS line ends", "carriage return")
                    .help("convert it: sed -i 's/\\r$//' FILE")
            }
            What::Sign => Problem::error(
                span,
                format!("a number without quotes has no sign, found {found}"),
                "sign",
            )
            .help("where a negative number makes sense, write it in quotes: \"-1\""),
            What::Nested => Problem::error(
                span,
                format!("lists are nested deeper than {MAX_DEPTH}"),
                "one list too many",
            )
            .help("no key takes lists this deep"),
        }
    }
}

fn fail<T>(input: &[u8], what: What) -> Step<'_, T> {
    let what = if input.first() == Some(&b'\r') { What::CarriageReturn } else { what };
    Err(nom::Err::Failure(Fault { left: input.len(), length: 1, what }))
}

/// What stands at a point, in words.
fn found(rest: &[u8]) -> String {
    match rest.first() {
        None => String::from("the end of the text"),
        Some(b'\n') => String::from("the end of the line"),
        Some(&byte) if byte.is_ascii_graphic() => format!("'{}'", char::from(byte)),
        Some(&byte) if byte >= 0x80 => {
            let head = &rest[..rest.len().min(4)];
            match head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
                Some(character) if !printable::steers(character) => format!("'{character}'"),
                _ => format!("byte 0x{byte:02x}"),
            }
        }
        Some(&byte) => format!("byte 0x{byte:02x}"),
    }
}

fn blank(input: &[u8]) -> Step<'_, ()> {
    let (rest, _) = take_while(|byte| matches!(byte, b' ' | b'\t')).parse(input)?;
    let (rest, _) = opt((tag("#"), take_while(|byte| byte != b'\n'))).parse(rest)?;
    Ok((rest, ()))
}

fn blank_lines(mut input: &[u8]) -> Step<'_, ()> {
    loop {
        let (rest, ()) = blank(input)?;
        match rest.first() {
            Some(b'\n') => input = &rest[1..],
            _ => return Ok((rest, ())),
        }
    }
}

fn identifier(input: &[u8]) -> Step<'_, &[u8]> {
    if !input.first().is_some_and(u8::is_ascii_lowercase) {
        return Err(nom::Err::Error(Fault::from_error_kind(input, ErrorKind::Alpha)));
    }
    take_while(|byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_')
    })
    .parse(input)
}

fn operator(input: &[u8]) -> Step<'_, Operator> {
    alt((map(tag("+="), |_| Operator::Append), map(tag("="), |_| Operator::Set))).parse(input)
}

/// `[0-9][0-9a-fx]*`: whether it is a number that means something is for the lowering to say.
fn number(input: &[u8]) -> Step<'_, Kind> {
    let (rest, digits) =
        take_while(|byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'x')).parse(input)?;
    Ok((rest, Kind::Number(String::from_utf8_lossy(digits).into_owned())))
}

fn string(input: &[u8]) -> Step<'_, Kind> {
    let quote = input[0];
    let mut bytes = Vec::new();
    let mut at = 1;
    loop {
        match input.get(at) {
            None | Some(b'\n') => return fail(input, What::UnclosedString),
            Some(&byte) if byte == quote => return Ok((&input[at + 1..], Kind::String(bytes))),
            Some(b'\\') => {
                match input.get(at + 1) {
                    None | Some(b'\n') => return fail(input, What::UnclosedString),
                    Some(&letter) => bytes.push(match unescape(letter) {
                        Ok(byte) => byte,
                        Err(what) => {
                            let fault = Fault { left: input.len() - at, length: 2, what };
                            return Err(nom::Err::Failure(fault));
                        }
                    }),
                }
                at += 2;
            }
            Some(&byte) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}

const fn unescape(letter: u8) -> Result<u8, What> {
    Ok(match letter {
        b'"' | b'\'' | b'\\' => letter,
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'9' | b'x' => return Err(What::NumericEscape),
        other => return Err(What::BadEscape(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that parses, and what it prints as.
    fn check(text: &str, expected: &str) {
        let (tree, problems) = parse(text.as_bytes(), 0);
        assert_eq!(problems, [], "{text:?}");
        assert_eq!(tree.to_string(), expected, "{text:?}");
    }

    #[test]
    fn every_production() {
        check("", "");
        check("\n;;\n# only a comment", "");
        check("a=1", "a = 1\n");
        check("a = 0x1f # hex\n", "a = 0x1f\n");
        check("\ta\t=\t010\t;b=2", "a = 010\nb = 2\n");
        check("a.b_2='x'", "a.b_2 = \"x\"\n");
        check("a=\"it's\"", "a = \"it's\"\n");
        check(r#"a='q"q'"#, "a = \"q\\\"q\"\n");
        check(r#"a="\"\'\\\a\b\f\n\r\t\v""#, "a = \"\\\"'\\\\\\a\\b\\f\\n\\r\\t\\v\"\n");
        check("a='# no comment'", "a = \"# no comment\"\n");
        check("a=[]", "a = []\n");
        check("a=[1,]", "a = [1]\n");
        check("a=[\n# first\n 1,\n\n 'x' # second\n,\n]\n", "a = [1, \"x\"]\n");
        check("a=[[1,['x',[]]],2]", "a = [[1, [\"x\", []]], 2]\n");
        check("a='x'\na+='y'\na += [1]", "a = \"x\"\na += \"y\"\na += [1]\n");
        check("name=\"test~pv64\"  \t\n", "name = \"test~pv64\"\n");
        check("a='\u{e9}'", "a = \"\u{e9}\"\n");
        check("a=1x2f", "a = 1x2f\n");
    }

    #[test]
    fn eight_bit_text_passes() {
        let (tree, problems) = parse(b"a='\xff\x01'", 0);
        assert_eq!(problems, []);
        assert_eq!(tree.assignments[0].value.kind, Kind::String(vec![0xff, 0x01]));
    }

    /// Text that is refused: at which byte, with which words, and how many assignments survive.
    fn refuse(text: &str, at: usize, words: &str, survivors: usize) {
        let (tree, problems) = parse(text.as_bytes(), 0);
        assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
        assert!(problems[0].message.contains(words), "{text:?}: {}", problems[0].message);
        assert_eq!(problems[0].span.map(|span| span.start), Some(at), "{text:?}");
        assert!(problems[0].help.is_some(), "{text:?} says what to do");
        assert_eq!(tree.assignments.len(), survivors, "{text:?}");
    }

    #[test]
    fn every_error_class() {
        refuse("=1\nb=2", 0, "expected a key, found '='", 1);
        refuse("Name='x'", 0, "lower-case", 0);
        refuse("a 1", 2, "expected = or +=, found '1'", 0);
        refuse("vCPUs=1", 1, "found 'C'", 0);
        refuse("a+ =1", 1, "expected = or +=", 0);
        refuse("a=\nb=1", 2, "found the end of the line", 1);
        refuse("a=", 2, "found the end of the text", 0);
        refuse("a=foo", 2, "expected a value, found 'f'", 0);
        refuse("a=-1", 2, "has no sign, found '-'", 0);
        refuse("a=[+1]", 3, "has no sign, found '+'", 0);
        refuse("memory=4G", 8, "end of the line, found 'G'", 0);
        refuse("a=1 b=2", 4, "end of the line", 0);
        refuse("a=[1 2]", 5, "expected , or ], found '2'", 0);
        refuse("a=[,]", 3, "expected a value, found ','", 0);
        refuse("a=[1,,2]", 5, "expected a value", 0);
        refuse("a=[1,\nb=2", 6, "expected a value, found 'b'", 0);
        refuse("a=[1\n", 2, "never closed", 0);
        refuse("a='x\nb=1", 2, "does not end on its line", 1);
        refuse("a='x\\\nb=1", 2, "does not end on its line", 1);
        refuse("a='x\\", 2, "does not end on its line", 0);
        refuse(r"a='\q'", 3, r"\q is no escape", 0);
        refuse(r"a='\x41'", 3, "numeric escapes", 0);
        refuse(r"a='\101'", 3, "numeric escapes", 0);
        refuse("a=1\r\nb=2\r\n", 3, "DOS line ends", 0);
        refuse("a=\u{e9}", 2, "found 'é'", 0);
        refuse("a=1\u{7}", 3, "byte 0x07", 0);
    }

    #[test]
    fn an_error_does_not_hide_the_next_one() {
        let (tree, problems) = parse(b"a=foo\nb=1\nc=[1,\n 2 3,\n 4]\nd=2\ne", 0);
        assert_eq!(problems.len(), 3, "{problems:?}");
        let keys: Vec<_> = tree.assignments.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys, ["b", "d"]);
    }

    #[test]
    fn limits_hold_at_n_and_break_at_n_plus_1() {
        let nested = |n: usize| format!("a={}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(parse(nested(MAX_DEPTH).as_bytes(), 0).1, []);
        assert!(parse(nested(MAX_DEPTH + 1).as_bytes(), 0).1[0].message.contains("deeper"));
        let mut text = b"a=1".to_vec();
        text.resize(MAX_LENGTH, b' ');
        assert_eq!(parse(&text, 0).1, []);
        text.push(b' ');
        assert!(parse(&text, 0).1[0].message.contains("larger"));
        assert_eq!(parse("?\na=\n".repeat(50).as_bytes(), 0).1.len(), MAX_ERRORS);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[0-9][0-9a-fx]{0,6}".prop_map(Kind::Number),
            // NUL has no escape and passes raw; a raw newline must come back from its escape.
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Kind::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let item = inner.prop_map(|kind| Value { kind, span: Span::default() });
            proptest::collection::vec(item, 0..4).prop_map(Kind::List)
        })
        .prop_map(|kind| Value { kind, span: Span::default() })
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let operator = prop_oneof![Just(Operator::Set), Just(Operator::Append)];
        let assignment =
            ("[a-z][._0-9a-z]{0,8}", operator, value()).prop_map(|(key, operator, value)| {
                Assignment { key, key_span: Span::default(), operator, value }
            });
        proptest::collection::vec(assignment, 0..6).prop_map(|assignments| Tree { assignments })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_tree(tree in tree()) {
            let (again, problems) = parse(&tree.to_text(), 0);
            prop_assert_eq!(problems, vec![]);
            prop_assert_eq!(again.without_spans(), tree);
        }

        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (tree, problems) = parse(&bytes, 0);
            for problem in problems {
                prop_assert!(problem.span.is_some_and(|span| span.start <= bytes.len()));
            }
            for assignment in tree.assignments {
                let span = assignment.value.span;
                prop_assert!(span.start < span.end && span.end <= bytes.len());
            }
        }
    }
}
