//! Keepers that are of no use, and connections at their ends.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::epoll::{self, CreateFlags};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{accept_with, socketpair};
use xenstore::server::Fault;

use super::super::super::kept::KeptSocket;
use super::*;

fn place(name: &str) -> (PathBuf, String) {
    let folder = std::env::temp_dir().join(format!("xlr-keeper-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let path = folder.join("keeper").to_str().unwrap().to_owned();
    (folder, path)
}

/// What a xenstored tells a keeper that says these words to it.
fn told(name: &str, words: &'static [(Kind, u32)]) -> Vec<Option<Kind>> {
    let (folder, path) = place(name);
    let control = control(&path).unwrap();
    let keeper = std::thread::spawn(move || {
        let xenstored = accept_with(&control, SocketFlags::CLOEXEC).unwrap();
        for &(kind, number) in words {
            message::send(&xenstored, kind, number, &[], SendFlags::empty()).unwrap();
        }
        rustix::net::shutdown(&xenstored, rustix::net::Shutdown::Write).unwrap();
        std::iter::from_fn(|| message::receive(&xenstored, RecvFlags::empty()).unwrap())
            .map(|message| message.kind)
            .collect()
    });
    let found = Keeper::find(&path);
    if let Some((keeper, _)) = &found {
        keeper.serve();
    }
    drop(found);
    let told = keeper.join().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    told
}

#[test]
fn a_keeper_that_is_of_no_use_is_told_to_end() {
    const KNOWN: (Kind, u32) = (Kind::Version, VERSION);
    const READY: (Kind, u32) = (Kind::Ready, 0);
    assert_eq!(told("known", &[KNOWN, READY]), []);
    assert_eq!(told("other", &[(Kind::Version, VERSION + 1), READY]), [Some(Kind::End)]);
    assert_eq!(told("broken", &[KNOWN]), [Some(Kind::End)]);
    // A connection whose descriptors did not arrive is not kept for ever.
    assert_eq!(told("cut", &[KNOWN, (Kind::Kept, 9), READY]), [Some(Kind::Close)]);
}

/// A keeper that holds a connection, and is gone before it hears of its end.
struct Deaf {
    keeper: Rc<Keeper>,
    pair: Rc<Pair>,
    program: UnixStream,
    epoll: Rc<OwnedFd>,
}

impl Deaf {
    fn new() -> Self {
        let kind = SocketType::SEQPACKET;
        let (near, _) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let (server, program) = UnixStream::pair().unwrap();
        let pair = Pair::new(server.into(), memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        let keeper = Keeper::behind(near);
        keeper.kept.borrow_mut().insert(7, Rc::clone(&pair));
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
        Self { keeper, pair, program, epoll }
    }

    fn link(&self) -> KeptSocket {
        KeptSocket::new(7, Rc::clone(&self.pair), &self.keeper, &self.epoll).unwrap()
    }
}

#[test]
fn a_connection_at_its_end_is_not_served_again() {
    use std::io::Write as _;
    let mut world = Deaf::new();
    world.keeper.serve();
    let mut link = world.link();
    world.program.write_all(b"request").unwrap();
    let mut bytes = Vec::new();
    assert_eq!(link.receive(0, &mut bytes).unwrap(), 7);
    link.taken(7).unwrap();
    drop(std::mem::replace(&mut world.program, UnixStream::pair().unwrap().0));
    assert!(matches!(link.send(b"reply"), Err(Fault::Closed)));
    assert!(link.is_fresh(), "neither stream shows that its request was carried out");
    drop(link);
    assert!(world.pair.has_ended());
    assert!(!world.link().is_fresh());
}

#[test]
fn a_connection_that_is_left_to_the_next_server_is_not_at_its_end() {
    let world = Deaf::new();
    // A server that does not come to serve, and one that leaves.
    drop(world.link());
    assert!(!world.pair.has_ended() && world.link().is_fresh());
    let world = Deaf::new();
    world.keeper.serve();
    let link = world.link();
    world.keeper.leave();
    drop(link);
    assert!(!world.pair.has_ended() && world.link().is_fresh());
    // It was given up before the server served, which goes on.
    world.keeper.settle();
    assert!(world.pair.has_ended());
}
