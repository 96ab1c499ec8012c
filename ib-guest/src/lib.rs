//! The guest's half of the InfiniBand split driver: a `libibverbs.so.1` of our own.
//!
//! ```text
//!   program ──verbs──▶ exports (C) ──▶ session: requests ──▶ control page ──▶ backend
//!                                  ──▶ work, completions: rings in pages of this process
//! ```
//!
//! In: calls of an unmodified verbs program. Out: the same answers that a device in this machine would
//! give. No kernel module has a part in it: pages come from `/dev/xen/gntalloc`, events from
//! `/dev/xen/evtchn`, and the two sides meet by a node of the guest's own xenstore.
//!
//! What it never does: copy a payload, make a system call to post or poll while the backend is awake,
//! or believe what it reads from shared pages unchecked. `unsafe` is only in [`exports`], which is handed
//! pointers by C programs, and in `pin`, which replaces their memory; all else is safe.

pub mod abi;
mod bell;
mod cache;
mod completions;
pub mod error;
pub mod exports;
mod pin;
mod process;
mod region;
mod session;
mod told;
mod work;
