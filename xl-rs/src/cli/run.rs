//! The arguments of `run`.

use crate::commands::run::judge::Ending;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// The configuration file (- for standard input), and KEY=VALUE assignments that override it; or a
    /// suite of guests, whose name ends in .toml
    #[arg(value_name = "FILE | KEY=VALUE", required = true)]
    pub arguments: Vec<String>,

    /// A pattern that the guest has to print; given more than once, all of them
    ///
    /// A regular expression, as docs.rs/regex describes them, that is looked for in each line.
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub expect: Vec<String>,

    /// A pattern that the guest must not print, whatever else it prints
    #[arg(short = 'x', long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub fail_on: Vec<String>,

    /// How the domain has to end; any other end is a failure
    ///
    /// Without this it need not end where something else is wanted, and if it does, then by poweroff.
    #[arg(long, value_enum, value_name = "ENDING")]
    pub end: Option<Ending>,

    /// Demand an exit code: the guest writes it to data/exit-code in its xenstore
    ///
    /// One that is not 0 is a failure, demanded or not.
    #[arg(long)]
    pub exit_code: bool,

    /// How long all that may take once the guest runs, 300 seconds unless given; after that the exit
    /// code is 124
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,

    /// How long the guest is watched on once all is decided, 2 seconds unless given: a crash then is a
    /// failure
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<u64>,

    /// How often a guest that has not passed is run again; what it came to before is reported, too
    #[arg(short, long, value_name = "COUNT")]
    pub retries: Option<u32>,

    /// Give the guest a disk xvdz of this size, such as 64MiB, and keep the files of the tar stream that
    /// it writes there
    #[arg(long, value_name = "SIZE")]
    pub scratch: Option<String>,

    /// How many guests of a suite run at once, as far as there are memory and CPUs for them
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,

    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Keep consoles, and what else guests leave, in this folder; those of a suite's in folders of their
    /// names
    #[arg(long, value_name = "FOLDER")]
    pub log: Option<PathBuf>,

    /// Print JSON in place of the console, or of a suite's table
    #[arg(long)]
    pub json: bool,

    /// Print neither warnings nor the console, nor how far a suite is
    #[arg(short, long)]
    pub quiet: bool,
}
