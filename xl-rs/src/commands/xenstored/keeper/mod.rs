//! The keeper: a process that holds listeners and sockets, so that they outlive a xenstored.
//!
//! ```text
//! connect(2) ──▶ keeper ──descriptors──▶ xenstored ──▶ replies, straight to the program
//!                  ╰─ the same descriptors, for the next xenstored
//! ```
//!
//! In: listeners and sockets from a xenstored, connections from programs. Out: descriptors to the one
//! xenstored that runs. It reads no byte of a request and starts nothing. It accepts, since a process
//! that is killed between accepting a connection and handing it on would have lost it. With each
//! socket it holds a file in memory from which replies are sent; why is in [`kept`](super::kept).
//!
//! A xenstored finds it at [`PATH`], and starts one where there is none: the same program, in a mode
//! that help does not show. When it ends, the xenstored starts another and hands everything over.

mod channel;
mod message;
mod process;

#[cfg(test)]
pub use channel::control;
pub use channel::{Inventory, Keeper, Pair};
#[cfg(test)]
pub use process::keep;
pub use process::run;

/// Where a xenstored finds it. Only root gets there.
const PATH: &str = "/run/xlr/keeper";
