//! The exit codes of `xlr`: one table, from which help and man pages are made too.
//!
//! xl knows success and failure; scripts that ask for no more than that find the same here.

use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Failed for a reason that has no code of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is refused.
    Configuration = 3,
    /// Not root, or not in the dom0 of a Xen host.
    Denied = 4,
    /// The hypervisor speaks an interface revision that this build does not know.
    Revision = 5,
    /// Xenstore cannot be reached, or stopped answering.
    Store = 6,
    /// What xlr keeps between commands cannot be used.
    State = 7,
    /// The host lacks something.
    Host = 8,
    /// What was waited for has not come in time, as timeout(1) says it.
    TimeOver = 124,
    /// Interrupted by a signal.
    Interrupted = 130,
}

/// Every code and what it means.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Success, "done"),
    (Exit::Failure, "failed, or the domain that was named does not exist, as under xl"),
    (Exit::Usage, "the command line is wrong"),
    (
        Exit::Configuration,
        "the configuration, or a file that it names, is refused; under run, whatever else kept a guest \
         from being run",
    ),
    (Exit::Denied, "not root, or not in the dom0 of a Xen host"),
    (Exit::Revision, "this Xen speaks an interface revision that this build does not know"),
    (Exit::Store, "xenstore cannot be reached, or stopped answering"),
    (Exit::State, "/run/xlr or /var/lib/xlr cannot be written, or holds what a newer xlr wrote"),
    (Exit::Host, "host check found something missing or degraded"),
    (Exit::TimeOver, "what was waited for has not come in time"),
    (Exit::Interrupted, "interrupted by a signal: a create was undone, a console left"),
];

/// The table for people, one line per code.
#[must_use]
pub fn text() -> String {
    let mut text = String::from("Exit codes:");
    for (exit, meaning) in TABLE {
        text.push_str(&format!("\n  {:>3}  {meaning}", *exit as u8));
    }
    text
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::{TABLE, text};

    /// Scripts depend on the numbers.
    #[test]
    fn the_numbers_stay() {
        let numbers: Vec<u8> = TABLE.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 124, 130]);
        assert!(text().contains("\n  130  interrupted"), "{}", text());
    }
}
