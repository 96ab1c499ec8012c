//! One file per verb. A command opens what it needs, does its work, prints, and returns how it
//! ended; only [`run`] turns errors into text and exit codes.

pub(crate) mod announce;
mod begin;
mod block;
mod bug_report;
mod build;
mod channel_list;
mod config;
mod config_update;
pub mod console;
mod consoled;
mod create;
mod create_template;
mod debug_keys;
mod destroy;
mod device_list;
mod devices;
mod dmesg;
mod domain;
mod domid;
mod domname;
mod dump_core;
mod end;
pub mod error;
mod events;
mod foreground;
mod generate;
mod host;
mod hot;
mod info;
mod kept_devices;
mod list;
mod memory;
mod metrics;
mod network;
mod notify;
mod pause;
mod pci;
mod pci_device;
mod policy;
mod rdma;
mod remove;
mod rename;
mod render;
mod restart;
pub mod run;
mod saved;
mod set_aside;
mod shutdown;
mod signals;
mod supervise;
mod sweep;
mod sysrq;
mod template;
mod top;
mod uptime;
mod vcpu_list;
mod vcpu_pin;
mod vcpu_set;
mod wait;
mod xenstored;

use crate::cli::{Cli, PlanFormat, Verb, program};
use crate::exit::Exit;
use crate::parts::{self, Part};
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
        // It has been told.
        Err(CommandError::Judged { exit }) => exit,
        Err(error) => {
            say_why(&error);
            error.exit()
        }
    }
}

/// The reason in one line. Of a create that failed it comes first, and then what became of the
/// domain: the step that it failed in says nothing to most.
fn say_why(error: &CommandError) {
    let name = program::name();
    match error {
        CommandError::Apply(apply) => {
            tell(format_args!("{name}: {}\n{name}: {apply}", chain(apply.cause.as_ref())));
        }
        _ => tell(format_args!("{name}: {}", chain(error))),
    }
}

/// Says something on standard error. That nobody listens there must not end a command half-way.
fn tell(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Warns on standard error.
pub(crate) fn warn(text: impl Display) {
    tell(format_args!("{}: warning: {text}", program::name()));
}

fn carry_out(cli: Cli) -> Result<(), CommandError> {
    if cli.flags.dry_run && !matches!(cli.verb, Verb::Create(_) | Verb::VcpuPin(_)) {
        // Before anything is opened: who writes -N must not see a domain go.
        return Err(CommandError::DryRun);
    }
    if sweeps(&cli) {
        sweep::sweep();
        parts::done(Part::State);
    }
    match cli.verb {
        Verb::Create(mut arguments) => {
            if cli.flags.dry_run {
                arguments.dry_run.get_or_insert(PlanFormat::Text);
            }
            create::run(&arguments)
        }
        Verb::List(arguments) => list::run(&arguments),
        Verb::Destroy(arguments) => destroy::run(&arguments),
        Verb::Shutdown(arguments) => shutdown::shutdown(&arguments),
        Verb::Reboot(arguments) => shutdown::reboot(&arguments),
        Verb::Config(arguments) => config::run(&arguments),
        Verb::ConfigUpdate(arguments) => config_update::run(&arguments),
        Verb::Pause(arguments) => pause::pause(&arguments),
        Verb::Unpause(arguments) => pause::unpause(&arguments),
        Verb::Console(arguments) => console::run(&arguments),
        Verb::ChannelList(arguments) => channel_list::run(&arguments),
        Verb::Consoled => consoled::run(),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Events(arguments) => events::run(&arguments),
        Verb::Metrics(arguments) => metrics::run(&arguments),
        Verb::Top(arguments) => top::run(&arguments),
        Verb::Wait(arguments) => wait::run(&arguments),
        Verb::Supervise(arguments) => supervise::run(&arguments),
        Verb::DumpCore(arguments) => dump_core::run(&arguments),
        Verb::Domid(arguments) => domid::run(&arguments),
        Verb::Domname(arguments) => domname::run(&arguments),
        Verb::Host(arguments) => host::run(&arguments),
        Verb::Info(arguments) => info::run(&arguments),
        Verb::Dmesg(arguments) => dmesg::run(&arguments),
        Verb::Render(arguments) => render::run(&arguments),
        Verb::Rename(arguments) => rename::run(&arguments),
        Verb::Uptime(arguments) => uptime::run(&arguments),
        Verb::VcpuList(arguments) => vcpu_list::run(&arguments),
        Verb::VmList(arguments) => list::by_uuid(&arguments),
        Verb::Claims(arguments) => list::claims(&arguments),
        Verb::VcpuPin(arguments) => vcpu_pin::run(&arguments, cli.flags.dry_run),
        Verb::VcpuSet(arguments) => vcpu_set::run(&arguments),
        Verb::MemMax(arguments) => memory::set_max(&arguments),
        Verb::MemSet(arguments) => memory::set_target(&arguments),
        Verb::BlockAttach(arguments) => block::attach(&arguments),
        Verb::BlockDetach(arguments) => block::detach(&arguments),
        Verb::BlockList(arguments) => block::list(&arguments),
        Verb::NetworkAttach(arguments) => network::attach(&arguments),
        Verb::NetworkDetach(arguments) => network::detach(&arguments),
        Verb::NetworkList(arguments) => network::list(&arguments),
        Verb::Rdma(arguments) => rdma::run(&arguments),
        Verb::Sysrq(arguments) => sysrq::run(&arguments),
        Verb::DebugKeys(arguments) => debug_keys::run(&arguments),
        Verb::Pci(arguments) => pci::run(&arguments),
        Verb::PciAssignableAdd(arguments) => pci::add(&arguments),
        Verb::PciAssignableRemove(arguments) => pci::remove(&arguments),
        Verb::PciAssignableList(arguments) => pci::list(&arguments),
        Verb::PciAttach(arguments) => pci_device::attach(&arguments),
        Verb::PciDetach(arguments) => pci_device::detach(&arguments),
        Verb::PciList(arguments) => pci_device::list(&arguments),
        Verb::BugReport(arguments) => bug_report::run(&arguments),
        Verb::Xenstored(arguments) => Ok(xenstored::run(&arguments)?),
        Verb::Generate(arguments) => generate::run(&arguments),
    }
}

/// Whether a command removes what others have left first. A dry run changes nothing, a report shows
/// what there is, and completion asks with every key.
fn sweeps(cli: &Cli) -> bool {
    match &cli.verb {
        Verb::Create(arguments) => !cli.flags.dry_run && arguments.dry_run.is_none(),
        Verb::VcpuPin(_) => !cli.flags.dry_run,
        Verb::List(arguments) => !arguments.names,
        Verb::BugReport(_)
        | Verb::Config(_)
        | Verb::Consoled
        | Verb::Events(_)
        | Verb::Metrics(_)
        | Verb::Generate(_)
        | Verb::Host(_)
        | Verb::Render(_)
        | Verb::Supervise(_)
        | Verb::Top(_)
        | Verb::Xenstored(_) => false,
        _ => true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::read;

    #[test]
    fn dry_runs_reports_and_completions_remove_nothing() {
        let check = |line: &str, expected: bool| {
            let cli = read(std::iter::once("xlr").chain(line.split(' ')).map(Into::into));
            assert_eq!(sweeps(&cli.expect(line)), expected, "{line}");
        };
        check("create a.cfg", true);
        check("create -n a.cfg", false);
        check("create --dry-run=json a.cfg", false);
        check("-N create a.cfg", false);
        check("vcpu-pin 1 0 all", true);
        check("-N vcpu-pin 1 0 all", false);
        check("destroy a", true);
        check("shutdown a", true);
        check("reboot a", true);
        check("pause a", true);
        check("list", true);
        check("list --names", false);
        check("bug-report", false);
        check("host check", false);
        check("generate man d", false);
        check("xenstored", false);
        check("console a", true);
    }
}
