//! Network interfaces (`vif`), served by dom0's kernel (xen-netback).
//!
//! ```text
//!   Vif ──▶ Nic (MAC, bridge …) ──▶ bridge or way looked up ──▶ nodes ──▶ dom0's end made a port, or
//!       routed to ──▶ the guest's frontend connects
//! ```
//!
//! In: what an interface shall be. Out: its nodes, as xl makes them, and dom0's end of it connected. The
//! work of xl's two scripts is built in; another one is run as under xl. What hooks stand beside
//! xl's scripts runs with them.

pub mod error;
pub mod host;
pub mod mac;
pub mod nic;

use host::HostError;

pub use error::VifError;
pub use mac::Mac;
pub use nic::Nic;

use super::attach::Plan;
use super::list::texts;
use super::script::{self, Action, Script};
use super::wait::{DESTROY, HOTPLUG, INIT, Woken, readable, wait_failed};
use super::{Address, Device, DeviceError, Entries, Host, Kind, XenbusState};
use crate::commands::error::chain;
use crate::commands::warn;
use crate::config::device::vif::Mode;
use crate::netlink::{Departures, Rtnetlink};
use std::path::{Path, PathBuf};
use std::time::Instant;
use xen_sys::types::Domid;
use xenstore::client::Nodes;

/// What runs after xl's scripts, by name.
const HOOKS: &str = "/etc/xen/scripts/vif-post.d";

/// An interface that shall be attached.
#[derive(Debug)]
pub struct Interface {
    nic: Nic,
    ready: Option<host::Ready>,
}

impl Interface {
    /// One by its description.
    #[must_use]
    pub const fn new(nic: Nic) -> Self {
        Self { nic, ready: None }
    }

    /// Makes sure that what it needs of dom0 is there. Changes nothing: for who wants to know before a
    /// domain is made. The name that it shall get may still be that of an interface that goes before it.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn check(&self) -> Result<(), DeviceError> {
        match own_script(&self.nic.mode) {
            Some(path) => Ok(script::check(&path)?),
            None => Ok(host::ready(&self.nic).map(drop).map_err(self.failed(None))?),
        }
    }

    fn address(&self, domid: Domid) -> Address {
        Address { kind: Kind::Vif, domid, devid: self.nic.devid, backend: Domid::DOM0 }
    }

    /// Puts the name of the interface before what is wrong with it.
    fn failed(&self, address: Option<&Address>) -> impl Fn(HostError) -> VifError + use<> {
        let what = match address {
            Some(address) => address.to_string(),
            None => format!("network interface {}", self.nic.devid),
        };
        move |source| VifError::Host { what: what.clone(), source }
    }
}

impl Plan for Interface {
    fn device(&self, domid: Domid) -> Device {
        let initialising = || XenbusState::Initialising.number().to_string();
        let mut backend = vec![
            ("frontend-id", domid.to_string()),
            ("online", String::from("1")),
            ("state", initialising()),
        ];
        backend.extend(self.nic.backend());
        let mut frontend = vec![("backend-id", Domid::DOM0.to_string()), ("state", initialising())];
        frontend.extend(self.nic.frontend());
        Device {
            address: self.address(domid),
            frontend,
            frontend_read_only: self.nic.frontend_read_only(),
            backend,
        }
    }

    fn prepare(&mut self, device: &Device, _: &mut Host<'_>) -> Result<(), DeviceError> {
        if let Some(path) = own_script(&self.nic.mode) {
            return Ok(script::check(&path)?);
        }
        let failed = self.failed(Some(&device.address));
        let mut ready = host::ready(&self.nic).map_err(&failed)?;
        ready.check_name(&self.nic).map_err(&failed)?;
        self.ready = Some(ready);
        if let Some(ip) = unfiltered(&self.nic) {
            warn(format_args!(
                "{}: ip={ip} keeps no other address out on a bridge, as no packet filter is set \
                 up; filter on the bridge with nft, or write script=vif-route",
                device.address
            ));
        }
        Ok(())
    }

    fn connect(&mut self, device: &Device, host: &mut Host<'_>) -> Result<Entries, DeviceError> {
        let address = &device.address;
        let failed = self.failed(Some(address));
        let Some(ready) = &mut self.ready else {
            let gateway = self.nic.gateway_device.as_deref();
            run(address, &self.nic.mode.script(), gateway, Action::Online, host)?;
            await_verdict(address, host)?;
            return Ok(Entries::new());
        };
        let name = await_interface(address, host)?;
        let name = name.ok_or_else(|| HostError::NoInterface {
            name: nic::interface_name(address.domid.0, address.devid),
        });
        let name = name.map_err(&failed)?;
        let told = self.nic.mtu.unwrap_or(nic::DEFAULT_MTU);
        if let Some(mtu) = ready.connect(&self.nic, &name).map_err(&failed)?
            && mtu != told
        {
            // dom0's own node, which the guest may only read.
            host.store.write(format!("{}/mtu", address.frontend_path()), mtu.to_string())?;
        }
        Ok(Entries::new())
    }
}

/// Addresses that xl's script would let pass alone, and nobody else's.
fn unfiltered(nic: &Nic) -> Option<&str> {
    nic.ip.as_deref().filter(|ip| nic.mode == Mode::Bridged && !ip.trim().is_empty())
}

/// The script that has to run for an interface, if one has: the user's own, or xl's where somebody has
/// put hooks beside it.
fn own_script(mode: &Mode) -> Option<PathBuf> {
    match mode {
        Mode::Script(path) => Some(path.clone()),
        Mode::Bridged | Mode::Routed if has_hooks() => Some(mode.script()),
        Mode::Bridged | Mode::Routed | Mode::Bare => None,
    }
}

fn has_hooks() -> bool {
    let Ok(entries) = std::fs::read_dir(HOOKS) else { return false };
    entries
        .flatten()
        .any(|entry| Path::new(&entry.file_name()).extension() == Some("hook".as_ref()))
}

/// Runs a script as xl does.
fn run(
    address: &Address,
    path: &Path,
    gateway_device: Option<&str>,
    action: Action,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let text = path.display().to_string();
    let interface = nic::interface_name(address.domid.0, address.devid);
    let environment = [
        ("script", text.as_str()),
        ("netdev", gateway_device.unwrap_or_default()),
        ("vif", interface.as_str()),
    ];
    Script { path, action, address, environment: &environment }.run(host)
}

/// Waits until a script that has ended says how: what it started may still be at work.
fn await_verdict(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let path = format!("{}/hotplug-status", address.backend_path());
    let verdict = host.await_node(address, &path, HOTPLUG, |value| match value {
        Some(b"connected") => Some(true),
        Some(b"error") | None => Some(false),
        Some(_) => None,
    })?;
    if verdict == Ok(true) {
        return Ok(());
    }
    let said = host.store.read_optional(format!("{}/hotplug-error", address.backend_path()))?;
    let said = said.map(|text| String::from_utf8_lossy(&text).into_owned());
    let silent = verdict.is_err().then_some(HOTPLUG);
    Err(VifError::NotConnected { device: *address, said, silent }.into())
}

/// Waits for dom0's end of an interface, and returns what it is called: netback says that it is ready
/// before it makes one.
fn await_interface(address: &Address, host: &mut Host<'_>) -> Result<Option<String>, DeviceError> {
    if let Some(name) = interface_of(address) {
        return Ok(Some(name));
    }
    let unseen = |source| VifError::Unseen { device: *address, source };
    let news = Departures::open().map_err(unseen)?;
    let deadline = Instant::now() + INIT;
    loop {
        // Looked for after the news are heard: none can be missed.
        if let Some(name) = interface_of(address) {
            return Ok(Some(name));
        }
        let woken = readable(&news, host.interrupt(), deadline);
        match woken.map_err(|errno| wait_failed(address, errno))? {
            Woken::Ready => news.take().map_err(unseen)?,
            Woken::Signal => return Err(DeviceError::Interrupted { device: *address }),
            Woken::Time => return Ok(None),
        }
    }
}

/// What dom0 calls its end of an interface now, if the backend has one.
fn interface_of(address: &Address) -> Option<String> {
    // The directory under the bus goes before the interface does, this one after it.
    let path = format!("/sys/devices/vif-{}-{}/net", address.domid, address.devid);
    let entry = std::fs::read_dir(path).ok()?.flatten().next()?;
    entry.file_name().into_string().ok()
}

/// Takes dom0's end of an interface apart whose backend has ended, and waits until it is gone. What was
/// done for it goes with it, but for what a script did.
///
/// # Errors
/// [`DeviceError`].
pub fn release(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    if address.backend != Domid::DOM0 {
        return Ok(());
    }
    match run_offline(address, host) {
        Err(error @ (DeviceError::Script(_) | DeviceError::Wait { .. })) => {
            // As under xl: nothing could be done about it later, and the interface goes all the same.
            warn(format_args!("{address}: {}", chain(&error)));
        }
        done => done?,
    }
    await_gone(address, host)
}

fn run_offline(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let libxl = address.libxl_path();
    let paths = ["script", "gatewaydev"].map(|node| format!("{libxl}/{node}"));
    let mut values = texts(paths, host.store)?;
    let gateway = values.pop().flatten();
    // Without a script's name nothing was run.
    let Some(script) = values.pop().flatten() else { return Ok(()) };
    match own_script(&Mode::of_script(Some(&script))) {
        Some(path) => run(address, &path, gateway.as_deref(), Action::Offline, host),
        None => Ok(()),
    }
}

/// The backend says that it is closed a moment before its interface goes.
fn await_gone(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let Some(name) = interface_of(address) else { return Ok(()) };
    let unseen = |source| VifError::Unseen { device: *address, source };
    let news = Departures::open().map_err(unseen)?;
    let mut netlink = Rtnetlink::open().map_err(unseen)?;
    let deadline = Instant::now() + DESTROY;
    // Looked for after the news are heard: none can be missed.
    let mut index = None;
    loop {
        let link = netlink.link(&name).map_err(unseen)?;
        match link.map(|link| link.index) {
            // Another one may have its name by now.
            Some(now) if *index.get_or_insert(now) == now => {}
            _ => return Ok(()),
        }
        let woken = readable(&news, host.interrupt(), deadline);
        match woken.map_err(|errno| wait_failed(address, errno))? {
            Woken::Ready => news.take().map_err(unseen)?,
            Woken::Signal => return Err(DeviceError::Interrupted { device: *address }),
            Woken::Time => {
                return Err(VifError::Stays { device: *address, name, limit: DESTROY }.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::device::vif::wanted;

    #[test]
    fn addresses_that_nothing_enforces() {
        let check = |text: &str, expected: Option<&str>| {
            let nic = Nic::new(&wanted(text).expect("good"), 0, uuid::Uuid::nil());
            assert_eq!(unfiltered(&nic), expected, "{text}");
        };
        check("bridge=xenbr0,ip=10.0.0.2 10.0.0.3", Some("10.0.0.2 10.0.0.3"));
        check("bridge=xenbr0", None);
        check("script=vif-route,ip=10.0.0.2", None);
        check("script=/root/own,ip=10.0.0.2", None);
    }
}
