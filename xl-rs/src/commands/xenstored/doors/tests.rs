//! Servers end at each step while programs are connected, with a keeper, a journal and sockets as they
//! are; there is no hypervisor, and no domain.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::CreateFlags;
use xenstore::client::{Client, Nodes as _};
use xenstore::saved::{Storage, load};
use xenstore::server::{Entry, Fault, Identity, Revived, SavedLog};
use xenstore::store::{ConnectionId, Effect, Ring, State};
use xenstore::wire::{Reply, Request};
use xenstore::{Domid, Errno as XsErrno};

use super::super::keeper;
use super::super::steps::{Killed, end_at};
use super::*;

struct NoXen;

impl Host for NoXen {
    type Transport = Link;

    fn connect(&mut self, _domid: Domid, _ring: Ring) -> Result<Link, XsErrno> {
        Err(XsErrno::Einval)
    }

    fn identity(&mut self, _domid: Domid) -> Option<Identity> {
        None
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn carry_out(&mut self, _effect: Effect) {}

    fn faulted(&mut self, connection: ConnectionId, fault: &Fault) {
        eprintln!("{connection} is cut off: {fault}");
    }
}

/// The journal, with the steps of the service.
struct Steps(SavedLog);

impl Journal for Steps {
    fn note(&mut self, entry: Entry<'_>) {
        self.0.note(entry);
    }

    fn answered(&mut self, message: &[u8]) {
        self.0.answered(message);
    }

    fn commit(&mut self) -> std::io::Result<()> {
        steps::passed(Step::Commit);
        self.0.commit()?;
        steps::passed(Step::Committed);
        Ok(())
    }
}

struct Places {
    state: PathBuf,
    control: String,
    socket: PathBuf,
}

/// One server's life.
fn life(places: &Places, ends: &AtomicBool) {
    let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC).unwrap());
    let storage = Storage::open(&places.state).unwrap();
    let bytes = storage.read().unwrap();
    let (keeper, mut inventory) = Keeper::find(&places.control).unwrap();
    let listeners = std::mem::take(&mut inventory.listeners);
    let is_first = listeners.is_empty();
    let mut doors = Doors::at(listeners, keeper, &epoll);
    steps::passed(Step::Joined);
    let log = Steps(SavedLog::new(storage));
    let mut server = match bytes {
        Some(bytes) => {
            let revived = Revived::read(&load(&bytes).unwrap()).unwrap();
            let link = |_: &mut NoXen, id, _| match id {
                ConnectionId::Socket(number) => {
                    let pair = inventory.kept.remove(&number)?;
                    doors.link_again(number, pair).map(Link::Kept)
                }
                ConnectionId::Domain(_) => None,
            };
            revived.attach(NoXen, log, &BTreeMap::new(), link).unwrap()
        }
        None => Server::new(State::new(), NoXen, log),
    };
    doors.settle();
    keep(&mut server);
    if is_first {
        doors.listeners = vec![UnixListener::bind(&places.socket).unwrap().into()];
        doors.listeners.iter().for_each(|it| rustix::io::ioctl_fionbio(it, true).unwrap());
        doors.keeper.as_ref().unwrap().give_listeners(&doors.listeners).unwrap();
    }
    doors.open(&mut server, inventory).unwrap();
    let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !ends.load(Ordering::Relaxed) {
        let timeout = if server.has_work() { Timespec::default() } else { soon };
        let mut ready = Vec::with_capacity(16);
        let _ = epoll::wait(&*epoll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout));
        for event in &ready {
            match event.data.u64() {
                door @ KEEPER.. => doors.enter(door, &mut server).unwrap(),
                number => server.ready(ConnectionId::Socket(number as u32)),
            }
        }
        server.round().unwrap();
        keep(&mut server);
        doors.tell();
    }
    doors.leave();
}

fn keep(server: &mut Server<NoXen, Steps>) {
    if server.journal_mut().0.wants_image() {
        let mut image = Vec::new();
        server.save(&mut image);
        steps::passed(Step::Image);
        server.journal_mut().0.keep(&image).unwrap();
        steps::passed(Step::Kept);
    }
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

/// Writes, events and reads, each once; transactions; long replies.
fn counts(socket: &Path, name: u32, ends: &AtomicBool) -> u32 {
    let mut store = Client::connect_to(socket).unwrap();
    let (path, sum) = (format!("/count/{name}"), format!("/sum/{name}"));
    store.write(&sum, "0").unwrap();
    store.watch(&path, "t").unwrap();
    store.next_event(PATIENCE).unwrap().unwrap();
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        number += 1;
        let text = format!("{number:08}").repeat(1 + number as usize % 3 * 200);
        store.write(&path, &text).unwrap();
        assert_eq!(store.next_event(PATIENCE).unwrap().unwrap().path.as_str(), path);
        assert_eq!(store.read(&path).unwrap(), text.as_bytes());
        assert_eq!(store.events_waiting(), 0, "an event twice");
        let read = Request::read(&path).unwrap();
        let replies = store.batch_all(&vec![read; 40]).unwrap();
        assert!(replies.iter().all(|reply| *reply == Reply::Value(text.clone().into_bytes())));
        let now = store.transaction(|tx| {
            let now: u32 = tx.read_text(&sum)?.parse().unwrap();
            tx.write(&sum, (now + 1).to_string())?;
            Ok::<_, xenstore::client::Error>(now + 1)
        });
        assert_eq!(now.unwrap(), number, "a commit was lost, or done twice");
    }
    number
}

/// Programs that come and go.
fn visits(socket: &Path, ends: &AtomicBool) -> u32 {
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        let mut store = Client::connect_to(socket).unwrap();
        store.write("/visitor", number.to_string()).unwrap();
        assert_eq!(store.read_text("/visitor").unwrap(), number.to_string());
        number += 1;
    }
    number
}

fn under_load(name: &str, lives_ends: &[String]) {
    let folder = std::env::temp_dir().join(format!("xlr-doors-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let places = Places {
        state: folder.join("state"),
        control: folder.join("keeper").to_str().unwrap().to_owned(),
        socket: folder.join("socket"),
    };
    let control = keeper::control(&places.control).unwrap();
    // It ends with the test's process: nobody tells it to end.
    std::thread::spawn(move || keeper::keep(control.as_fd()).map_err(|error| error.to_string()));
    let (programs_end, server_ends) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let kills = Arc::<AtomicU32>::default();
    let server = {
        let (server_ends, kills) = (Arc::clone(&server_ends), Arc::clone(&kills));
        let (lives_ends, socket) = (lives_ends.to_vec(), places.socket.clone());
        let thread = std::thread::spawn(move || {
            for end in lives_ends.into_iter().map(Some).chain([None]) {
                end_at(end.as_ref().map(|end| end.parse().unwrap()));
                let life =
                    catch_unwind(std::panic::AssertUnwindSafe(|| life(&places, &server_ends)));
                match life {
                    Ok(()) => assert!(end.is_none(), "{end:?} did not come"),
                    Err(reason) if reason.is::<Killed>() => {
                        kills.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(reason) => resume_unwind(reason),
                }
            }
        });
        while !socket.exists() && !thread.is_finished() {
            std::thread::yield_now();
        }
        (thread, socket)
    };
    let programs: Vec<_> = (0..4)
        .map(|name| {
            let (ends, socket) = (Arc::clone(&programs_end), server.1.clone());
            std::thread::spawn(move || match name {
                0 => visits(&socket, &ends),
                name => counts(&socket, name, &ends),
            })
        })
        .collect();
    while (kills.load(Ordering::Relaxed) as usize) < lives_ends.len()
        && !server.0.is_finished()
        && !programs.iter().any(std::thread::JoinHandle::is_finished)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    programs_end.store(true, Ordering::Relaxed);
    let rounds: Vec<u32> = programs.into_iter().map(|program| program.join().unwrap()).collect();
    server_ends.store(true, Ordering::Relaxed);
    server.0.join().unwrap();
    println!("{} kills, rounds {rounds:?}", kills.load(Ordering::Relaxed));
    assert!(rounds.iter().all(|&rounds| rounds > 3), "{rounds:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn programs_do_not_notice_a_kill_at_any_step() {
    let mut ends = vec!["joined:1".to_owned(), "image:1".to_owned(), "kept:1".to_owned()];
    for times in [1, 2, 9, 60] {
        let steps =
            ["came", "commit", "committed", "receive", "received", "staged", "sent", "joined"];
        let again = |step: &&str| *step != "joined" || times == 1;
        ends.extend(steps.iter().filter(|step| again(step)).map(|step| format!("{step}:{times}")));
    }
    ends.push("replaced:1".to_owned());
    under_load("steps", &ends);
}

#[test]
fn fuzz_kills_under_load() {
    let kills = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let steps = ["came", "commit", "committed", "receive", "received", "staged", "sent"];
    let mut seed = 0x646f_6f72_u64;
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % limit
    };
    let mut end = || format!("{}:{}", steps[below(7) as usize], 1 + below(150));
    under_load("fuzz", &(0..kills).map(|_| end()).collect::<Vec<_>>());
}

#[test]
fn the_keeper_hears_of_a_connection_that_cannot_be_served() {
    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::net::{AddressFamily, RecvFlags, SocketType, recv, socketpair};
    use std::os::unix::net::UnixStream;

    let kind = SocketType::SEQPACKET;
    let (near, far) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let file = || memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    let keeper = Keeper::behind(near);
    keeper.serve();
    // Nothing can be waited for there.
    let no_epoll = Rc::new(file());
    let doors = Doors::at(Vec::new(), keeper, &no_epoll);
    let (server, _program) = UnixStream::pair().unwrap();
    assert!(doors.link(7, Pair::new(server.into(), file())).is_none());
    let mut told = [0; 8];
    recv(&far, &mut told, RecvFlags::DONTWAIT).unwrap();
    assert_eq!(told, [5, 0, 0, 0, 7, 0, 0, 0], "a Close of 7");
}
