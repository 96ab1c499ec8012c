//! What can go wrong with a device, and what to do about it.

use super::disk::DiskError;
use super::rdma::RdmaError;
use super::script::ScriptError;
use super::vif::VifError;
use super::{Address, XenbusState};
use crate::pci::PciError;
use std::io;
use std::time::Duration;
use xen_sys::types::Domid;

/// Why a device could not be attached, detached or looked at.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The domain has one of this number already.
    #[error("{device} is there already: choose another name, or detach it first")]
    Exists {
        /// Which one.
        device: Address,
    },
    /// The domain has none of this number.
    #[error("domain {domid} has no {what}")]
    Missing {
        /// The domain.
        domid: Domid,
        /// What was asked for.
        what: String,
    },
    /// dom0's kernel has no driver for it.
    #[error("{device}: dom0's kernel serves no such devices: modprobe {module}")]
    NoDriver {
        /// Which one.
        device: Address,
        /// The module that has the driver.
        module: &'static str,
    },
    /// The backend has given up.
    #[error("{device}: its backend gave up (state {}, {}){}", state.number(), word(*state), said(error))]
    Failed {
        /// Which one.
        device: Address,
        /// The state it is in.
        state: XenbusState,
        /// What stands in its error node.
        error: Option<String>,
    },
    /// The backend did not answer in time.
    #[error(
        "{device}: its backend is not {wanted} after {} s (state {}, {}){}; dom0's dmesg may say \
         why", limit.as_secs(), state.number(), word(*state), said(error)
    )]
    Late {
        /// Which one.
        device: Address,
        /// What was waited for.
        wanted: &'static str,
        /// The state it is in.
        state: XenbusState,
        /// What stands in its error node.
        error: Option<String>,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The guest does not let go of it.
    #[error(
        "{device}: the guest has been asked to let go of it and has not within {} s; it goes when \
         the guest does that (unmount it there), and is then removed by detaching it again; -f \
         takes it away at once{}", limit.as_secs(), said(error)
    )]
    InUse {
        /// Which one.
        device: Address,
        /// What stands in its backend's error node.
        error: Option<String>,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A signal came.
    #[error("{device}: interrupted")]
    Interrupted {
        /// Which one.
        device: Address,
    },
    /// Waiting itself failed.
    #[error("{device}: cannot wait for its backend")]
    Wait {
        /// Which one.
        device: Address,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Devices that this version cannot take down.
    #[error(
        "domain {domid} has devices ({}), which this version cannot detach; use xl destroy {domid}",
        kinds.join(", ")
    )]
    Foreign {
        /// The domain.
        domid: Domid,
        /// What they are.
        kinds: Vec<String>,
    },
    /// It could not be attached, and something of it could not be removed.
    #[error("{error}; and something of it is left: {left}")]
    Left {
        /// Why it could not be attached.
        error: Box<DeviceError>,
        /// Why something is left.
        left: Box<DeviceError>,
    },
    /// Its domain is gone, and something of it is not.
    #[error("something of {device} is left")]
    Remains {
        /// Which one.
        device: Address,
    },
    /// What stands in the toolstack's own copy makes no sense.
    #[error("{path} is {value:?}, which is no backend of that device; remove it by hand")]
    BadCopy {
        /// The node.
        path: String,
        /// Its value.
        value: String,
    },
    /// xenstored refused or is gone.
    #[error(transparent)]
    Store(#[from] xenstore::client::Error),
    /// A hotplug script's.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A PCI device's own.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// A disk's own.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A network interface's own.
    #[error(transparent)]
    Vif(#[from] VifError),
    /// An InfiniBand device's own.
    #[error(transparent)]
    Rdma(#[from] RdmaError),
    /// What is kept of the domain could not be changed.
    #[error(transparent)]
    State(#[from] crate::state::StateError),
}

impl DeviceError {
    /// Whether a signal ended it.
    #[must_use]
    pub const fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

/// What a state means, for people.
const fn word(state: XenbusState) -> &'static str {
    match state {
        XenbusState::Unknown => "none",
        XenbusState::Initialising => "begins",
        XenbusState::InitWait => "waits",
        XenbusState::Initialised => "waits to be connected",
        XenbusState::Connected => "connected",
        XenbusState::Closing => "is closing",
        XenbusState::Closed => "closed",
        XenbusState::Reconfiguring => "is being changed",
        XenbusState::Reconfigured => "has been changed",
    }
}

/// What an error node says, behind everything else.
fn said(error: &Option<String>) -> String {
    match error {
        Some(error) => format!(": it says «{}»", crate::printable::line(error)),
        None => String::new(),
    }
}
