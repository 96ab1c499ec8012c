//! Where programs of this domain find the store.

use super::error::{XenstoredError, file};
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
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

/// Whether programs find a socket at each of these places that somebody has still. What is bound there
/// and is not ours belongs to no other xenstored: a host has one.
pub fn can_be_found(paths: &[&str]) -> bool {
    paths.iter().all(|path| is_alive(path) == Ok(true))
}

/// Asks for a connection of a kind that no xenstored has: the kernel refuses it, in one way when the
/// socket of the file is there, and in another when only the file is.
fn is_alive(path: &str) -> Result<bool, Errno> {
    let kind = SocketType::SEQPACKET;
    let probe = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    Ok(connect(&probe, &SocketAddrUnix::new(path)?) == Err(Errno::PROTOTYPE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_socket_is_nothing_that_programs_find() {
        let folder = std::env::temp_dir().join(format!("xlr-listen-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("socket"), folder.join("other"));
        let (path, other) = (path.to_str().unwrap(), other.to_str().unwrap());
        assert!(!can_be_found(&[path]), "nothing is there");
        let first = UnixListener::bind(path).unwrap();
        let second = UnixListener::bind(other).unwrap();
        assert!(can_be_found(&[path, other]));
        first.set_nonblocking(true).unwrap();
        assert!(first.accept().is_err(), "nobody has come in");
        drop(second);
        assert!(Path::new(other).exists() && !can_be_found(&[path, other]));
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, "no socket").unwrap();
        assert!(!can_be_found(&[path]));
        drop(first);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
