//! The 16 bytes before every message, and the message types.
//!
//! `struct xsd_sockmsg` and `enum xsd_sockmsg_type` of `io/xs_wire.h`. The four fields travel in the
//! byte order of the machine; Xen on x86 knows little-endian only.

use std::fmt;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 16;
/// Longest payload in bytes (`XENSTORE_PAYLOAD_MAX`); xenstored cuts the connection beyond it.
pub const PAYLOAD_MAX: usize = 4096;

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $raw:literal, $name:literal;)*) => {
        /// What a message is (`enum xsd_sockmsg_type`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum MessageType {
            $($(#[$doc])* $variant = $raw,)*
        }

        impl MessageType {
            /// Every type, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The specification's name, such as `TRANSACTION_START`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type with this number.
            #[must_use]
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw { $($raw => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

message_types! {
    /// A command to the daemon itself (formerly DEBUG).
    Control = 0, "CONTROL";
    /// Lists the children of a node.
    Directory = 1, "DIRECTORY";
    /// Reads the value of a node.
    Read = 2, "READ";
    /// Reads the permissions of a node.
    GetPerms = 3, "GET_PERMS";
    /// Sets a watch.
    Watch = 4, "WATCH";
    /// Takes a watch back.
    Unwatch = 5, "UNWATCH";
    /// Opens a transaction.
    TransactionStart = 6, "TRANSACTION_START";
    /// Commits or discards a transaction.
    TransactionEnd = 7, "TRANSACTION_END";
    /// Connects a domain to the store.
    Introduce = 8, "INTRODUCE";
    /// Disconnects a domain from the store.
    Release = 9, "RELEASE";
    /// Asks for a domain's base path.
    GetDomainPath = 10, "GET_DOMAIN_PATH";
    /// Writes the value of a node.
    Write = 11, "WRITE";
    /// Makes sure that a node exists.
    Mkdir = 12, "MKDIR";
    /// Removes a node and all below it.
    Rm = 13, "RM";
    /// Sets the permissions of a node.
    SetPerms = 14, "SET_PERMS";
    /// From the server, unasked: something changed below a watch.
    WatchEvent = 15, "WATCH_EVENT";
    /// From the server: the request failed.
    Error = 16, "ERROR";
    /// Asks whether a domain is connected.
    IsDomainIntroduced = 17, "IS_DOMAIN_INTRODUCED";
    /// Says that a domain that was shut down runs again.
    Resume = 18, "RESUME";
    /// Gives a domain another domain's rights.
    SetTarget = 19, "SET_TARGET";
    /// Drops the caller's watches and transactions.
    ResetWatches = 21, "RESET_WATCHES";
    /// Lists children from an offset on.
    DirectoryPart = 22, "DIRECTORY_PART";
    /// Reads feature bits (Xen 4.21).
    GetFeature = 23, "GET_FEATURE";
    /// Sets a domain's feature bits (Xen 4.21).
    SetFeature = 24, "SET_FEATURE";
    /// Reads a quota (Xen 4.21).
    GetQuota = 25, "GET_QUOTA";
    /// Sets a quota (Xen 4.21).
    SetQuota = 26, "SET_QUOTA";
}

impl MessageType {
    /// The number on the wire.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The caller's number for a request, echoed in its reply (`req_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u32);

/// A transaction of a connection (`tx_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u32);

impl TransactionId {
    /// Outside any transaction.
    pub const NONE: Self = Self(0);
}

/// The header of a message (`struct xsd_sockmsg`), as it came: the type may be unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The type's number; see [`Header::message_type`].
    pub kind: u32,
    /// Echoed by the reply. In a WATCH_EVENT it carries nothing: the specification says 0, Linux's
    /// xenbus device leaves it undefined.
    pub request: RequestId,
    /// The transaction, or [`TransactionId::NONE`].
    pub transaction: TransactionId,
    /// Length in bytes of the payload that follows.
    pub len: u32,
}

impl Header {
    /// The type, when it is one of the protocol.
    #[must_use]
    pub const fn message_type(&self) -> Option<MessageType> {
        MessageType::from_raw(self.kind)
    }

    /// The bytes of the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let words = [self.kind, self.request.0, self.transaction.0, self.len];
        for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header in these bytes. Every value is taken; limits are the parser's business.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let word = |index: usize| {
            let at = index * 4;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            kind: word(0),
            request: RequestId(word(1)),
            transaction: TransactionId(word(2)),
            len: word(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_bytes() {
        let header = Header {
            kind: MessageType::Write.raw(),
            request: RequestId(0x0403_0201),
            transaction: TransactionId(7),
            len: 0x1000,
        };
        let bytes = [11, 0, 0, 0, 1, 2, 3, 4, 7, 0, 0, 0, 0, 0x10, 0, 0];
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::decode(&bytes), header);
    }

    #[test]
    fn numbers_of_the_types() {
        for raw in 0..=30 {
            let known = raw <= 26 && raw != 20;
            assert_eq!(MessageType::from_raw(raw).is_some(), known, "{raw}");
        }
        assert_eq!(MessageType::from_raw(0xffff), None);
        for kind in MessageType::ALL {
            assert_eq!(MessageType::from_raw(kind.raw()), Some(*kind));
        }
        assert_eq!(MessageType::SetQuota.raw(), 26);
        assert_eq!(MessageType::ResetWatches.raw(), 21);
    }
}
