//! The xenstore protocol: wire types, clients, and the core of a server.
//!
//! In: bytes of a connection, or calls of a program. Out: typed requests, replies and watch events.
//!
//! * [`wire`]: header, message types, [`wire::Request`] and [`wire::Reply`] with both directions of
//!   the encoding, and an incremental parser. It does no I/O; a server uses it as a client does.
//! * [`client`]: the blocking client, with pipelining, transactions and watches.
//! * `aio` (feature `tokio`): the same client for concurrent tasks.
//! * [`store`]: what a server knows and answers, without I/O.
//! * [`server`]: connections around that store, over any transport.
//! * [`saved`]: what a server writes down, so that it can be killed.
//!
//! Nothing here makes a hypercall or knows what a node means; the names of sections that comments
//! cite are those of the protocol's specification, `misc/xenstore.txt` of the Xen documentation.
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
pub mod aio;
pub mod client;
mod codec;
mod errno;
mod path;
mod permissions;
pub mod saved;
pub mod server;
pub mod store;
pub mod wire;

pub use errno::{Errno, Failure};
pub use path::{Path, PathError};
pub use permissions::{Access, Permissions, PermissionsError};
pub use xen_sys::types::{Domid, Gfn, Port};
