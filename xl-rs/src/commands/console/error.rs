//! What is wrong with a console.

use crate::cli::program;
use std::io;
use std::time::Duration;
use xen_sys::types::Domid;

/// How long the tty of a domain may stay unnamed before that is reported.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is wrong with a console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Nobody serves it.
    #[error(
        "domain {domid} has no console yet: xenconsoled has named no terminal for it within \
         {} s; is xenconsoled running?", PATIENCE.as_secs()
    )]
    NotServed {
        /// The domain.
        domid: Domid,
    },
    /// There is no such console.
    #[error("domain {domid} has no console {number}; see {} channel-list {domid}", program::name())]
    NoSuchConsole {
        /// The domain.
        domid: Domid,
        /// The number.
        number: u16,
    },
    /// It does not end in a terminal.
    #[error(
        "console {number} of domain {domid} is a socket: connect to it, as in socat - \
         UNIX-CONNECT:{path}"
    )]
    IsSocket {
        /// The domain.
        domid: Domid,
        /// The number.
        number: u16,
        /// Where.
        path: String,
    },
    /// Nobody serves channels.
    #[error(
        "console {number} of domain {domid} is a channel, and nobody serves channels on this host: \
         start {} consoled",
        program::name()
    )]
    NoConsoled {
        /// The domain.
        domid: Domid,
        /// The number.
        number: u16,
    },
    /// What the node names is no terminal.
    #[error("the console of domain {domid}, {path:?}, is no terminal; restart xenconsoled")]
    NotATerminal {
        /// The domain.
        domid: Domid,
        /// The node's value.
        path: String,
    },
    /// A signal ended it; the terminal is as before.
    #[error("detached from the console of domain {domid} by a signal; the domain runs on")]
    Signal {
        /// The domain.
        domid: Domid,
    },
    /// A signal came while the reader of the last output did not read.
    #[error("domain {domid} is gone; a signal came before all of its last output was taken")]
    Unread {
        /// The domain.
        domid: Domid,
    },
    /// A call failed.
    #[error("console of domain {domid}: cannot {operation}")]
    Io {
        /// The domain.
        domid: Domid,
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

pub(super) fn io_error(
    domid: Domid,
    operation: &'static str,
    source: impl Into<io::Error>,
) -> ConsoleError {
    ConsoleError::Io { domid, operation, source: source.into() }
}
