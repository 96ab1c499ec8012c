//! Replies turned into what their request promises. Shared by the blocking and the tokio client.

use super::error::{Error, ReplyError};
use super::session::Outcome;
use crate::path::Path;
use crate::permissions::Permissions;
use crate::wire::{Reply, Request, TransactionId};

/// The reply of a request, with refusals and unreadable replies turned into errors.
pub(crate) fn reply(request: &Request, outcome: Outcome) -> Result<Reply, Error> {
    match outcome {
        Ok(Reply::Error(failure)) => Err(Error::refused(request, failure)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Error::bad_reply(request, error)),
    }
}

macro_rules! expect {
    ($($(#[$doc:meta])* $name:ident: $pattern:pat => $value:expr, $type:ty;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(request: &Request, reply: Reply) -> Result<$type, Error> {
            match reply {
                $pattern => Ok($value),
                other => Err(Error::bad_reply(request, ReplyError::Type(other.message_type()))),
            }
        })*
    };
}

expect! {
    done: Reply::Done(_) => (), ();
    control: Reply::Control(bytes) => bytes, Vec<u8>;
    value: Reply::Value(bytes) => bytes, Vec<u8>;
    directory: Reply::Directory(children) => children, Vec<String>;
    part: Reply::DirectoryPart { generation, children, last } => (generation, children, last),
        (u64, Vec<String>, bool);
    permissions: Reply::Permissions(permissions) => permissions, Permissions;
    transaction: Reply::TransactionStarted(id) => id, TransactionId;
    domain_path: Reply::DomainPath(path) => path, Path;
    introduced: Reply::Introduced(yes) => yes, bool;
    features: Reply::Features(bits) => bits, u32;
    quota: Reply::Quota(text) => text, String;
}

/// A value that is to be text.
pub(crate) fn text(path: &str, value: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(value).map_err(|error| Error::NotText {
        path: path.to_owned(),
        value: error.as_bytes().escape_ascii().to_string(),
    })
}
