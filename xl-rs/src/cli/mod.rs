//! The command line: one definition per flag, from which parsing, help, man pages and shell
//! completions come.
//!
//! Verbs, flags and their letters are xl's. Nothing here does anything; [`crate::commands`] does.

mod config;
mod devices;
mod network;
pub mod number;
mod pci;
pub mod program;
mod rdma;
mod run;
mod template;
mod tuning;
mod verbs;
mod xenstored;
pub mod xl;

pub use config::{ConfigArgs, ConfigCheckArgs, ConfigConvertArgs, ConfigVerb};
pub use devices::{BlockAttachArgs, BlockDetachArgs, DeviceListArgs};
pub use network::{NetworkAttachArgs, NetworkDetachArgs};
pub use pci::{
    PciArgs, PciAssignableAddArgs, PciAssignableListArgs, PciAssignableRemoveArgs, PciAttachArgs,
    PciDetachArgs, PciDevicesArgs, PciListArgs, PciVerb,
};
pub use rdma::{RdmaArgs, RdmaAttachArgs, RdmaDetachArgs, RdmaListArgs, RdmaVerb};
pub use run::RunArgs;
pub use template::{RenderArgs, TemplateArgs};
pub use tuning::{
    BugReportArgs, DebugKeysArgs, JsonArg, MemoryArgs, RenameArgs, SysrqArgs, UptimeArgs,
    VcpuListArgs, VcpuPinArgs, VcpuSetArgs,
};
pub use verbs::{
    ChannelListArgs, ConfigUpdateArgs, ConsoleArgs, CreateArgs, DestroyArgs, DmesgArgs, DomainArg,
    DomidArgs, DomnameArgs, DumpCoreArgs, EventsArgs, GenerateArgs, Generated, HostArgs,
    HostCheckArgs, HostVerb, InfoArgs, ListArgs, MetricsArgs, PlanFormat, RebootArgs, ShutdownArgs,
    SuperviseArgs, TopArgs, Until, WaitArgs,
};
pub use xenstored::XenstoredArgs;

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use xen_sys::revision::{DomctlRevision, SysctlRevision};
use xl::Meant;

/// A lean toolstack for Xen.
///
/// Creates and manages Xen domains from xl.cfg files, by direct hypercalls. Verbs, flags and
/// columns are xl's; a domain is named by its name or its domid. Verbs may be shortened as long as
/// they stay unambiguous.
#[derive(Debug, Parser)]
#[command(name = "xlr", bin_name = "xlr", version, long_version = LONG_VERSION.as_str())]
#[command(after_long_help = EXIT_CODES.as_str())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
#[command(args_override_self = true)]
pub struct Cli {
    /// What stands before the verb.
    #[command(flatten)]
    pub flags: Flags,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

// The flags of every verb. clap would take a doc comment for that of the whole program.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "see above")]
pub struct Flags {
    /// Say more of what is done; twice for every step, three times for everything
    ///
    /// The environment variable XLR_LOG chooses by part, as in XLR_LOG=xenstore=trace,info.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Do not execute: create shows its plan, vcpu-pin its sets; every other verb is refused
    #[arg(short = 'N')]
    pub dry_run: bool,

    /// Accepted for the sake of scripts made for xl; nothing needs to be forced
    #[arg(short = 'f', hide = true)]
    pub force: bool,

    /// Accepted for the sake of scripts made for xl; there is no progress to be shown
    #[arg(short = 't', hide = true)]
    pub carriage_return: bool,

    /// Begin each line of the log with the time
    #[arg(short = 'T')]
    pub timestamps: bool,
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
    /// Ask a domain to reboot, and start it again
    Reboot(RebootArgs),
    /// Give a domain another configuration for its next reboot
    ConfigUpdate(ConfigUpdateArgs),
    /// Check configurations without making a domain
    Config(ConfigArgs),
    /// Make configurations from a template
    Render(RenderArgs),
    /// Stop a domain's vcpus
    Pause(DomainArg),
    /// Let a paused domain run
    Unpause(DomainArg),
    /// Attach to a domain's console
    Console(ConsoleArgs),
    /// List the channels of domains
    ChannelList(ChannelListArgs),
    /// Serve the channels of all domains
    ///
    /// Stays in the foreground until a signal comes, and says on standard output when it is ready; a
    /// service manager is told as well (sd_notify). One per host. Killed and started again it goes on
    /// where it was. Needs xenstored, /dev/xen/evtchn and /dev/xen/gntdev, and no hypercall.
    Consoled,
    /// Look after the ends of all domains
    ///
    /// Does at the end of every domain that xlr made what its configuration says (on_poweroff, on_reboot,
    /// on_crash, on_watchdog, on_soft_reset), unless another command, such as a create -F, does. Stays in
    /// the foreground until a signal comes, and says on standard output when it is ready; a service manager
    /// is told as well (sd_notify). One per host. Killed and started again it goes on where it was.
    Supervise(SuperviseArgs),
    /// Run a guest to its end and tell how it fared
    ///
    /// Creates a domain, prints its console with the time since it began, decides, and removes the domain,
    /// whatever happens: if this is killed, supervise or the next command does. It has failed when it prints
    /// what --fail-on names, crashes, reboots, or writes an exit code that is not 0 to data/exit-code in its
    /// xenstore. Otherwise it has passed when all that is wanted (--expect, --end, --exit-code) has come, or,
    /// where nothing is, when it powers off or writes the exit code 0. What echoes the guest's own command
    /// line counts for no pattern.
    ///
    /// The exit code is 0 for passed, 1 for failed, 124 for not in time, and 3 where the guest could not be
    /// run. What the configuration says of the domain's end (on_poweroff and its kin) is not done.
    Run(RunArgs),
    /// Wait until a domain runs, has shut down, has crashed or is gone
    Wait(WaitArgs),
    /// Print what happens to domains, devices and daemons, as it happens
    ///
    /// First what is there already, then `ready`, then a line for everything that happens, until it is
    /// interrupted or nobody reads any more. It stays while xenstored is started again.
    Events(EventsArgs),
    /// Print what domains use, in the text format of Prometheus
    ///
    /// Domains, vcpus, memory, what disks and interfaces carry, the store, xlr's daemons and restarts.
    /// Once, to standard output or to a file, or again for every request over HTTP.
    Metrics(MetricsArgs),
    /// Show what domains use, on a screen that is kept up to date
    ///
    /// The columns are xentop's. With -b it prints them again and again, for programs. Keys: n, b, v show
    /// a line per interface, disk, vcpu; f shows names in full; s sorts by the next column, S by the one
    /// before; arrows scroll; q ends it.
    Top(TopArgs),
    /// Write the memory and the registers of a domain into a file for debuggers
    ///
    /// An ELF core in Xen's format, which gdb opens as well as crash does. The domain is not paused: do
    /// that first for a core that fits together. The file appears when it is whole.
    DumpCore(DumpCoreArgs),
    /// Give a domain another name
    Rename(RenameArgs),
    /// Print how long domains have been running
    Uptime(UptimeArgs),
    /// List the vcpus of domains
    VcpuList(VcpuListArgs),
    /// List domains by UUID
    VmList(JsonArg),
    /// List domains with the memory that is claimed for them and not given yet
    Claims(JsonArg),
    /// Choose the CPUs that a vcpu may and should run on
    VcpuPin(VcpuPinArgs),
    /// Set how many vcpus of a domain are online
    VcpuSet(VcpuSetArgs),
    /// Set how much memory a domain may have at most
    MemMax(MemoryArgs),
    /// Set how much memory a domain shall have
    MemSet(MemoryArgs),
    /// Give a running domain a disk
    BlockAttach(BlockAttachArgs),
    /// Take a disk away from a domain
    BlockDetach(BlockDetachArgs),
    /// List the disks of domains
    BlockList(DeviceListArgs),
    /// Attach a network interface to a domain
    NetworkAttach(NetworkAttachArgs),
    /// Detach a network interface from a domain
    NetworkDetach(NetworkDetachArgs),
    /// List the network interfaces of domains
    NetworkList(DeviceListArgs),
    /// Give domains InfiniBand devices, take them away, show them
    Rdma(RdmaArgs),
    /// Send a system request to a domain's kernel
    Sysrq(SysrqArgs),
    /// Print the domid of a name
    Domid(DomidArgs),
    /// Print the name of a domid
    Domname(DomnameArgs),
    /// Look at the host that domains run on
    Host(HostArgs),
    /// Print facts about the host and its Xen
    Info(InfoArgs),
    /// Print the hypervisor's log
    Dmesg(DmesgArgs),
    /// Press debug keys of the hypervisor
    DebugKeys(DebugKeysArgs),
    /// Show the PCI devices of this host
    Pci(PciArgs),
    /// Set a PCI device aside for guests
    PciAssignableAdd(PciAssignableAddArgs),
    /// Give a PCI device that was set aside for guests back to this host
    PciAssignableRemove(PciAssignableRemoveArgs),
    /// List the PCI devices that are set aside for guests and belong to none
    PciAssignableList(PciAssignableListArgs),
    /// Give a PCI device to a domain that runs
    PciAttach(PciAttachArgs),
    /// Take a PCI device from a domain that runs
    PciDetach(PciDetachArgs),
    /// List the PCI devices of a domain
    PciList(PciListArgs),
    /// Write what a maintainer needs to know into one file
    BugReport(BugReportArgs),
    /// Serve the store to this host, in place of the xenstored of another toolstack
    Xenstored(XenstoredArgs),
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
    // Apart from the rest of create: a create without a template need not pay for their definition.
    Cli::command().mut_subcommand("create", TemplateArgs::augment_args)
}

/// Reads a command line. The program's name is the first argument; called as `xl`, messages say so.
///
/// # Errors
/// What clap has to say, help and version included.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    if let Some(cli) = read_alone(&arguments) {
        return Ok(cli);
    }
    let name = program::of(arguments.first().map(OsString::as_os_str));
    let mut command = definition().bin_name(name);
    let verb = name_verb(&mut arguments, &mut command)?;
    if verb.as_deref() == Some("create") {
        verbs::separate_plan_format(&mut arguments);
    }
    let matches = command
        .try_get_matches_from_mut(arguments)
        .map_err(|error| name_all(error, verb.as_deref(), &mut command))
        .map_err(|error| name_flag(error, verb.as_deref(), &mut command))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Verb::Create(create) = &mut cli.verb {
        if let Some((_, matches)) = matches.subcommand() {
            create.template = TemplateArgs::from_arg_matches(matches)?;
        }
        let wrong = |text| verb_error(&mut command, "create", ErrorKind::TooManyValues, text);
        create.put_file_first().map_err(wrong)?;
    }
    Ok(cli)
}

/// The part of the definition that a line needs whose verb is one of those that have to be quick.
/// To make all of it takes longer than to create a small domain takes the hypervisor.
fn definition_of(verb: &str) -> Option<clap::Command> {
    let arguments = match verb {
        "create" => CreateArgs::augment_args,
        "destroy" => DestroyArgs::augment_args,
        _ => return None,
    };
    let verb = arguments(clap::Command::new(verb.to_owned()));
    let program = clap::Command::new("xlr").args_override_self(true);
    Some(Flags::augment_args(program).subcommand(verb))
}

/// Reads a line without fault whose verb is one of those of [`definition_of`]. None for every other:
/// what is to be said of it the whole definition knows.
fn read_alone(arguments: &[OsString]) -> Option<Cli> {
    let mut words = arguments.iter().skip(1);
    let verb = words.find(|word| !word.as_encoded_bytes().starts_with(b"-"))?.to_str()?;
    let mut command = definition_of(verb)?;
    let mut arguments = arguments.to_vec();
    if verb == "create" {
        verbs::separate_plan_format(&mut arguments);
    }
    let mut cli = Cli::from_arg_matches(&command.try_get_matches_from_mut(arguments).ok()?).ok()?;
    if let Verb::Create(create) = &mut cli.verb {
        create.put_file_first().ok()?;
    }
    Some(cli)
}

/// Puts the whole verb in the place of a shortened one, and returns it. What help is asked for is a
/// verb, too.
fn name_verb(
    arguments: &mut [OsString],
    command: &mut clap::Command,
) -> Result<Option<String>, clap::Error> {
    let ours: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let ours: Vec<&str> = ours.iter().map(String::as_str).chain(["help"]).collect();
    // No flag before the verb takes a value: the first word that is no flag is the verb.
    let is_flag = |argument: &OsString| argument.to_str().is_some_and(|word| word.starts_with('-'));
    let mut named = None;
    for place in arguments.iter_mut().skip(1).filter(|argument| !is_flag(argument)) {
        let Some(word) = place.to_str().map(str::to_owned) else { break };
        let text = match xl::resolve(&word, &ours) {
            Meant::Ours(verb) => {
                *place = OsString::from(verb);
                named.get_or_insert(verb);
                if verb == "help" {
                    continue;
                }
                break;
            }
            Meant::Unknown => break,
            Meant::Theirs(verb) => format!("'{verb}' is a verb of xl that xlr does not have yet"),
            Meant::Ambiguous(verbs) => {
                format!("'{word}' can mean {}: write more of it", verbs.join(", "))
            }
        };
        return Err(command.error(ErrorKind::InvalidSubcommand, text));
    }
    Ok(named.map(str::to_owned))
}

/// An error that is shown with the usage of the verb.
fn verb_error(
    command: &mut clap::Command,
    verb: &str,
    kind: ErrorKind,
    text: String,
) -> clap::Error {
    match command.find_subcommand_mut(verb) {
        Some(verb) => verb.error(kind, text),
        None => command.error(kind, text),
    }
}

/// Says of a verb that takes one domain or all of them, and was given none, how all are meant.
fn name_all(error: clap::Error, verb: Option<&str>, command: &mut clap::Command) -> clap::Error {
    match verb {
        Some(verb @ ("shutdown" | "reboot"))
            if error.kind() == ErrorKind::MissingRequiredArgument =>
        {
            let text = String::from("name a domain, or give -a for all that xlr made");
            verb_error(command, verb, error.kind(), text)
        }
        _ => error,
    }
}

/// Says of a flag that xl has and xlr has not that this is so. A tip on how to pass an unknown flag
/// as a value would only mislead.
fn name_flag(
    mut error: clap::Error,
    verb: Option<&str>,
    command: &mut clap::Command,
) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    if let (Some(ContextValue::String(flag)), Some(verb)) =
        (error.get(ContextKind::InvalidArg), verb)
        && xl::has_flag(verb, flag)
    {
        let text = format!("'{flag}' is a flag of xl {verb} that xlr does not have yet");
        return verb_error(command, verb, ErrorKind::UnknownArgument, text);
    }
    error.remove(ContextKind::Suggested);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    /// What a verb says of itself is what stands at it, also where others' arguments are added.
    #[test]
    fn verbs_say_what_they_do() {
        let about = |command: &clap::Command| {
            let of = |verb: &clap::Command| {
                let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string);
                let texts = [text(verb.get_about()), text(verb.get_long_about())];
                (verb.get_name().to_owned(), texts)
            };
            command.get_subcommands().map(of).collect::<std::collections::BTreeMap<_, _>>()
        };
        let found = about(&definition());
        assert_eq!(found, about(&Cli::command()));
        let create = found["create"][0].as_deref();
        assert_eq!(create, Some("Create a domain from a configuration file"));
    }

    /// A part of the definition reads what the whole reads, and nothing else.
    #[test]
    fn a_verb_alone_reads_as_with_the_others() {
        let check = |line: &str, alone: bool| {
            let words: Vec<OsString> =
                std::iter::once("xlr").chain(line.split_whitespace()).map(Into::into).collect();
            let found = read_alone(&words).map(|cli| format!("{cli:?}"));
            assert_eq!(found.is_some(), alone, "{line}");
            let mut command = definition();
            let mut whole = words;
            verbs::separate_plan_format(&mut whole);
            let matches = command.try_get_matches_from_mut(whole);
            let whole = matches.and_then(|matches| Cli::from_arg_matches(&matches));
            if let Some(found) = found {
                assert_eq!(found, format!("{:?}", whole.expect(line)), "{line}");
            }
        };
        for (line, alone) in [
            ("create a.cfg", true),
            ("create -p -q a.cfg memory=5", true),
            ("-vvN create -njson a.cfg", true),
            ("-f -t -T create -f a.cfg -n", true),
            ("create --fail-before-step 3 --dryrun=json a.cfg", true),
            ("create", true),
            ("-v destroy a", true),
            ("destroy -f 5", true),
            ("-f -f destroy -f -f 5", true),
            ("create -q -q -p -p -f a.cfg -f b.cfg -njson --dry-run", true),
            ("create -q a.cfg -- -njson", false),
            ("create -q -f a.cfg -- -njson=1", true),
            ("create --help", false),
            ("--help create", false),
            ("--version create", false),
            ("create -x a.cfg", false),
            ("create a.cfg b.cfg", false),
            ("destroy", false),
            ("cr a.cfg", false),
            ("help create", false),
            ("list", false),
            ("", false),
        ] {
            check(line, alone);
        }
    }

    #[test]
    fn the_version_names_the_hypervisors() {
        let error = read(["xlr", "--version"].map(Into::into)).expect_err("--version ends parsing");
        let text = error.to_string();
        for part in [env!("CARGO_PKG_VERSION"), "domctl 0x12 (Xen 4.14)", "sysctl 0x13"] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    /// What a user of xl looks for in vain is named; nothing is tipped that would not work.
    #[test]
    fn what_only_xl_has_is_said_to_be_so() {
        for (line, words, never) in [
            ("migrate 1 host", "'migrate' is a verb of xl that xlr does not have yet", "tip:"),
            ("migrate-r", "'migrate-receive' is a verb of xl", "tip:"),
            ("create -V a.cfg", "'-V' is a flag of xl create", "tip:"),
            ("cr --vncviewer a.cfg", "'--vncviewer' is a flag of xl create", "tip:"),
            ("destroy -x a", "unexpected argument '-x'", "tip:"),
            ("dom 1", "can mean domid, domname", "tip:"),
            ("help migrate", "'migrate' is a verb of xl", "tip:"),
            ("help vcpu-l", "Usage: xlr vcpu-list", "error:"),
            ("lisst", "similar subcommands exist: 'claims', 'list'", "xl "),
            ("list --lnog", "'--long'", "-- --lnog"),
            ("shutdown", "or give -a for all that xlr made", "tip:"),
            ("reb -w", "or give -a for all that xlr made", "tip:"),
            ("vcpu-set a x", "give a number of vcpus", "invalid digit"),
            ("vcpu-set a -- -1", "give a number of vcpus", "invalid digit"),
            ("console -n x a", "0 is the first console", "invalid digit"),
        ] {
            let arguments = std::iter::once("xlr").chain(line.split_whitespace());
            let error = read(arguments.map(Into::into)).expect_err(line).to_string();
            assert!(error.contains(words) && !error.contains(never), "{line}: {error}");
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
