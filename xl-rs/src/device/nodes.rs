//! The nodes of a device: what is written when it comes, and what is removed when it goes.
//!
//! In: a [`Device`]. Out: requests for one transaction. Pure: talks to no xenstored. Nodes,
//! permissions and order are xl's:
//!
//! - the guest's half, `nD,rB`: the guest owns it, the backend reads it; some nodes `nB,rD`;
//! - the backend's half, `nB,rD`;
//! - `/libxl/D/device/KIND/DEVID`, a copy of the backend's half that only dom0 can write.
//!
//! A child takes its parent's permissions, so one request serves each half.

use super::{Address, Device};
use xen_sys::types::Domid;
use xenstore::wire::Request;
use xenstore::{Access, PathError, Permissions};

/// The requests that make a device. The first reads what must not be there yet.
///
/// # Errors
/// [`PathError`] for a name or value that xenstore cannot have.
pub fn making(device: &Device) -> Result<Vec<Request>, PathError> {
    let address = &device.address;
    let (frontend, backend) = (address.frontend_path(), address.backend_path());
    let libxl = address.libxl_path();
    let guests = access(address.domid, address.backend);
    let backends = access(address.backend, address.domid);
    let mut requests = vec![
        Request::read(&libxl)?,
        Request::write(format!("{libxl}/frontend"), frontend.as_str())?,
        Request::write(format!("{libxl}/backend"), backend.as_str())?,
    ];
    let mut half = |root: &str, access: Permissions| -> Result<(), PathError> {
        // What an earlier domain of the same number may have left.
        requests.push(Request::rm(root)?);
        requests.push(Request::mkdir(root)?);
        requests.push(Request::set_perms(root, access)?);
        Ok(())
    };
    half(&frontend, guests)?;
    half(&backend, backends.clone())?;
    let mut write = |root: &str, name: &str, value: &str| -> Result<(), PathError> {
        requests.push(Request::write(format!("{root}/{name}"), value)?);
        Ok(())
    };
    write(&frontend, "backend", &backend)?;
    for (name, value) in &device.frontend {
        write(&frontend, name, value)?;
    }
    write(&backend, "frontend", &frontend)?;
    for (name, value) in &device.backend {
        write(&backend, name, value)?;
        write(&libxl, name, value)?;
    }
    for (name, value) in &device.frontend_read_only {
        let path = format!("{frontend}/{name}");
        requests.push(Request::write(&path, value.as_str())?);
        requests.push(Request::set_perms(&path, backends.clone())?);
    }
    Ok(requests)
}

/// The owner may do everything, the other one reads.
fn access(owner: Domid, reader: Domid) -> Permissions {
    Permissions::private(owner).grant(reader, Access::Read)
}

/// Everything that there is of a device, each with the directories above it that go with it if
/// nothing else is in them, the deepest first.
#[must_use]
pub fn removing(address: &Address) -> Vec<(String, Vec<String>)> {
    let Address { kind, domid, backend, .. } = *address;
    let kind = kind.name();
    let backends = format!("/local/domain/{backend}/backend");
    let errors = format!("/local/domain/{backend}/error");
    let kinds = |root: &str| {
        vec![format!("{root}/{kind}/{domid}"), format!("{root}/{kind}"), root.to_owned()]
    };
    let devices = |root: String| vec![format!("{root}/{kind}"), root];
    vec![
        (address.frontend_path(), devices(format!("/local/domain/{domid}/device"))),
        (address.backend_path(), kinds(&backends)),
        (address.libxl_path(), devices(format!("/libxl/{domid}/device"))),
        (address.error_path(), [kinds(&format!("{errors}/backend")), vec![errors]].concat()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn device() -> Device {
        Device {
            address: Address { kind: Kind::Vbd, domid: Domid(3), devid: 7, backend: Domid(1) },
            frontend: vec![("state", String::from("1"))],
            frontend_read_only: vec![("trusted", String::from("0"))],
            backend: vec![("online", String::from("1"))],
        }
    }

    /// Request by request: what is written, and with which rights.
    #[test]
    fn a_device_is_made() {
        let requests = making(&device()).unwrap();
        let text = |request: &Request| match request {
            Request::Read(path) => format!("read {path}"),
            Request::Rm(path) => format!("rm {path}"),
            Request::Mkdir(path) => format!("mkdir {path}"),
            Request::Write { path, value } => {
                format!("{path} = {}", String::from_utf8_lossy(value))
            }
            Request::SetPerms { path, permissions } => format!("{path} {permissions}"),
            other => format!("{other:?}"),
        };
        let texts: Vec<String> = requests.iter().map(text).collect();
        assert_eq!(
            texts,
            [
                "read /libxl/3/device/vbd/7",
                "/libxl/3/device/vbd/7/frontend = /local/domain/3/device/vbd/7",
                "/libxl/3/device/vbd/7/backend = /local/domain/1/backend/vbd/3/7",
                "rm /local/domain/3/device/vbd/7",
                "mkdir /local/domain/3/device/vbd/7",
                "/local/domain/3/device/vbd/7 n3,r1",
                "rm /local/domain/1/backend/vbd/3/7",
                "mkdir /local/domain/1/backend/vbd/3/7",
                "/local/domain/1/backend/vbd/3/7 n1,r3",
                "/local/domain/3/device/vbd/7/backend = /local/domain/1/backend/vbd/3/7",
                "/local/domain/3/device/vbd/7/state = 1",
                "/local/domain/1/backend/vbd/3/7/frontend = /local/domain/3/device/vbd/7",
                "/local/domain/1/backend/vbd/3/7/online = 1",
                "/libxl/3/device/vbd/7/online = 1",
                "/local/domain/3/device/vbd/7/trusted = 0",
                "/local/domain/3/device/vbd/7/trusted n1,r3",
            ]
        );
    }

    /// Nothing of it stays, and nothing of another device or domain goes.
    #[test]
    fn a_device_is_removed() {
        let removed = removing(&device().address);
        for (path, parents) in &removed {
            let mut below = path.as_str();
            for parent in parents {
                assert_eq!(below.rsplit_once('/').unwrap().0, parent, "{path}");
                below = parent;
            }
            assert!(!parents.contains(&String::from("/local/domain/3")), "{parents:?}");
        }
        assert_eq!(removed.len(), 4);
    }
}
