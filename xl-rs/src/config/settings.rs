//! The assignments folded into one value per key: the last `=` holds, `+=` joins.
//!
//! Comes from the trees of the file and of the command line, in that order; goes into
//! [`super::lower`]. Knows no key.

use super::diagnostic::{Fix, Problem};
use super::source::Sources;
use super::tree::{Assignment, Kind, Operator, Span, Tree, Value};
use std::collections::BTreeMap;

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where the key was last written.
    pub key_span: Span,
    /// What it holds after everything was joined.
    pub value: Value,
    /// How it was last written; `+=` makes no number.
    pub operator: Operator,
}

impl Setting {
    /// From the key to the end of its value, where both stand in one assignment.
    #[must_use]
    pub fn whole_span(&self) -> Option<Span> {
        let (key, value) = (self.key_span, self.value.span);
        let one = self.operator == Operator::Set && key.source == value.source;
        one.then_some(Span { end: value.end, ..key })
    }

    /// Whether a place lies in the key or its value.
    #[must_use]
    pub fn covers(&self, place: Span) -> bool {
        [self.key_span, self.value.span].iter().any(|own| {
            own.source == place.source && own.start <= place.start && place.end <= own.end
        })
    }
}

/// Every key that was set.
pub type Settings = BTreeMap<String, Setting>;

/// Folds the trees. A key that is set twice in one text is warned about; the command line may
/// override the file without a word.
#[must_use]
pub fn fold(trees: &[Tree], sources: &Sources) -> (Settings, Vec<Problem>) {
    let mut settings = Settings::new();
    let mut problems = Vec::new();
    for assignment in trees.iter().flat_map(|tree| &tree.assignments) {
        let Some(before) = settings.get_mut(&assignment.key) else {
            let setting = Setting {
                key_span: assignment.key_span,
                value: assignment.value.clone(),
                operator: assignment.operator,
            };
            settings.insert(assignment.key.clone(), setting);
            continue;
        };
        match assignment.operator {
            Operator::Set => {
                if before.key_span.source == assignment.key_span.source {
                    let message = format!("{} is set twice; the last one holds", assignment.key);
                    let first = format!("first set at {}", sources.place(before.key_span));
                    let problem = Problem::warning(assignment.key_span, message, first)
                        .help("remove one of the two");
                    problems.push(match before.whole_span() {
                        Some(span) => problem.fix(Fix { span, text: String::new() }),
                        None => problem,
                    });
                }
                before.value = assignment.value.clone();
            }
            Operator::Append => {
                if let Err(problem) = append(&mut before.value, assignment) {
                    problems.push(problem);
                }
            }
        }
        before.key_span = assignment.key_span;
        before.operator = assignment.operator;
    }
    (settings, problems)
}

fn append(before: &mut Value, assignment: &Assignment) -> Result<(), Problem> {
    let added = &assignment.value;
    let joined = match (&before.kind, &added.kind) {
        (Kind::List(first), Kind::List(second)) => {
            Kind::List(first.iter().chain(second).cloned().collect())
        }
        (Kind::List(_), other) | (other, Kind::List(_)) => {
            let message = format!("{} += joins a list with {}", assignment.key, other.noun());
            return Err(Problem::error(added.span, message, added.kind.noun())
                .help("+= joins two strings or two lists; write brackets around a single item"));
        }
        (first, second) => Kind::String([bytes_of(first), bytes_of(second)].concat()),
    };
    *before = Value { kind: joined, span: added.span };
    Ok(())
}

fn bytes_of(kind: &Kind) -> &[u8] {
    match kind {
        Kind::String(bytes) => bytes,
        Kind::Number(text) => text.as_bytes(),
        Kind::List(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;

    /// Texts in the order in which they apply, what they fold to, and how many problems they raise.
    fn check(texts: &[&str], expected: &str, problems: usize) {
        let mut sources = Sources::default();
        let trees: Vec<Tree> = texts
            .iter()
            .map(|text| {
                let source = sources.add("text", *text);
                let (tree, problems) = parse(text.as_bytes(), source);
                assert_eq!(problems, []);
                tree
            })
            .collect();
        let (settings, found) = fold(&trees, &sources);
        let assignments = settings
            .into_iter()
            .map(|(key, Setting { key_span, value, .. })| Assignment {
                key,
                key_span,
                operator: Operator::Set,
                value,
            })
            .collect();
        assert_eq!(Tree { assignments }.to_string(), expected, "{texts:?}");
        assert_eq!(found.len(), problems, "{texts:?}: {found:?}");
    }

    #[test]
    fn the_last_one_holds_and_plus_joins() {
        check(&["a=1\nb=2"], "a = 1\nb = 2\n", 0);
        check(&["a=1\na=2"], "a = 2\n", 1);
        check(&["a=1", "a=2"], "a = 2\n", 0);
        check(&["a='x'\na+='y'"], "a = \"xy\"\n", 0);
        check(&["a='x'", "a+='y'"], "a = \"xy\"\n", 0);
        check(&["a+='y'"], "a = \"y\"\n", 0);
        check(&["a=1\na+=2"], "a = \"12\"\n", 0);
        check(&["a=[1]\na+=['x',[2]]"], "a = [1, \"x\", [2]]\n", 0);
        check(&["a=[1]\na+='x'"], "a = [1]\n", 1);
        check(&["a='x'\na+=[1]"], "a = \"x\"\n", 1);
    }
}
