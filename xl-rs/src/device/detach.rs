//! Detaching devices: one on request, all of a domain before it goes.
//!
//! ```text
//!   online = 0, state = Closing ──▶ backend is Closed ──▶ host side freed ──▶ nodes removed
//! ```
//!
//! In: where a device is. Out: nothing of it, or what is left and why. By [`Force::Asked`] the guest
//! may keep a device that it uses; by [`Force::Taken`] its half is removed first, which every backend
//! takes for its end.

use super::wait::DESTROY;
use super::{Address, DeviceError, Host, Kind, XenbusState, disk, nodes, pci, rdma, vif};
use serde::{Deserialize, Serialize};
use std::path::Path;
use xen_sys::types::Domid;
use xenstore::client::Nodes;
use xenstore::wire::{Reply, Request};

/// Whether the guest has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Force {
    /// It is asked, and may refuse.
    Asked,
    /// It is not asked.
    Taken,
}

/// Detaches a device.
///
/// # Errors
/// [`DeviceError`]: it is still there, as far as the error says nothing else.
pub fn remove(address: &Address, force: Force, host: &mut Host<'_>) -> Result<(), DeviceError> {
    close(address, force, host)?;
    finish(address, force, host)
}

/// Detaches devices; their domain is not asked. Gives those that could not be removed, and why.
pub fn remove_all(devices: &[Address], host: &mut Host<'_>) -> Vec<(Address, DeviceError)> {
    let mut left = Vec::new();
    // All are told first, so that their backends work at the same time.
    let mut told = Vec::with_capacity(devices.len());
    // Consoles have no kernel behind them: they go with the domain's nodes.
    for address in devices.iter().filter(|address| address.kind != Kind::Console) {
        match close(address, Force::Taken, host) {
            Ok(()) => told.push(address),
            Err(error) => left.push((*address, error)),
        }
    }
    // The last one comes first, as whoever takes back does.
    for address in told.into_iter().rev() {
        left.extend(finish(address, Force::Taken, host).err().map(|error| (*address, error)));
    }
    left
}

/// Tells the backend, and by it the guest, that the device goes.
fn close(address: &Address, force: Force, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let backend = address.backend_path();
    let state = format!("{backend}/state");
    host.store.transaction(|transaction| {
        if force == Force::Taken {
            match transaction.rm(address.frontend_path()) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        let Some(now) = transaction.read_optional(&state)? else { return Ok(()) };
        transaction.write(format!("{backend}/online"), "0")?;
        if XenbusState::of(&now) != XenbusState::Closed {
            transaction.write(&state, XenbusState::Closing.number().to_string())?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Waits for the backend, and removes what is left then.
fn finish(address: &Address, force: Force, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let closed = host.await_backend(address, DESTROY, |state| match state {
        None | Some(XenbusState::Closed) => Some(()),
        // Nobody would ever close it.
        Some(_) if unserved(address) => Some(()),
        Some(_) => None,
    })?;
    if closed.is_err() && force == Force::Asked {
        let error = host.backend_error(address)?;
        return Err(DeviceError::InUse { device: *address, error, limit: DESTROY });
    }
    let freed = match address.kind {
        Kind::Vbd => disk::release(address, host),
        Kind::Vif => vif::release(address, host),
        Kind::Pci => pci::release(address, host),
        Kind::Rdma | Kind::Console => Ok(()),
    };
    if let Err(error) = freed {
        // What is still held is found by the other nodes: they stay until it is free.
        match host.store.rm(address.frontend_path()) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => return Err(error),
        }
    }
    clean(address, host)
}

/// Whether nobody has a backend of dom0's: no driver of its kernel, because it never had one, or because
/// the guest has taken its half away, which ends the device without a word in xenstore; or no daemon.
pub(super) fn unserved(address: &Address) -> bool {
    let served = match address.kind {
        Kind::Rdma => rdma::is_served(),
        _ => Path::new(&address.sysfs_path()).join("driver").exists(),
    };
    address.backend == Domid::DOM0 && !served
}

/// Removes the nodes, and the directories that hold nothing any more.
fn clean(address: &Address, host: &mut Host<'_>) -> Result<(), DeviceError> {
    let all = nodes::removing(address);
    let mut requests = Vec::new();
    for (path, _) in &all {
        requests.push(Request::rm(path));
    }
    for parent in all.iter().flat_map(|(_, parents)| parents) {
        requests.push(Request::directory(parent));
    }
    let requests: Vec<Request> =
        requests.into_iter().collect::<Result<_, _>>().map_err(xenstore::client::Error::from)?;
    host.store.transaction(|transaction| -> Result<(), xenstore::client::Error> {
        let mut replies = transaction.batch(&requests)?.into_iter();
        for reply in replies.by_ref().take(all.len()) {
            match reply {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        let mut emptied = Vec::new();
        for (_, parents) in &all {
            // What goes with its last child leaves its own parent one child less.
            let mut gone: Option<&str> = None;
            for parent in parents {
                let children = match replies.next() {
                    Some(Ok(Reply::Directory(children))) => children,
                    Some(Err(error)) if !error.is_not_found() => return Err(error),
                    _ => {
                        gone = None;
                        continue;
                    }
                };
                let own = gone.and_then(|path| path.rsplit('/').next());
                let empty = children.iter().all(|child| Some(child.as_str()) == own);
                gone = empty.then_some(parent);
                emptied.extend(gone.map(Request::rm));
            }
        }
        let emptied = emptied.into_iter().collect::<Result<Vec<_>, _>>()?;
        transaction.batch_all(&emptied)?;
        Ok(())
    })?;
    Ok(())
}
