//! Dom0's side of a console: a pseudo-terminal, or a socket that one client at a time connects to.
//!
//! Nothing here ever waits. Whatever a client does, the console itself goes on.

use super::{ConsoledError, Key};
use domain_builder::spec::Connection;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::{Metadata, symlink_metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Dom0's side of a console.
#[derive(Debug)]
pub enum Endpoint {
    /// A pseudo-terminal.
    Terminal(Terminal),
    /// A listening socket.
    Socket(Socket),
}

/// A pseudo-terminal. Its other end stays open here: that nobody is attached is no hang-up.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    _slave: OwnedFd,
    path: String,
}

/// A socket in the file system, and who is connected.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// The socket's file, which nobody else's may be taken for.
    file: (u64, u64),
    client: Option<Client>,
}

/// Who is connected.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    speaks: bool,
    listens: bool,
}

impl Endpoint {
    /// Opens it.
    ///
    /// # Errors
    /// [`ConsoledError::Endpoint`], [`ConsoledError::Taken`].
    pub fn open(key: Key, connection: &Connection) -> Result<Self, ConsoledError> {
        match connection {
            Connection::Pty => terminal().map(Self::Terminal).map_err(|errno| {
                let operation = "open a pseudo-terminal";
                ConsoledError::Endpoint { key, operation, path: None, source: errno.into() }
            }),
            Connection::Socket(path) => Socket::open(key, path).map(Self::Socket),
        }
    }

    /// The path of the terminal; none of a socket.
    #[must_use]
    pub fn terminal(&self) -> Option<&str> {
        match self {
            Self::Terminal(terminal) => Some(&terminal.path),
            Self::Socket(_) => None,
        }
    }

    /// What tells that somebody wants to connect; none of a terminal.
    #[must_use]
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Terminal(_) => None,
            Self::Socket(socket) => Some(socket.listener.as_fd()),
        }
    }

    /// Where bytes go to and come from; none where nobody is connected.
    #[must_use]
    pub fn peer(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Terminal(terminal) => Some(terminal.master.as_fd()),
            Self::Socket(socket) => socket.client.as_ref().map(|client| client.stream.as_fd()),
        }
    }

    /// Takes the next client that waits, if there is none; tells whether one came.
    pub fn accept(&mut self) -> bool {
        let Self::Socket(socket) = self else { return false };
        if socket.client.is_some() {
            return false;
        }
        // A client that gave up, or one for whom there is no descriptor left, is none.
        let Ok((stream, _)) = socket.listener.accept() else { return false };
        if stream.set_nonblocking(true).is_err() {
            return false;
        }
        socket.client = Some(Client { stream, speaks: true, listens: true });
        true
    }

    /// Hands bytes on; tells how many were taken, and `None` while nobody takes any.
    pub fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.listens() {
            return None;
        }
        let written = rustix::io::write(self.peer()?, bytes);
        match written {
            Ok(count) => Some(count),
            Err(Errno::INTR) => Some(0),
            Err(Errno::AGAIN) => None,
            Err(_) => {
                if let Self::Socket(Socket { client: Some(client), .. }) = self {
                    client.listens = false;
                }
                None
            }
        }
    }

    /// Reads what was sent; `None` while there is nothing.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        if !self.speaks() {
            return None;
        }
        let read = rustix::io::read(self.peer()?, &mut *buffer);
        match read {
            Ok(count) if count > 0 => Some(&buffer[..count]),
            Err(Errno::INTR) => Some(&[]),
            Err(Errno::AGAIN) => None,
            Ok(_) | Err(_) => {
                if let Self::Socket(Socket { client: Some(client), .. }) = self {
                    client.speaks = false;
                }
                None
            }
        }
    }

    fn listens(&self) -> bool {
        match self {
            Self::Terminal(_) => true,
            Self::Socket(socket) => socket.client.as_ref().is_some_and(|client| client.listens),
        }
    }

    fn speaks(&self) -> bool {
        match self {
            Self::Terminal(_) => true,
            Self::Socket(socket) => socket.client.as_ref().is_some_and(|client| client.speaks),
        }
    }

    /// Lets a client go from whom nothing more will come, once it has `hung_up` or takes nothing.
    pub fn reap(&mut self, hung_up: bool) {
        let Self::Socket(socket) = self else { return };
        let gone = |client: &Client| !client.speaks && (hung_up || !client.listens);
        if socket.client.as_ref().is_some_and(gone) {
            socket.client = None;
        }
    }
}

fn terminal() -> Result<Terminal, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    // Without this the terminal would echo the guest's own output back to it.
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    let path = ptsname(&master, Vec::new())?.into_string().map_err(|_| Errno::ILSEQ)?;
    let now = rustix::fs::fcntl_getfl(&master)?;
    rustix::fs::fcntl_setfl(&master, now | OFlags::NONBLOCK)?;
    Ok(Terminal { master, _slave: slave, path })
}

impl Socket {
    fn open(key: Key, path: &Path) -> Result<Self, ConsoledError> {
        let failed = |operation, source: io::Error| ConsoledError::Endpoint {
            key,
            operation,
            path: Some(path.to_owned()),
            source,
        };
        match symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", error)),
            Ok(found) => {
                if let Some(what) = obstacle(path, &found) {
                    return Err(ConsoledError::Taken { key, path: path.to_owned(), what });
                }
                // Left by a predecessor that was killed.
                std::fs::remove_file(path).map_err(|error| failed("remove the old", error))?;
            }
        }
        let listener = UnixListener::bind(path).map_err(|error| failed("listen at", error))?;
        listener.set_nonblocking(true).map_err(|error| failed("listen at", error))?;
        let found = symlink_metadata(path).map_err(|error| failed("look at", error))?;
        Ok(Self { listener, path: path.to_owned(), file: identity(&found), client: None })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.file) {
            // What cannot be removed is removed by the next who listens there.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What keeps this file from being a socket that nobody listens at any more.
fn obstacle(path: &Path, found: &Metadata) -> Option<&'static str> {
    if !found.file_type().is_socket() {
        return Some("no socket");
    }
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let answer = SocketAddrUnix::new(path).and_then(|address| {
        connect(&socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?, &address)
    });
    (answer != Err(Errno::CONNREFUSED)).then_some("a socket that somebody else listens at")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const KEY: Key = Key { domid: 1, number: 2 };

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("consoled-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a folder");
        path
    }

    #[test]
    fn a_socket_serves_one_client_after_the_other() {
        let folder = folder("clients");
        let path = folder.join("socket");
        let mut endpoint = Endpoint::open(KEY, &Connection::Socket(path.clone())).expect("opens");
        assert!(!endpoint.accept() && endpoint.peer().is_none());
        assert_eq!(endpoint.write(b"lost?"), None);
        let mut one = UnixStream::connect(&path).expect("connects");
        let mut two = UnixStream::connect(&path).expect("waits");
        assert!(endpoint.accept() && !endpoint.accept());
        assert_eq!(endpoint.write(b"out"), Some(3));
        let mut three = [0; 3];
        one.read_exact(&mut three).expect("reads");
        one.write_all(b"in").expect("writes");
        let mut buffer = [0; 16];
        assert_eq!(endpoint.read(&mut buffer), Some(&b"in"[..]));
        assert_eq!(endpoint.read(&mut buffer), None);
        // Who has sent all of it still listens; who has hung up does not.
        one.shutdown(std::net::Shutdown::Write).expect("half closed");
        assert_eq!(endpoint.read(&mut buffer), None);
        endpoint.reap(false);
        assert_eq!(endpoint.write(b"more"), Some(4));
        drop(one);
        assert_eq!(endpoint.write(b"more"), None);
        endpoint.reap(false);
        assert!(endpoint.peer().is_none() && endpoint.accept());
        two.write_all(b"2").expect("writes");
        assert_eq!(endpoint.read(&mut buffer), Some(&b"2"[..]));
        drop(two);
        assert_eq!(endpoint.read(&mut buffer), None);
        endpoint.reap(true);
        assert!(endpoint.peer().is_none());
        drop(endpoint);
        assert!(!path.exists(), "the socket stays behind");
        std::fs::remove_dir_all(folder).expect("removes");
    }

    #[test]
    fn what_is_in_the_way() {
        let folder = folder("taken");
        let path = folder.join("socket");
        let open = || Endpoint::open(KEY, &Connection::Socket(path.clone()));
        drop(UnixListener::bind(&path).expect("left behind"));
        drop(open().expect("takes the place of a dead one"));
        let alive = UnixListener::bind(&path).expect("alive");
        let error = open().expect_err("somebody listens").to_string();
        assert!(error.contains("somebody else listens"), "{error}");
        drop(alive);
        std::fs::remove_file(&path).expect("removes");
        std::fs::write(&path, "precious").expect("writes");
        let error = open().expect_err("a file").to_string();
        assert!(error.contains("no socket") && error.contains("console 2 of domain 1"), "{error}");
        assert_eq!(std::fs::read(&path).expect("is there"), b"precious");
        let nowhere = Connection::Socket(folder.join("no/socket"));
        let error = Endpoint::open(KEY, &nowhere).expect_err("no folder").to_string();
        assert!(error.contains("cannot listen at") && error.contains("/no/socket"), "{error}");
        std::fs::remove_dir_all(folder).expect("removes");
    }

    /// Bytes go through a terminal as they are, with nobody attached at first.
    #[test]
    fn a_terminal_is_raw() {
        let mut endpoint = Endpoint::open(KEY, &Connection::Pty).expect("opens");
        let path = endpoint.terminal().expect("has a path").to_owned();
        assert_eq!(endpoint.write(b"a\nb\x03"), Some(4));
        let mut slave =
            std::fs::File::options().read(true).write(true).open(&path).expect("is there");
        let mut four = [0; 4];
        slave.read_exact(&mut four).expect("reads");
        assert_eq!(&four, b"a\nb\x03");
        slave.write_all(b"\r\x04x").expect("writes");
        let mut buffer = [0; 16];
        assert_eq!(endpoint.read(&mut buffer), Some(&b"\r\x04x"[..]));
        drop(slave);
        assert_eq!(endpoint.read(&mut buffer), None);
        // Nobody reads: the rest waits, and nothing blocks.
        let mut total = 0;
        while let Some(count) = endpoint.write(&[7; 2048]) {
            total += count;
            assert!(total < 1 << 20, "the terminal takes everything");
        }
    }
}
