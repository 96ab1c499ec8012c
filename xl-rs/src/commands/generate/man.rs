//! Man pages: one for the program, one per verb.

use crate::exit::{Exit, TABLE};
use clap::Command;
use clap_mangen::Man;
use std::fmt::Write as _;
use std::io;

const SECTION: &str = "1";

/// File name and text of each page.
pub fn pages(definition: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    // The exit codes get a section of their own, with a heading that says what it is.
    let mut definition = definition
        .after_long_help("")
        .disable_help_subcommand(true)
        .subcommand_help_heading("VERBS")
        .subcommand_value_name("VERB");
    definition.build();
    let verbs: Vec<Command> = visible(&definition).cloned().collect();
    let names: Vec<String> = verbs.iter().map(name).collect();
    let mut pages = vec![page(definition, &names)?];
    for verb in verbs {
        let parts: Vec<Command> = visible(&verb).cloned().collect();
        let names: Vec<String> = parts.iter().map(name).collect();
        pages.push(page(verb, &names)?);
        for part in parts {
            pages.push(page(part, &[])?);
        }
    }
    Ok(pages)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// What a page is called: `xlr`, `xlr-list`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(mut command: Command, parts: &[String]) -> io::Result<(String, Vec<u8>)> {
    let name = name(&command);
    let is_program = name == "xlr";
    let synopsis = synopsis(&mut command);
    let man = Man::new(command);
    let mut text = title(&name).into_bytes();
    man.render_name_section(&mut text)?;
    text.extend(synopsis.bytes());
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !parts.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend(exit_status(&name).bytes());
    text.extend(examples(&name).bytes());
    if is_program {
        text.extend(SURROUNDINGS.bytes());
    }
    text.extend(see_also(&name, parts).bytes());
    Ok((format!("{name}.{SECTION}"), text))
}

/// The usage as the help shows it.
fn synopsis(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().replace('-', "\\-");
    format!(".SH SYNOPSIS\n{usage}\n")
}

/// What is above and below every page. The date would only tell when the page was made.
fn title(name: &str) -> String {
    let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    // The string Aq is an apostrophe that stays one.
    format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n\
         .TH {title} {SECTION} \"\" \"xlr {version}\" \"Xen toolstack\"\n"
    )
}

fn exit_status(page: &str) -> String {
    let mut out = String::from(".SH \"EXIT STATUS\"\n");
    // Whatever keeps run from its verdicts is one code.
    let has = |exit: Exit| {
        page != "xlr-run" || !(Exit::Denied as u8..=Exit::Host as u8).contains(&(exit as u8))
    };
    for (exit, meaning) in TABLE.iter().filter(|(exit, _)| has(*exit)) {
        // What became of a create is told where there is one.
        let meaning = match (exit, page) {
            (Exit::Interrupted, "xlr" | "xlr-create" | "xlr-console") => meaning,
            (Exit::Interrupted, "xlr-run") => {
                "a signal ended the command; its guests are removed, and one may have failed before"
            }
            (Exit::Interrupted, _) => "interrupted by a signal",
            (Exit::Success, "xlr-run") => "all guests have passed",
            (Exit::Failure, "xlr-run") => "a guest has failed",
            (Exit::Configuration, "xlr-run") => {
                "a guest could not be run or judged, for whatever reason; none has failed"
            }
            (Exit::TimeOver, "xlr-run") => "a guest was not in time; none has failed",
            _ => meaning,
        };
        // Writing into a String cannot fail.
        let _ = write!(out, ".TP\n\\fB{}\\fR\n{meaning}\n", *exit as u8);
    }
    out
}

/// A page, what to type, and what that does.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("xlr-create", "xlr create --dry-run hpc.cfg", "Show what would be done."),
    (
        "xlr-create",
        "xlr create -c hpc.cfg",
        "Create the domain and watch it boot; Ctrl-] detaches.",
    ),
    (
        "xlr-create",
        "xlr create hpc.cfg 'name=\"job-17\"' memory=512",
        "Create it under another name and with 512 MiB. The shell takes the outer quotes away.",
    ),
    (
        "xlr-create",
        "xlr create -F hpc.cfg",
        "Stay, and do at the domain's end what on_poweroff= and its kin say.",
    ),
    (
        "xlr-run",
        "xlr run hpc.cfg -t 120 -e 'All tests passed' -x 'Kernel panic|FAILURE' --log out",
        "Run one guest. It passes when it prints the first pattern within two minutes, none of the \
         second, and does not crash.",
    ),
    (
        "xlr-run",
        "xlr run suite.toml -j 8 --junit out.xml --log out",
        "Run the guests of a suite, up to eight at once; docs/ci.md has the form of the file.",
    ),
    (
        "xlr-create",
        "xlr create mpi-cluster.cfg.j2 --values site.toml --set nodes=4",
        "Create all domains that a template makes, or none if one fails.",
    ),
    (
        "xlr-render",
        "xlr render mpi-cluster.cfg.j2 --values site.toml --set nodes=16 -o out",
        "Write the configurations of sixteen guests into the folder out.",
    ),
    (
        "xlr-config-convert",
        "xlr config convert -o cfg domains.json",
        "Make configurations of what xl list -l has printed into domains.json.",
    ),
    ("xlr-config-check", "xlr config check -W *.cfg", "Check files, and fail for warnings, too."),
    ("xlr-console", "xlr console web", "Attach to the console of web; Ctrl-] detaches."),
    ("xlr-console", "xlr console -e ^A web", "Attach to it, to be left with Ctrl-A."),
    ("xlr-shutdown", "xlr shutdown web", "Ask web to shut down, and wait for nothing."),
    ("xlr-shutdown", "xlr shutdown -w web", "Wait until it has shut down, and remove it."),
    ("xlr-shutdown", "xlr shutdown -a -w", "Do so with all domains that xlr made."),
];

/// The examples of a page; nothing for one that has none.
fn examples(page: &str) -> String {
    let literal =
        |text: &str| text.replace('-', "\\-").replace('\'', "\\*(Aq").replace('^', "\\(ha");
    let mut out = String::new();
    for (_, line, what) in EXAMPLES.iter().filter(|(of, ..)| *of == page) {
        if out.is_empty() {
            out.push_str(".SH EXAMPLES\n");
        }
        // Writing into a String cannot fail.
        let _ = write!(out, ".TP\n\\fB{}\\fR\n{}\n", literal(line), literal(what));
    }
    out
}

/// What the program reads beside its arguments.
const SURROUNDINGS: &str = "\
.SH ENVIRONMENT
.TP
\\fBXLR_LOG\\fR
What to log to standard error, by part: \\fBxenstore=trace,info\\fR.
.TP
\\fBNO_COLOR\\fR
Set to anything: no colour.
.TP
\\fBXENSTORED_PATH\\fR
The socket of xenstored, where it is not in its usual place.
.SH FILES
.TP
\\fI/etc/xlr/policy.toml\\fR
What every domain of this host has to keep to, where there is such a policy.
.TP
\\fI/run/xlr\\fR, \\fI/var/lib/xlr\\fR
State of xlr.
.TP
\\fI/var/cache/xlr/kernels\\fR
Decoded kernels; whatever is in it may be removed.
.TP
\\fI/var/lib/xen/userdata-d.*\\fR
Configurations of domains, as xl keeps them.
";

fn see_also(name: &str, parts: &[String]) -> String {
    let mut pages: Vec<String> = Vec::new();
    if name != "xlr" {
        pages.push(String::from("xlr(1)"));
    }
    pages.extend(parts.iter().map(|part| format!("{part}(1)")));
    pages.extend(["xl.cfg(5)", "xl(1)"].map(String::from));
    let bold: Vec<String> = pages
        .iter()
        .map(|page| page.replace('-', "\\-"))
        .map(|page| match page.split_once('(') {
            Some((name, section)) => format!("\\fB{name}\\fR({section}"),
            None => page,
        })
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", bold.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::definition;

    #[test]
    fn every_page_has_its_sections() {
        let pages = pages(definition()).unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["xlr.1", "xlr-create.1", "xlr-vcpu-list.1", "xlr-generate-man.1"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
        for (name, page) in &pages {
            let text = String::from_utf8_lossy(page);
            for part in [".TH XLR", ".SH NAME", ".SH SYNOPSIS", "EXIT STATUS", "SEE ALSO"] {
                assert!(text.contains(part), "{name} has no {part}: {text}");
            }
            for never in ["EXTRA", "xlr\\-help", "fail\\-before\\-step", ".SH VERSION"] {
                assert!(!text.contains(never), "{name} has {never}");
            }
        }
    }
    #[test]
    fn examples_are_commands_and_stand_in_their_pages() {
        let pages = pages(definition()).unwrap();
        for (page, line, _) in EXAMPLES {
            let words = line.split_whitespace().map(|word| word.trim_matches('\'').into());
            assert!(crate::cli::read(words).is_ok(), "{line}");
            let (_, text) = pages.iter().find(|(name, _)| *name == format!("{page}.1")).unwrap();
            assert!(String::from_utf8_lossy(text).contains(".SH EXAMPLES"), "{page}");
        }
        for (name, text) in &pages {
            let undone = String::from_utf8_lossy(text).contains("a create was undone");
            let fits = ["xlr.1", "xlr-create.1", "xlr-console.1"].contains(&name.as_str());
            assert_eq!(undone, fits, "{name}");
        }
    }
}
