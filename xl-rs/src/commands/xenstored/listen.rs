//! Where programs of this domain find the store.

use super::error::{XenstoredError, file};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use xenstore::client::SOCKETS;

/// Listens at each of the usual places; those that are one and the same count once. Only root may
/// connect. To be called by the one xenstored of this host: sockets that are there are a dead one's.
pub fn listen() -> Result<Vec<OwnedFd>, XenstoredError> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut listeners = Vec::new();
    for path in SOCKETS.map(Path::new) {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o755).create(folder).map_err(file("make", folder))?;
        let folder = std::fs::canonicalize(folder).map_err(file("find", folder))?;
        if folders.contains(&folder) {
            continue;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(file("remove", path)(error));
            }
            _ => {}
        }
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = listener.map_err(file("listen at", path))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(file("set the rights of", path))?;
        listener.set_nonblocking(true).map_err(file("listen at", path))?;
        folders.push(folder);
        listeners.push(listener.into());
    }
    Ok(listeners)
}

/// Whether programs find somebody's socket at each of the usual places.
pub fn can_be_found() -> bool {
    SOCKETS
        .iter()
        .all(|path| std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()))
}
