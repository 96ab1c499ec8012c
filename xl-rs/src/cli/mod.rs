//! The command line: one definition per flag, from which parsing, help, man pages and shell
//! completions come.
//!
//! Verbs, flags and their letters are xl's. Nothing here does anything; [`crate::commands`] does.

mod verbs;

pub use verbs::{
    ConsoleArgs, CreateArgs, DestroyArgs, DmesgArgs, DomainArg, DomidArgs, DomnameArgs,
    GenerateArgs, Generated, InfoArgs, ListArgs, PlanFormat, ShutdownArgs,
};

use std::sync::LazyLock;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use xen_sys::revision::{DomctlRevision, SysctlRevision};

/// A lean toolstack for Xen.
///
/// Creates and manages Xen domains from xl.cfg files, by direct hypercalls. Verbs, flags and
/// columns are xl's; a domain is named by its name or its domid. Verbs may be shortened as long as
/// they stay unambiguous.
#[derive(Debug, Parser)]
#[command(name = "xlr", bin_name = "xlr", version, long_version = LONG_VERSION.as_str(), infer_subcommands = true)]
#[command(after_long_help = EXIT_CODES.as_str())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Say more of what is done; twice for every step, three times for everything
    ///
    /// The environment variable XLR_LOG chooses by part, as in XLR_LOG=xenstore=trace,info.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Do not execute: create shows its plan, every other verb is refused
    #[arg(short = 'N')]
    pub dry_run: bool,

    /// Accepted for the sake of scripts made for xl; nothing needs to be forced
    #[arg(short = 'f', hide = true)]
    pub force: bool,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a domain from a configuration file
    Create(CreateArgs),
    /// List domains
    List(ListArgs),
    /// End a domain at once
    Destroy(DestroyArgs),
    /// Ask a domain to shut down
    Shutdown(ShutdownArgs),
    /// Stop a domain's vcpus
    Pause(DomainArg),
    /// Let a paused domain run
    Unpause(DomainArg),
    /// Attach to a domain's console
    Console(ConsoleArgs),
    /// Print the domid of a name
    Domid(DomidArgs),
    /// Print the name of a domid
    Domname(DomnameArgs),
    /// Print facts about the host and its Xen
    Info(InfoArgs),
    /// Print the hypervisor's log
    Dmesg(DmesgArgs),
    /// Write shell completions or man pages
    Generate(GenerateArgs),
}

/// What `--version` prints: the version, and the hypervisors this build works with.
static LONG_VERSION: LazyLock<String> = LazyLock::new(long_version);

/// The end of `--help`.
static EXIT_CODES: LazyLock<String> = LazyLock::new(crate::exit::text);

fn long_version() -> String {
    let mut text = String::from(env!("CARGO_PKG_VERSION"));
    if let (Some(first), Some(last)) = (DomctlRevision::KNOWN.first(), DomctlRevision::KNOWN.last())
    {
        text.push_str(&format!("\ndomctl {first} to {last}"));
    }
    if let (Some(first), Some(last)) = (SysctlRevision::KNOWN.first(), SysctlRevision::KNOWN.last())
    {
        text.push_str(&format!("\nsysctl {first} to {last}"));
    }
    text
}

/// The whole definition, for man pages and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Reads a command line. The program's name is the first argument; called as `xl`, messages say so.
///
/// # Errors
/// What clap has to say, help and version included.
pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = definition();
    if called_as_xl(arguments.first()) {
        command = command.bin_name("xl");
    }
    let matches = command.try_get_matches_from(arguments)?;
    <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
}

fn called_as_xl(program: Option<&std::ffi::OsString>) -> bool {
    program.and_then(|path| std::path::Path::new(path).file_name()).is_some_and(|name| name == "xl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn the_version_names_the_hypervisors() {
        let error = read(["xlr", "--version"].map(Into::into)).expect_err("--version ends parsing");
        let text = error.to_string();
        for part in [env!("CARGO_PKG_VERSION"), "domctl 0x12 (Xen 4.14)", "sysctl 0x13"] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn called_as_xl_it_says_xl() {
        let usage = |program: &str| {
            read([program, "domid"].map(Into::into)).expect_err("a name is missing").to_string()
        };
        assert!(usage("/usr/sbin/xl").contains("xl domid"), "{}", usage("/usr/sbin/xl"));
        assert!(usage("/bin/xlr").contains("xlr domid"), "{}", usage("/bin/xlr"));
    }
}
