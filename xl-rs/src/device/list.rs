//! What devices a domain has.
//!
//! In: a domid. Out: addresses, from the toolstack's own copy under `/libxl`, which no guest can
//! write. What xl attached is found as well.

use super::{Address, DeviceError, Kind, pci};
use xen_sys::types::Domid;
use xenstore::client::{Client, Error, Nodes};
use xenstore::wire::{Reply, Request};

/// What devices a domain has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Those that xlr can take down.
    pub known: Vec<Address>,
    /// The kinds of others: what belongs to them is not known.
    pub foreign: Vec<String>,
}

impl Listed {
    /// Those that it can, if that is all.
    ///
    /// # Errors
    /// [`DeviceError::Foreign`].
    pub fn all(self, domid: Domid) -> Result<Vec<Address>, DeviceError> {
        match self.foreign.is_empty() {
            true => Ok(self.known),
            false => Err(DeviceError::Foreign { domid, kinds: self.foreign }),
        }
    }
}

/// All devices of a domain, but for the console that every domain has.
///
/// # Errors
/// Those of the store; [`DeviceError::BadCopy`].
pub fn devices(domid: Domid, store: &mut Client) -> Result<Listed, DeviceError> {
    let root = format!("/libxl/{domid}/device");
    let mut found = Vec::new();
    let mut foreign = Vec::new();
    for name in directory(store, &root)? {
        match Kind::of(&name) {
            Some(kind) => of_kind(kind, domid, store, &mut found, &mut foreign)?,
            None => foreign.push(name),
        }
    }
    // Of PCI devices xl makes no copy there. Their backend is dom0's alone to write as well.
    if !found.iter().any(|address| address.kind == Kind::Pci) {
        let address = pci::address(domid);
        if store.exists(address.backend_path())? {
            found.push(address);
        }
    }
    Ok(Listed { known: found, foreign })
}

/// The devices of one kind.
///
/// # Errors
/// As [`devices`], and [`DeviceError::Foreign`].
pub fn devices_of(
    kind: Kind,
    domid: Domid,
    store: &mut Client,
) -> Result<Vec<Address>, DeviceError> {
    let (mut found, mut foreign) = (Vec::new(), Vec::new());
    of_kind(kind, domid, store, &mut found, &mut foreign)?;
    Listed { known: found, foreign }.all(domid)
}

fn of_kind(
    kind: Kind,
    domid: Domid,
    store: &mut Client,
    found: &mut Vec<Address>,
    foreign: &mut Vec<String>,
) -> Result<(), DeviceError> {
    let root = format!("/libxl/{domid}/device/{}", kind.name());
    let mut devids: Vec<u32> = Vec::new();
    for name in directory(store, &root)? {
        match name.parse() {
            Ok(0) if kind == Kind::Console => {}
            Ok(devid) => devids.push(devid),
            Err(_) => return Err(DeviceError::BadCopy { path: root, value: name }),
        }
    }
    devids.sort_unstable();
    let paths: Vec<String> = devids.iter().map(|devid| format!("{root}/{devid}/backend")).collect();
    let requests: Vec<Request> =
        paths.iter().map(Request::read).collect::<Result<_, _>>().map_err(Error::from)?;
    for ((devid, path), reply) in devids.iter().zip(paths).zip(store.batch(&requests)?) {
        let value = match reply {
            Ok(Reply::Value(value)) => String::from_utf8_lossy(&value).into_owned(),
            // Detached meanwhile.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => continue,
        };
        match Address::of_backend_path(&value, kind, domid, *devid) {
            Some(address) => found.push(address),
            None => match backend_kind(&value) {
                // QEMU serves it, and QEMU is xl's.
                Some(other) if other != kind.name() => foreign.push(other.to_owned()),
                _ => return Err(DeviceError::BadCopy { path, value }),
            },
        }
    }
    Ok(())
}

/// The kind in a backend's path.
fn backend_kind(path: &str) -> Option<&str> {
    let (_, rest) = path.strip_prefix("/local/domain/")?.split_once("/backend/")?;
    rest.split('/').next()
}

/// Names of what is in a directory; none if there is no such directory.
fn directory(store: &mut Client, path: &str) -> Result<Vec<String>, Error> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        names => names,
    }
}

/// What a frontend says of itself, and what the toolstack noted of its device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontend {
    /// Its state, as the guest wrote it, if that is a number.
    pub state: Option<i64>,
    /// Its event channel.
    pub event_channel: Option<i64>,
    /// The grant of its ring.
    pub ring_ref: Option<i64>,
    /// Nodes of the toolstack's copy, in the order in which they were asked for.
    pub own: Vec<Option<String>>,
}

/// The values of nodes in one round trip, as text; `None` where there is no such node.
///
/// # Errors
/// Those of the store.
pub fn texts<P: AsRef<str>>(
    paths: impl IntoIterator<Item = P>,
    store: &mut Client,
) -> Result<Vec<Option<String>>, Error> {
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    Ok(store.read_each(paths)?.into_iter().map(|value| value.map(text)).collect())
}

/// Reads what there is to be shown of devices, in one round trip.
///
/// # Errors
/// Those of the store.
pub fn frontends(
    devices: &[Address],
    own: &[&str],
    store: &mut Client,
) -> Result<Vec<Frontend>, Error> {
    const THEIRS: [&str; 3] = ["state", "event-channel", "ring-ref"];
    let mut paths = Vec::with_capacity(devices.len() * (THEIRS.len() + own.len()));
    for device in devices {
        let (frontend, libxl) = (device.frontend_path(), device.libxl_path());
        paths.extend(THEIRS.map(|node| format!("{frontend}/{node}")));
        paths.extend(own.iter().map(|node| format!("{libxl}/{node}")));
    }
    let mut values = texts(paths, store)?.into_iter();
    let mut next = || values.next().flatten();
    let mut found = Vec::with_capacity(devices.len());
    for _ in devices {
        let mut number = || next().and_then(|text| text.trim().parse().ok());
        let (state, event_channel, ring_ref) = (number(), number(), number());
        let own = own.iter().map(|_| next()).collect();
        found.push(Frontend { state, event_channel, ring_ref, own });
    }
    Ok(found)
}
