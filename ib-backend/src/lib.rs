//! The backend of the InfiniBand split driver: real verbs devices, for guests that grant their memory.
//!
//! ```text
//!  guest process ── control page ──▶ context: Request ──check──▶ plan ──▶ verbs object ──▶ reply
//!                ── work rings  ───▶ copied once, checked ──▶ posted on the device
//!                ◀─ completions ──── polled from the device
//!  guest pages   ── grants, mapped, registered ──▶ the device reads and writes them by itself
//! ```
//!
//! In: the backend's nodes, which only the toolstack writes, and what guests put into pages that they
//! grant. Out: verbs on the device. [`service`] meets guests in xenstore and gives each of their processes
//! a thread, [`context`] serves one process, [`check`] and [`work`] decide without touching anything,
//! [`verbs`] is libibverbs.
//!
//! - The payload passes through no ring and no copy: the device works on the guest's pages.
//! - Nothing that a guest wrote is looked at twice. Who breaks the protocol loses that context, no more.
//! - Each process of a guest has a thread, its own handles, and the device opened for it alone: posting
//!   and polling wait for no other guest. Mapping and unmapping do, as all share one address space: a
//!   guest that registers its quota over and over slows the registrations of others.
//! - A page is unmapped after the device has let go of it, also when this program is killed
//!   ([`verbs::guardian`]).

#![deny(unsafe_code)]

pub mod check;
pub mod context;
pub mod error;
pub mod handles;
pub mod limits;
pub mod policy;
pub mod region;
pub mod service;
pub mod usage;
#[allow(unsafe_code, reason = "the one module that calls libibverbs, each call with its proof")]
pub mod verbs;
pub mod work;

pub use error::{Error, Result};
