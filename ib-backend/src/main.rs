//! `xlr-ibd`: the backend of the InfiniBand split driver, for all guests of this host.
//!
//! In: options. Out: the exit code. It is a program of its own, dynamically linked, because rdma-core's
//! providers are shared libraries; hosts without RDMA do not need it.

#![forbid(unsafe_code)]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ib_backend::service::{Options, Service};
use ib_backend::{Error, Result, verbs};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Serves verbs devices of this host to Xen guests that have an rdma= device.
#[derive(Debug, Parser)]
#[command(name = "xlr-ibd", version)]
struct Arguments {
    /// How long to look for work before sleeping, in microseconds: longer costs a CPU, and saves
    /// busy guests the wake-up.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 50)]
    spin_us: u64,
    /// Where statistics are served.
    #[arg(long, value_name = "PATH", default_value = "/run/xlr/ibd.sock")]
    socket: PathBuf,
    /// Serves this device although it is hardware: somebody has tried it with guests.
    #[arg(long, value_name = "DEVICE")]
    trust_device: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xlr-ibd: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    // The kernel kills all that share memory when it runs out of it, the guardian too: not this one.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "-1000") {
        tracing::warn!("the kernel may kill xlr-ibd when memory is short: {error}");
    }
    as_many_descriptors_as_allowed();
    // The socket is root's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let (signals, signalled) = UnixStream::pair().map_err(Error::host("prepare for signals"))?;
    for signal in [SIGTERM, SIGINT] {
        let end = signalled.try_clone().map_err(Error::host("prepare for signals"))?;
        signal_hook::low_level::pipe::register(signal, end)
            .map_err(Error::host("prepare for signals"))?;
    }
    let guardian = verbs::guardian::start()?;
    let options = Options {
        spin: Duration::from_micros(arguments.spin_us),
        socket: arguments.socket,
        trusted: arguments.trust_device,
    };
    let mut service = Service::start(options, signals, guardian)?;
    tracing::info!("serves {}", service.host_devices().join(", "));
    service.run()
}

/// Each context takes about ten.
fn as_many_descriptors_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(errno) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("the limit of descriptors stays: {errno}");
    }
}
