//! The stages of a test run that need no hypervisor, and the time each stage takes.

use crate::artefact::Artefacts;
use crate::error::{Context as _, Error, Result, chain};
use crate::paths::Paths;
use crate::qemu::OWN_PROGRAM;
use crate::skips::Skip;
use crate::{command, report};
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The Xen releases whose headers prove the layouts of xen-sys.
const HEADERS: [&str; 3] = ["4.14", "4.17", "4.20"];

/// How the tests ended so far.
#[derive(Default)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Skipped, each accepted.
    pub skipped: u64,
    /// Failed: name and reason.
    pub failures: Vec<(String, String)>,
}

/// Times of the stages.
pub struct Stages {
    paths: Paths,
    times: Vec<(String, f64)>,
}

impl Stages {
    /// No stage yet.
    pub fn new(paths: &Paths) -> Stages {
        Stages { paths: paths.clone(), times: Vec::new() }
    }

    /// Runs one stage and notes its time.
    pub fn timed<T>(&mut self, name: &str, run: impl FnOnce(&Paths) -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = run(&self.paths);
        self.times.push((name.into(), start.elapsed().as_secs_f64()));
        result
    }

    /// Everything that runs on the host.
    pub fn host(
        &mut self,
        artefacts: &mut Artefacts,
        ci: bool,
        skips: &[Skip],
        count: &mut Count,
    ) -> Result<()> {
        if ci {
            self.lint(count);
        }
        let mut places = Vec::new();
        for version in HEADERS {
            let root = artefacts.root(&format!("headers-{version}"))?;
            let include = root.join("usr/include").display().to_string();
            places.push((format!("XEN_HEADERS_{}", version.replace('.', "_")), include));
        }
        let root = artefacts.root("xen-4.17")?.join("usr/lib/x86_64-linux-gnu");
        places.push(("XEN_LIBRARIES_4_17".into(), root.display().to_string()));
        let root = artefacts.root("rdma")?.join("usr/include");
        places.push(("VERBS_HEADERS".into(), root.display().to_string()));
        self.cargo_tests(&places, skips, count)
    }

    fn lint(&mut self, count: &mut Count) {
        let clippy = "clippy --quiet --workspace --all-targets --profile small -- -D warnings";
        let checks = [("formatting", "fmt --all --check"), ("lints", clippy)];
        for (name, args) in checks {
            report::step(name);
            let result = self.timed(name, |paths| {
                command::output(cargo().args(args.split(' ')).current_dir(&paths.workspace))
            });
            match result {
                Ok(_) => count.passed += 1,
                Err(error) => count.failures.push((name.into(), chain(&error))),
            }
        }
    }

    /// Runs `cargo test` and counts what libtest reports: unit, property and fuzz tests, those of
    /// layouts against the headers of Xen and rdma-core, and of xl.cfg against libxlutil, which are at these places. In
    /// one run, because other features would build everything once more.
    fn cargo_tests(
        &mut self,
        places: &[(String, String)],
        skips: &[Skip],
        count: &mut Count,
    ) -> Result<()> {
        let name = "tests on the host";
        report::step(name);
        let (text, good) = self.timed(name, |paths| {
            let mut command = cargo();
            // The lab's profile: what is built here serves the programs in dom0, too.
            command.args(["test", "--no-fail-fast", "--profile", "small", "--workspace"]);
            let checks = "xen-sys/header-check,ib-backend/header-check,ib-guest/header-check,xl-rs/libxlu-check";
            command.args(["--features", checks]);
            command.envs(places.iter().map(|(key, value)| (key, value)));
            command.current_dir(&paths.workspace).stdin(Stdio::null());
            together(&mut command)
                .map_err(|source| Error::Start { program: "cargo test".into(), source })
        })?;
        let failed_before = count.failures.len();
        let passed = parse(&text, skips, count);
        report::note(&format!("{passed} passed"));
        if !good && count.failures.len() == failed_before {
            let errors: Vec<&str> = text.lines().filter(|l| !l.contains("Compiling")).collect();
            count.failures.push((name.into(), command::tail(&errors.join("\n"), 40)));
        }
        Ok(())
    }

    /// What was fetched once is used without the network: all that the lab fetches comes through
    /// `apt-get`, and here it cannot be found.
    pub fn offline(&mut self, artefacts: &Artefacts, count: &mut Count) {
        let name = "artefacts without the network";
        report::step(name);
        let sets = artefacts.fetched();
        let result = self.timed(name, |paths| {
            let mut command = Command::new(OWN_PROGRAM);
            command.arg("fetch").args(&sets).env("PATH", "/nonexistent");
            command::output(command.current_dir(&paths.workspace))
        });
        match result {
            Ok(_) if !sets.is_empty() => count.passed += 1,
            Ok(_) => count.failures.push((name.into(), "nothing was fetched".into())),
            Err(error) => count.failures.push((name.into(), chain(&error))),
        }
    }

    /// Builds the microkernel guests, which are a workspace of their own.
    pub fn xtf(&mut self, required: bool, count: &mut Count) -> Result<()> {
        let dir = self.paths.workspace.join("tests/xtf");
        let script = dir.join("build.sh");
        if !script.exists() {
            return Ok(());
        }
        report::step("microkernel guests");
        let built = self.timed("microkernel guests", |paths| {
            // Two labs of one checkout must not replace the same files at once.
            let lock = paths.lab.join("xtf.flock");
            let file = std::fs::File::create(&lock).on("create", &lock)?;
            file.lock().on("lock", &lock)?;
            command::output(Command::new("sh").arg(&script).current_dir(&dir))
        });
        match built {
            Ok(_) => Ok(()),
            Err(error) if required => {
                count.failures.push(("microkernel guests".into(), chain(&error)));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Prints the time of every stage.
    pub fn summary(&self) {
        println!("\nstages:");
        for (name, seconds) in &self.times {
            println!("  {name:<35} {seconds:7.1} s");
        }
        println!("  {:<35} {:7.1} s", "all", report::elapsed().as_secs_f64());
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end: what it wrote to standard output and standard error, in the order in
/// which it did, and whether it succeeded.
fn together(command: &mut Command) -> std::io::Result<(String, bool)> {
    let (mut reader, writer) = std::io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command holds the other ends of the pipe.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    reader.read_to_end(&mut said)?;
    Ok((String::from_utf8_lossy(&said).into_owned(), child.wait()?.success()))
}

/// Counts libtest's lines below cargo's own, which name the program; returns how many passed. An
/// ignored test is a skip that needs a listed reason, like any other, unless it is one of those
/// that run in dom0 as cases ([`crate::dom0_tests`]).
fn parse(text: &str, skips: &[Skip], count: &mut Count) -> u64 {
    let mut passed = 0;
    let mut program = String::new();
    for line in text.lines() {
        if let Some(name) = program_of(line) {
            program = name;
        }
        let Some(rest) = line.strip_prefix("test ") else { continue };
        if rest.ends_with(" ... ok") {
            passed += 1;
        } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
            count.failures.push((name.into(), details(text, name)));
        } else if let Some((name, _)) = rest.split_once(" ... ignored")
            && !program.starts_with(IN_DOM0)
        {
            let full = format!("{program}::{name}");
            if skips.iter().any(|skip| skip.case == full) {
                count.skipped += 1;
            } else {
                count.failures.push((full, "ignored, but not listed in lab/skips.toml".into()));
            }
        }
    }
    count.passed += passed;
    passed
}

/// How the programs are called whose ignored tests run in dom0.
const IN_DOM0: &str = "dom0_";

/// The program whose tests follow a line of cargo's such as
/// `Running tests/wire.rs (target/debug/deps/wire-0123)` or `Doc-tests xenstore`.
fn program_of(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(krate) = line.strip_prefix("Doc-tests ") {
        return Some(krate.to_string());
    }
    let (_, path) = line.strip_prefix("Running ")?.rsplit_once(" (")?;
    let (_, file) = path.trim_end_matches(')').rsplit_once('/')?;
    Some(file.rsplit_once('-').map_or(file, |(name, _)| name).to_string())
}

/// What a failed test printed.
fn details(text: &str, name: &str) -> String {
    let begin = format!("---- {name} stdout ----");
    let Some((_, after)) = text.split_once(&begin) else { return "failed".into() };
    let own: Vec<&str> =
        after.trim_start().lines().take_while(|l| !l.starts_with("----")).collect();
    own.into_iter().take(15).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_output_is_counted() {
        let text = "   Compiling x\n     Running unittests src/lib.rs (target/deps/krate-01ab)\n\
                    test a ... ok\ntest b ... FAILED\ntest c ... ignored, too slow\n\
                    test m::d ... ignored\n\
                    \x20    Running tests/dom0_host.rs (target/deps/dom0_host-77)\n\
                    test e ... ignored, needs dom0\n\
                    \x20  Doc-tests krate\ntest src/lib.rs - f (line 3) ... ignored\n\
                    ---- b stdout ----\nwhy\n---- x\n";
        let mut count = Count::default();
        let skip = Skip { case: "krate::m::d".into(), reason: "why not".into() };
        assert_eq!(parse(text, &[skip], &mut count), 1);
        assert_eq!(count.skipped, 1);
        let failed: Vec<&str> = count.failures.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(failed, ["b", "krate::c", "krate::src/lib.rs - f (line 3)"]);
        assert_eq!(count.failures[0].1, "why");
    }

    #[test]
    fn output_keeps_its_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1; echo 2 >&2; echo 3; exit 4"]);
        assert_eq!(together(&mut command).expect("ran"), ("1\n2\n3\n".into(), false));
    }
}
