//! `network-attach`, `network-detach`, `network-list`: the network interfaces of a domain while it is
//! there.

mod look;

use super::error::CommandError;
use super::hot::Hot;
use super::{device_list, kept_devices, tell};
use crate::cli::{DeviceListArgs, NetworkAttachArgs, NetworkDetachArgs};
use crate::config::device::vif::{Vif, wanted};
use crate::device::attach::Plan;
use crate::device::vif::{Interface, Mac, Nic};
use crate::device::{Address, Device, DeviceError, Entries, Host, Kind, XenbusState, list};
use crate::output::interfaces::table;
use crate::state::State;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// Runs `network-attach`.
pub fn attach(arguments: &NetworkAttachArgs) -> Result<(), CommandError> {
    // xl takes one key at a time; several between commas are as good.
    let text = arguments.description.join(",");
    let vif = wanted(&text).map_err(|error| CommandError::BadDevice {
        what: format!("network interface {text:?}: {}", error.message),
        help: error.help.to_owned(),
    })?;
    let mut hot = Hot::open(&arguments.domain)?;
    let devid = match vif.devid {
        Some(devid) => devid,
        None => free(hot.domid(), &mut hot.store)?,
    };
    let nic = Nic::new(&vif, devid, hot.uuid());
    let (domid, uuid, state) = (hot.domid(), hot.uuid(), hot.state().clone());
    let interface = Interface::new(nic.clone());
    let state = &state;
    let mut noted = Noted { interface, vif, nic, domid, uuid, state, done: false };
    let attached = hot.attach(&mut noted, arguments.stop_at);
    if attached.is_err()
        && noted.done
        && let Err(error) = kept_devices::remove_interface(domid, uuid, devid, state)
    {
        tell(super::error::chain(&error));
    }
    attached.map(drop)
}

/// An interface that is noted in the domain's configuration as the last step of its attach: one that
/// cannot be noted is undone.
struct Noted<'a> {
    interface: Interface,
    vif: Vif,
    nic: Nic,
    domid: Domid,
    uuid: Uuid,
    state: &'a State,
    done: bool,
}

impl Plan for Noted<'_> {
    fn device(&self, domid: Domid) -> Device {
        self.interface.device(domid)
    }

    fn prepare(&mut self, device: &Device, host: &mut Host<'_>) -> Result<(), DeviceError> {
        self.interface.prepare(device, host)
    }

    fn connect(&mut self, device: &Device, host: &mut Host<'_>) -> Result<Entries, DeviceError> {
        self.interface.connect(device, host)
    }

    fn keep(&mut self) -> Result<(), DeviceError> {
        self.interface.keep()?;
        let wanted = (&self.vif, &self.nic);
        // Some of it may be written also where that fails.
        self.done = true;
        Ok(kept_devices::add_interface(self.domid, self.uuid, wanted, self.state)?)
    }

    fn description(&self) -> Option<String> {
        Some(self.vif.text())
    }
}

/// The number after the largest that there is, as under xl.
fn free(domid: Domid, store: &mut Client) -> Result<u32, CommandError> {
    let addresses = list::devices_of(Kind::Vif, domid, store)?;
    let largest = addresses.iter().map(|address| address.devid).max();
    Ok(largest.map_or(0, |devid| devid.saturating_add(1)))
}

/// Runs `network-detach`. As under xl the guest is asked, and if it does not let go it is not asked any
/// more; one that has not connected to it is not asked at all.
pub fn detach(arguments: &NetworkDetachArgs) -> Result<(), CommandError> {
    let mut hot = Hot::open(&arguments.domain)?;
    let address = meant(hot.domid(), &arguments.interface, &mut hot.store)?;
    let state = Host::undisturbed(&mut hot.store).backend_state(&address)?;
    let used = state.is_some_and(|state| state > XenbusState::InitWait);
    match hot.detach(&address, !used) {
        Err(CommandError::Device(DeviceError::InUse { .. })) => hot.detach(&address, true)?,
        done => done?,
    }
    kept_devices::remove_interface(hot.domid(), hot.uuid(), address.devid, hot.state())?;
    Ok(())
}

/// The interface of a number or hardware address.
fn meant(domid: Domid, given: &str, store: &mut Client) -> Result<Address, CommandError> {
    let rows = look::interfaces(domid, store)?;
    let row = match Mac::parse(given) {
        Some(mac) => rows.iter().find(|row| row.mac == mac.to_string()),
        None => {
            let digits = given.bytes().all(|byte| byte.is_ascii_digit());
            let devid = given.parse().ok().filter(|_| digits);
            rows.iter().find(|row| Some(row.devid) == devid)
        }
    };
    let row = row.ok_or_else(|| CommandError::NoDevice {
        domid: domid.0,
        what: format!("network interface {}", crate::printable::line(given)),
    })?;
    Ok(Address { kind: Kind::Vif, domid, devid: row.devid, backend: Domid(row.backend_domid) })
}

/// Runs `network-list`.
pub fn list(arguments: &DeviceListArgs) -> Result<(), CommandError> {
    let interfaces = |domid, store: &mut Client| Ok(look::interfaces(domid, store)?);
    device_list::run(arguments, interfaces, table)
}
