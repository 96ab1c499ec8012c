//! A suite: a TOML file of guests, and what each of them is to show.
//!
//! In: the text, and what the command line says for all. Out: guests. What a guest does not say is as
//! the command line says, then as `[defaults]` does; what must not be seen is what both say.

use super::attempt::Guest;
use super::error::RunError;
use super::judge::{Ending, Wants};
use super::patterns::Patterns;
use super::scratch;
use crate::cli::RunArgs;
use crate::commands::create::texts;
use crate::config::lower::name_problem;
use crate::config::source::Sources;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a guest may take if nobody says.
const TIMEOUT_SECONDS: u64 = 300;
/// How long it is watched on.
const GRACE_SECONDS: u64 = 2;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Entry,
    #[serde(default)]
    guest: Vec<Entry>,
}

/// What can be said of a guest, and of all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: Option<String>,
    config: Option<PathBuf>,
    #[serde(default)]
    set: Vec<String>,
    expect: Option<Texts>,
    fail_on: Option<Texts>,
    end: Option<Ending>,
    exit_code: Option<bool>,
    timeout: Option<u64>,
    grace: Option<u64>,
    retries: Option<u32>,
    scratch: Option<String>,
}

/// One text, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    All(Vec<String>),
}

impl Texts {
    fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::All(texts) => texts,
        }
    }
}

/// The guests of a suite.
///
/// # Errors
/// [`RunError`]: the file cannot be read, or says what cannot be meant.
pub fn guests(path: &Path, arguments: &RunArgs) -> Result<Vec<Guest>, RunError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let suite = |why: String| RunError::Suite { path: path.to_owned(), why };
    let file: File = toml::from_str(&text).map_err(|error| suite(error.to_string()))?;
    if file.guest.is_empty() {
        return Err(suite(String::from("it has no [[guest]]")));
    }
    if file.defaults.name.is_some() {
        return Err(suite(String::from(
            "[defaults] cannot have a name: each [[guest]] has its own",
        )));
    }
    let mut names = BTreeSet::new();
    let line = of_command_line(arguments);
    let mut all = line.or(&file.defaults);
    let both = [&line.fail_on, &file.defaults.fail_on].into_iter().flatten();
    all.fail_on = Some(Texts::All(both.flat_map(|texts| texts.all().to_vec()).collect()));
    file.guest
        .into_iter()
        .enumerate()
        .map(|(index, entry)| {
            let Some(name) = entry.name.clone() else {
                return Err(suite(format!("[[guest]] number {} has no name", index + 1)));
            };
            if let Some(problem) = problem(&name) {
                return Err(suite(format!("{name:?} cannot be a guest's name: {problem}")));
            }
            if !names.insert(name.clone()) {
                return Err(suite(format!("two guests are called {name:?}")));
            }
            let entry = entry.or(&all);
            if entry.timeout == Some(0) {
                return Err(suite(format!("guest {name:?} has no time: its timeout is 0")));
            }
            guest(name, &entry, folder)
        })
        .collect()
}

/// The one guest that a command line describes.
///
/// # Errors
/// As [`guests`].
pub fn alone(name: String, arguments: &RunArgs) -> Result<Guest, RunError> {
    judged(name, &of_command_line(arguments))
}

/// A guest's name is its domain's, and that of its folder.
fn problem(name: &str) -> Option<String> {
    match name {
        "." | ".." => Some(String::from("it is a folder's")),
        _ => name_problem(name),
    }
}

fn of_command_line(arguments: &RunArgs) -> Entry {
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| Texts::All(texts.to_vec()));
    Entry {
        name: None,
        config: None,
        set: Vec::new(),
        expect: texts(&arguments.expect),
        fail_on: texts(&arguments.fail_on),
        end: arguments.end,
        exit_code: arguments.exit_code.then_some(true),
        timeout: arguments.timeout,
        grace: arguments.grace,
        retries: arguments.retries,
        scratch: arguments.scratch.clone(),
    }
}

impl Entry {
    /// The same, and for what it does not say what the other says. Assignments of both apply.
    fn or(&self, other: &Self) -> Self {
        Self {
            name: None,
            config: self.config.clone().or_else(|| other.config.clone()),
            set: [other.set.as_slice(), self.set.as_slice()].concat(),
            expect: self.expect.clone().or_else(|| other.expect.clone()),
            fail_on: self.fail_on.clone().or_else(|| other.fail_on.clone()),
            end: self.end.or(other.end),
            exit_code: self.exit_code.or(other.exit_code),
            timeout: self.timeout.or(other.timeout),
            grace: self.grace.or(other.grace),
            retries: self.retries.or(other.retries),
            scratch: self.scratch.clone().or_else(|| other.scratch.clone()),
        }
    }
}

fn guest(name: String, entry: &Entry, folder: &Path) -> Result<Guest, RunError> {
    let file = entry.config.as_ref().map(|config| folder.join(config).display().to_string());
    // First: the guest's own lines may say otherwise.
    let assignments: Vec<String> = [format!("name = {}", quoted(&name))]
        .into_iter()
        .chain(entry.set.iter().cloned())
        .collect();
    let guest = judged(name, entry)?;
    let sources = texts(file.as_deref(), &assignments)
        .map_err(|error| RunError::Config { name: guest.name.clone(), source: Box::new(error) })?;
    Ok(Guest { sources, ..guest })
}

fn judged(name: String, entry: &Entry) -> Result<Guest, RunError> {
    let patterns =
        |texts: &Option<Texts>| Patterns::new(texts.as_ref().map_or(&[], |texts| texts.all()));
    let wants = Wants {
        expect: patterns(&entry.expect)?,
        fail_on: patterns(&entry.fail_on)?,
        end: entry.end,
        code: entry.exit_code.unwrap_or(false),
        timeout: Duration::from_secs(entry.timeout.unwrap_or(TIMEOUT_SECONDS)),
        grace: Duration::from_secs(entry.grace.unwrap_or(GRACE_SECONDS)),
    };
    let scratch_bytes = entry.scratch.as_deref().map(scratch::size).transpose()?;
    let retries = entry.retries.unwrap_or(0);
    Ok(Guest { name, sources: Sources::default(), wants, retries, scratch_bytes })
}

/// A string of xl.cfg.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, line: RunArgs) -> Result<Vec<Guest>, RunError> {
        let folder = std::env::temp_dir().join(format!("xlr-suite-{:p}", text));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.cfg"), "memory = 8\n").unwrap();
        let path = folder.join("suite.toml");
        std::fs::write(&path, text).unwrap();
        let read = guests(&path, &line);
        std::fs::remove_dir_all(&folder).unwrap();
        read
    }

    #[test]
    fn a_guest_says_it_then_the_command_line_then_the_defaults() {
        let text = r#"
            [defaults]
            config = "a.cfg"
            set = ["vcpus=2"]
            expect = "passed"
            timeout = 20
            grace = 9
            fail-on = "BUG"
            [[guest]]
            name = "one"
            [[guest]]
            name = "two"
            set = ["vcpus=4"]
            expect = ["a", "b"]
            end = "crash"
            exit-code = true
            timeout = 5
            retries = 3
            scratch = "1MiB"
            fail-on = []
        "#;
        let fail_on = vec![String::from("panic")];
        let line = RunArgs { grace: Some(7), fail_on, ..RunArgs::default() };
        let guests = read(text, line).unwrap();
        let [one, two] = guests.as_slice() else { panic!("{guests:?}") };
        let text = |guest: &Guest| String::from_utf8(guest.sources.joined()).unwrap();
        assert_eq!(text(one), "memory = 8\nname = \"one\"\nvcpus=2\n");
        assert_eq!(text(two), "memory = 8\nname = \"two\"\nvcpus=2\nvcpus=4\n");
        assert_eq!((one.wants.expect.len(), two.wants.expect.len()), (1, 2));
        let seconds = |guest: &Guest| (guest.wants.timeout.as_secs(), guest.wants.grace.as_secs());
        assert_eq!((seconds(one), seconds(two)), ((20, 7), (5, 7)));
        assert_eq!((one.retries, two.retries), (0, 3));
        assert_eq!((one.wants.fail_on.len(), two.wants.fail_on.len()), (2, 0));
        assert_eq!((one.wants.end, two.wants.end), (None, Some(Ending::Crash)));
        assert_eq!((one.scratch_bytes, two.scratch_bytes), (None, Some(1 << 20)));
        assert!(two.wants.code && !one.wants.code);
    }

    /// The suite that docs/ci.md shows.
    #[test]
    fn the_documents_suite_can_be_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, rest) = text.split_once("\n```toml\n").unwrap();
        let suite = rest.split_once("\n```").unwrap().0.replace("hpc.cfg", "a.cfg");
        let guests = read(&suite, RunArgs::default()).unwrap();
        let names: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        assert_eq!(names, ["boot-1", "boot-4", "panics", "results"]);
        let wants = &guests[2].wants;
        assert_eq!((wants.expect.len(), wants.fail_on.len()), (1, 0));
        assert_eq!((wants.grace.as_secs(), wants.timeout.as_secs()), (5, 120));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |text: &str, words: &str| {
            let error = read(text, RunArgs::default()).expect_err(text);
            assert!(error.is_usage(), "{text}");
            let error = super::super::super::error::chain(&error);
            assert!(error.contains(words), "{text}: {error}");
        };
        check("", "no [[guest]]");
        check("[[guest]]", "[[guest]] number 1 has no name");
        check("[[guest]]\nname = \"a\"\nexpct = \"x\"", "line 3");
        check("[[guest]]\nname = \"a\"\nexpct = \"x\"", "unknown field `expct`");
        check("[defaults]\nname = \"a\"\n[[guest]]", "[defaults] cannot have a name");
        check("[[guest]]\nname = \"a\"\nexpect = \"(\"", "is no pattern");
        check("[[guest]]\nname = \"a\"\ntimeout = \"long\"", "timeout");
        check("[[guest]]\nname = \"a\"\nend = \"well\"", "unknown variant `well`");
        check("[[guest]]\nname = \"a/b\"", "cannot be a guest's name");
        check("[[guest]]\nname = \"..\"", "cannot be a guest's name");
        check("[[guest]]\nname = \"a\"\n[[guest]]\nname = \"a\"", "two guests are called \"a\"");
        check("[[guest]]\nname = \"a\"\nconfig = \"none.cfg\"", "none.cfg");
        check("[[guest]]\nname = \"a\"\nscratch = \"much\"", "\"much\"");
        check("guest = 3", "guest");
        check("[defaults]\ntimeout = 0\n[[guest]]\nname = \"a\"", "its timeout is 0");
    }
}
