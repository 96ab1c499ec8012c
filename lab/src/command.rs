//! Runs a program and turns its failure into an error that shows what it said.

use crate::error::{Error, Result};
use std::process::{Command, Stdio};

/// Runs `command` to its end and returns its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = describe(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let said = if out.stderr.is_empty() { out.stdout } else { out.stderr };
    Err(Error::Program {
        program,
        status: out.status.to_string(),
        output: tail(&String::from_utf8_lossy(&said), 20),
    })
}

/// Runs `command` with the lab's own output streams.
pub fn run(command: &mut Command) -> Result<()> {
    let program = describe(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program, status: status.to_string(), output: String::new() })
}

/// The last `count` lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(6).map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}
