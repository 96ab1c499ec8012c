//! Disks: files and block devices, served by dom0's kernel (xen-blkback).
//!
//! ```text
//!   DiskSpec ──▶ medium opened, nobody in its way, loop device over a file ──▶ nodes
//!            ──▶ physical-device ──▶ the guest's frontend connects
//! ```
//!
//! In: what a disk shall be. Out: its nodes, as xl makes them, and what the host has to do for it. The
//! usual script's work is built in; another one is run as under xl.

pub mod error;
pub mod loops;
pub mod share;
pub mod spec;
pub mod target;

pub use error::DiskError;
pub use spec::{DiskSpec, Unsupported};
pub use target::Target;

use super::attach::Plan;
use super::list::{Frontend, devices_of, frontends, texts};
use super::script::{self, Action, Script};
use super::{Address, Device, DeviceError, Entries, Host, Kind, XenbusState};
use crate::commands::error::chain;
use crate::commands::warn;
use host_sys::loops::Claim;
use loops::Served;
use std::path::{Path, PathBuf};
use target::Medium;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};
use xenstore::wire::Request;

/// What a 64-bit PV guest's frontend and its backend agree on (`io/protocols.h`).
const PROTOCOL: &str = "x86_64-abi";

/// A disk that shall be attached.
#[derive(Debug)]
pub struct Disk {
    spec: DiskSpec,
    held: Option<Held>,
}

/// What is held until the nodes tell of it.
#[derive(Debug)]
struct Held {
    target: Target,
    claim: Option<Claim>,
    _lock: share::Lock,
}

impl Disk {
    /// One by its specification.
    #[must_use]
    pub const fn new(spec: DiskSpec) -> Self {
        Self { spec, held: None }
    }

    /// Makes sure that its medium is there. Changes nothing: for who wants to know before a domain is
    /// made.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn check(&self) -> Result<(), DeviceError> {
        if self.spec.has_own_script() {
            return Ok(script::check(Path::new(&self.spec.script))?);
        }
        Target::open(&self.spec)?;
        Ok(())
    }

    /// Makes sure that nobody but `own`, which goes first, has its medium. Changes nothing.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn check_free(&self, own: Domid, host: &mut Host<'_>) -> Result<(), DeviceError> {
        if self.spec.has_own_script() {
            return Ok(());
        }
        let target = Target::open(&self.spec)?;
        let Some(lock) = share::Lock::take(host.interrupt())? else {
            return Err(DeviceError::Interrupted { device: self.device(own).address });
        };
        share::check(&self.spec, &target, Some(own), &lock, host.store)
    }
}

impl Plan for Disk {
    fn device(&self, domid: Domid) -> Device {
        let spec = &self.spec;
        let flag = |set: bool| String::from(if set { "1" } else { "0" });
        let initialising = XenbusState::Initialising.number().to_string();
        let kind = String::from(if spec.cdrom { "cdrom" } else { "disk" });
        let mut backend = vec![
            ("params", spec.target.clone()),
            ("script", spec.script.clone()),
            ("frontend-id", domid.to_string()),
            ("online", flag(true)),
            ("removable", flag(spec.cdrom)),
            ("bootable", flag(true)),
            ("state", initialising.clone()),
            ("dev", spec.vdev.clone()),
            ("type", String::from("phy")),
            ("mode", String::from(if spec.read_only { "r" } else { "w" })),
            ("device-type", kind.clone()),
        ];
        if spec.direct_io_safe {
            backend.push(("direct-io-safe", flag(true)));
        }
        backend.push(("discard-enable", flag(spec.discard)));
        backend.push(("specification", String::from("xen")));
        Device {
            address: Address { kind: Kind::Vbd, domid, devid: spec.devid, backend: Domid::DOM0 },
            frontend: vec![
                ("backend-id", Domid::DOM0.to_string()),
                ("state", initialising),
                ("virtual-device", spec.devid.to_string()),
                ("device-type", kind),
                ("trusted", flag(spec.trusted)),
                ("protocol", String::from(PROTOCOL)),
            ],
            frontend_read_only: Vec::new(),
            backend,
        }
    }

    fn prepare(&mut self, device: &Device, host: &mut Host<'_>) -> Result<(), DeviceError> {
        if self.spec.has_own_script() {
            return self.check();
        }
        let target = Target::open(&self.spec)?;
        let Some(lock) = share::Lock::take(host.interrupt())? else {
            return Err(DeviceError::Interrupted { device: device.address });
        };
        share::check(&self.spec, &target, None, &lock, host.store)?;
        let claim = match target.medium {
            Medium::File { .. } => Some(loops::take(&target, self.spec.read_only)?),
            Medium::Block(_) => None,
        };
        self.held = Some(Held { target, claim, _lock: lock });
        Ok(())
    }

    fn connect(&mut self, device: &Device, host: &mut Host<'_>) -> Result<Entries, DeviceError> {
        let Some(held) = &mut self.held else {
            run_script(&device.address, &self.spec.script, Action::Add, host)?;
            return Ok(Vec::new());
        };
        let (number, path) = match (held.claim.take(), held.target.medium) {
            (Some(claim), Medium::File { device: file_device, inode: file_inode }) => {
                let path = host_sys::loops::path(claim.number());
                let number = loops::number(claim.number())?;
                note(
                    &device.address,
                    &path,
                    Served { device: file_device, inode: file_inode },
                    host,
                )?;
                // Killed until here, the kernel frees it; from here on the nodes say what to free.
                let failed = |errno: rustix::io::Errno| DiskError::Loop {
                    path: held.target.path.clone(),
                    source: errno.into(),
                };
                claim.keep().map_err(failed)?;
                (number, path)
            }
            (_, Medium::Block(number)) => (number, held.target.path.clone()),
            // What is a file has a loop device since it was prepared.
            (None, Medium::File { .. }) => return Ok(Vec::new()),
        };
        Ok(vec![
            ("physical-device", number.node()),
            ("physical-device-path", path.display().to_string()),
        ])
    }

    fn keep(&mut self) -> Result<(), DeviceError> {
        self.held = None;
        Ok(())
    }
}

/// Which file a loop device serves, beside its name: a number says little once it was given away.
const LOOP_FILE: &str = "loop-file";

/// Notes the loop device of a disk, and the file that it serves, where no guest can write.
fn note(
    address: &Address,
    path: &Path,
    file: Served,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let backend = address.backend_path();
    let requests = [
        Request::write(format!("{backend}/node"), path.display().to_string()),
        Request::write(format!("{backend}/{LOOP_FILE}"), file.node()),
    ];
    let requests = requests.into_iter().collect::<Result<Vec<_>, _>>();
    let requests = requests.map_err(xenstore::client::Error::from)?;
    host.store.batch_all(&requests)?;
    Ok(())
}

fn run_script(
    address: &Address,
    path: &str,
    action: Action,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    Script { path: Path::new(path), action, address, environment: &[("script", path)] }.run(host)
}

/// The disks that a domain has, by what the toolstack noted of them when it attached them. Whether the
/// guest may trust their backend is not among that.
///
/// # Errors
/// [`DeviceError`].
pub fn present(domid: Domid, store: &mut Client) -> Result<Vec<DiskSpec>, DeviceError> {
    const NODES: [&str; 7] =
        ["params", "script", "dev", "mode", "device-type", "direct-io-safe", "discard-enable"];
    let devices = devices_of(Kind::Vbd, domid, store)?;
    let noted = frontends(&devices, &NODES, store)?;
    let disk = |(address, frontend): (&Address, Frontend)| {
        let mut nodes = frontend.own.into_iter().map(Option::unwrap_or_default);
        let mut next = || nodes.next().unwrap_or_default();
        DiskSpec {
            target: next(),
            script: next(),
            vdev: next(),
            devid: address.devid,
            read_only: !next().contains('w'),
            cdrom: next() == "cdrom",
            direct_io_safe: next() == "1",
            discard: next() == "1",
            trusted: true,
        }
    };
    Ok(devices.iter().zip(noted).map(disk).collect())
}

/// Gives back what the host has for a disk whose backend has ended, by what its nodes say. Those of a
/// backend in dom0 only dom0 can write.
///
/// # Errors
/// [`DeviceError`].
pub fn release(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    if address.backend != Domid::DOM0 {
        return Ok(());
    }
    let backend = address.backend_path();
    let paths = ["script", "node", LOOP_FILE].map(|node| format!("{backend}/{node}"));
    let mut values = texts(paths, host.store)?;
    let file = values.pop().flatten().as_deref().and_then(Served::of_node);
    let node = values.pop().flatten();
    match values.pop().flatten() {
        Some(script) if spec::is_own_script(&script) => {
            match run_script(address, &script, Action::Remove, host) {
                // As under xl: one that had nothing to give back keeps no device.
                Err(DeviceError::Script(error)) => {
                    warn(format_args!("{address}: its script failed: {}", chain(&error)));
                    Ok(())
                }
                done => done,
            }
        }
        _ => match node {
            Some(node) => Ok(loops::free(&PathBuf::from(node), file)?),
            None => Ok(()),
        },
    }
}
