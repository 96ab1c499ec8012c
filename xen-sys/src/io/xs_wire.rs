//! The xenstore protocol: header, message types, ring page, limits. Mirrors `xen/io/xs_wire.h`.

/// Control the daemon itself; privileged.
pub const XS_CONTROL: u32 = 0;
/// List children.
pub const XS_DIRECTORY: u32 = 1;
/// Read a node.
pub const XS_READ: u32 = 2;
/// Read permissions.
pub const XS_GET_PERMS: u32 = 3;
/// Watch a path.
pub const XS_WATCH: u32 = 4;
/// Stop to watch.
pub const XS_UNWATCH: u32 = 5;
/// Begin a transaction.
pub const XS_TRANSACTION_START: u32 = 6;
/// Commit or drop it.
pub const XS_TRANSACTION_END: u32 = 7;
/// Connect a domain; privileged.
pub const XS_INTRODUCE: u32 = 8;
/// Disconnect a domain; privileged.
pub const XS_RELEASE: u32 = 9;
/// Ask for a domain's home.
pub const XS_GET_DOMAIN_PATH: u32 = 10;
/// Write a node.
pub const XS_WRITE: u32 = 11;
/// Make a node.
pub const XS_MKDIR: u32 = 12;
/// Remove a subtree.
pub const XS_RM: u32 = 13;
/// Set permissions.
pub const XS_SET_PERMS: u32 = 14;
/// From the store: a watch fired.
pub const XS_WATCH_EVENT: u32 = 15;
/// From the store: the request failed.
pub const XS_ERROR: u32 = 16;
/// Ask whether a domain is connected; privileged.
pub const XS_IS_DOMAIN_INTRODUCED: u32 = 17;
/// A domain continues after a suspend; privileged.
pub const XS_RESUME: u32 = 18;
/// Let a domain act for another; privileged.
pub const XS_SET_TARGET: u32 = 19;
/// Drop all watches and transactions.
pub const XS_RESET_WATCHES: u32 = 21;
/// List children from an offset on.
pub const XS_DIRECTORY_PART: u32 = 22;
/// Ask for features of the ring. Since Xen 4.21.
pub const XS_GET_FEATURE: u32 = 23;
/// Set features for a domain; privileged. Since Xen 4.21.
pub const XS_SET_FEATURE: u32 = 24;
/// Ask for a quota; privileged. Since Xen 4.21.
pub const XS_GET_QUOTA: u32 = 25;
/// Set a quota; privileged. Since Xen 4.21.
pub const XS_SET_QUOTA: u32 = 26;
/// Never a valid type.
pub const XS_INVALID: u32 = 0xffff;
/// Position in a watch event: the path.
pub const XS_WATCH_PATH: u32 = 0;
/// Position in a watch event: the token.
pub const XS_WATCH_TOKEN: u32 = 1;

/// Header of every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xsd_sockmsg {
    /// `XS_*`.
    pub r#type: u32,
    /// Chosen by the client, echoed.
    pub req_id: u32,
    /// Transaction, 0 for none.
    pub tx_id: u32,
    /// Bytes that follow.
    pub len: u32,
}
layout!(struct xsd_sockmsg: 16, r#type 0, req_id 4, tx_id 8, len 12);

/// Bytes per direction.
pub const XENSTORE_RING_SIZE: usize = 1024;
/// Longest payload; more ends the connection.
pub const XENSTORE_PAYLOAD_MAX: usize = 4096;
/// Longest absolute path.
pub const XENSTORE_ABS_PATH_MAX: usize = 3072;
/// Longest relative path.
pub const XENSTORE_REL_PATH_MAX: usize = 2048;
/// Free-running index; the low bits are the position.
pub type XENSTORE_RING_IDX = u32;
/// The shared page. Each side trusts only its own two indices. Earlier headers end before `error`,
/// the page is the same. Since Xen 4.17.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct xenstore_domain_interface {
    /// Requests.
    pub req: [u8; XENSTORE_RING_SIZE],
    /// Replies and watch events.
    pub rsp: [u8; XENSTORE_RING_SIZE],
    /// Moved by the store.
    pub req_cons: XENSTORE_RING_IDX,
    /// Moved by the guest.
    pub req_prod: XENSTORE_RING_IDX,
    /// Moved by the guest.
    pub rsp_cons: XENSTORE_RING_IDX,
    /// Moved by the store.
    pub rsp_prod: XENSTORE_RING_IDX,
    /// `XENSTORE_SERVER_FEATURE_*`.
    pub server_features: u32,
    /// `XENSTORE_CONNECTED` or `XENSTORE_RECONNECT`.
    pub connection: u32,
    /// `XENSTORE_ERROR_*`.
    pub error: u32,
}
layout!(
    struct xenstore_domain_interface: 2076, req 0, rsp 1024, req_cons 2048, req_prod 2052,
    rsp_cons 2056, rsp_prod 2060, server_features 2064, connection 2068, error 2072
);

/// The store understands a reconnection.
pub const XENSTORE_SERVER_FEATURE_RECONNECTION: u32 = 1;
/// The store reports errors in `error`. Since Xen 4.17.
pub const XENSTORE_SERVER_FEATURE_ERROR: u32 = 2;
/// In use.
pub const XENSTORE_CONNECTED: u32 = 0;
/// The guest asks for a fresh connection.
pub const XENSTORE_RECONNECT: u32 = 1;
/// No error. Since Xen 4.17.
pub const XENSTORE_ERROR_NONE: u32 = 0;
/// Communication broke. Since Xen 4.17.
pub const XENSTORE_ERROR_COMM: u32 = 1;
/// The guest's indices make no sense. Since Xen 4.17.
pub const XENSTORE_ERROR_RINGIDX: u32 = 2;
/// The guest broke the protocol. Since Xen 4.17.
pub const XENSTORE_ERROR_PROTO: u32 = 3;
