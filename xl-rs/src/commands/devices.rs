//! The devices of a domain that is being made or removed.
//!
//! In: what a configuration wants, or a domain that goes. Out: devices attached, or taken down. A
//! domain without devices costs nothing here.

use super::error::{CommandError, chain};
use super::signals::Signals;
use super::{pci_device, tell};
use crate::cli::program;
use crate::config::devices::Devices;
use crate::device::attach::{Plan, Point, attach};
use crate::device::detach::remove_all;
use crate::device::disk::Disk;
use crate::device::pci::Taker;
use crate::device::rdma::{Adapter, adapters};
use crate::device::vif::Interface;
use crate::device::vif::nic::nics;
use crate::device::{Address, Host, list};
use domain_builder::undo::{DestroyError, Identity, Seen};
use libxc_safe::Xen;
use uuid::Uuid;
use xen_sys::types::Domid;
use xenstore::client::Client;

impl Devices {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.disks.is_empty() && self.vifs.is_empty() && self.pci.is_empty() && self.rdma.is_empty()
    }

    /// Looks at what they need on the host, before anything is made.
    pub(super) fn check(
        &self,
        uuid: [u8; 16],
        xen: &Xen,
        store: &mut Client,
    ) -> Result<(), CommandError> {
        self.disks.iter().try_for_each(|spec| Disk::new(spec.clone()).check())?;
        self.interfaces(Uuid::from_bytes(uuid)).try_for_each(|interface| interface.check())?;
        adapters(&self.rdma).iter().try_for_each(Adapter::check)?;
        if !self.pci.is_empty() {
            pci_device::wanted_of(&self.pci, Taker::Planned(uuid), xen, store)?;
        }
        Ok(())
    }

    /// Makes sure that nobody but a domain that goes first has what they need.
    pub(super) fn check_free(
        &self,
        own: Domid,
        store: &mut Client,
        signals: &Signals,
    ) -> Result<(), CommandError> {
        let mut host = Host::new(store, Some(signals.came()));
        let mut disks = self.disks.iter().map(|spec| Disk::new(spec.clone()));
        Ok(disks.try_for_each(|disk| disk.check_free(own, &mut host))?)
    }

    /// The plans of all, in the order in which they are attached.
    fn plans(&self, domain: Uuid) -> Vec<Box<dyn Plan>> {
        let disks = self.disks.iter().map(|spec| Disk::new(spec.clone()));
        let mut plans: Vec<Box<dyn Plan>> = Vec::new();
        plans.extend(disks.map(|disk| Box::new(disk) as Box<dyn Plan>));
        plans.extend(self.interfaces(domain).map(|interface| Box::new(interface) as Box<dyn Plan>));
        let adapters = adapters(&self.rdma).into_iter();
        plans.extend(adapters.map(|adapter| Box::new(adapter) as Box<dyn Plan>));
        plans
    }

    fn interfaces(&self, domain: Uuid) -> impl Iterator<Item = Interface> {
        nics(&self.vifs, domain).into_iter().map(Interface::new)
    }
}

/// Attaches all to a domain that does not run yet. When that fails some of them may be attached: the
/// caller takes the domain down, and them with it.
pub fn attach_all(
    devices: &Devices,
    (domid, uuid): (Domid, Uuid),
    store: &mut Client,
    signals: &Signals,
    mut reached: impl FnMut(usize, Point),
) -> Result<(), CommandError> {
    let mut host = Host::new(store, Some(signals.came()));
    for (index, mut plan) in devices.plans(uuid).into_iter().enumerate() {
        if signals.seen() {
            return Err(CommandError::Interrupted);
        }
        let attached = attach(&mut *plan, domid, &mut host, &mut |point| reached(index, point));
        match attached {
            Ok(device) => tracing::info!(device = %device.address, "attached"),
            Err(error) if error.is_interrupted() => return Err(CommandError::Interrupted),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes the devices of a domain down before it goes; it stops first. Gives those that could not be
/// removed, which is told.
///
/// # Errors
/// [`DestroyError::Another`]: nothing was done. Where it is not known what devices there are, or there
/// are others that only xl can take down, domain and nodes have to stay: they name what is held.
pub fn take_down(
    identity: &Identity,
    xen: &Xen,
    store: &mut Client,
) -> Result<Vec<Address>, CommandError> {
    let domid = identity.domid;
    let another = xen.domain_info(domid)?.is_some_and(|info| info.uuid != identity.uuid);
    let other_creation = match identity.generation {
        Some(own) => !Seen::of(store, domid)?.may_be(own),
        None => false,
    };
    if another || other_creation {
        return Err(DestroyError::Another { domid }.into());
    }
    let mut listed = list::devices(domid, store)?;
    let known = std::mem::take(&mut listed.known);
    if !known.is_empty() {
        stop(domid, xen);
    }
    let left = remove(&known, store);
    listed.all(domid)?;
    Ok(left)
}

/// A domain that cannot be stopped loses its devices all the same.
fn stop(domid: Domid, xen: &Xen) {
    match xen.pause(domid) {
        Err(error) if !error.is_no_such_domain() => warn(&error),
        _ => {}
    }
}

/// Takes devices away. Gives those that could not be removed, which is told.
pub fn remove(devices: &[Address], store: &mut Client) -> Vec<Address> {
    let left = remove_all(devices, &mut Host::undisturbed(store));
    left.into_iter()
        .map(|(address, error)| {
            warn(&error);
            address
        })
        .collect()
}

fn warn(error: &dyn std::error::Error) {
    tell(format_args!("{}: warning: {}", program::name(), chain(error)));
}
