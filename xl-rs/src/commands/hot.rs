//! Devices that come and go while their domain is there: what the verbs of every class have in common.
//!
//! In: a domain. Out: a device attached or detached, under the domain's lock, recorded while it is under
//! way. Signals end the waiting: what was begun is undone.

use super::error::CommandError;
use super::signals::Signals;
use super::{domain, remove as removing};
use crate::device::attach::{Plan, Point, attach};
use crate::device::detach::{Force, remove};
use crate::device::{Address, Device, DeviceError, Host, Kind, list};
use crate::state::State;
use crate::state::lock::Lock;
use crate::state::record::{Phase, Record};
use domain_builder::undo::Identity;
use libxc_safe::{DomainInfo, Xen};
use rustix::process::{Signal, getpid, kill_process};
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

/// A domain whose devices are being changed.
pub struct Hot {
    /// Requests go here.
    pub store: Client,
    info: DomainInfo,
    identity: Identity,
    state: State,
    signals: Signals,
    _lock: Lock,
}

impl Hot {
    /// Finds the domain and locks it.
    pub fn open(given: &str) -> Result<Self, CommandError> {
        let xen = Xen::open()?;
        let mut store = Client::connect()?;
        let state = State::open()?;
        let (info, lock) = domain::find_and_lock(&xen, &mut store, &state, given)?;
        if info.domid == Domid::DOM0 {
            let hint = ": its devices are the host's own";
            return Err(CommandError::Dom0 { hint });
        }
        let (identity, _) = removing::identify(&mut store, &info)?;
        let signals = Signals::take()?;
        Ok(Self { store, info, identity, state, signals, _lock: lock })
    }

    /// The domain's number.
    #[must_use]
    pub const fn domid(&self) -> Domid {
        self.info.domid
    }

    /// The domain's UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        Uuid::from_bytes(self.info.uuid)
    }

    /// What is kept of it.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where a device is, if the domain has it.
    pub fn find(&mut self, kind: Kind, devid: u32) -> Result<Option<Address>, DeviceError> {
        let domid = self.domid();
        let devices = list::devices_of(kind, domid, &mut self.store)?;
        Ok(devices.into_iter().find(|device| device.devid == devid))
    }

    /// Attaches a device; `stop_at` is for tests.
    pub fn attach(
        &mut self,
        plan: &mut dyn Plan,
        stop_at: Option<usize>,
    ) -> Result<Device, CommandError> {
        let domid = self.domid();
        let address = plan.device(domid).address;
        if self.find(address.kind, address.devid)?.is_some() {
            // Before it is recorded: what is there is not ours to remove.
            return Err(DeviceError::Exists { device: address }.into());
        }
        self.signals.hold();
        let description = plan.description();
        let record = self.state.record(Record { description, ..self.record(address) })?;
        let mut host = Host::new(&mut self.store, Some(self.signals.came()));
        let attached = attach(plan, domid, &mut host, &mut |point: Point| {
            stop_if(stop_at, point);
        });
        // What could not be undone is the next command's.
        if !matches!(attached, Err(DeviceError::Left { .. })) {
            record.finish()?;
        }
        Ok(attached?)
    }

    /// Detaches a device.
    pub fn detach(&mut self, address: &Address, force: bool) -> Result<(), CommandError> {
        self.signals.hold();
        let force = if force { Force::Taken } else { Force::Asked };
        let record = self.state.record(Record { detach: Some(force), ..self.record(*address) })?;
        let mut host = Host::new(&mut self.store, Some(self.signals.came()));
        let removed = remove(address, force, &mut host);
        // What could not be freed is the next command's, unless the guest or the user said no.
        if matches!(
            removed,
            Ok(()) | Err(DeviceError::InUse { .. } | DeviceError::Interrupted { .. })
        ) {
            record.finish()?;
        }
        Ok(removed?)
    }

    /// The record of a device that comes or goes.
    fn record(&self, address: Address) -> Record {
        Record {
            phase: Phase::Device,
            devices: vec![address],
            ..removing::removal(&self.identity, Domid::DOM0.0)
        }
    }
}

/// Stops this process, for tests of what is left by a kill, if that is the point.
pub fn stop_if(stop_at: Option<usize>, point: Point) {
    if stop_at == Some(point as usize) {
        // A process can always signal itself.
        let _ = kill_process(getpid(), Signal::STOP);
    }
}
