//! What a client asks, typed; encoded by clients, decoded by servers.
//!
//! Field for field the tables of the specification. Limits on paths and letters are checked when a
//! request is made or decoded; whether the caller may ask is the store's business.

use xen_sys::types::{Domid, Gfn, Port};

use super::fields::{DecodeError, Fields, decimal, escaped};
use super::header::{Header, MessageType, PAYLOAD_MAX, RequestId, TransactionId};
use super::parser::Packet;
use super::token::Token;
use crate::path::{Path, PathError};
use crate::permissions::Permissions;

/// A request of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// CONTROL: a command to the daemon, whose commands differ from release to release.
    Control {
        /// The command, such as `check` or `live-update`.
        command: String,
        /// Its parameters as on the wire, each with its NUL.
        parameters: Vec<u8>,
    },
    /// DIRECTORY: the names of a node's children.
    Directory(Path),
    /// DIRECTORY_PART: the names of a node's children from byte `offset` of the list on.
    DirectoryPart {
        /// The node.
        path: Path,
        /// Byte offset into the list of names, each with its NUL.
        offset: u32,
    },
    /// READ: a node's value.
    Read(Path),
    /// WRITE: sets a node's value, making the node and its parents where they are missing.
    Write {
        /// The node.
        path: Path,
        /// Any bytes.
        value: Vec<u8>,
    },
    /// MKDIR: makes sure that a node exists.
    Mkdir(Path),
    /// RM: removes a node and all below it.
    Rm(Path),
    /// GET_PERMS: a node's permissions.
    GetPerms(Path),
    /// SET_PERMS: replaces a node's permissions.
    SetPerms {
        /// The node.
        path: Path,
        /// The new permissions.
        permissions: Permissions,
    },
    /// WATCH: asks for events at and below a path.
    Watch {
        /// The path, or a special one.
        path: Path,
        /// What the events shall carry.
        token: Token,
        /// How many levels below the path count; `None` for all (Xen 4.21).
        depth: Option<u32>,
    },
    /// UNWATCH: takes the watch with this path and token back.
    Unwatch {
        /// The watch's path.
        path: Path,
        /// The watch's token.
        token: Token,
    },
    /// RESET_WATCHES: drops the caller's watches and transactions.
    ResetWatches,
    /// TRANSACTION_START.
    TransactionStart,
    /// TRANSACTION_END: commits or discards the transaction of the header.
    TransactionEnd {
        /// Whether to commit.
        commit: bool,
    },
    /// INTRODUCE: connects a domain to the store.
    Introduce {
        /// The domain.
        domid: Domid,
        /// The frame of its ring page (C xenstored maps grant reference 1 instead).
        gfn: Gfn,
        /// Its unbound event channel port.
        port: Port,
    },
    /// RELEASE: disconnects a domain from the store.
    Release(Domid),
    /// GET_DOMAIN_PATH: the path to which the domain's relative paths relate.
    GetDomainPath(Domid),
    /// IS_DOMAIN_INTRODUCED.
    IsDomainIntroduced(Domid),
    /// RESUME: `@releaseDomain` shall fire again for this domain.
    Resume(Domid),
    /// SET_TARGET: `domid` gets the rights of `target`.
    SetTarget {
        /// Who gets the rights.
        domid: Domid,
        /// Whose rights.
        target: Domid,
    },
    /// GET_FEATURE: a domain's feature bits, or those that the daemon supports.
    GetFeature(Option<Domid>),
    /// SET_FEATURE: a domain's feature bits.
    SetFeature {
        /// The domain.
        domid: Domid,
        /// The bits of the ring page's feature field.
        features: u32,
    },
    /// GET_QUOTA: a quota, or the names of all.
    GetQuota {
        /// The domain, or the default for new ones.
        domid: Option<Domid>,
        /// The quota's name; without it (and without a domain) all names are answered.
        quota: Option<String>,
    },
    /// SET_QUOTA.
    SetQuota {
        /// The domain, or the default for new ones.
        domid: Option<Domid>,
        /// The quota's name.
        quota: String,
        /// The limit; 0 turns it off.
        value: u32,
    },
}

impl Request {
    /// READ of a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn read(path: impl AsRef<str>) -> Result<Self, PathError> {
        Ok(Self::Read(Path::new(path.as_ref())?))
    }

    /// WRITE to a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn write(path: impl AsRef<str>, value: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        Ok(Self::Write { path: Path::new(path.as_ref())?, value: value.into() })
    }

    /// MKDIR of a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn mkdir(path: impl AsRef<str>) -> Result<Self, PathError> {
        Ok(Self::Mkdir(Path::new(path.as_ref())?))
    }

    /// RM of a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn rm(path: impl AsRef<str>) -> Result<Self, PathError> {
        Ok(Self::Rm(Path::new(path.as_ref())?))
    }

    /// DIRECTORY of a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn directory(path: impl AsRef<str>) -> Result<Self, PathError> {
        Ok(Self::Directory(Path::new(path.as_ref())?))
    }

    /// GET_PERMS of a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn get_perms(path: impl AsRef<str>) -> Result<Self, PathError> {
        Ok(Self::GetPerms(Path::new(path.as_ref())?))
    }

    /// SET_PERMS on a path given as text.
    ///
    /// # Errors
    /// The text is no path.
    pub fn set_perms(path: impl AsRef<str>, permissions: Permissions) -> Result<Self, PathError> {
        Ok(Self::SetPerms { path: Path::new(path.as_ref())?, permissions })
    }

    /// The type.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Control { .. } => MessageType::Control,
            Self::Directory(_) => MessageType::Directory,
            Self::DirectoryPart { .. } => MessageType::DirectoryPart,
            Self::Read(_) => MessageType::Read,
            Self::Write { .. } => MessageType::Write,
            Self::Mkdir(_) => MessageType::Mkdir,
            Self::Rm(_) => MessageType::Rm,
            Self::GetPerms(_) => MessageType::GetPerms,
            Self::SetPerms { .. } => MessageType::SetPerms,
            Self::Watch { .. } => MessageType::Watch,
            Self::Unwatch { .. } => MessageType::Unwatch,
            Self::ResetWatches => MessageType::ResetWatches,
            Self::TransactionStart => MessageType::TransactionStart,
            Self::TransactionEnd { .. } => MessageType::TransactionEnd,
            Self::Introduce { .. } => MessageType::Introduce,
            Self::Release(_) => MessageType::Release,
            Self::GetDomainPath(_) => MessageType::GetDomainPath,
            Self::IsDomainIntroduced(_) => MessageType::IsDomainIntroduced,
            Self::Resume(_) => MessageType::Resume,
            Self::SetTarget { .. } => MessageType::SetTarget,
            Self::GetFeature(_) => MessageType::GetFeature,
            Self::SetFeature { .. } => MessageType::SetFeature,
            Self::GetQuota { .. } => MessageType::GetQuota,
            Self::SetQuota { .. } => MessageType::SetQuota,
        }
    }

    /// What the request is about, for messages: its path, domain or command.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Directory(path)
            | Self::Read(path)
            | Self::Mkdir(path)
            | Self::Rm(path)
            | Self::GetPerms(path)
            | Self::DirectoryPart { path, .. }
            | Self::Write { path, .. }
            | Self::SetPerms { path, .. }
            | Self::Watch { path, .. }
            | Self::Unwatch { path, .. } => path.to_string(),
            Self::Introduce { domid, .. }
            | Self::Release(domid)
            | Self::GetDomainPath(domid)
            | Self::IsDomainIntroduced(domid)
            | Self::Resume(domid)
            | Self::SetTarget { domid, .. }
            | Self::GetFeature(Some(domid))
            | Self::SetFeature { domid, .. } => format!("domain {domid}"),
            Self::Control { command, .. } => command.clone(),
            Self::GetQuota { quota, .. } => quota.clone().unwrap_or_default(),
            Self::SetQuota { quota, .. } => quota.clone(),
            Self::ResetWatches
            | Self::TransactionStart
            | Self::TransactionEnd { .. }
            | Self::GetFeature(None) => String::new(),
        }
    }

    /// Length of the payload in bytes; over [`PAYLOAD_MAX`] the request cannot be sent.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Write { path, value } => path.as_str().len() + 1 + value.len(),
            Self::Read(path)
            | Self::Directory(path)
            | Self::Mkdir(path)
            | Self::Rm(path)
            | Self::GetPerms(path) => path.as_str().len() + 1,
            _ => {
                let mut payload = Vec::new();
                self.encode_payload(&mut payload);
                payload.len()
            }
        }
    }

    /// Appends the packet to `out`; leaves `out` as it was when the payload would be too long.
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
        let mut text = |text: &str| {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        };
        match self {
            Self::Control { command, parameters } => {
                text(command);
                out.extend_from_slice(parameters);
            }
            Self::Directory(path)
            | Self::Read(path)
            | Self::Mkdir(path)
            | Self::Rm(path)
            | Self::GetPerms(path) => text(path.as_str()),
            Self::DirectoryPart { path, offset } => {
                text(path.as_str());
                text(&offset.to_string());
            }
            Self::Write { path, value } => {
                text(path.as_str());
                out.extend_from_slice(value);
            }
            Self::SetPerms { path, permissions } => {
                text(path.as_str());
                super::reply::encode_permissions(permissions, out);
            }
            Self::Watch { path, token, depth } => {
                encode_watch(path, token, out);
                if let Some(depth) = depth {
                    out.extend_from_slice(depth.to_string().as_bytes());
                    out.push(0);
                }
            }
            Self::Unwatch { path, token } => encode_watch(path, token, out),
            Self::ResetWatches | Self::TransactionStart => text(""),
            Self::TransactionEnd { commit } => text(if *commit { "T" } else { "F" }),
            Self::Introduce { domid, gfn, port } => {
                text(&domid.to_string());
                // The frame travels as a signed number.
                text(&gfn.0.cast_signed().to_string());
                text(&port.to_string());
            }
            Self::Release(domid)
            | Self::GetDomainPath(domid)
            | Self::IsDomainIntroduced(domid)
            | Self::Resume(domid)
            | Self::GetFeature(Some(domid)) => text(&domid.to_string()),
            Self::SetTarget { domid, target } => {
                text(&domid.to_string());
                text(&target.to_string());
            }
            Self::GetFeature(None) => {}
            Self::SetFeature { domid, features } => {
                text(&domid.to_string());
                text(&features.to_string());
            }
            Self::GetQuota { domid, quota } => {
                domid.iter().for_each(|domid| text(&domid.to_string()));
                quota.iter().for_each(|quota| text(quota));
            }
            Self::SetQuota { domid, quota, value } => {
                domid.iter().for_each(|domid| text(&domid.to_string()));
                text(quota);
                text(&value.to_string());
            }
        }
    }

    /// Reads a packet as a server gets it.
    ///
    /// # Errors
    /// What does not fit; [`DecodeError::errno`] is what to answer. The connection stays usable.
    pub fn decode(packet: &Packet) -> Result<Self, DecodeError> {
        let kind =
            packet.header.message_type().ok_or(DecodeError::UnknownType(packet.header.kind))?;
        let mut fields = Fields::new(&packet.payload);
        let request = Self::decode_fields(kind, &mut fields)?;
        fields.end()?;
        Ok(request)
    }

    fn decode_fields(kind: MessageType, fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            MessageType::Control => Self::Control {
                command: word(fields, "command")?,
                parameters: fields.remainder().to_vec(),
            },
            MessageType::Directory => Self::Directory(fields.path()?),
            MessageType::DirectoryPart => {
                Self::DirectoryPart { path: fields.path()?, offset: fields.number("offset")? }
            }
            MessageType::Read => Self::Read(fields.path()?),
            MessageType::Write => {
                Self::Write { path: fields.path()?, value: fields.remainder().to_vec() }
            }
            MessageType::Mkdir => Self::Mkdir(fields.path()?),
            MessageType::Rm => Self::Rm(fields.path()?),
            MessageType::GetPerms => Self::GetPerms(fields.path()?),
            MessageType::SetPerms => Self::SetPerms {
                path: fields.path()?,
                permissions: Permissions::from_entries(fields.strings("perm-as-string")?)?,
            },
            MessageType::Watch => {
                let (path, token) = (fields.path()?, fields.token()?);
                let depth = if fields.count() == 0 { None } else { Some(fields.number("depth")?) };
                Self::Watch { path, token, depth }
            }
            MessageType::Unwatch => Self::Unwatch { path: fields.path()?, token: fields.token()? },
            MessageType::ResetWatches => {
                // xenstored does not look at what these two carry.
                fields.remainder();
                Self::ResetWatches
            }
            MessageType::TransactionStart => {
                fields.remainder();
                Self::TransactionStart
            }
            MessageType::TransactionEnd => Self::TransactionEnd { commit: fields.flag("T|F")? },
            MessageType::Introduce => decode_introduce(fields)?,
            MessageType::Release => Self::Release(fields.domid()?),
            MessageType::GetDomainPath => Self::GetDomainPath(fields.domid()?),
            MessageType::IsDomainIntroduced => Self::IsDomainIntroduced(fields.domid()?),
            MessageType::Resume => Self::Resume(fields.domid()?),
            MessageType::SetTarget => Self::SetTarget {
                domid: fields.domid()?,
                target: fields.number("tdomid").map(Domid)?,
            },
            MessageType::GetFeature if fields.count() == 0 => Self::GetFeature(None),
            MessageType::GetFeature => Self::GetFeature(Some(fields.domid()?)),
            MessageType::SetFeature => {
                Self::SetFeature { domid: fields.domid()?, features: fields.number("value")? }
            }
            MessageType::GetQuota => {
                let domid = if fields.count() > 1 { Some(fields.domid()?) } else { None };
                let quota = if fields.count() > 0 { Some(word(fields, "quota")?) } else { None };
                Self::GetQuota { domid, quota }
            }
            MessageType::SetQuota => {
                let domid = if fields.count() > 2 { Some(fields.domid()?) } else { None };
                Self::SetQuota {
                    domid,
                    quota: word(fields, "quota")?,
                    value: fields.number("value")?,
                }
            }
            MessageType::WatchEvent | MessageType::Error => {
                return Err(DecodeError::WrongDirection(kind));
            }
        })
    }
}

fn encode_watch(path: &Path, token: &Token, out: &mut Vec<u8>) {
    out.extend_from_slice(path.as_str().as_bytes());
    out.push(0);
    out.extend_from_slice(token.as_bytes());
    out.push(0);
}

fn decode_introduce(fields: &mut Fields<'_>) -> Result<Request, DecodeError> {
    let domid = fields.domid()?;
    let text = fields.string("gfn")?;
    // Signed by the specification, but some senders write large frames unsigned.
    let gfn = match text.strip_prefix(b"-") {
        Some(digits) => decimal::<u64>(digits)
            .and_then(|magnitude| 0i64.checked_sub_unsigned(magnitude))
            .map(i64::cast_unsigned),
        None => decimal(text),
    };
    let gfn = gfn.ok_or_else(|| DecodeError::Number { field: "gfn", text: escaped(text) })?;
    Ok(Request::Introduce { domid, gfn: Gfn(gfn), port: Port(fields.number("evtchn")?) })
}

/// The next string, which must be ASCII: a command or the name of a quota.
fn word(fields: &mut Fields<'_>, field: &'static str) -> Result<String, DecodeError> {
    let text = fields.string(field)?;
    if text.is_ascii() {
        Ok(text.iter().map(|&b| char::from(b)).collect())
    } else {
        Err(DecodeError::Word { field, text: escaped(text) })
    }
}
