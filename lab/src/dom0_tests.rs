//! Tests of other crates that need real Xen: `CRATE/tests/dom0_*.rs`.
//!
//! They are ordinary Rust tests marked `#[ignore]`. The lab builds them, puts them into dom0 and
//! runs each test there as one case, named `CRATE/FILE::TEST`. A program
//! `CRATE/examples/*selftest.rs` (or a folder of that name with a `main.rs`) is one case as a whole
//! on each Xen, named `CRATE/FILE` and `CRATE/FILE@XEN`: it exits with 0 when all is well.

use crate::case::Group;
use crate::command;
use crate::error::{Context as _, Error, Result};
use crate::paths::Paths;
use crate::report;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test of one crate, or one self-test program.
#[derive(Clone, Debug)]
pub struct Dom0Test {
    /// `CRATE/FILE::TEST` or `CRATE/FILE`.
    pub name: String,
    /// The program on the host.
    pub program: PathBuf,
    /// The test inside the program; none for a program that is one case as a whole.
    pub test: Option<String>,
    /// The group whose time it takes.
    pub group: Group,
    /// Xen's version.
    pub xen: &'static str,
}

/// The releases on which a self-test runs; the first one alone in CI.
const RELEASES: [&str; 3] = ["4.17", "4.14", "4.20"];

impl Dom0Test {
    /// Where the program is in dom0.
    pub fn path_in_dom0(&self) -> String {
        format!("/tests/{}", self.name.split([':', '@']).next().unwrap_or_default())
    }
}

/// Builds and lists all of them whose name may contain one of `filters`; for CI each capability once.
pub fn all(paths: &Paths, filters: &[String], ci: bool) -> Result<Vec<Dom0Test>> {
    let mut tests = Vec::new();
    // Nothing is built for a filter that asks for something else.
    let wanted = |krate: &str, file: &str| {
        let name = format!("{krate}/{file}");
        // `@4.14` asks for a release of whatever there is.
        let may = |filter: &String| {
            name.contains(filter) || filter.starts_with(&name) || filter.starts_with('@')
        };
        filters.is_empty() || filters.iter().any(may)
    };
    for (krate, file) in sources(paths, "tests", |name| name.starts_with("dom0_"))? {
        if !wanted(&krate, &file) {
            continue;
        }
        report::step(&format!("building {krate}'s {file}"));
        let program = build(paths, &krate, &file, "small", &["test", "--no-run", "--test"])?;
        let list = command::output(Command::new(&program).args(["--list", "--format", "terse"]))?;
        for line in String::from_utf8_lossy(&list).lines() {
            let Some(test) = line.strip_suffix(": test") else { continue };
            let name = format!("{krate}/{file}::{test}");
            let (program, group) = (program.clone(), group(&krate, test));
            let xen = RELEASES[0];
            tests.push(Dom0Test { name, program, test: Some(test.into()), group, xen });
        }
    }
    for (krate, file) in sources(paths, "examples", |name| name.ends_with("selftest"))? {
        if !wanted(&krate, &file) {
            continue;
        }
        report::step(&format!("building {krate}'s {file}"));
        let program = example(paths, &krate, &file, "small")?;
        for xen in RELEASES.into_iter().take(if ci { 1 } else { RELEASES.len() }) {
            let at = if xen == RELEASES[0] { String::new() } else { format!("@{xen}") };
            let name = format!("{krate}/{file}{at}");
            let (program, group) = (program.clone(), group(&krate, ""));
            tests.push(Dom0Test { name, program, test: None, group, xen });
        }
    }
    Ok(tests)
}

fn group(krate: &str, test: &str) -> Group {
    match krate {
        _ if test.starts_with("devices::") => Group::Device,
        "xenstore" => Group::Store,
        "xl-rs" => Group::Toolstack,
        _ => Group::Create,
    }
}

/// Crates and files, without extension, of one folder that every crate may have.
fn sources(paths: &Paths, folder: &str, wanted: fn(&str) -> bool) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for krate in std::fs::read_dir(&paths.workspace).on("list", &paths.workspace)?.flatten() {
        let Ok(files) = std::fs::read_dir(krate.path().join(folder)) else { continue };
        for file in files.flatten() {
            let path = file.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let rust =
                path.extension().is_some_and(|ext| ext == "rs") || path.join("main.rs").exists();
            if rust && wanted(&name) && krate.path().join("Cargo.toml").exists() {
                found.push((krate.file_name().to_string_lossy().into_owned(), name));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Builds an example of a crate with a cargo profile.
pub fn example(paths: &Paths, krate: &str, file: &str, profile: &str) -> Result<PathBuf> {
    build(paths, krate, file, profile, &["build", "--example"])
}

fn build(paths: &Paths, krate: &str, file: &str, profile: &str, verb: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(verb).args([file, "--package", krate, "--quiet", "--profile", profile]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let text = command::output(command.current_dir(&paths.workspace))?;
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == file)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Error::Form {
            path: Path::new(krate).join("tests").join(file),
            why: "cargo built no program from it".into(),
        })
}
