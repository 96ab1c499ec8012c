//! The kernel's network interfaces, by its own protocol (rtnetlink) on a blocking socket.
//!
//! In: names of interfaces and what is wanted of them. Out: it is done, or who refused what.
//! The kernel answers while the request is sent, so nothing here ever waits. Never starts a
//! program, and never touches an interface that it was not told to.

mod address;
mod departure;
mod link;
mod socket;

pub use address::Destination;
pub use departure::Departures;
pub use link::{Bridge, Change, Link};
pub use socket::Rtnetlink;

use netlink_packet_core::DecodeError;
use rustix::io::Errno;

/// Why the kernel's network cannot be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// There is no such socket.
    #[error("cannot open a netlink socket; dom0's kernel needs rtnetlink, and this must be root")]
    Open {
        /// The system's answer.
        #[source]
        source: Errno,
    },
    /// The socket failed.
    #[error("cannot {operation} {subject}: the netlink socket failed")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// On which interface.
        subject: String,
        /// The system's answer.
        #[source]
        source: Errno,
    },
    /// The kernel said no.
    #[error("the kernel does not {operation} {subject}; {}", advice(*source))]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// On which interface.
        subject: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// An answer without sense.
    #[error("cannot {operation} {subject}: the kernel's answer is not understood ({why})")]
    Answer {
        /// What was tried.
        operation: &'static str,
        /// On which interface.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What to do about a refusal.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM | Errno::ACCESS => "run this as root",
        Errno::EXIST => "another one has that name or address; see ip link and ip route",
        Errno::NODEV => "it is gone",
        Errno::BUSY => "something else holds it; see ip -d link",
        Errno::INVAL | Errno::RANGE => "the value is out of its range for this interface",
        Errno::OPNOTSUPP => "the kernel lacks what this needs; see ip -d link and lsmod",
        _ => "see dmesg",
    }
}

/// What is being asked, for the words of an error.
#[derive(Clone, Copy)]
struct Doing<'a> {
    operation: &'static str,
    subject: &'a str,
}

impl Doing<'_> {
    fn refused(self, source: Errno) -> NetlinkError {
        NetlinkError::Refused {
            operation: self.operation,
            subject: self.subject.to_owned(),
            source,
        }
    }

    fn socket(self, source: Errno) -> NetlinkError {
        NetlinkError::Socket { operation: self.operation, subject: self.subject.to_owned(), source }
    }

    fn answer(self, why: impl Into<String>) -> NetlinkError {
        NetlinkError::Answer {
            operation: self.operation,
            subject: self.subject.to_owned(),
            why: why.into(),
        }
    }

    fn decode(self, error: &DecodeError) -> NetlinkError {
        self.answer(error.to_string())
    }
}

/// The most bytes in the name of an interface.
const LONGEST_NAME: usize = 15;

/// What keeps a text from being the name of an interface.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LONGEST_NAME {
        Some("it is longer than 15 bytes")
    } else if name == "." || name == ".." {
        Some("it names a directory")
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        Some("it contains a blank, a slash, a colon or a control character")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces() {
        for (name, good) in [
            ("xenbr0", true),
            ("vif7.0", true),
            ("fifteen-letters", true),
            ("sixteen--letters", false),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("eth0:1", false),
            ("a b", false),
            ("a\n", false),
        ] {
            assert_eq!(name_problem(name).is_none(), good, "{name:?}");
        }
    }
}
