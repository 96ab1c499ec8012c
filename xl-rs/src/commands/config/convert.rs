//! `config convert`: definitions of other toolstacks into xl.cfg.

use crate::cli::ConfigConvertArgs;
use crate::commands::error::{CommandError, chain};
use crate::commands::render::files::{File, write};
use crate::commands::{build, create, print, tell, warn};
use crate::config::load;
use crate::config::source::Sources;
use crate::convert::{Converted, Left, convert};
use crate::printable;

/// Runs the command. What is converted is printed or written although `create` might refuse it, which is
/// told: there is something to mend then.
pub fn run(arguments: &ConfigConvertArgs) -> Result<(), CommandError> {
    let name = arguments.file.to_string_lossy();
    let all = read(&name)?;
    let all: Vec<Converted> = match &arguments.domain {
        None => all,
        Some(wanted) => all.into_iter().filter(|one| one.name == *wanted).collect(),
    };
    let wrong =
        |what: String, help: &str| CommandError::BadDocument { what, help: help.to_owned() };
    if all.is_empty() {
        return Err(wrong(format!("{name} holds no such domain"), "domain 0 is no guest"));
    }
    for one in &all {
        one.left.iter().for_each(|left| tell_left(&name, one, left));
    }
    match (&arguments.out, &all[..]) {
        (None, [only]) => print(only.text.as_bytes())?,
        (None, _) => {
            let what = format!("{name} holds {} domains", all.len());
            return Err(wrong(what, "choose one by --domain, or give a folder by -o"));
        }
        (Some(folder), all) => {
            let file =
                |one: &Converted| File { name: file_name(&one.name), text: one.text.clone() };
            let files: Vec<File> = all.iter().map(file).collect();
            let written = write(folder, &files)?;
            tell(format_args!("{}: {written} written", folder.display()));
        }
    }
    check(&all)
}

fn read(name: &str) -> Result<Vec<Converted>, CommandError> {
    let texts = create::texts_up_to(Some(name), &[], 16 << 20)?;
    let Some((_, source)) = texts.iter().next() else { return Err(CommandError::NoConfiguration) };
    let wrong = |what: String| CommandError::BadDocument {
        what,
        help: String::from("give what virsh dumpxml or xl list -l prints"),
    };
    let text = std::str::from_utf8(&source.text);
    let text = text.map_err(|_| wrong(format!("{name} is not UTF-8 text")))?;
    convert(text).map_err(|error| wrong(format!("{name}: {}", chain(&error))))
}

/// Names what is not carried over.
fn tell_left(file: &str, of: &Converted, left: &Left) {
    let line = left.line.map_or_else(String::new, |line| format!(":{line}"));
    let what = match left.what.as_str() {
        "" => String::new(),
        what => format!(": {}", what.chars().take(60).collect::<String>()),
    };
    let text = format!("{file}{line}: {} is not carried over{what} ({})", left.path, of.name);
    warn(printable::line(&text));
}

/// A domain's name as that of a file.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.trim_start_matches('.').chars().map(plain).collect();
    format!("{}.cfg", if name.is_empty() { "guest" } else { &name })
}

/// Reads each as `create` would.
fn check(all: &[Converted]) -> Result<(), CommandError> {
    let mut refused = 0;
    for one in all {
        let mut sources = Sources::default();
        sources.add(format!("{} (converted)", one.name), one.text.as_bytes());
        let loaded = load(sources);
        build::show(&loaded.problems, &loaded.sources, false);
        refused += usize::from(loaded.config.is_none());
    }
    match refused {
        0 => Ok(()),
        _ => Err(CommandError::Refused { refused, of: all.len() }),
    }
}
