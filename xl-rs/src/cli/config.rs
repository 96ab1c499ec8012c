//! The arguments of `config` and its parts.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `config`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub what: ConfigVerb,
}

/// What `config` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigVerb {
    /// Tell what is wrong with configuration files
    ///
    /// Each file is read as create would read it, with the site's policy where there is one. Nothing
    /// is asked of Xen, so that this works on any machine. Ends with 3 if a file is refused or cannot
    /// be read, with 0 if there is nothing worse than warnings.
    Check(ConfigCheckArgs),
    /// Print the JSON Schema of configurations
    ///
    /// It describes a configuration as one object, as check --json prints it.
    Schema,
    /// Make configurations of libvirt's XML, or of what xl list -l prints
    ///
    /// Every element that a configuration does not carry is named on standard error. The result is checked as
    /// create would check it; what would be refused is printed all the same, and ends with 3.
    Convert(ConfigConvertArgs),
}

/// Arguments of `config check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ConfigCheckArgs {
    /// The files (- for standard input)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// End with 3 for warnings, too
    #[arg(short = 'W', long)]
    pub deny_warnings: bool,

    /// Try this policy in place of the site's, /etc/xlr/policy.toml
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Print JSON: every problem with its place and, where one is known, the change that mends it
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `config convert`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ConfigConvertArgs {
    /// The document (- for standard input); whether it is XML or JSON is seen from its beginning
    pub file: PathBuf,

    /// Only the domain of this name
    #[arg(short, long, value_name = "NAME")]
    pub domain: Option<String>,

    /// The folder that configurations go to, one file for each domain; standard output without it
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
