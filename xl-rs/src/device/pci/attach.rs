//! Functions come to a domain: all that its configuration names at once, or one more while it runs.

use super::nodes::{adding, device, list};
use super::wanted::Given;
use super::{address, give};
use crate::commands::error::chain;
use crate::commands::warn;
use crate::device::attach::{Point, check_driver};
use crate::device::detach::{Force, remove};
use crate::device::nodes::making;
use crate::device::wait::INIT;
use crate::device::{Address, DeviceError, Host, XenbusState};
use crate::pci::{Bdf, PciError, Sysfs, notes};
use libxc_safe::Xen;
use xen_sys::types::Domid;
use xenstore::client::Nodes;
use xenstore::wire::Request;

/// Gives a domain its first functions. It may run or not: its driver is not waited for, dom0's is.
///
/// # Errors
/// [`DeviceError`]; the functions are set aside, as they were, but for those that are told to be left.
pub fn attach_first(
    xen: &Xen,
    domid: Domid,
    name: &str,
    given: &[Given],
    host: &mut Host<'_>,
    reached: &mut dyn FnMut(Point),
) -> Result<(), DeviceError> {
    let (address, sysfs) = (address(domid), Sysfs::default());
    check_driver(&address)?;
    give_all(xen, &sysfs, domid, given, host)?;
    reached(Point::Connected);
    if let Err(error) = make(&address, name, given, host) {
        take_all(xen, &sysfs, domid, given, host);
        return Err(error);
    }
    let shown = await_state(&address, host, |state| match state {
        XenbusState::Initialised | XenbusState::Connected => Some(true),
        XenbusState::Closing | XenbusState::Closed | XenbusState::Unknown => Some(false),
        _ => None,
    });
    shown.map_err(|error| {
        // Not interrupted once more: what is begun is undone.
        match remove(&address, Force::Taken, &mut Host::undisturbed(host.store)) {
            Ok(()) => error,
            Err(left) => DeviceError::Left { error: Box::new(error), left: Box::new(left) },
        }
    })
}

/// Each is noted to be the domain's before it is: whoever is killed in between leaves no function that
/// a guest has and nobody knows of.
fn give_all(
    xen: &Xen,
    sysfs: &Sysfs,
    domid: Domid,
    given: &[Given],
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    for (at, one) in given.iter().enumerate() {
        let done = notes::own(xen, host.store, one.bdf, domid)
            .and_then(|()| give::give(xen, sysfs, domid, one));
        if let Err(error) = done {
            take_all(xen, sysfs, domid, &given[..=at], host);
            return Err(error.into());
        }
    }
    Ok(())
}

/// Takes back, the last one first. What fails is told: the first failure is what counts.
fn take_all(xen: &Xen, sysfs: &Sysfs, domid: Domid, given: &[Given], host: &mut Host<'_>) {
    for one in given.iter().rev() {
        let taken = give::take(xen, sysfs, domid, one.bdf)
            .and_then(|()| notes::disown(host.store, one.bdf));
        if let Err(error) = taken {
            let (bdf, error) = (one.bdf, chain(&error));
            warn(format_args!("domain {domid} keeps PCI device {bdf} until it ends: {error}"));
        }
    }
}

/// Both halves and all functions, in one transaction.
fn make(
    address: &Address,
    name: &str,
    given: &[Given],
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let store_error = xenstore::client::Error::from;
    let mut requests = making(&device(address.domid, name)).map_err(store_error)?;
    for (number, one) in given.iter().enumerate() {
        requests.extend(adding(address.domid, one, number).map_err(store_error)?);
    }
    crate::device::attach::make(address, &requests, host)
}

/// Gives a domain that runs functions, one after the other. Both kernels have to confirm each but the
/// first of a domain that has none.
///
/// # Errors
/// [`DeviceError`]; what was given before the failure is taken back.
pub fn attach(
    xen: &Xen,
    domid: Domid,
    name: &str,
    given: &[Given],
    host: &mut Host<'_>,
    reached: &mut dyn FnMut(Point),
) -> Result<(), DeviceError> {
    if host.backend_state(&address(domid))?.is_none() {
        return attach_first(xen, domid, name, given, host, reached);
    }
    for (at, one) in given.iter().enumerate() {
        if let Err(error) = attach_one(xen, domid, one, host, reached) {
            let mut host = Host::undisturbed(host.store);
            for before in given[..at].iter().rev() {
                if let Err(left) = super::detach(xen, domid, before.bdf, &mut host) {
                    let (error, left) = (Box::new(error), Box::new(left));
                    return Err(DeviceError::Left { error, left });
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

fn attach_one(
    xen: &Xen,
    domid: Domid,
    given: &Given,
    host: &mut Host<'_>,
    reached: &mut dyn FnMut(Point),
) -> Result<(), DeviceError> {
    let (address, sysfs) = (address(domid), Sysfs::default());
    await_connected(&address, host)?;
    let number = list(host.store, domid)?.len();
    give_all(xen, &sysfs, domid, std::slice::from_ref(given), host)?;
    reached(Point::Connected);
    let done = change(&address, given, number, host).and_then(|()| await_connected(&address, host));
    let Err(error) = done else { return Ok(()) };
    // The guest has not taken it: it never was there. Its nodes stay if it cannot be taken back.
    let taken = give::take(xen, &sysfs, domid, given.bdf).map_err(DeviceError::from);
    let mut host = Host::undisturbed(host.store);
    match taken.and_then(|()| withdraw(&address, given.bdf, number, &mut host)) {
        Ok(()) => Err(error),
        Err(left) => Err(DeviceError::Left { error: Box::new(error), left: Box::new(left) }),
    }
}

/// Tells both kernels of one more function.
fn change(
    address: &Address,
    given: &Given,
    number: usize,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    let mut requests =
        adding(address.domid, given, number).map_err(xenstore::client::Error::from)?;
    let state = XenbusState::Reconfiguring.number().to_string();
    let path = format!("{}/state", address.backend_path());
    requests.push(Request::write(path, state).map_err(xenstore::client::Error::from)?);
    host.store.transaction(|transaction| -> Result<(), xenstore::client::Error> {
        transaction.batch_all(&requests).map(drop)
    })?;
    Ok(())
}

fn withdraw(
    address: &Address,
    bdf: Bdf,
    number: usize,
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    super::detach::forget(address, number, host)?;
    let state = XenbusState::Connected.number().to_string();
    host.store.write(format!("{}/state", address.backend_path()), state)?;
    notes::disown(host.store, bdf)?;
    Ok(())
}

/// Waits until both kernels have confirmed what was changed last.
pub(super) fn await_connected(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    await_state(address, host, |state| match state {
        XenbusState::Connected => Some(true),
        XenbusState::Closing | XenbusState::Closed | XenbusState::Unknown => Some(false),
        _ => None,
    })
}

/// Waits until `judge` says of the backend's state that it is good, or bad.
fn await_state(
    address: &Address,
    host: &mut Host<'_>,
    judge: impl Fn(XenbusState) -> Option<bool>,
) -> Result<(), DeviceError> {
    let judge = |state: Option<XenbusState>| {
        let state = state.unwrap_or(XenbusState::Unknown);
        judge(state).map(|good| if good { Ok(()) } else { Err(state) })
    };
    let device = *address;
    match host.await_backend(address, INIT, judge)? {
        Ok(Ok(())) => Ok(()),
        Ok(Err(state)) => {
            Err(DeviceError::Failed { device, state, error: host.backend_error(address)? })
        }
        Err(state) => {
            let state = state.unwrap_or(XenbusState::Unknown);
            let domid = address.domid.0;
            match state {
                // dom0's half has done all it can.
                XenbusState::Initialised
                | XenbusState::Reconfiguring
                | XenbusState::Reconfigured => Err(PciError::GuestSilent { domid }.into()),
                state => Err(DeviceError::Late {
                    device,
                    wanted: "ready",
                    state,
                    error: host.backend_error(address)?,
                    limit: INIT,
                }),
            }
        }
    }
}
