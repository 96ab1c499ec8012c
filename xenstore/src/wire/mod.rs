//! Messages as bytes and as types, in both directions, without I/O.
//!
//! In: bytes of a connection, in chunks of any size. Out: [`Packet`]s, and from them [`Request`]s
//! (a server's view) or [`Reply`]s (a client's). The encoding of both is here too.
//!
//! ```text
//! bytes ──Parser──▶ Packet { Header, payload } ──Request::decode──▶ Request
//!                                              ──Reply::decode────▶ Reply
//! ```
//!
//! Nothing here panics, whatever the bytes; no buffer grows beyond one packet.

mod fields;
mod header;
mod parser;
mod reply;
mod request;
mod token;
mod watch;

pub use fields::DecodeError;
pub(crate) use fields::decimal;
pub use header::{HEADER_LEN, Header, MessageType, PAYLOAD_MAX, RequestId, TransactionId};
pub use parser::{Packet, ParseError, Parser};
pub use reply::Reply;
pub use request::Request;
pub use token::{Token, TokenError};
pub use watch::WatchEvent;
