//! `render`: a template into configurations, each checked as `create` would check it.

pub mod files;

use super::error::CommandError;
use super::policy::{self, Judged, Site};
use super::{build, print, tell, template};
use crate::cli::RenderArgs;
use crate::config::diagnostic::{Problem, Severity};
use crate::config::{Loaded, load};
use crate::device::vif::Mac;
use crate::template::Configuration;
use files::{Change, File};
use similar::TextDiff;
use std::path::Path;

/// Runs the command.
pub fn run(arguments: &RenderArgs) -> Result<(), CommandError> {
    let path = arguments.template.to_string_lossy();
    let made = template::configurations(&path, &arguments.given, arguments.quiet)?;
    let site = policy::site_or(arguments.policy.as_deref())?;
    let checked = check(&made, &path, site.as_ref(), arguments.quiet)?;
    let files: Vec<File> = made
        .iter()
        .zip(checked)
        .map(|(made, text)| File { name: file_name(made, &arguments.template), text })
        .collect();
    match &arguments.out {
        None => print(joined(&files).as_bytes()),
        Some(folder) if arguments.diff => diff(folder, &files),
        Some(folder) => write(folder, &files),
    }
}

/// Reads each as `create` would, shows what is wrong, and returns the texts, each with what the
/// policy puts after it.
fn check(
    made: &[Configuration],
    path: &str,
    site: Option<&Site>,
    quiet: bool,
) -> Result<Vec<String>, CommandError> {
    let (mut all, mut texts): (Vec<Problem>, _) = (Vec::new(), Vec::new());
    let mut known = Known::default();
    for one in made {
        let loaded = load(template::sources(one, path, &[]));
        let Judged { mut loaded, added } = policy::judge(site, loaded)?;
        known.note(&mut loaded, one);
        build::show(&loaded.problems, &loaded.sources, quiet);
        all.append(&mut loaded.problems);
        let end = if added.is_empty() || one.text.ends_with('\n') { "" } else { "\n" };
        texts.push(format!("{}{end}{added}", one.text));
    }
    match all.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(build::refused(&all)),
        false => Ok(texts),
    }
}

/// What no two domains can share, and who has it.
#[derive(Default)]
struct Known(Vec<(String, String)>);

impl Known {
    /// Notes what a configuration has, and adds a problem for what another one has already.
    fn note(&mut self, loaded: &mut Loaded, made: &Configuration) {
        let Some(config) = &loaded.config else { return };
        let own = made.name.clone().unwrap_or_default();
        let mut has = vec![("name", format!("the name {}", config.name.value))];
        has.extend(config.uuid.map(|uuid| ("uuid", format!("the UUID {uuid}"))));
        let macs = config.devices.vifs.iter().filter_map(|vif| vif.mac).map(Mac);
        has.extend(macs.map(|mac| ("vif", format!("the address {mac}"))));
        for (key, what) in has {
            if let Some((_, other)) = self.0.iter().find(|(known, _)| *known == what) {
                let message = format!("{own} has {what}, which {other} has as well");
                let span = loaded.settings.get(key).map(|setting| setting.value.span);
                let problem = match span {
                    Some(span) => Problem::error(span, message, "again"),
                    None => Problem::missing(message),
                };
                let help = "derive it from each guest: cluster(…) gives name, uuid and mac";
                loaded.problems.push(problem.help(help));
            } else {
                self.0.push((what, own.clone()));
            }
        }
    }
}

/// `NAME.cfg`, or the template's name without `.j2`.
fn file_name(made: &Configuration, template: &Path) -> String {
    match &made.name {
        Some(name) => format!("{name}.cfg"),
        None => {
            let name =
                template.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
            let name = name.trim_end_matches(".j2").trim_end_matches(".cfg");
            // Of standard input nothing is known.
            format!("{}.cfg", if matches!(name, "" | "-") { "guest" } else { name })
        }
    }
}

/// The texts, one after the other, each under its name if there are several.
fn joined(files: &[File]) -> String {
    match files {
        [only] => only.text.clone(),
        files => files.iter().map(|file| format!("# {}\n{}\n", file.name, file.text)).collect(),
    }
}

fn diff(folder: &Path, files: &[File]) -> Result<(), CommandError> {
    let mut changed = 0;
    for file in files {
        let old = match files::compare(folder, file)? {
            Change::Same => continue,
            Change::New => String::new(),
            Change::Differs(old) => String::from_utf8_lossy(&old).into_owned(),
        };
        changed += 1;
        let path = folder.join(&file.name);
        let (from, to) = match old.is_empty() {
            true => (String::from("/dev/null"), path.display().to_string()),
            false => (path.display().to_string(), path.display().to_string()),
        };
        let diff = TextDiff::from_lines(&old, &file.text);
        print(diff.unified_diff().header(&from, &to).to_string().as_bytes())?;
    }
    match changed {
        0 => Ok(()),
        _ => Err(CommandError::Differs { changed, of: files.len() }),
    }
}

fn write(folder: &Path, files: &[File]) -> Result<(), CommandError> {
    let written = files::write(folder, files)?;
    let same = files.len() - written;
    let rest = if same == 0 { String::new() } else { format!(", {same} as they were") };
    tell(format_args!("{}: {written} written{rest}", folder.display()));
    Ok(())
}
