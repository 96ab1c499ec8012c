//! Why a command failed, and with which exit code.

use super::console::error::ConsoleError;
use super::policy::PolicyError;
use super::run::error::RunError;
use super::xenstored::XenstoredError;
use crate::cli::program;
use crate::consoled::ConsoledError;
use crate::core_dump::CoreError;
use crate::device::DeviceError;
use crate::exit::Exit;
use crate::host::judge::Status;
use crate::pci::PciError;
use crate::printable;
use crate::state::StateError;
use domain_builder::apply::{ApplyError, StepError};
use domain_builder::causes::with_causes;
use domain_builder::host::HostError;
use domain_builder::image::ImageError;
use domain_builder::plan::PlanError;
use domain_builder::undo::DestroyError;
use libxc_safe::Errno;
use std::io;
use std::path::PathBuf;

/// A failed command. Its text says what to do; causes follow as sources.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The hypervisor, or the way to it.
    #[error(transparent)]
    Xen(#[from] libxc_safe::Error),
    /// Xenstore, or the way to it.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// Nobody is called that.
    #[error("no domain is called {given:?}; see {} list", program::name())]
    NoSuchName {
        /// What was given.
        given: String,
    },
    /// Nobody has that number.
    #[error("domain {domid} does not exist; see {} list", program::name())]
    NoSuchDomid {
        /// What was given.
        domid: u16,
    },
    /// `domname` did not find the domain.
    #[error("domain {domid} does not exist, or has no name; see {} list", program::name())]
    NoDomname {
        /// The domid.
        domid: u16,
    },
    /// `info KEY` with a key that there is not.
    #[error("{key} is not a fact that info prints; run info without a key to see them all")]
    NoSuchFact {
        /// The key.
        key: String,
    },
    /// An action that domain 0 must be spared.
    #[error("domain 0 runs this host and was left alone{hint}")]
    Dom0 {
        /// A way to insist, where there is one.
        hint: &'static str,
    },
    /// A name that no domain can have.
    #[error("{name:?} cannot be a domain's name: {problem}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that another domain has.
    #[error("the name {name:?} belongs to domain {domid}; see {} list", program::name())]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        domid: u16,
    },
    /// A UUID that another domain has.
    #[error("the UUID {uuid} belongs to domain {domid}; leave uuid out, or destroy that domain")]
    UuidTaken {
        /// The UUID.
        uuid: uuid::Uuid,
        /// Whose it is.
        domid: u16,
    },
    /// `reboot` of a domain that is not to be started again.
    #[error(
        "domain {domid} has ended and is kept, not started again, as its configuration says; \
         {0} destroy {domid} removes it",
        program::name()
    )]
    NotRestarted {
        /// The domain.
        domid: u16,
    },
    /// `reboot` of a domain that somebody else has removed, without a successor.
    #[error(
        "domain {domid} was ended by somebody else, who has started none in its place; \
         {} list shows what there is",
        program::name()
    )]
    NoSuccessor {
        /// The domain.
        domid: u16,
    },
    /// A signal came between a domain's end and what was to come then.
    #[error(
        "interrupted before domain {domid}, which has ended, was started again; \
         {0} reboot {domid} does that",
        program::name()
    )]
    Stopped {
        /// The domain.
        domid: u16,
    },
    /// A vcpu that the domain does not have.
    #[error("{given:?} is no vcpu of domain {domid}: give a number below {count}, or all")]
    NoSuchVcpu {
        /// What was given.
        given: String,
        /// The domain.
        domid: u16,
        /// How many it has.
        count: u32,
    },
    /// A list of CPUs that is not understood, or names CPUs that are not there.
    #[error("{text:?} is no list of this host's CPUs: {problem}")]
    BadCpus {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `vcpu-pin` with nothing but `-`.
    #[error(
        "neither hard nor soft affinity was given; give CPUs, or all, in place of one of the -"
    )]
    NothingToPin,
    /// `vcpu-pin -f` of all vcpus.
    #[error("--force works on one vcpu at a time, not on all; give its number")]
    ForceAll,
    /// A vcpu that could not be pinned.
    #[error("cannot pin vcpu {vcpu} of domain {domid}; {done}; see {} vcpu-list", program::name())]
    Pin {
        /// The domain.
        domid: u16,
        /// The vcpu.
        vcpu: u32,
        /// What became of those before it.
        done: String,
        /// The hypervisor's answer.
        #[source]
        source: libxc_safe::Error,
    },
    /// A number of vcpus that a domain cannot have.
    #[error(
        "domain {domid} can have 1 to {max} vcpus online, not {wanted}: maxvcpus= is fixed when it is made, \
         raise it in the configuration and create the domain anew"
    )]
    VcpuCount {
        /// What was asked for.
        wanted: u32,
        /// Its maxvcpus.
        max: u32,
        /// The domain.
        domid: u16,
    },
    /// More vcpus than the host has CPUs.
    #[error("{wanted} vcpus are more than the {cpus} CPUs of this host; --ignore-host allows it")]
    MoreVcpusThanCpus {
        /// What was asked for.
        wanted: u32,
        /// What there is.
        cpus: u32,
    },
    /// An amount of memory that a domain cannot have.
    #[error(
        "domain {domid}: {wanted_kib} KiB is {side} than {limit_kib} KiB, {why}; choose another amount"
    )]
    Memory {
        /// The domain.
        domid: u16,
        /// What was asked for.
        wanted_kib: u64,
        /// More or less.
        side: &'static str,
        /// What it must not be.
        limit_kib: u64,
        /// What that is.
        why: &'static str,
    },
    /// A node without the amount of memory that it should hold.
    #[error(
        "xenstore has no amount of memory in {path}: as long as the domain is being made or taken \
         down that is so, otherwise write one there with mem-max or xenstore-write"
    )]
    NoAmount {
        /// The node.
        path: String,
    },
    /// `-N` with a verb that has no plan to show.
    #[error("-N works with create and vcpu-pin only; nothing was done")]
    DryRun,
    /// A domain that is to go on and was not stopped.
    #[error(
        "domain {domid} is not paused, so there is nothing to do; see {} list",
        program::name()
    )]
    NotPaused {
        /// The domain.
        domid: u16,
    },
    /// Some of several domains.
    #[error("{failed} of {total} domains could not be {done}")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
        /// What was to be done.
        done: &'static str,
    },
    /// A configuration without a file.
    #[error("no configuration: name a file, or give name and kernel as KEY=VALUE")]
    NoConfiguration,
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file or stream that cannot be written.
    #[error("cannot write {what}; look at its rights, and at the room where it is")]
    Write {
        /// Which.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The configuration is refused; the problems have been shown.
    #[error("{errors} error{} in the configuration, nothing was done", if *errors == 1 { "" } else { "s" })]
    Configuration {
        /// How many.
        errors: usize,
    },
    /// The site's policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Some of several files are refused; why has been shown.
    #[error("{refused} of {of} configurations would be refused")]
    Refused {
        /// How many are.
        refused: usize,
        /// How many there were.
        of: usize,
    },
    /// A document that cannot be converted.
    #[error("{what}; {help}")]
    BadDocument {
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// A template, or a value for it, that cannot be used.
    #[error("{what}; {help}")]
    BadTemplate {
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// `render --diff` found something.
    #[error("{changed} of {of} files would change")]
    Differs {
        /// How many would.
        changed: usize,
        /// How many there are.
        of: usize,
    },
    /// A template that makes several domains, with what one domain only can have.
    #[error(
        "the template makes {count} domains, and {what} is for one: render it, and create one of them"
    )]
    SeveralDomains {
        /// How many.
        count: usize,
        /// What was asked for.
        what: &'static str,
    },
    /// The facts that a plan needs.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The kernel.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What is asked for cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The plan could not be carried out: a dry run has looked.
    #[error("create would fail: {0}")]
    Look(#[from] StepError),
    /// What xlr keeps between commands.
    #[error(transparent)]
    State(#[from] StateError),
    /// A domain could not be destroyed.
    #[error(transparent)]
    Destroy(#[from] DestroyError),
    /// A signal came before the domain stood; it may have run for a moment.
    #[error("interrupted; the domain was destroyed again")]
    Interrupted,
    /// A device's description that cannot be used.
    #[error("{what}; {help}")]
    BadDevice {
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        help: String,
    },
    /// The domain has no such device.
    #[error("domain {domid} has no {what}")]
    NoDevice {
        /// The domain.
        domid: u16,
        /// What was asked for.
        what: String,
    },
    /// A device could not be attached or detached.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The system would not wait for events.
    #[error("cannot wait for events")]
    Wait {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Signals could not be held off.
    #[error(
        "cannot catch signals, without which Ctrl-C would leave half of a domain; nothing was done"
    )]
    Signals {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A channel whose socket cannot be where it shall be.
    #[error("channel {name:?}: {} {problem}; give it another path", path.display())]
    Channel {
        /// The channel.
        name: String,
        /// Where its socket shall be.
        path: PathBuf,
        /// Why it cannot be there.
        problem: &'static str,
    },
    /// Consoles cannot be served.
    #[error(transparent)]
    Consoled(#[from] ConsoledError),
    /// `wait` for what cannot come any more.
    #[error("{given} is gone, and what was waited for has not come")]
    NeverReached {
        /// The domain.
        given: String,
    },
    /// `wait` has waited for long enough.
    #[error("{given}: what was waited for has not come in time")]
    TimeOver {
        /// The domain.
        given: String,
    },
    /// There is a supervisor already.
    #[error("another supervisor runs on this host already; one serves all domains")]
    Supervised,
    /// The supervisor cannot wait, or begin its work.
    #[error("cannot look after the domains: the operating system refuses what that needs")]
    Supervise {
        /// What it says.
        source: io::Error,
    },
    /// `host check` found something.
    #[error(
        "{not_ok} of {of} features of this host are not ok, the worst is {}", status.word()
    )]
    HostLacks {
        /// How many are not.
        not_ok: usize,
        /// How many were looked at.
        of: usize,
        /// The worst of them.
        status: Status,
    },
    /// The console of a domain cannot be used.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The store cannot be served.
    #[error(transparent)]
    Xenstored(#[from] XenstoredError),
    /// What guests are to show, or where that is to be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Guests that were run, and have not all passed; that has been told.
    #[error("not all has passed")]
    Judged {
        /// What it comes to.
        exit: Exit,
    },
    /// A PCI device.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// Metrics cannot be served.
    #[error("cannot serve metrics at {address}")]
    Listen {
        /// Where.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A core was not written.
    #[error(transparent)]
    Core(#[from] CoreError),
}

impl CommandError {
    /// The same for a domain that has not run yet and was destroyed again: a signal that ended the
    /// waiting for its console interrupted all of it.
    #[must_use]
    pub fn before_it_ran(self) -> Self {
        match self {
            Self::Console(ConsoleError::Signal { .. }) => Self::Interrupted,
            other => other,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Xen(error)
            | Self::Host(HostError::Xen(error))
            | Self::Pin { source: error, .. }
            | Self::Xenstored(XenstoredError::Xen(error)) => of_xen(error),
            Self::Core(CoreError::Xen(error)) => of_xen(error),
            Self::Core(CoreError::NotAFile { .. }) => Exit::Usage,
            Self::Core(CoreError::Interrupted { .. }) => Exit::Interrupted,
            Self::Store(error) | Self::Host(HostError::Store(error)) => of_store(error),
            Self::Apply(error) => of_step(&error.cause),
            Self::Look(error) => of_step(error),
            Self::Destroy(DestroyError::Xen(error)) => of_xen(error),
            Self::Pci(PciError::Xen { source, .. }) => of_xen(source),
            Self::Pci(PciError::Store(error)) => of_store(error),
            Self::Pci(PciError::NotADevice { .. } | PciError::BadName { .. }) => Exit::Usage,
            Self::Device(DeviceError::Store(error)) => of_store(error),
            Self::Device(DeviceError::Interrupted { .. }) => Exit::Interrupted,
            Self::Destroy(DestroyError::Store(error)) => of_store(error),
            Self::Consoled(ConsoledError::Xen(error)) => of_xen(error),
            Self::Consoled(ConsoledError::Store(error)) => of_store(error),
            Self::Consoled(ConsoledError::State(error)) if error.is_denied() => Exit::Denied,
            Self::Consoled(ConsoledError::State(_)) => Exit::State,
            Self::Configuration { .. }
            | Self::Refused { .. }
            | Self::BadDocument { .. }
            | Self::Policy(_)
            | Self::Channel { .. }
            | Self::Read { .. }
            | Self::Image(_)
            | Self::Plan(_) => Exit::Configuration,
            Self::NoSuchFact { .. }
            | Self::NoConfiguration
            | Self::DryRun
            | Self::NothingToPin
            | Self::ForceAll
            | Self::BadName { .. }
            | Self::BadDevice { .. }
            | Self::BadTemplate { .. }
            | Self::SeveralDomains { .. }
            | Self::BadCpus { .. } => Exit::Usage,
            Self::Interrupted
            | Self::Stopped { .. }
            | Self::Console(ConsoleError::Signal { .. } | ConsoleError::Unread { .. }) => {
                Exit::Interrupted
            }
            Self::TimeOver { .. } => Exit::TimeOver,
            Self::Run(error) if error.is_usage() => Exit::Usage,
            Self::Judged { exit } => *exit,
            Self::HostLacks { status: Status::Unknown, .. } => Exit::Denied,
            Self::HostLacks { .. } => Exit::Host,
            Self::State(error) if error.is_denied() => Exit::Denied,
            Self::State(StateError::Io { .. } | StateError::Newer { .. }) => Exit::State,
            _ => Exit::Failure,
        }
    }
}

impl CommandError {
    /// Whether a domain was not made because others have the memory.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Apply(error) = self else { return false };
        match &*error.cause {
            StepError::OutOfMemory { .. } => true,
            // What was missing may be there again by the time that it is looked at.
            StepError::Xen(error) => error.errno() == Some(Errno::NOMEM),
            _ => false,
        }
    }
}

fn of_step(error: &StepError) -> Exit {
    match error {
        StepError::Xen(error) => of_xen(error),
        StepError::Store(error) => of_store(error),
        StepError::NameTaken { .. } | StepError::UuidTaken { .. } => Exit::Configuration,
        StepError::Image(_) => Exit::Configuration,
        StepError::Observer(_) => Exit::State,
        StepError::Interrupted => Exit::Interrupted,
        _ => Exit::Failure,
    }
}

fn of_xen(error: &libxc_safe::Error) -> Exit {
    use libxc_safe::Error::{NotDom0, NotPrivileged, NotRoot, WrongRevision};
    match error {
        NotRoot { .. } | NotDom0 { .. } | NotPrivileged { .. } => Exit::Denied,
        WrongRevision { .. } => Exit::Revision,
        _ => Exit::Failure,
    }
}

fn of_store(error: &xenstore::client::Error) -> Exit {
    if error.is_unavailable() || error.is_disconnected() { Exit::Store } else { Exit::Failure }
}

/// An error and its causes in one line; what it quotes steers no terminal.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    printable::lines(&with_causes(error)).into_owned()
}
