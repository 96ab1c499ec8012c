//! The blocking client.
//!
//! In: calls. Out: values, or errors that name the operation, the path and what xenstored said.
//! [`Client`] is a connection; what it shares with a transaction (read, write, …) is in [`Nodes`].
//! It starts no thread, and never waits without a limit on the reply to a request.
//!
//! ```no_run
//! use xenstore::client::{Client, Nodes};
//! # fn main() -> Result<(), xenstore::client::Error> {
//! let mut store = Client::connect()?;
//! let name = store.read_text("/local/domain/0/name")?;
//! store.transaction(|tx| tx.write("/tool/example", name.as_bytes()))?;
//! # Ok(())
//! # }
//! ```

mod again;
mod connection;
mod domains;
mod error;
mod events;
pub(crate) mod expect;
mod nodes;
mod session;
mod transaction;
mod transport;
mod watches;

pub use again::RETURN_PATIENCE;
pub use connection::{Client, REQUEST_TIMEOUT};
pub use error::{Attempt, Error, Loss, ReplyError};
pub use events::{EVENT_BYTES_MAX, EVENTS_MAX, Events, Fate, Waiting};
pub use nodes::{DIRECTORY_ATTEMPTS_MAX, Nodes};
pub use session::{Counters, Outcome, Session};
pub use transaction::{TRANSACTION_ATTEMPTS_MAX, Transaction};
pub use transport::{DEVICE, Framing, SOCKETS, Socket, Transport, Xenbus};
pub use watches::WatchEvents;

#[cfg(feature = "tokio")]
pub(crate) use nodes::Parts;
#[cfg(feature = "tokio")]
pub(crate) use transport::places;
#[cfg(feature = "tokio")]
pub(crate) use watches::depth_unsupported;
