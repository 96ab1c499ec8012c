//! The stages of a test run that need no hypervisor, and the time each stage takes.

use crate::artefact::Artefacts;
use crate::error::{Context as _, Error, Result, chain};
use crate::paths::Paths;
use crate::{command, report};
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
    pub fn host(&mut self, artefacts: &mut Artefacts, ci: bool, count: &mut Count) -> Result<()> {
        if ci {
            self.lint(count);
        }
        self.cargo_tests("unit, property, fuzz tests", &[], &[], count)?;
        let mut headers = Vec::new();
        for version in HEADERS {
            let root = artefacts.root(&format!("headers-{version}"))?;
            let include = root.join("usr/include").display().to_string();
            headers.push((format!("XEN_HEADERS_{}", version.replace('.', "_")), include));
        }
        let args = ["-p", "xen-sys", "--features", "header-check", "--test", "headers"];
        self.cargo_tests("layouts against Xen's headers", &args, &headers, count)
    }

    fn lint(&mut self, count: &mut Count) {
        let checks: [(&str, &[&str]); 2] = [
            ("formatting", &["fmt", "--all", "--check"]),
            (
                "lints",
                &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
            ),
        ];
        for (name, args) in checks {
            report::step(name);
            let result = self.timed(name, |paths| {
                command::output(cargo().args(args).current_dir(&paths.workspace))
            });
            match result {
                Ok(_) => count.passed += 1,
                Err(error) => count.failures.push((name.into(), chain(&error))),
            }
        }
    }

    /// Runs `cargo test` and counts what libtest reports.
    fn cargo_tests(
        &mut self,
        name: &str,
        args: &[&str],
        env: &[(String, String)],
        count: &mut Count,
    ) -> Result<()> {
        report::step(name);
        let out = self.timed(name, |paths| {
            let mut command = cargo();
            // The lab's profile: what is built here serves the programs in dom0, too.
            command.args(["test", "--no-fail-fast", "--profile", "small"]);
            command.args(if args.is_empty() { &["--workspace"][..] } else { args });
            command.envs(env.iter().map(|(key, value)| (key, value)));
            command.current_dir(&paths.workspace).stdin(Stdio::null());
            command.output().map_err(|source| Error::Start { program: "cargo test".into(), source })
        })?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let failed_before = count.failures.len();
        let passed = parse(&text, count);
        report::note(&format!("{passed} passed"));
        if !out.status.success() && count.failures.len() == failed_before {
            let said = String::from_utf8_lossy(&out.stderr);
            let errors: Vec<&str> = said.lines().filter(|l| !l.contains("Compiling")).collect();
            count.failures.push((name.into(), command::tail(&errors.join("\n"), 40)));
        }
        Ok(())
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

/// Counts libtest's lines; returns how many passed. Ignored tests are not counted: those that
/// need dom0 run there as cases, and libtest tells no reason for others.
fn parse(text: &str, count: &mut Count) -> u64 {
    let mut passed = 0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("test ") else { continue };
        if rest.ends_with(" ... ok") {
            passed += 1;
        } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
            count.failures.push((name.into(), details(text, name)));
        }
    }
    count.passed += passed;
    passed
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
        let text = "test a ... ok\ntest b ... FAILED\ntest c ... ignored, needs dom0\n\
                    ---- b stdout ----\nwhy\n---- x\n";
        let mut count = Count::default();
        assert_eq!(parse(text, &mut count), 1);
        assert_eq!(count.failures, [("b".to_string(), "why".to_string())]);
    }
}
