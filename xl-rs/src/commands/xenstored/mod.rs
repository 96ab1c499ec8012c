//! `xenstored`: serves the store to this host.
//!
//! ```text
//! sockets, /dev/xen/evtchn ──epoll──▶ Server (crate xenstore) ──▶ sockets, rings
//!    ╰─ held by a keeper as well        ╰─▶ journal
//! ```
//!
//! In: the options. Out: a process that answers on `/run/xenstored/socket`, on the kernel's ring and
//! on those of guests, until it is killed. One thread, which sleeps when there is nothing to do. What
//! a request means is the store's business; here are descriptors, mappings and event channels.

mod background;
mod confine;
mod doors;
mod error;
mod host;
mod keeper;
mod kept;
mod link;
mod listen;
mod page;
mod saved;
mod serve;
mod steps;
mod trace;

pub use error::XenstoredError;

use crate::cli::XenstoredArgs;

/// Serves, in the background unless told otherwise.
pub fn run(arguments: &XenstoredArgs) -> Result<(), XenstoredError> {
    if arguments.keeper {
        return keeper::run();
    }
    if !arguments.foreground {
        return background::start(arguments.output_pid);
    }
    if arguments.detached {
        background::leave_terminal()?;
    }
    let mut service = serve::Service::start(arguments)?;
    if arguments.without_effect > 0 {
        tracing::warn!("options were given that only C xenstored has a use for");
    }
    if arguments.output_pid && !arguments.detached {
        println!("{}", std::process::id());
    }
    background::ready(arguments.detached)?;
    if !arguments.unconfined {
        confine::confine(&arguments.folders());
    }
    service.run()
}
