//! `cargo lab bench NAME`: measurements on real Xen, against the C tools and against the floor.
//!
//! ```text
//! boot ──▶ lab bench-dom0 NAME ──records──▶ raw file
//!                                   └─────▶ rows ──▶ table, JSON, check, plot
//! ```
//!
//! In: a benchmark's name and options. Out: rows, one per comparison; the raw records stay in
//! `target/lab/bench`. Times come from a machine whose clock counts instructions, so that they
//! agree from run to run whatever else the host does; `--wall` repeats the measurement in a boot
//! whose clock is the host's, and its rows carry another unit. Targets are judged by instructions
//! alone: a busy host must not fail a check.
//!
//! Never judges by a mean: a row shows medians, and every measurement is kept.

mod create;
mod devices;
mod output;
mod plot;
mod quiet;
mod rdma;
mod record;
mod row;
mod samples;
mod scale;
mod table;
mod xenstore;

use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::report;
use crate::xenstored::Xenstored;
use record::Record;
use row::Row;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The benchmark; --list shows all
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Only cases whose name contains this
    filter: Option<String>,
    /// List the benchmarks
    #[arg(long)]
    list: bool,
    /// Print one JSON object per line on standard output, everything else on standard error
    #[arg(long)]
    json: bool,
    /// Fail unless every stated target is met
    #[arg(long)]
    check: bool,
    /// Draw the rows that form curves; several plots go into files beside it, FILE-NAME.svg
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Repeat the measurement in a boot with the host's clock
    #[arg(long)]
    wall: bool,
    /// Add a row for each step of the plan
    #[arg(long)]
    steps: bool,
    /// Add the cases that take long
    #[arg(long)]
    full: bool,
    /// scale: no more guests than this
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(15..=400))]
    guests: Option<u32>,
    /// scale: rows and plots of measurements that an earlier run kept; boots nothing
    #[arg(long, value_name = "FILE.jsonl")]
    kept: Option<PathBuf>,
    /// Measurements of each kind
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// Xen version: 4.14, 4.17 or 4.20
    #[arg(long, default_value = "4.17")]
    xen: String,
    /// Who serves the store; the benchmark of stores measures each
    #[arg(long, value_enum, default_value_t)]
    xenstored: Xenstored,
}

/// What a benchmark brings home.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Everything that was measured.
    pub records: Vec<Record>,
    /// The comparisons.
    pub rows: Vec<Row>,
    /// What `--plot` draws.
    pub curves: Vec<Curves>,
}

/// Rows that form curves, of one unit: one plot.
#[derive(Clone, Debug)]
pub struct Curves {
    /// What distinguishes its file.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// The points.
    pub rows: Vec<Row>,
}

impl Curves {
    /// One plot.
    pub const fn new(name: &'static str, title: &'static str, rows: Vec<Row>) -> Self {
        Self { name, title, rows }
    }
}

struct Bench {
    name: &'static str,
    about: &'static str,
    measure: fn(&Paths, &Options) -> Result<Measured>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: create::NAME,
        about: "create and destroy a PV guest: xlr against xl, by kernel, memory and cache",
        measure: create::measure,
    },
    Bench {
        name: xenstore::NAME,
        about: "requests to a xenstored: ours against the C and the OCaml daemon",
        measure: xenstore::measure,
    },
    Bench {
        name: devices::NAME,
        about: "attach and detach a device of a running guest: xlr against xl",
        measure: devices::measure,
    },
    Bench {
        name: rdma::NAME,
        about: "InfiniBand in a guest against the same device in dom0: instructions, latency, bandwidth",
        measure: rdma::measure,
    },
    Bench {
        name: scale::NAME,
        about: "paused guests by the hundred: create, memory, processes, wake-ups, by count",
        measure: scale::measure,
    },
];

/// Runs a benchmark; the exit code says whether `--check` is content.
pub fn main(paths: &Paths, options: &Options) -> Result<i32> {
    if options.list {
        for bench in BENCHES {
            println!("{:<10} {}", bench.name, bench.about);
        }
        return Ok(0);
    }
    let name = options.name.as_deref().unwrap_or_default();
    let bench = BENCHES.iter().find(|bench| bench.name == name).ok_or_else(|| {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        Error::Missing(format!("there is no benchmark {name}; there is: {}", known.join(", ")))
    })?;
    let measured = (bench.measure)(paths, options)?;
    if options.kept.is_none() {
        let raw = output::keep(paths, bench.name, &measured.records)?;
        report::note(&format!("raw measurements: {}", raw.display()));
    }
    output::print(&measured.rows, options.json);
    if let Some((kind, spread)) = record::widest(&measured.records) {
        report::note(&format!(
            "values of one kind lie at most {:.1} % apart: {kind}",
            spread * 1e2
        ));
    }
    if let Some(file) = &options.plot {
        for file in output::draw(&measured.curves, file)? {
            report::note(&format!("plot: {}", file.display()));
        }
    }
    Ok(if options.check { output::check(&measured.rows) } else { 0 })
}

/// `lab bench-dom0 NAME WORK`, the half of a benchmark that runs inside dom0: prints records.
pub fn inside(args: &[String]) -> std::io::Result<()> {
    match args {
        [name, work] if name == create::NAME => create::inside::main(work),
        [name, work] if name == xenstore::NAME => xenstore::inside::main(work),
        [name, work] if name == devices::NAME => devices::inside::main(work),
        [name, work] if name == rdma::NAME => rdma::inside::main(work),
        [name, work] if name == scale::NAME => scale::inside::main(work),
        _ => Err(std::io::Error::other("bench-dom0 NAME WORK")),
    }
}
