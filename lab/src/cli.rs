//! The command line: `cargo lab …`.

use crate::artefact::Artefacts;
use crate::error::{Context as _, Result};
use crate::paths::Paths;
use crate::qemu::{Clock, Machine};
use crate::report;
use crate::shell::{self, Options};
use crate::test;
use crate::xenstored::Xenstored;
use crate::{bench, demo, kernel, rdma};
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// Boots real Xen in an emulator and runs demo, tests and benchmarks on it.
///
/// Everything is kept under target/lab. The first use fetches Debian packages (about 150 MB)
/// from the mirror of this machine's apt configuration; later uses need no network.
#[derive(Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot real Xen, run `xlr create configs/hpc.cfg`, show the guest, end cleanly
    Demo {
        /// Use the C tools instead of xlr
        #[arg(long, hide = true)]
        with_xl: bool,
    },
    /// Run every test: unit, property, fuzz, and all cases on real Xen
    ///
    /// The last line says how many passed, failed and were skipped; logs are in target/lab/logs.
    Test {
        /// The part for continuous integration: each capability once, with lints
        #[arg(long)]
        ci: bool,
        /// Only the cases on real Xen
        #[arg(long)]
        cases: bool,
        /// Do not build xlr and do not put it into dom0
        #[arg(long, hide = true)]
        no_xlr: bool,
        /// Who serves the store, in place of what each case says
        #[arg(long, value_enum)]
        xenstored: Option<Xenstored>,
        /// Print the names of the cases and run nothing
        #[arg(long)]
        list: bool,
        /// Only cases whose name contains one of these, and no other stage
        filters: Vec<String>,
    },
    /// Boot a dom0 and open a shell in it
    Shell {
        #[command(flatten)]
        machine: MachineArgs,
    },
    /// Boot a dom0, run one command there, return its output and exit code
    ///
    /// A single argument is a shell line: cargo lab run -- 'xl list; xl info'
    Run {
        #[command(flatten)]
        machine: MachineArgs,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Measure on real Xen: xlr against the C tools, by an exact clock
    Bench(bench::Options),
    /// Build the small guest kernel from Debian's linux-source (about 15 minutes of CPU time)
    Kernel,
    /// Build the one file that gives a guest's system InfiniBand
    IbGuest,
    /// Fetch and check all artefacts, so that later runs need no network
    Fetch {
        /// Ask the mirror for newer versions
        #[arg(long)]
        update: bool,
        /// Only these sets of lab/artefacts.toml
        sets: Vec<String>,
    },
    /// Remove what the lab has made; the downloaded packages stay
    Clean {
        /// Remove the downloaded packages, too
        #[arg(long)]
        all: bool,
    },
}

#[derive(Args)]
struct MachineArgs {
    /// Xen version: 4.14, 4.17 or 4.20
    #[arg(long, default_value = "4.17")]
    xen: String,
    /// Memory of the machine in MiB
    #[arg(long, default_value_t = 2048)]
    memory_mib: u32,
    /// NUMA nodes of the machine, each with one CPU
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    numa_nodes: u32,
    /// More options for Xen's command line
    #[arg(long, default_value = "")]
    xen_options: String,
    /// Add an IOMMU and network cards to be passed through
    #[arg(long)]
    passthrough: bool,
    /// Add what InfiniBand needs in dom0 and in guests
    #[arg(long)]
    rdma: bool,
    /// Add gdb to dom0
    #[arg(long)]
    debugger: bool,
    /// Who serves the store
    #[arg(long, value_enum, default_value_t)]
    xenstored: Xenstored,
    /// Use the deterministic clock (one nanosecond per instruction)
    #[arg(long)]
    instructions: bool,
    /// Do not build xlr and do not put it into dom0
    #[arg(long)]
    no_xlr: bool,
    /// Limit for the whole run in seconds
    #[arg(long, default_value_t = 3600)]
    limit_seconds: u64,
}

impl MachineArgs {
    fn options(&self) -> Options {
        let clock = if self.instructions { Clock::Instructions } else { Clock::Wall };
        Options {
            machine: Machine {
                xen: self.xen.clone(),
                memory_mib: self.memory_mib,
                clock,
                numa_nodes: self.numa_nodes,
                xen_options: self.xen_options.clone(),
                passthrough: self.passthrough,
                rdma: self.rdma,
                debugger: self.debugger,
                xenstored: self.xenstored,
                ..Machine::default()
            },
            with_xlr: !self.no_xlr,
            limit: Duration::from_secs(self.limit_seconds),
        }
    }
}

/// Parses the command line and carries it out; returns the exit code.
pub fn main() -> Result<i32> {
    let cli = Cli::parse();
    let paths = Paths::find()?;
    match cli.verb {
        Verb::Demo { with_xl } => demo::main(&paths, with_xl),
        Verb::Test { ci, cases, no_xlr, xenstored, list, filters } => {
            let options =
                test::Options { ci, filters, cases_only: cases, with_xlr: !no_xlr, xenstored };
            if list { test::list(&paths, &options) } else { test::main(&paths, &options) }
        }
        Verb::Shell { machine } => shell::shell(&paths, &machine.options()),
        Verb::Run { machine, command } => shell::run(&paths, &machine.options(), &command),
        Verb::Bench(options) => bench::main(&paths, &options),
        Verb::Kernel => kernel::build(&paths),
        Verb::IbGuest => rdma::installer(&paths),
        Verb::Fetch { update, sets } => fetch(&paths, update, &sets),
        Verb::Clean { all } => clean(&paths, all),
    }
}

fn fetch(paths: &Paths, update: bool, sets: &[String]) -> Result<i32> {
    let mut artefacts = Artefacts::open(paths)?;
    let names = if sets.is_empty() { artefacts.names() } else { sets.to_vec() };
    for name in names {
        if update {
            artefacts.forget(&name)?;
        }
        artefacts.root(&name)?;
        report::step(&format!("{name} is there"));
    }
    Ok(0)
}

/// What the lab makes; cargo keeps things of its own in the same directory.
const MADE: [&str; 8] =
    ["root", "image", "logs", "bench", "extra", "kernel", "artefacts.flock", "xtf.flock"];

/// What it has fetched.
const FETCHED: [&str; 3] = ["deb", "apt", "artefacts.lock.json"];

fn clean(paths: &Paths, all: bool) -> Result<i32> {
    let fetched = if all { &FETCHED[..] } else { &[] };
    for name in MADE.iter().chain(fetched) {
        let path = paths.lab.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).on("remove", &path)?;
        } else if path.exists() {
            std::fs::remove_file(&path).on("remove", &path)?;
        }
    }
    Ok(0)
}
