//! Devices: a frontend in a guest, a backend in dom0, and what the host needs between the two.
//!
//! ```text
//!   Plan (one per class) ──▶ Device (pure) ──nodes──▶ transaction ──▶ backend waits
//!                              ──▶ host side (loop device, bridge …) ──▶ hotplug-status: connected
//! ```
//!
//! In: what a device shall be, or where one is. Out: a device that is attached, or nothing of it;
//! one that is detached, or why not. [`attach`], [`detach`] and [`list`] are what all classes have in
//! common; [`disk`] and its kin say what their nodes are and what the host does for them.
//!
//! What it never does: read what a guest can write to decide where something is, sleep, or wait
//! without a limit. `/libxl/D/device/KIND/DEVID`, which only dom0 can write, says what there is.

pub mod attach;
pub mod detach;
pub mod disk;
pub mod error;
pub mod host;
pub mod list;
pub mod nodes;
pub mod pci;
pub mod rdma;
pub mod script;
pub mod vdev;
pub mod vif;
pub mod wait;

pub use error::DeviceError;
pub use host::Host;

use serde::{Deserialize, Serialize};
use std::fmt;
use xen_sys::types::Domid;

/// A class of devices that can be taken down, by the name that its directories have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Disks.
    Vbd,
    /// Network interfaces.
    Vif,
    /// PCI devices, all of a domain's in one.
    Pci,
    /// InfiniBand devices.
    Rdma,
    /// Consoles and channels.
    Console,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Vbd, Self::Vif, Self::Pci, Self::Rdma, Self::Console];

    /// Its name in xenstore.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Vif => "vif",
            Self::Pci => "pci",
            Self::Rdma => "rdma",
            Self::Console => "console",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kernel's driver that serves it: the name that it has among the drivers of the bus
    /// `xen-backend`, and its module's.
    #[must_use]
    pub const fn driver(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Vbd => Some(("vbd", "xen-blkback")),
            Self::Vif => Some(("vif", "xen-netback")),
            Self::Pci => Some(("xen-pciback", "xen-pciback")),
            Self::Rdma | Self::Console => None,
        }
    }

    /// What people call it.
    const fn noun(self) -> &'static str {
        match self {
            Self::Vbd => "disk",
            Self::Vif => "network interface",
            Self::Pci => "PCI devices",
            Self::Rdma => "InfiniBand device",
            Self::Console => "console",
        }
    }
}

/// Which device: enough to find everything of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Its class.
    pub kind: Kind,
    /// The domain that uses it.
    #[serde(with = "number")]
    pub domid: Domid,
    /// Its number among those of its class and domain.
    pub devid: u32,
    /// The domain that serves it.
    #[serde(with = "number")]
    pub backend: Domid,
}

/// A domid as a number.
mod number {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use xen_sys::types::Domid;

    pub fn serialize<S: Serializer>(domid: &Domid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(domid.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Domid, D::Error> {
        u16::deserialize(deserializer).map(Domid)
    }
}

impl Address {
    /// Directory of the guest's half.
    #[must_use]
    pub fn frontend_path(&self) -> String {
        let Self { kind, domid, devid, .. } = self;
        format!("/local/domain/{domid}/device/{}/{devid}", kind.name())
    }

    /// Directory of the backend's half.
    #[must_use]
    pub fn backend_path(&self) -> String {
        format!("/local/domain/{}/{}", self.backend, self.backend_path_in_domain())
    }

    /// The same as the backend's domain sees it.
    #[must_use]
    pub fn backend_path_in_domain(&self) -> String {
        let Self { kind, domid, devid, .. } = self;
        format!("backend/{}/{domid}/{devid}", kind.name())
    }

    /// Directory of the toolstack's own copy.
    #[must_use]
    pub fn libxl_path(&self) -> String {
        let Self { kind, domid, devid, .. } = self;
        format!("/libxl/{domid}/device/{}/{devid}", kind.name())
    }

    /// Where the backend's kernel writes what is wrong.
    #[must_use]
    pub fn error_path(&self) -> String {
        format!("/local/domain/{}/error/{}", self.backend, self.backend_path_in_domain())
    }

    /// Where the backend's kernel shows that it has a driver for it.
    #[must_use]
    pub fn sysfs_path(&self) -> String {
        let Self { kind, domid, devid, .. } = self;
        format!("/sys/bus/xen-backend/devices/{}-{domid}-{devid}", kind.name())
    }

    /// The address that a backend's path stands for, if it is that of this class, domain and number.
    /// Such a path is read from the toolstack's own copy.
    #[must_use]
    pub fn of_backend_path(path: &str, kind: Kind, domid: Domid, devid: u32) -> Option<Self> {
        let backend = path.strip_prefix("/local/domain/")?.split('/').next()?.parse().ok()?;
        let address = Self { kind, domid, devid, backend: Domid(backend) };
        (address.backend_path() == path).then_some(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, domid, devid, .. } = self;
        match kind {
            // Its number is that of a device file: its name says more.
            Kind::Vbd => write!(f, "disk {} of domain {domid}", vdev::name(*devid)),
            _ => write!(f, "{} {devid} of domain {domid}", kind.noun()),
        }
    }
}

/// Nodes of a directory, with their values.
pub type Entries = Vec<(&'static str, String)>;

/// A device as it shall stand in xenstore; beside these each half has the path of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which one.
    pub address: Address,
    /// What the guest's half begins with; the guest owns these nodes.
    pub frontend: Entries,
    /// What the guest's half has beside that, to be read only.
    pub frontend_read_only: Entries,
    /// What the backend's half begins with. The toolstack keeps a copy.
    pub backend: Entries,
}

/// How far the two halves are (`enum xenbus_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum XenbusState {
    /// No number, or none that is known.
    Unknown,
    /// 1: begins.
    Initialising,
    /// 2: waits for the other half.
    InitWait,
    /// 3: waits to be connected.
    Initialised,
    /// 4: works.
    Connected,
    /// 5: ends.
    Closing,
    /// 6: has ended.
    Closed,
    /// 7: is being changed.
    Reconfiguring,
    /// 8: has been changed.
    Reconfigured,
}

impl XenbusState {
    const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Initialising,
        Self::InitWait,
        Self::Initialised,
        Self::Connected,
        Self::Closing,
        Self::Closed,
        Self::Reconfiguring,
        Self::Reconfigured,
    ];

    /// The state that a node's value stands for.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        number.and_then(|number: usize| Self::ALL.get(number)).copied().unwrap_or(Self::Unknown)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_where_everybody_looks_for_them() {
        let disk = Address { kind: Kind::Vbd, domid: Domid(3), devid: 51712, backend: Domid(0) };
        assert_eq!(disk.frontend_path(), "/local/domain/3/device/vbd/51712");
        assert_eq!(disk.backend_path(), "/local/domain/0/backend/vbd/3/51712");
        assert_eq!(disk.libxl_path(), "/libxl/3/device/vbd/51712");
        assert_eq!(disk.error_path(), "/local/domain/0/error/backend/vbd/3/51712");
        assert_eq!(disk.sysfs_path(), "/sys/bus/xen-backend/devices/vbd-3-51712");
        assert_eq!(disk.to_string(), "disk xvda of domain 3");
    }

    #[test]
    fn only_the_own_path_is_taken() {
        let check = |path: &str, backend: Option<u16>| {
            let found = Address::of_backend_path(path, Kind::Vbd, Domid(3), 51712);
            assert_eq!(found.map(|address| address.backend.0), backend, "{path}");
        };
        check("/local/domain/0/backend/vbd/3/51712", Some(0));
        check("/local/domain/7/backend/vbd/3/51712", Some(7));
        for other in [
            "",
            "/local/domain/0/backend/vbd/4/51712",
            "/local/domain/0/backend/vbd/3/51728",
            "/local/domain/0/backend/qdisk/3/51712",
            "/local/domain/0/backend/vbd/3/51712/x",
            "/local/domain/00/backend/vbd/3/51712",
            "/local/domain/+0/backend/vbd/3/51712",
            "/local/domain/x/backend/vbd/3/51712",
            "/local/domain/3/device/vbd/51712",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn states_are_numbers() {
        for (text, state) in [
            ("1", XenbusState::Initialising),
            ("6", XenbusState::Closed),
            ("8", XenbusState::Reconfigured),
            ("9", XenbusState::Unknown),
            ("", XenbusState::Unknown),
            ("-1", XenbusState::Unknown),
            ("Closed", XenbusState::Unknown),
        ] {
            assert_eq!(XenbusState::of(text.as_bytes()), state, "{text:?}");
        }
        assert_eq!(XenbusState::of(b"\xff"), XenbusState::Unknown);
        assert_eq!(XenbusState::Connected.number(), 4);
    }
}
