//! xl.cfg: text → [`tree`] with spans → [`settings`] → [`lower::DomainConfig`] → the builder's
//! specification, once the host is known ([`resolve`]).
//!
//! Nothing here asks Xen or xenstore anything; [`load`] reads no more than the text it is given.

pub mod cpuid;
pub mod cpulist;
pub mod device;
pub mod devices;
pub mod diagnostic;
pub mod hardware;
pub mod keys;
pub mod lower;
pub mod parse;
pub mod reader;
pub mod resolve;
pub mod schema;
pub mod settings;
pub mod source;
pub mod store_limits;
pub mod tree;

use diagnostic::{Problem, Severity};
use lower::DomainConfig;
use settings::Settings;
use source::Sources;

/// A configuration that was read, with everything that was noticed about it.
#[derive(Debug)]
pub struct Loaded {
    /// The texts, for showing problems.
    pub sources: Sources,
    /// What was written, key by key, whatever it means.
    pub settings: Settings,
    /// The domain; `None` if one of the problems is an error.
    pub config: Option<DomainConfig>,
    /// Errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads the texts in `sources`, later ones overriding earlier ones.
#[must_use]
pub fn load(sources: Sources) -> Loaded {
    let mut problems = Vec::new();
    let mut trees = Vec::new();
    let binary = sources.iter().find(|(_, source)| source.is_binary());
    if let Some(name) = binary.map(|(_, source)| source.name.clone()) {
        let message = format!("{name} is a binary file, not a configuration");
        let help = "give the configuration here; the kernel goes into its kernel line";
        problems.push(Problem::missing(message).help(help));
        return Loaded { sources, settings: Settings::new(), config: None, problems };
    }
    let mut replaced = Vec::new();
    for (index, source) in sources.iter() {
        let (tree, mut found) = parse::parse(&source.text, index);
        trees.push(tree);
        if source.is_assignment() && !found.is_empty() {
            replaced.extend(parse::replaced_key(&source.text));
            found.iter_mut().for_each(of_a_shell);
        }
        problems.extend(found);
    }
    let (settings, found) = settings::fold(&trees, &sources);
    problems.extend(found);
    let broken =
        |problems: &[Problem]| problems.iter().any(|problem| problem.severity == Severity::Error);
    // What a broken line leaves unset must not be reported as missing.
    let syntax_broken = broken(&problems);
    let (config, found) = lower::lower(&settings);
    // Nor what an assignment would have replaced, had it been readable.
    let stays = |problem: &Problem| {
        let settings = replaced.iter().filter_map(|key| settings.get(*key));
        problem.span.is_some_and(|span| !settings.into_iter().any(|setting| setting.covers(span)))
    };
    problems.extend(found.into_iter().filter(|problem| !syntax_broken || stays(problem)));
    // The order of the text is the order in which people mend it; what is missing comes last, for
    // a slip in the text may be why.
    problems.sort_by_key(|problem| (problem.span.is_none(), problem.span));
    let config = config.filter(|_| !syntax_broken);
    Loaded { sources, settings, config, problems }
}

/// Adds to the advice on a value that is none what becomes of quotes on a command line.
fn of_a_shell(problem: &mut Problem) {
    if problem.help.as_deref() == Some(parse::VALUE_HELP) {
        let shell = "the shell takes one pair of quotes away: write 'name=\"web\"'";
        problem.help = Some(format!("{}; {shell}", parse::VALUE_HELP));
    }
}
