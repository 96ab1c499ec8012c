//! InfiniBand devices (`rdma`), served by the daemon `xlr-ibd` in dom0.
//!
//! ```text
//!   Rdma ──▶ nodes ──▶ the daemon opens dom0's device and waits ──▶ programs in the guest connect
//! ```
//!
//! In: what a device shall be. Out: its nodes. No driver of dom0's kernel has a part in it, and there
//! is no host side: all is the daemon's, and what it says of what it serves ([`stats`]).

use super::attach::Plan;
use super::{Address, Device, DeviceError, Entries, Host, Kind, XenbusState};
use crate::config::device::rdma::Rdma;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xen_sys::types::Domid;

/// Where the daemon listens.
const SOCKET: &str = "/run/xlr/ibd.sock";
/// Where dom0's kernel shows its devices.
const DEVICES: &str = "/sys/class/infiniband";
/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// More than it has to say of all guests that there can be.
const ANSWER_BYTES: u64 = 16 << 20;

/// What is wrong with an InfiniBand device, or with the daemon.
#[derive(Debug, thiserror::Error)]
pub enum RdmaError {
    /// Nobody would ever answer.
    #[error(
        "InfiniBand is served by xlr-ibd, which does not run: start it (cannot reach {SOCKET})"
    )]
    NoDaemon {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// dom0 has no such device.
    #[error("dom0 has no InfiniBand device {name:?}: there {}", there(devices))]
    NoDevice {
        /// What was asked for.
        name: String,
        /// What there is.
        devices: Vec<String>,
    },
    /// The daemon's answer could not be read.
    #[error("xlr-ibd did not say what it serves ({SOCKET})")]
    NoAnswer {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The daemon's answer makes no sense.
    #[error("xlr-ibd's answer is not understood: is it of another version than xlr?")]
    BadAnswer {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

fn there(devices: &[String]) -> String {
    match devices {
        [] => String::from("is none; rdma link shows them"),
        [one] => format!("is {one}"),
        more => format!("are {}", more.join(", ")),
    }
}

/// A device that shall be attached.
#[derive(Clone, Debug)]
pub struct Adapter {
    rdma: Rdma,
    devid: u32,
}

/// The devices of a configuration, each with its number: those that name none get the lowest ones that
/// are free, in their order.
#[must_use]
pub fn adapters(devices: &[Rdma]) -> Vec<Adapter> {
    let mut taken: BTreeSet<u32> = devices.iter().filter_map(|device| device.devid).collect();
    let mut number = |device: &Rdma| {
        device.devid.unwrap_or_else(|| {
            let free = (0..).find(|devid| !taken.contains(devid)).unwrap_or(u32::MAX);
            taken.insert(free);
            free
        })
    };
    devices.iter().map(|rdma| Adapter { rdma: rdma.clone(), devid: number(rdma) }).collect()
}

impl Adapter {
    /// The device as it is described, its number with it.
    #[must_use]
    pub fn settled(&self) -> Rdma {
        Rdma { devid: Some(self.devid), ..self.rdma.clone() }
    }

    /// Makes sure that dom0 has the device, and that somebody serves it. Changes nothing.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn check(&self) -> Result<(), DeviceError> {
        connect()?;
        if Path::new(DEVICES).join(&self.rdma.device).exists() {
            return Ok(());
        }
        let entries = std::fs::read_dir(DEVICES).into_iter().flatten().flatten();
        let mut devices: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        devices.sort();
        Err(RdmaError::NoDevice { name: self.rdma.device.clone(), devices }.into())
    }
}

impl Plan for Adapter {
    fn device(&self, domid: Domid) -> Device {
        let initialising = || XenbusState::Initialising.number().to_string();
        let mut backend = vec![
            ("frontend-id", domid.to_string()),
            ("online", String::from("1")),
            ("state", initialising()),
            ("backend-device", self.rdma.device.clone()),
            ("pages", self.rdma.pages.to_string()),
        ];
        let limits = self.rdma.limits().into_iter();
        backend.extend(limits.map(|(name, limit)| (name, limit.to_string())));
        backend.extend(self.rdma.policy());
        Device {
            address: Address { kind: Kind::Rdma, domid, devid: self.devid, backend: Domid::DOM0 },
            frontend: vec![("backend-id", Domid::DOM0.to_string()), ("state", initialising())],
            frontend_read_only: Vec::new(),
            backend,
        }
    }

    fn prepare(&mut self, _: &Device, _: &mut Host<'_>) -> Result<(), DeviceError> {
        self.check()
    }

    fn connect(&mut self, _: &Device, _: &mut Host<'_>) -> Result<Entries, DeviceError> {
        Ok(Entries::new())
    }

    fn description(&self) -> Option<String> {
        Some(self.settled().text())
    }
}

/// Whether the daemon is there. One that was killed has let go of all that guests shared with it.
pub(super) fn is_served() -> bool {
    connect().is_ok()
}

fn connect() -> Result<UnixStream, RdmaError> {
    UnixStream::connect(PathBuf::from(SOCKET)).map_err(|source| RdmaError::NoDaemon { source })
}

/// What the daemon serves to one domain by one device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Served {
    /// The domain.
    pub domid: u16,
    /// The device's number there.
    pub devid: u32,
    /// dom0's device behind it.
    pub device: String,
    /// Programs of the guest that have opened it.
    pub contexts: u64,
    /// Queue pairs.
    pub qps: u64,
    /// Completion queues.
    pub cqs: u64,
    /// Memory regions.
    pub mrs: u64,
    /// Pages of the guest that are shared with dom0.
    pub pages: u64,
    /// Work requests carried out.
    pub operations: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// The daemon's whole answer.
#[derive(serde::Deserialize)]
struct Answer {
    devices: Vec<Served>,
}

/// Asks the daemon what it serves.
///
/// # Errors
/// [`RdmaError`].
pub fn stats() -> Result<Vec<Served>, RdmaError> {
    let failed = |source| RdmaError::NoAnswer { source };
    let stream = connect()?;
    stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut text).map_err(failed)?;
    let answer: Answer =
        serde_json::from_str(&text).map_err(|source| RdmaError::BadAnswer { source })?;
    Ok(answer.devices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::device::rdma::parse;

    #[test]
    fn numbers_are_the_lowest_that_are_free() {
        let check = |devids: &[&str], expected: &[u32]| {
            let devices: Vec<Rdma> = devids
                .iter()
                .map(|more| parse(&format!("backend-device=a{more}")).expect("good"))
                .collect();
            let numbers: Vec<u32> = adapters(&devices).iter().map(|one| one.devid).collect();
            assert_eq!(numbers, expected, "{devids:?}");
        };
        check(&[], &[]);
        check(&["", ""], &[0, 1]);
        check(&["", ",devid=0", "", ",devid=7"], &[1, 0, 2, 7]);
    }

    #[test]
    fn nodes_say_what_was_asked_for_and_no_more() {
        let text = "backend-device=rxe0,pages=8,qps=2,gids=1,destinations=10.9.0.0/24";
        let adapter = &adapters(&[parse(text).expect("good")])[0];
        let device = adapter.device(Domid(3));
        assert_eq!(device.address.frontend_path(), "/local/domain/3/device/rdma/0");
        let nodes: Vec<String> =
            device.backend.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            nodes,
            [
                "frontend-id=3",
                "online=1",
                "state=1",
                "backend-device=rxe0",
                "pages=8",
                "qps=2",
                "gids=1",
                "destinations=::ffff:10.9.0.0/120"
            ]
        );
    }

    #[test]
    fn errors_say_what_there_is() {
        assert_eq!(there(&[]), "is none; rdma link shows them");
        assert_eq!(there(&["a".into(), "b".into()]), "are a, b");
    }
}
