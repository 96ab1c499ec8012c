//! Functions go from a domain: one while it runs, or all when the domain ends.

use super::attach::await_connected;
use super::nodes::{PARTS, list};
use super::{address, give};
use crate::device::detach::{Force, remove};
use crate::device::{Address, DeviceError, Host, XenbusState};
use crate::pci::{Bdf, PciError, Sysfs, notes};
use libxc_safe::Xen;
use xen_sys::types::Domid;
use xenstore::client::Nodes;

/// Takes a function from a domain that runs: its kernel lets go of it first. There is no way without
/// its consent, as what it has mapped stays mapped: only the domain's end takes it away.
///
/// # Errors
/// [`DeviceError`]; the domain still has it.
pub fn detach(xen: &Xen, domid: Domid, bdf: Bdf, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let address = address(domid);
    let listed = list(host.store, domid)?;
    let Some(number) = listed.iter().position(|one| one.bdf == bdf) else {
        return Err(PciError::NotGiven { bdf, domid: domid.0 }.into());
    };
    await_connected(&address, host)?;
    if !has_let_go(&address, number, host)? {
        ask(&address, number, host)?;
        if let Err(error) = await_connected(&address, host) {
            keep(&address, number, host)?;
            return Err(error);
        }
    }
    if let Err(error) = give::take(xen, &Sysfs::default(), domid, bdf) {
        // Its nodes and its note stay for the next try, in which xen-pciback has nothing to do.
        states(&address, number, XenbusState::Closed, XenbusState::Connected, host)?;
        return Err(error.into());
    }
    forget(&address, number, host)?;
    notes::disown(host.store, bdf)?;
    if listed.len() == 1 {
        remove(&address, Force::Asked, host)?;
    }
    Ok(())
}

/// Takes a function that a domain was given and that its nodes do not name.
///
/// # Errors
/// [`DeviceError`]; the domain has it still.
pub fn withdraw(xen: &Xen, domid: Domid, bdf: Bdf, host: &mut Host<'_>) -> Result<(), DeviceError> {
    give::take(xen, &Sysfs::default(), domid, bdf)?;
    Ok(notes::disown(host.store, bdf)?)
}

/// Whether the guest has done its part already, for somebody who could not do the rest.
fn has_let_go(address: &Address, number: usize, host: &mut Host<'_>) -> Result<bool, DeviceError> {
    let state = host.store.read_optional(format!("{}/state-{number}", address.backend_path()))?;
    let state = state.as_deref().map(XenbusState::of);
    Ok(matches!(state, Some(XenbusState::Closing | XenbusState::Closed)))
}

/// Asks the guest to let go of a function.
fn ask(address: &Address, number: usize, host: &mut Host<'_>) -> Result<(), DeviceError> {
    states(address, number, XenbusState::Closing, XenbusState::Reconfiguring, host)
}

/// The guest has not: everything stays as it was.
fn keep(address: &Address, number: usize, host: &mut Host<'_>) -> Result<(), DeviceError> {
    states(address, number, XenbusState::Initialised, XenbusState::Connected, host)
}

fn states(
    address: &Address,
    number: usize,
    function: XenbusState,
    device: XenbusState,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let backend = address.backend_path();
    host.store.transaction(|transaction| -> Result<(), xenstore::client::Error> {
        transaction.write(format!("{backend}/state-{number}"), function.number().to_string())?;
        transaction.write(format!("{backend}/state"), device.number().to_string())
    })?;
    Ok(())
}

/// Removes the nodes of a function; those after it move up, as the backend counts from 0.
pub(super) fn forget(
    address: &Address,
    number: usize,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let backend = address.backend_path();
    host.store.transaction(|transaction| -> Result<(), xenstore::client::Error> {
        let count = transaction.read_text(format!("{backend}/num_devs"))?;
        let count: usize = count.parse().unwrap_or(0);
        for at in number..count {
            for part in PARTS {
                let path = format!("{backend}/{part}-{at}");
                let next = transaction.read_optional(format!("{backend}/{part}-{}", at + 1))?;
                match next {
                    Some(value) => transaction.write(&path, value)?,
                    None => match transaction.rm(&path) {
                        Err(error) if !error.is_not_found() => return Err(error),
                        _ => {}
                    },
                }
            }
        }
        transaction.write(format!("{backend}/num_devs"), count.saturating_sub(1).to_string())
    })?;
    Ok(())
}

/// All functions of a device whose backend is closed: each is taken, and free for others.
///
/// # Errors
/// [`DeviceError`] of the first one that could not be taken; all were tried.
pub fn release(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let listed = list(host.store, address.domid)?;
    if listed.is_empty() {
        return Ok(());
    }
    let (xen, sysfs) = (Xen::open().map_err(PciError::Hypervisor)?, Sysfs::default());
    let mut first = Ok(());
    for one in listed.iter().rev() {
        // The note of one that cannot be taken stays: it is the domain's until that ends.
        let taken = give::take(&xen, &sysfs, address.domid, one.bdf)
            .and_then(|()| notes::disown(host.store, one.bdf));
        first = first.and(taken);
    }
    Ok(first?)
}
