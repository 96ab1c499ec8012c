//! The site's policy, applied to what shall be created.
//!
//! In: a configuration, and `/etc/xlr/policy.toml` where there is one. Out: the merged definition: the
//! same texts and one more, which overrides them. Every override and every refusal is shown with both
//! places. A policy that cannot be read, or that others than root can change, refuses everything: it is
//! there to limit, and a slip must not lift a limit. Nobody overrides it but root, by editing it.
//!
//! Where there is no policy it costs one file that is not there.

mod files;
mod user;

use super::build::{refused, show};
use super::error::CommandError;
use crate::config::diagnostic::{Problem, Severity};
use crate::config::lower::DomainConfig;
use crate::config::source::{Origin, Sources};
use crate::config::tree::Span;
use crate::config::{Loaded, load};
use crate::policy::merge::{self, Merged, Override, Refusal, Rule, merge, span_of};
use crate::policy::{Rules, parse};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the administrator writes it.
const PATH: &str = "/etc/xlr/policy.toml";
/// A larger file is no policy.
const MAX_LENGTH: u64 = 1 << 20;

/// A policy for one user, and its text.
pub struct Site {
    /// As it is called in messages.
    path: String,
    text: Arc<str>,
    /// None for who is exempt.
    rules: Option<Rules>,
    user: String,
}

/// Why a policy cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("cannot read the policy {path}; no domain is made without it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Others than root could have written it.
    #[error(
        "the policy {path} can be changed by others than root; no domain is made: chown root {at}, chmod go-w {at}"
    )]
    Changeable {
        /// The file.
        path: PathBuf,
        /// What they can change: the file, or a folder on the way.
        at: PathBuf,
    },
    /// It does not let a guest have what a command adds to its configuration.
    #[error("refused by the site's policy for {what}")]
    Refused {
        /// For whom what is refused, by which line, and what to do.
        what: String,
    },
    /// It is no policy.
    #[error("{path}:{line}: {what}; no domain is made until the policy is right")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// What came out does not keep to it.
    #[error("the policy {path} could not be applied: {what}; please report this")]
    Unmet {
        /// The file.
        path: PathBuf,
        /// What is not kept to.
        what: String,
    },
}

/// The site's policy, if there is one.
pub fn site() -> Result<Option<Site>, CommandError> {
    Ok(site_at(Path::new(PATH))?)
}

fn site_at(path: &Path) -> Result<Option<Site>, PolicyError> {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    match File::open(path) {
        // A link to what is away is a policy that cannot be read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && !path.ancestors().take(2).any(is_link) =>
        {
            Ok(None)
        }
        opened => Ok(Some(read(path, opened, true)?)),
    }
}

/// The site's policy, or another one that is tried before it takes its place.
pub fn site_or(tried: Option<&Path>) -> Result<Option<Site>, CommandError> {
    match tried {
        None => site(),
        Some(path) => Ok(Some(read(path, File::open(path), false)?)),
    }
}

/// A configuration that was read, under a policy if there is one.
pub fn judge(site: Option<&Site>, loaded: Loaded) -> Result<Judged, CommandError> {
    match site {
        None => Ok(Judged { loaded, added: String::new() }),
        Some(site) => site.judge(loaded),
    }
}

fn read(path: &Path, opened: io::Result<File>, in_force: bool) -> Result<Site, PolicyError> {
    let failed = |source| PolicyError::Read { path: path.to_owned(), source };
    let file = opened.map_err(failed)?;
    if let Some(at) = files::changeable(path).filter(|_| in_force) {
        return Err(PolicyError::Changeable { path: path.to_owned(), at });
    }
    let mut text = String::new();
    let read = file.take(MAX_LENGTH + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX_LENGTH {
        return Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let policy = parse::parse(&text).map_err(|wrong| PolicyError::Wrong {
        path: path.to_owned(),
        line: wrong.line,
        what: wrong.what,
    })?;
    let names = user::names();
    let user = names.first().cloned().unwrap_or_default();
    let rules = policy.rules_for(&names);
    Ok(Site { path: path.display().to_string(), text: text.into(), rules, user })
}

/// What a configuration is under a policy.
pub struct Judged {
    /// The texts with what the policy puts after them, what was asked for, the merged definition (none if
    /// anything is refused), and all problems: overrides as warnings, refusals as errors.
    pub loaded: Loaded,
    /// The assignments, a line each, with the policy's line behind it; empty if nothing is overridden.
    pub added: String,
}

impl Site {
    /// Whether a definition, to which a command has added something since, still keeps to the policy.
    ///
    /// # Errors
    /// [`PolicyError::Refused`].
    pub fn admits(&self, config: &DomainConfig) -> Result<(), PolicyError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let merged = merge(rules, config, &files::facts(merge::files(rules, config)));
        match merged.refusals.into_iter().next() {
            None => Ok(()),
            Some(Refusal { what, help, rule, .. }) => {
                let what = format!("{}: {what} ({}; {help})", self.user, self.rule(&rule));
                Err(PolicyError::Refused { what })
            }
        }
    }

    /// Merges a configuration that was read with the policy.
    pub fn judge(&self, loaded: Loaded) -> Result<Judged, CommandError> {
        let (Some(rules), Some(asked)) = (&self.rules, loaded.config.as_ref()) else {
            return Ok(Judged { loaded, added: String::new() });
        };
        let facts = files::facts(merge::files(rules, asked));
        let Merged { overrides, refusals } = merge(rules, asked, &facts);
        let place = |key: &str, index| {
            loaded.settings.get(key).map(|setting| span_of(&setting.value, index))
        };
        let name = loaded.sources.get(0).map_or("", |source| source.name.as_str());
        let refused = refusals.iter().map(|one| self.refusal(one, place(one.key, one.index), name));
        let over = overrides.iter().map(|one| self.overridden(one, place(one.key, None), name));
        let found: Vec<Problem> = refused.chain(over).collect();
        let Loaded { mut sources, settings, config, mut problems } = loaded;
        problems.extend(found);
        if !refusals.is_empty() || overrides.is_empty() {
            let config = config.filter(|_| refusals.is_empty());
            let loaded = Loaded { sources, settings, config, problems };
            return Ok(Judged { loaded, added: String::new() });
        }
        let added = self.add(&overrides, &mut sources);
        let Loaded { sources, config, problems: found, .. } = load(sources);
        let Some(config) = config else {
            let what = found.first().map(|problem| problem.message.clone()).unwrap_or_default();
            return Err(self.unmet(what));
        };
        let left = merge(rules, &config, &files::facts(merge::files(rules, &config)));
        match (left.refusals.first(), left.overrides.first()) {
            (Some(refusal), _) => return Err(self.unmet(refusal.what.clone())),
            (_, Some(over)) => return Err(self.unmet(format!("{} = {}", over.key, over.becomes))),
            (None, None) => {}
        }
        let loaded = Loaded { sources, settings, config: Some(config), problems };
        Ok(Judged { loaded, added })
    }

    /// Reads a configuration under the policy, and shows what is wrong, overridden and refused.
    pub fn definition(
        &self,
        sources: Sources,
        quiet: bool,
    ) -> Result<(Sources, DomainConfig), CommandError> {
        let Loaded { sources, config, problems, .. } = self.judge(load(sources))?.loaded;
        show(&problems, &sources, quiet);
        let config = config.ok_or_else(|| refused(&problems))?;
        Ok((sources, config))
    }

    fn unmet(&self, what: String) -> CommandError {
        PolicyError::Unmet { path: PathBuf::from(&self.path), what }.into()
    }

    /// Puts the assignments after the texts. A problem of one is shown at the policy's line.
    fn add(&self, overrides: &[Override], sources: &mut Sources) -> String {
        let line = |one: &Override| {
            let Override { key, becomes, rule } = one;
            format!("{key} = {becomes}  # {}:{}: {}\n", self.path, rule.line, rule.name)
        };
        let text: String = overrides.iter().map(line).collect();
        let lines = overrides.iter().map(|one| one.rule.line).collect();
        let origin = Arc::new(Origin { template: Arc::clone(&self.text), lines });
        sources.add_rendered(self.path.as_str(), text.as_str(), origin);
        text
    }

    /// A rule with its place and what stands there.
    fn rule(&self, rule: &Rule) -> String {
        let Some(line) = rule.line.checked_sub(1) else {
            return format!("{}: {}", self.path, rule.name);
        };
        let text = self.text.lines().nth(line).unwrap_or_default().trim();
        format!("{}:{} ({}) says: {text}", self.path, rule.line, rule.name)
    }

    fn refusal(&self, one: &Refusal, span: Option<Span>, name: &str) -> Problem {
        let message = format!("refused by the site's policy for {}: {}", self.user, one.what);
        let problem = match span {
            Some(span) => Problem::error(span, message, "refused"),
            None => Problem::missing(format!("{message} ({name} does not set {})", one.key)),
        };
        problem.help(format!("{}; {}", self.rule(&one.rule), one.help))
    }

    fn overridden(&self, one: &Override, span: Option<Span>, name: &str) -> Problem {
        let Override { key, becomes, rule } = one;
        let message = format!("{key} is {becomes} by the site's policy");
        let problem = match span {
            Some(span) => Problem::warning(span, message, "overridden"),
            None => {
                let message = format!("{message} ({name} does not set it)");
                Problem { severity: Severity::Warning, ..Problem::missing(message) }
            }
        };
        problem.help(self.rule(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What is there and cannot be read refuses everything; only what is not there at all does not.
    #[test]
    fn a_policy_that_is_there_is_not_passed_over() {
        let base = std::env::temp_dir().join(format!("xlr-site-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        symlink("away", base.join("link.toml")).unwrap();
        symlink("away", base.join("folder")).unwrap();
        let found = |name: &str| site_at(&base.join(name));
        assert!(matches!(found("none.toml"), Ok(None)));
        assert!(matches!(found("none/policy.toml"), Ok(None)));
        for name in ["link.toml", "folder/policy.toml"] {
            assert!(matches!(found(name), Err(PolicyError::Read { .. })), "{name}");
        }
        // Everybody can put another file in this folder.
        fs::write(base.join("open.toml"), "").unwrap();
        assert!(matches!(found("open.toml"), Err(PolicyError::Changeable { .. })));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_policy_is_read_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("xlr-long-{}.toml", std::process::id()));
        let longest = usize::try_from(MAX_LENGTH).unwrap();
        for (length, is_read) in [(longest, true), (longest + 1, false)] {
            fs::write(&path, "\n".repeat(length)).unwrap();
            let found = read(&path, File::open(&path), false);
            assert_eq!(found.is_ok(), is_read, "{length}");
            assert!(!matches!(found, Err(ref other) if !matches!(other, PolicyError::Read { .. })));
        }
        fs::remove_file(path).unwrap();
    }
}
