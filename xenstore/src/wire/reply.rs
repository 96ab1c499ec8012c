//! What a server says, typed: replies, errors and watch events; encoded by servers, decoded by
//! clients.

use super::fields::{DecodeError, Fields, escaped};
use super::header::{Header, MessageType, PAYLOAD_MAX, RequestId, TransactionId};
use super::parser::Packet;
use super::watch::WatchEvent;
use crate::errno::Failure;
use crate::path::Path;
use crate::permissions::Permissions;

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The request of this type succeeded and has nothing to tell (payload `OK`).
    Done(MessageType),
    /// CONTROL: the daemon's answer as it came.
    Control(Vec<u8>),
    /// DIRECTORY: the names of the children.
    Directory(Vec<String>),
    /// DIRECTORY_PART: some names of the children.
    DirectoryPart {
        /// The node's generation; a change between two parts means that the list changed.
        generation: u64,
        /// Names from the requested offset on.
        children: Vec<String>,
        /// Whether the list ends here.
        last: bool,
    },
    /// READ: the node's value.
    Value(Vec<u8>),
    /// GET_PERMS: the node's permissions.
    Permissions(Permissions),
    /// TRANSACTION_START: the new transaction.
    TransactionStarted(TransactionId),
    /// GET_DOMAIN_PATH.
    DomainPath(Path),
    /// IS_DOMAIN_INTRODUCED.
    Introduced(bool),
    /// GET_FEATURE: the bits.
    Features(u32),
    /// GET_QUOTA: the value, or the names of all quotas separated by blanks.
    Quota(String),
    /// WATCH_EVENT, which answers no request.
    Event(WatchEvent),
    /// ERROR: the request failed.
    Error(Failure),
}

impl Reply {
    /// The type on the wire.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Done(kind) => *kind,
            Self::Control(_) => MessageType::Control,
            Self::Directory(_) => MessageType::Directory,
            Self::DirectoryPart { .. } => MessageType::DirectoryPart,
            Self::Value(_) => MessageType::Read,
            Self::Permissions(_) => MessageType::GetPerms,
            Self::TransactionStarted(_) => MessageType::TransactionStart,
            Self::DomainPath(_) => MessageType::GetDomainPath,
            Self::Introduced(_) => MessageType::IsDomainIntroduced,
            Self::Features(_) => MessageType::GetFeature,
            Self::Quota(_) => MessageType::GetQuota,
            Self::Event(_) => MessageType::WatchEvent,
            Self::Error(_) => MessageType::Error,
        }
    }

    /// Whether a successful reply of this type is the bare `OK`.
    #[must_use]
    pub const fn is_bare(kind: MessageType) -> bool {
        use MessageType as T;
        matches!(
            kind,
            T::Watch
                | T::Unwatch
                | T::TransactionEnd
                | T::Introduce
                | T::Release
                | T::Write
                | T::Mkdir
                | T::Rm
                | T::SetPerms
                | T::Resume
                | T::SetTarget
                | T::ResetWatches
                | T::SetFeature
                | T::SetQuota
        )
    }

    /// Appends the packet to `out`; leaves `out` as it was when the payload would be too long (a
    /// server answers `E2BIG` then). An event's header carries zeros, so pass
    /// `RequestId(0)` and [`TransactionId::NONE`] for it.
    ///
    /// # Errors
    /// The payload's length in bytes, when it is over [`PAYLOAD_MAX`].
    pub fn encode(
        &self,
        request: RequestId,
        transaction: TransactionId,
        out: &mut Vec<u8>,
    ) -> Result<(), usize> {
        let start = out.len();
        let mut header = Header { kind: self.message_type().raw(), request, transaction, len: 0 };
        out.extend_from_slice(&header.encode());
        let body = out.len();
        self.encode_payload(out);
        let len = out.len() - body;
        match u32::try_from(len) {
            Ok(wire_len) if len <= PAYLOAD_MAX => {
                header.len = wire_len;
                out[start..body].copy_from_slice(&header.encode());
                Ok(())
            }
            _ => {
                out.truncate(start);
                Err(len)
            }
        }
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        let text = |text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(text);
            out.push(0);
        };
        match self {
            Self::Done(_) => text(b"OK", out),
            Self::Control(bytes) | Self::Value(bytes) => out.extend_from_slice(bytes),
            Self::Directory(children) => {
                children.iter().for_each(|child| text(child.as_bytes(), out));
            }
            Self::DirectoryPart { generation, children, last } => {
                text(generation.to_string().as_bytes(), out);
                children.iter().for_each(|child| text(child.as_bytes(), out));
                if *last {
                    // An empty name ends the list.
                    out.push(0);
                }
            }
            Self::Permissions(permissions) => encode_permissions(permissions, out),
            Self::TransactionStarted(id) => text(id.0.to_string().as_bytes(), out),
            Self::DomainPath(path) => text(path.as_str().as_bytes(), out),
            Self::Introduced(yes) => text(if *yes { b"T" } else { b"F" }, out),
            Self::Features(bits) => text(bits.to_string().as_bytes(), out),
            Self::Quota(quota) => text(quota.as_bytes(), out),
            Self::Event(event) => event.encode(out),
            Self::Error(failure) => text(failure.text(), out),
        }
    }

    /// Reads a packet as a client gets it.
    ///
    /// # Errors
    /// What does not fit. The stream is still in step: only this reply is lost.
    pub fn decode(packet: &Packet) -> Result<Self, DecodeError> {
        let kind =
            packet.header.message_type().ok_or(DecodeError::UnknownType(packet.header.kind))?;
        let mut fields = Fields::new(&packet.payload);
        Ok(match kind {
            MessageType::Control => Self::Control(packet.payload.clone()),
            MessageType::Read => Self::Value(packet.payload.clone()),
            MessageType::Directory => Self::Directory(names(&fields.strings("child")?)?),
            MessageType::DirectoryPart => decode_part(&mut fields)?,
            MessageType::GetPerms => {
                Self::Permissions(Permissions::from_entries(fields.strings("perm-as-string")?)?)
            }
            MessageType::TransactionStart => {
                Self::TransactionStarted(TransactionId(fields.number("transid")?))
            }
            MessageType::GetDomainPath => Self::DomainPath(fields.path()?),
            MessageType::IsDomainIntroduced => Self::Introduced(fields.flag("T|F")?),
            MessageType::GetFeature => Self::Features(fields.number("value")?),
            MessageType::GetQuota => Self::Quota(printable(fields.string("value")?, "value")?),
            MessageType::WatchEvent => Self::Event(WatchEvent::decode(&packet.payload)?),
            MessageType::Error => Self::Error(Failure::from_text(fields.string("error")?)),
            kind => match fields.string("OK")? {
                b"OK" => Self::Done(kind),
                text => return Err(DecodeError::Word { field: "OK", text: escaped(text) }),
            },
        })
    }
}

pub(super) fn encode_permissions(permissions: &Permissions, out: &mut Vec<u8>) {
    for (domid, access) in permissions.entries() {
        out.extend_from_slice(format!("{}{domid}", access.letter()).as_bytes());
        out.push(0);
    }
}

fn decode_part(fields: &mut Fields<'_>) -> Result<Reply, DecodeError> {
    let generation = fields.number("gencnt")?;
    let mut children = fields.strings("child")?;
    let last = children.last().is_some_and(|name| name.is_empty());
    if last {
        children.pop();
    }
    Ok(Reply::DirectoryPart { generation, children: names(&children)?, last })
}

/// Names of children: never empty, and fit to stand in a path.
fn names(children: &[&[u8]]) -> Result<Vec<String>, DecodeError> {
    let name = |child: &&[u8]| {
        let bad = || DecodeError::Word { field: "child", text: escaped(child) };
        if child.is_empty() || child.contains(&b'/') {
            Err(bad())
        } else {
            printable(child, "child")
        }
    };
    children.iter().map(name).collect()
}

/// Text of printable ASCII.
fn printable(text: &[u8], field: &'static str) -> Result<String, DecodeError> {
    if text.iter().all(|b| (0x20..0x7f).contains(b)) {
        Ok(text.iter().map(|&b| char::from(b)).collect())
    } else {
        Err(DecodeError::Word { field, text: escaped(text) })
    }
}
