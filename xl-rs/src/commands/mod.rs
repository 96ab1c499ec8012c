//! One file per verb. A command opens what it needs, does its work, prints, and returns how it
//! ended; only [`run`] turns errors into text and exit codes.

pub mod console;
mod create;
mod destroy;
mod dmesg;
mod domain;
mod domid;
mod domname;
pub mod error;
mod generate;
mod info;
mod list;
mod pause;
mod shutdown;

use crate::cli::{Cli, PlanFormat, Verb};
use crate::exit::Exit;
use error::{CommandError, chain};
use std::fmt::Display;
use std::io::{self, Write};

/// Carries out a command line. Errors go to standard error.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    match carry_out(cli) {
        Ok(()) => Exit::Success,
        Err(CommandError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            // The reader has seen enough; nobody is left to be told.
            Exit::Failure
        }
        Err(error) => {
            tell(format_args!("xlr: {}", chain(&error)));
            error.exit()
        }
    }
}

/// Says something on standard error. That nobody listens there must not end a command half-way.
fn tell(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn carry_out(cli: Cli) -> Result<(), CommandError> {
    if cli.dry_run && !matches!(cli.verb, Verb::Create(_)) {
        // Before anything is opened: who writes -N must not see a domain go.
        return Err(CommandError::DryRun);
    }
    match cli.verb {
        Verb::Create(mut arguments) => {
            if cli.dry_run {
                arguments.dry_run.get_or_insert(PlanFormat::Text);
            }
            create::run(&arguments)
        }
        Verb::List(arguments) => list::run(&arguments),
        Verb::Destroy(arguments) => destroy::run(&arguments),
        Verb::Shutdown(arguments) => shutdown::run(&arguments),
        Verb::Pause(arguments) => pause::pause(&arguments),
        Verb::Unpause(arguments) => pause::unpause(&arguments),
        Verb::Console(arguments) => console::run(&arguments),
        Verb::Domid(arguments) => domid::run(&arguments),
        Verb::Domname(arguments) => domname::run(&arguments),
        Verb::Info(arguments) => info::run(&arguments),
        Verb::Dmesg(arguments) => dmesg::run(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
    }
}

/// Prints to standard output, all or an error.
fn print(bytes: &[u8]) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| CommandError::Write { what: String::from("standard output"), source })
}

/// Prints JSON, indented, with a line end.
fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    print(format!("{value:#}\n").as_bytes())
}
