//! What can go wrong between a program and its store.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::errno::{Errno, Failure};
use crate::path::PathError;
use crate::wire::{DecodeError, MessageType, ParseError, Request, TokenError};

/// One place where a store was looked for, and what came of it.
#[derive(Debug)]
pub struct Attempt {
    /// Socket or device.
    pub path: PathBuf,
    /// Why it did not serve.
    pub error: std::io::Error,
}

/// Why a connection is of no more use. It stays so: connect anew.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Loss {
    /// End of file, or a reset.
    #[error(
        "xenstored closed the connection: it died, was stopped, or was sent too long a message"
    )]
    Closed,
    /// Any other failure of the transport.
    #[error("the connection to xenstored failed: {0}")]
    Io(String),
    /// No answer in time. Later answers could not be told from new ones, so this is final.
    #[error("xenstored did not answer within {} s: it hangs, or it is not running", .0.as_secs())]
    Timeout(Duration),
    /// Bytes that are no message.
    #[error("xenstored sent bytes outside the protocol: {0}")]
    Garbage(ParseError),
    /// A reply to nothing.
    #[error("xenstored answered request {0}, which was not asked")]
    Unasked(u32),
    /// This side ended the connection while requests were under way.
    #[error("the client was closed")]
    Shut,
}

impl From<&std::io::Error> for Loss {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::BrokenPipe
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected => Self::Closed,
            _ => Self::Io(error.to_string()),
        }
    }
}

/// An error of a client.
#[derive(Debug, Error)]
pub enum Error {
    /// No store could be reached.
    #[error(
        "no xenstored can be reached ({}); start xenstored, and run this as root in dom0",
        attempts(.tried)
    )]
    Unavailable {
        /// The places that were tried, in order.
        tried: Vec<Attempt>,
    },
    /// The server refused the request.
    #[error("{}: xenstored says {failure}", about(*.operation, .subject))]
    Refused {
        /// The request's type.
        operation: MessageType,
        /// Its path, domain or command; may be empty.
        subject: String,
        /// What the server said.
        failure: Failure,
    },
    /// The connection was lost during this request, or before it.
    #[error("{}: {loss}; whether the request was carried out is not known", about(*.operation, .subject))]
    Disconnected {
        /// The request's type.
        operation: MessageType,
        /// Its path, domain or command; may be empty.
        subject: String,
        /// What happened to the connection.
        loss: Loss,
    },
    /// The connection had been lost before: the request was not sent.
    #[error("{} was not sent: {loss}; connect again", about(*.operation, .subject))]
    Broken {
        /// The request's type.
        operation: MessageType,
        /// Its path, domain or command; may be empty.
        subject: String,
        /// What had happened to the connection.
        loss: Loss,
    },
    /// The connection was lost while waiting for events.
    #[error("waiting for watch events: {loss}; connect again and set the watches again")]
    WatchesLost {
        /// What happened to the connection.
        loss: Loss,
    },
    /// The request does not fit into a message; it was not sent.
    #[error("{}: a payload of {len_bytes} bytes is over the limit of {limit_bytes}", about(*.operation, .subject))]
    TooLong {
        /// The request's type.
        operation: MessageType,
        /// Its path, domain or command.
        subject: String,
        /// Length of the payload in bytes.
        len_bytes: usize,
        /// What this transport takes, in bytes.
        limit_bytes: usize,
    },
    /// The reply makes no sense for the request.
    #[error("{}: the reply cannot be read", about(*.operation, .subject))]
    BadReply {
        /// The request's type.
        operation: MessageType,
        /// Its path, domain or command; may be empty.
        subject: String,
        /// What is wrong with it.
        source: ReplyError,
    },
    /// A path that is none; nothing was sent.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A watch token that is none; nothing was sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A value that was to be text is none.
    #[error("the value of {path} is no text: \"{value}\"")]
    NotText {
        /// The node.
        path: String,
        /// The value, escaped.
        value: String,
    },
    /// A transaction that met other changes on every try.
    #[error(
        "the transaction met other changes {attempts} times in a row; try again when the host is quieter"
    )]
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// A directory that changed each time it was read in parts.
    #[error("the children of {path} changed during each of {attempts} readings")]
    DirectoryChanging {
        /// The node.
        path: String,
        /// How often it was read.
        attempts: u32,
    },
    /// More watch events than the client holds came while nobody took them.
    #[error(
        "{lost} watch events were lost because {limit} were waiting: look at the watched nodes again"
    )]
    EventsLost {
        /// Events that are gone.
        lost: u64,
        /// Events that were waiting.
        limit: usize,
    },
    /// Something that this store, or the way to it, cannot do.
    #[error("{what} is not possible here: {needs}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// What would make it possible.
        needs: &'static str,
    },
}

/// What is wrong with a reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Its fields.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its type.
    #[error("its type is {0}")]
    Type(MessageType),
}

impl Error {
    /// The error of the protocol that the server named, if this is a refusal.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { failure, .. } => failure.errno(),
            _ => None,
        }
    }

    /// ENOENT: the node, watch or transaction does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::Enoent)
    }

    /// EAGAIN, or a transaction that gave up after many of them.
    #[must_use]
    pub fn is_again(&self) -> bool {
        matches!(self, Self::Conflict { .. }) || self.errno() == Some(Errno::Eagain)
    }

    /// EEXIST: it is already there.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::Eexist)
    }

    /// EACCES or EPERM: this caller may not.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.errno(), Some(Errno::Eacces | Errno::Eperm))
    }

    /// E2BIG: the answer does not fit into one message.
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        self.errno() == Some(Errno::E2big)
    }

    /// Whether the connection is gone, so that only a new one helps.
    #[must_use]
    pub const fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Broken { .. } | Self::WatchesLost { .. })
    }

    /// Whether no store was reached at all.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn refused(request: &Request, failure: Failure) -> Self {
        let (operation, subject) = (request.message_type(), request.subject());
        Self::Refused { operation, subject, failure }
    }

    pub(crate) fn bad_reply(request: &Request, source: ReplyError) -> Self {
        let (operation, subject) = (request.message_type(), request.subject());
        Self::BadReply { operation, subject, source }
    }

    pub(crate) fn disconnected(request: &Request, loss: Loss) -> Self {
        let (operation, subject) = (request.message_type(), request.subject());
        Self::Disconnected { operation, subject, loss }
    }

    /// A request whose reply is gone though the connection is not: cannot happen by the session's
    /// bookkeeping, and is an error rather than a panic if it does.
    pub(crate) fn lost_reply(request: &Request) -> Self {
        Self::disconnected(request, Loss::Unasked(0))
    }

    pub(crate) fn broken(request: &Request, loss: Loss) -> Self {
        let (operation, subject) = (request.message_type(), request.subject());
        Self::Broken { operation, subject, loss }
    }
}

fn about(operation: MessageType, subject: &str) -> String {
    let space = if subject.is_empty() { "" } else { " " };
    format!("{operation}{space}{subject}")
}

fn attempts(tried: &[Attempt]) -> String {
    let one = |attempt: &Attempt| format!("{}: {}", attempt.path.display(), attempt.error);
    tried.iter().map(one).collect::<Vec<_>>().join("; ")
}
