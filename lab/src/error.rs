//! What can go wrong on the host's side of the lab.
//!
//! Every variant names the operation and the file or program it concerns; where the user can do
//! something about it, the message says what.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{program} failed ({status}){}", indented(output))]
    Program {
        /// The program with its arguments.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// A file does not have the expected form.
    #[error("{} is not usable: {why}", path.display())]
    Form {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The machine under test misbehaved.
    #[error("{0}")]
    Machine(String),
    /// Something the lab needs is missing on this machine; the text says how to get it.
    #[error("{0}")]
    Missing(String),
    /// A time limit was exceeded.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// What was awaited.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// The run was carried out and its outcome is a failure.
    #[error("{0}")]
    Failed(String),
}

/// Result with the lab's error.
pub type Result<T> = std::result::Result<T, Error>;

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("\n    {line}")).collect()
}

/// Adds the operation and the path to an I/O result.
pub trait Context<T> {
    /// `operation` is a verb ("read"), `path` the file it concerned.
    fn on(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn on(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::File {
            operation,
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        })
    }
}

/// The error with all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
