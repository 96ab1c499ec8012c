//! What a store writes down, so that a server that is killed leaves it behind whole.
//!
//! ```text
//! a file:  head ‖ image ‖ frame ‖ frame ‖ …          image: everything, as it was once
//! a frame: length, checks, answers ‖ entries         entries: what happened since
//! ```
//!
//! In: an image and entries as bytes, or the bytes of a file. Out: bytes for the file, or image and
//! entries again. No I/O, except in [`Storage`], which holds the file; nothing here knows what an entry
//! means.
//!
//! # What is written down
//!
//! The calls, not what they changed: the store is deterministic, so the same entries in the same order
//! give the same state and the same bytes to send. An entry is about as long as the request, whatever
//! the size of the store. Even reading requests are entries, because their replies are bytes that a
//! connection must get once and only once. Each frame carries a sum of the bytes that its entries made
//! for connections: a server that would answer otherwise than the killed one did notices it and
//! refuses, instead of sending a connection the tail of another answer.
//!
//! When the frames have become longer than the image, [`Storage`] writes a new image beside the file
//! and renames it, so that a file takes a small multiple of its store, and a commit costs what changed.
//!
//! # Damage
//!
//! A write can be cut short by the kill: a frame whose bytes end too early is no frame, and nobody was
//! told of what stood in it. Anything else that does not fit is damage ([`LoadError`]): memory-backed
//! files do not rot, so somebody wrote there, and the server refuses to start rather than serve a
//! store that guests do not recognise.

mod file;
mod storage;

pub use crate::codec::Damaged;
pub use file::{Contents, Frame, LoadError, append_frame, begin, load};
pub use storage::{Storage, StorageError};
