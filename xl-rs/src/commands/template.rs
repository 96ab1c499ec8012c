//! A template and its values, read from files: for `render` and `create`.

use super::error::CommandError;
use super::{build, create};
use crate::cli::TemplateArgs;
use crate::config::source::Sources;
use crate::template::marks::words;
use crate::template::{Configuration, render, values};
use std::path::Path;
use toml::Table;

/// The configurations that a template makes. What is wrong with it is shown.
pub fn configurations(
    path: &str,
    given: &TemplateArgs,
    quiet: bool,
) -> Result<Vec<Configuration>, CommandError> {
    let texts = create::texts(Some(path), &[])?;
    let Some((_, source)) = texts.iter().next() else { return Err(CommandError::NoConfiguration) };
    let (name, bytes) = (source.name.as_str(), source.text.as_slice());
    let Ok(template) = std::str::from_utf8(bytes) else {
        return Err(CommandError::BadTemplate {
            what: format!("{name} is not UTF-8 text"),
            help: String::from("give the template, not what it makes or names"),
        });
    };
    let table = table(given, name, template)?;
    render(name, template, &values::of(&table)).map_err(|(sources, problems)| {
        build::show(&problems, &sources, quiet);
        build::refused(&problems)
    })
}

/// One of them as a configuration with assignments after it.
pub fn sources(made: &Configuration, path: &str, assignments: &[String]) -> Sources {
    let mut sources = Sources::default();
    made.add_to(&mut sources, path);
    for assignment in assignments {
        sources.add("command line", assignment.as_str());
    }
    sources
}

/// All values, the later ones over the earlier ones.
fn table(given: &TemplateArgs, name: &str, template: &str) -> Result<Table, CommandError> {
    let mut all = Table::new();
    for path in &given.values {
        values::join(&mut all, read(path)?);
    }
    let bad = |what, help: &str| CommandError::BadTemplate { what, help: help.to_owned() };
    let used = words(template);
    for text in &given.set {
        let set = values::assignment(text).map_err(|what| bad(what, "as in --set nodes=16"))?;
        if let Some(key) = set.keys().find(|key| !used.contains(key.as_str())) {
            let far =
                |known: &str| (strsim::osa_distance(known, key), known.len().abs_diff(key.len()));
            let near = used.iter().map(|known| (far(known), known)).min();
            let help = match near {
                Some(((1..=2, _), known)) => format!("did you mean {known}?"),
                _ => String::from("what it takes should stand at its beginning"),
            };
            return Err(bad(format!("{name} uses no value {key}"), &help));
        }
        values::join(&mut all, set);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Table, CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = 1 + before.matches('\n').count();
        CommandError::BadTemplate {
            what: format!("{}:{line}: {}", path.display(), error.message()),
            help: String::from("values are TOML: name = \"value\", [table]"),
        }
    })
}
