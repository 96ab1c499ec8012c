//! A keeper that cannot take up connections, or is told to end by somebody who has gone.

use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket_with};

use super::super::control;
use super::*;

fn socket(kind: SocketType) -> OwnedFd {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

fn join(path: &str) -> OwnedFd {
    let channel = socket(SocketType::SEQPACKET);
    connect(&channel, &SocketAddrUnix::new(path).unwrap()).unwrap();
    channel
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("xlr-process-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_keeper_ends_that_was_told_to_by_one_that_has_gone() {
    let folder = folder("told");
    let path = folder.join("keeper").to_str().unwrap().to_owned();
    let control = control(&path).unwrap();
    let xenstored = join(&path);
    message::send(&xenstored, Kind::End, 0, &[], SendFlags::empty()).unwrap();
    drop(xenstored);
    let (ended, ends) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        keep(control.as_fd()).unwrap();
        ended.send(()).unwrap();
    });
    ends.recv_timeout(Duration::from_secs(20)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_listener_that_refuses_stops_neither_the_others_nor_itself() {
    let folder = folder("refuses");
    let path = folder.join("keeper").to_str().unwrap().to_owned();
    let control = control(&path).unwrap();
    let keeper = std::thread::spawn(move || keep(control.as_fd()).is_ok());
    // Nobody can be accepted there, since it does not listen.
    let refuses = socket(SocketType::STREAM);
    let at = folder.join("refuses");
    bind(&refuses, &SocketAddrUnix::new(&at).unwrap()).unwrap();
    let serves = UnixListener::bind(folder.join("serves")).unwrap();
    serves.set_nonblocking(true).unwrap();

    let xenstored = join(&path);
    let give = |number, listener: BorrowedFd<'_>| {
        message::send(&xenstored, Kind::Listener, number, &[listener], SendFlags::empty()).unwrap();
    };
    let next = || {
        let mut place = [PollFd::new(&xenstored, PollFlags::IN)];
        let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut place, Some(&limit)), Ok(1), "it says nothing");
        let message = message::receive(&xenstored, RecvFlags::DONTWAIT).unwrap().unwrap();
        message.kind.unwrap()
    };
    assert_eq!([next(), next()], [Kind::Version, Kind::Ready]);
    give(0, refuses.as_fd());
    give(1, serves.as_fd());
    let _one = UnixStream::connect(folder.join("serves")).unwrap();
    assert_eq!(next(), Kind::Kept);
    // By now it was refused. What was wrong is mended, and nobody tells the keeper.
    rustix::io::ioctl_fionbio(&refuses, true).unwrap();
    listen(&refuses, 4).unwrap();
    let _two = UnixStream::connect(&at).unwrap();
    assert_eq!(next(), Kind::Kept);
    message::send(&xenstored, Kind::End, 0, &[], SendFlags::empty()).unwrap();
    assert!(keeper.join().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}
