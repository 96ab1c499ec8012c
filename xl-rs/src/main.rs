//! The program `xlr`. Called as `xl` it does the same.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use xl_rs::cli::{self, Verb, program};
use xl_rs::colour;
use xl_rs::commands;
use xl_rs::exit::Exit;
use xl_rs::parts;

fn main() -> ExitCode {
    let began = parts::clock();
    program::set(std::env::args_os().next().as_deref());
    let cli = match cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Nobody is left to be told if even this cannot be printed.
            let _ = error.print();
            return exit.into();
        }
    };
    let read = parts::clock();
    let warns = !matches!(cli.verb, Verb::Create(_) | Verb::Destroy(_));
    start_log(cli.flags.verbose, cli.flags.timestamps, warns);
    parts::begin(began, read);
    let exit = commands::run(cli);
    parts::tell();
    exit.into()
}

/// Sends the log to standard error: what `XLR_LOG` chooses, else what `-v` asks for. Who follows a
/// command by `-v` reads plain lines; who chooses parts by `XLR_LOG` sees when and where, too. Where
/// nobody asks there are warnings, those of services; a command that does not log any has no log, so
/// that it starts the sooner: `tests/warnings.rs` keeps warnings out of such commands.
fn start_log(verbose: u8, timestamps: bool, warns: bool) {
    let chosen = std::env::var("XLR_LOG").ok();
    if verbose == 0 && chosen.is_none() && !warns {
        return;
    }
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let mut targets = Targets::new().with_default(level);
    let mut plain = true;
    if let Some(chosen) = chosen {
        match chosen.parse() {
            Ok(chosen) => (targets, plain) = (chosen, false),
            Err(_) => {
                let wrong = |part: &&str| part.parse::<Targets>().is_err();
                let part = chosen.split(',').find(wrong).unwrap_or(&chosen);
                eprintln!(
                    "{}: XLR_LOG is ignored: {part:?} in it is not understood; write PART=LEVEL or \
                     LEVEL, with commas between, where LEVEL is off, error, warn, info, debug or trace",
                    program::name()
                );
            }
        }
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour::on_stderr())
        .with_target(!plain)
        .with_level(!plain);
    let log = tracing_subscriber::registry();
    if plain && !timestamps {
        log.with(layer.without_time().with_filter(targets)).init();
    } else {
        log.with(layer.with_filter(targets)).init();
    }
}
