//! The exit codes of `xlr`: one table.
//!
//! xl knows success and failure; scripts that ask for no more than that find the same here.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed, or the domain that was named does not exist, as under xl |
//! | 2 | the command line is wrong |
//! | 3 | the configuration is refused |
//! | 4 | not root, or not in the dom0 of a Xen host |
//! | 5 | this Xen speaks an interface revision that this build does not know |
//! | 6 | xenstore cannot be reached, or stopped answering |
//! | 130 | interrupted by a signal; what was begun was undone |

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
    /// Interrupted by a signal; what was begun was undone.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    /// Scripts depend on the numbers, and people on the table above.
    #[test]
    fn the_table_in_the_documentation_is_complete() {
        let source = include_str!("exit.rs");
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::Configuration,
            Exit::Denied,
            Exit::Revision,
            Exit::Store,
            Exit::Interrupted,
        ];
        let numbers: Vec<u8> = all.iter().map(|exit| *exit as u8).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 130]);
        for number in numbers {
            assert!(source.contains(&format!("//! | {number} |")), "{number}");
        }
    }
}
