//! The program `xlr`. Called as `xl` it does the same.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use xl_rs::cli;
use xl_rs::commands;
use xl_rs::exit::Exit;

fn main() -> ExitCode {
    let cli = match cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Nobody is left to be told if even this cannot be printed.
            let _ = error.print();
            return exit.into();
        }
    };
    start_log(cli.verbose);
    commands::run(cli).into()
}

/// Sends the log to standard error: what `XLR_LOG` chooses, else what `-v` asks for.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let mut targets = Targets::new().with_default(level);
    if let Ok(chosen) = std::env::var("XLR_LOG") {
        match chosen.parse() {
            Ok(chosen) => targets = chosen,
            Err(error) => eprintln!("xlr: XLR_LOG is not understood and was ignored: {error}"),
        }
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(targets);
    tracing_subscriber::registry().with(layer).init();
}
