//! `config check`: what `create` would say of files, all of it at once.

use crate::cli::ConfigCheckArgs;
use crate::colour;
use crate::commands::error::{CommandError, chain};
use crate::commands::policy::{self, Judged};
use crate::commands::{create, print, print_json, tell};
use crate::config::diagnostic::{Severity, render};
use crate::config::{Loaded, load};
use crate::output::problems;
use crate::printable;
use serde_json::Value;

/// Runs the command.
pub fn run(arguments: &ConfigCheckArgs) -> Result<(), CommandError> {
    let site = policy::site_or(arguments.policy.as_deref())?;
    let (mut refused, mut found) = (0, Vec::new());
    for file in &arguments.files {
        let name = file.to_string_lossy();
        let loaded = create::texts(Some(&name), &[]).map(load);
        match loaded.and_then(|loaded| policy::judge(site.as_ref(), loaded)) {
            Ok(Judged { loaded, .. }) => {
                let count = count(&loaded);
                refused += usize::from(!count.fine(arguments.deny_warnings));
                if arguments.json {
                    found.push(problems::file(&name, &loaded));
                } else {
                    show(&name, &loaded, count)?;
                }
            }
            Err(error) => {
                refused += 1;
                if arguments.json {
                    found.push(problems::unread(&name, &chain(&error)));
                } else {
                    tell(chain(&error));
                }
            }
        }
    }
    if arguments.json {
        print_json(&Value::Array(found))?;
    }
    match refused {
        0 => Ok(()),
        _ => Err(CommandError::Refused { refused, of: arguments.files.len() }),
    }
}

/// How many problems there are of each kind.
#[derive(Clone, Copy)]
struct Count {
    errors: usize,
    warnings: usize,
}

impl Count {
    fn fine(self, deny_warnings: bool) -> bool {
        self.errors == 0 && (self.warnings == 0 || !deny_warnings)
    }
}

fn count(loaded: &Loaded) -> Count {
    let is_error = |severity| severity == Severity::Error;
    let errors = loaded.problems.iter().filter(|problem| is_error(problem.severity)).count();
    Count { errors, warnings: loaded.problems.len() - errors }
}

/// The problems on standard error as `create` shows them, and a line of judgement for each file.
fn show(name: &str, loaded: &Loaded, count: Count) -> Result<(), CommandError> {
    if !loaded.problems.is_empty() {
        let text = render(&loaded.problems, &loaded.sources, colour::on_stderr());
        tell(text.trim_end_matches('\n'));
    }
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let found = [plural(count.errors, "error"), plural(count.warnings, "warning")];
    let found: Vec<String> = found.into_iter().flatten().collect();
    let verdict = if found.is_empty() { String::from("ok") } else { found.join(", ") };
    print(format!("{}: {verdict}\n", printable::line(name)).as_bytes())
}
