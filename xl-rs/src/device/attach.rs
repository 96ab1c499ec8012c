//! Attaching a device.
//!
//! ```text
//!   prepare ──▶ nodes, one transaction ──▶ backend is in InitWait ──▶ connect (host side)
//!                                            ──▶ hotplug-status = connected ──▶ keep
//! ```
//!
//! In: the plan of a device and a domain. Out: the device, attached; or an error, and nothing of it.

use super::detach::{Force, remove, unserved};
use super::wait::INIT;
use super::{Address, Device, DeviceError, Entries, Host, Kind, XenbusState, nodes};
use std::path::Path;
use xen_sys::types::Domid;
use xenstore::client::Nodes;
use xenstore::wire::{Reply, Request};

/// What a class knows of a device that shall be attached, and does for it on the host.
pub trait Plan {
    /// Its nodes in a domain. Pure.
    fn device(&self, domid: Domid) -> Device;

    /// What must be known or done before there are nodes. What it takes goes with the plan.
    ///
    /// # Errors
    /// [`DeviceError`]: nothing was done.
    fn prepare(&mut self, device: &Device, host: &mut Host<'_>) -> Result<(), DeviceError> {
        let _ = (device, host);
        Ok(())
    }

    /// The host's side, once the backend waits for it: what the backend's half gets with it. What is
    /// taken goes with the plan until nodes, which are written here, say what to free.
    ///
    /// # Errors
    /// [`DeviceError`]: what was done is undone.
    fn connect(&mut self, device: &Device, host: &mut Host<'_>) -> Result<Entries, DeviceError>;

    /// All nodes are written: others may look at them again.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn keep(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// What it was asked for, for whoever has to note it after this process was killed.
    fn description(&self) -> Option<String> {
        None
    }
}

/// How far an attach is: where tests stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Nothing is done yet.
    Begin,
    /// The nodes are there.
    Nodes,
    /// The host's side is done, and the backend does not know it yet.
    Connected,
    /// All nodes are there: it is attached, and not noted yet.
    End,
}

impl Point {
    /// Every point, in order.
    pub const ALL: [Self; 4] = [Self::Begin, Self::Nodes, Self::Connected, Self::End];
}

/// Attaches a device. The domain may run or not: its frontend is not waited for.
///
/// # Errors
/// [`DeviceError`]; nothing of the device is left.
pub fn attach(
    plan: &mut dyn Plan,
    domid: Domid,
    host: &mut Host<'_>,
    reached: &mut dyn FnMut(Point),
) -> Result<Device, DeviceError> {
    let device = plan.device(domid);
    check_driver(&device.address)?;
    plan.prepare(&device, host)?;
    reached(Point::Begin);
    make_nodes(&device, host)?;
    reached(Point::Nodes);
    match serve(plan, &device, host, reached) {
        Ok(()) => Ok(device),
        Err(error) => {
            // Not interrupted once more: what is begun is undone.
            let mut host = Host::undisturbed(host.store);
            match remove(&device.address, Force::Taken, &mut host) {
                Ok(()) => Err(error),
                Err(left) => {
                    Err(DeviceError::Left { error: Box::new(error), left: Box::new(left) })
                }
            }
        }
    }
}

/// Without a driver in dom0's kernel nobody would ever answer.
pub(super) fn check_driver(address: &Address) -> Result<(), DeviceError> {
    match address.kind.driver() {
        Some((driver, module))
            if address.backend == Domid::DOM0
                && !Path::new("/sys/bus/xen-backend/drivers").join(driver).exists() =>
        {
            Err(DeviceError::NoDriver { device: *address, module })
        }
        _ => Ok(()),
    }
}

fn make_nodes(device: &Device, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let requests = nodes::making(device).map_err(xenstore::client::Error::from)?;
    make(&device.address, &requests, host)
}

/// Makes the nodes of a device in one transaction, if it has none: the first request looks for them.
/// What is removed need not be there.
pub(super) fn make(
    address: &Address,
    requests: &[Request],
    host: &mut Host<'_>,
) -> Result<(), DeviceError> {
    host.store.transaction(|transaction| {
        let mut replies = transaction.batch(requests)?.into_iter();
        match replies.next() {
            Some(Ok(_)) => return Err(DeviceError::Exists { device: *address }),
            Some(Err(error)) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        for (request, reply) in requests.iter().skip(1).zip(replies) {
            match reply {
                Err(error) if !matches!(request, Request::Rm(_)) || !error.is_not_found() => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    })
}

impl Host<'_> {
    /// Whether a device was attached, and nobody has begun to detach it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_attached(&mut self, address: &Address) -> Result<bool, DeviceError> {
        let backend = address.backend_path();
        let paths = ["hotplug-status", "online", "state"].map(|node| format!("{backend}/{node}"));
        let values = self.store.read_each(paths)?;
        let values: Vec<_> = values.into_iter().map(Option::unwrap_or_default).collect();
        Ok(is_whole(&values) && !unserved(address))
    }
}

/// Whether `hotplug-status`, `online` and `state` are those of a device that is attached.
fn is_whole(values: &[Vec<u8>]) -> bool {
    let [status, online, state] = values else { return false };
    let works = XenbusState::InitWait..=XenbusState::Connected;
    status == b"connected" && online == b"1" && works.contains(&XenbusState::of(state))
}

fn serve(
    plan: &mut dyn Plan,
    device: &Device,
    host: &mut Host<'_>,
    reached: &mut dyn FnMut(Point),
) -> Result<(), DeviceError> {
    await_ready(&device.address, host)?;
    let entries = plan.connect(device, host)?;
    reached(Point::Connected);
    let backend = device.address.backend_path();
    let mut requests = Vec::with_capacity(entries.len() + 1);
    for (name, value) in entries.iter().map(|(name, value)| (*name, value.as_str())) {
        requests.push(Request::write(format!("{backend}/{name}"), value));
    }
    requests.push(Request::write(format!("{backend}/hotplug-status"), "connected"));
    let requests: Vec<Request> =
        requests.into_iter().collect::<Result<_, _>>().map_err(xenstore::client::Error::from)?;
    let _: Vec<Reply> = host.store.batch_all(&requests)?;
    reached(Point::End);
    plan.keep()?;
    // A guest that takes its half away ends the device, and nothing in xenstore tells of that.
    if unserved(&device.address) {
        let (device, state) = (device.address, XenbusState::Unknown);
        return Err(DeviceError::Failed { device, state, error: host.backend_error(&device)? });
    }
    Ok(())
}

/// Waits until the backend wants the host's side.
fn await_ready(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let waited = host.await_backend(address, INIT, |state| match state {
        Some(XenbusState::InitWait) => Some(Ok(())),
        // It waits for programs of the guest, not for the host's side, of which there is none.
        Some(XenbusState::Connected) if address.kind == Kind::Rdma => Some(Ok(())),
        Some(state @ (XenbusState::Closing | XenbusState::Closed)) => Some(Err(state)),
        // Somebody has removed it.
        None => Some(Err(XenbusState::Unknown)),
        Some(_) => None,
    })?;
    let device = *address;
    match waited {
        Ok(Ok(())) => Ok(()),
        Ok(Err(state)) => {
            Err(DeviceError::Failed { device, state, error: host.backend_error(address)? })
        }
        Err(state) => Err(DeviceError::Late {
            device,
            wanted: "ready",
            state: state.unwrap_or(XenbusState::Unknown),
            error: host.backend_error(address)?,
            limit: INIT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_attached_is_whole() {
        let check = |values: [&str; 3], whole: bool| {
            let bytes = values.map(|value| value.as_bytes().to_vec());
            assert_eq!(is_whole(&bytes), whole, "{values:?}");
        };
        check(["connected", "1", "2"], true);
        check(["connected", "1", "4"], true);
        // Not yet, or not any more.
        check(["", "1", "2"], false);
        check(["error", "1", "2"], false);
        check(["connected", "0", "5"], false);
        check(["connected", "1", "6"], false);
        check(["connected", "1", ""], false);
    }
}
