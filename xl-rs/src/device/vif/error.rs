//! What can go wrong with a network interface alone.

use super::host::HostError;
use crate::device::Address;
use crate::netlink::NetlinkError;
use std::time::Duration;

/// Why dom0's end of an interface is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum VifError {
    /// What it needs of dom0.
    #[error("{what}: dom0's end of it cannot be made")]
    Host {
        /// Which one, with its domain where there is one already.
        what: String,
        /// Why.
        #[source]
        source: HostError,
    },
    /// The kernel does not tell of its interface.
    #[error("{device}: cannot see what becomes of dom0's end of it")]
    Unseen {
        /// Which one.
        device: Address,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// A script did not do it.
    #[error(
        "{device}: its script has ended and {}{}",
        match silent {
            Some(limit) => format!("has not written hotplug-status within {} s", limit.as_secs()),
            None => String::from("has not connected it"),
        },
        match said {
            Some(text) => format!(": it says «{}»", crate::printable::line(text)),
            None => String::new(),
        }
    )]
    NotConnected {
        /// Which one.
        device: Address,
        /// What stands in `hotplug-error`.
        said: Option<String>,
        /// How long it was waited for a word.
        silent: Option<Duration>,
    },
    /// The interface is still there.
    #[error("{device}: {name} is still there {} s after its end; see dmesg", limit.as_secs())]
    Stays {
        /// Which one.
        device: Address,
        /// What dom0 calls it.
        name: String,
        /// How long it was waited for.
        limit: Duration,
    },
}
