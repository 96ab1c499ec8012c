//! The wire protocol of the InfiniBand split driver: the one part that both ends share.
//!
//! In: bytes copied out of shared pages. Out: typed requests, replies, work and completions, and back
//! to bytes; where each field lies. `PROTOCOL.md` documents every field, and a test holds it to this
//! code. It touches no memory of another domain, makes no call, and never panics on what it is given.

#![no_std]
#![forbid(unsafe_code)]

mod attributes;
mod directory;
mod notify;
mod page;
mod record;
mod reply;
mod request;
mod ring;
mod tables;
mod work;

pub use attributes::{DeviceAttributes, PortAttributes, QpAttributes};
pub use directory::{DIRECTORY_REFERENCES, DirectoryHeader, directory_pages, directory_reference};
pub use notify::{Arm, arm_after};
pub use page::{
    ASYNC_SLOTS, AsyncEvent, AsyncPage, ControlPage, REPLY_SLOTS, REQUEST_SLOTS, async_offset,
    reply_offset, request_offset, status,
};
pub use record::{Field, FieldLayout, Number, Record};
pub use reply::{GidReply, MrReply, PkeyReply, QpReply, REPLY_BYTES, ReplyHeader, reply};
pub use request::{
    CreateCq, CreateQp, ModifyQp, REQUEST_BYTES, RegMr, Request, RequestHeader, UnknownRequest,
    kind,
};
pub use ring::{
    CompletionHeader, CqLayout, CqSize, QpLayout, QpSize, Ring, RingFault, SLOTS_MAX, WorkHeader,
    available,
};
pub use tables::{Table, tables};
pub use work::{Completion, Receive, SendWork, Sge, opcode};

/// First word of a control page: "XRDM".
pub const MAGIC: u32 = u32::from_le_bytes(*b"XRDM");
/// The version of this protocol. A backend answers others with [`status::BAD_VERSION`].
pub const VERSION: u32 = 1;
/// Pages are Xen's.
pub const PAGE_BYTES: usize = 4096;
/// No object: handles count from 1.
pub const NO_HANDLE: u32 = 0;
/// The node below `device/rdma/N` in which guest processes ask for a context: each creates one child
/// of its own with the grant reference of its control page, in decimal. The backend removes it when it
/// has taken it.
pub const CONTEXTS_NODE: &str = "contexts";
