//! A client that outlives its xenstored: what it asks again, what it does not, and what it sets again.

mod peer;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use peer::{Peer, ok};
use xenstore::client::{Client, Error, Nodes as _};
use xenstore::wire::{Request, TransactionId};

type Life = Box<dyn FnOnce(&mut Peer) + Send>;

const PATIENCE: Duration = Duration::from_secs(20);

/// One xenstored after the other, each with a socket of its own in the same place.
fn lives(name: &str, lives: Vec<Life>) -> (PathBuf, JoinHandle<()>) {
    let folder = std::env::temp_dir().join(format!("xlr-again-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let mut listener = Some(UnixListener::bind(&path).unwrap());
    let place = path.clone();
    let thread = std::thread::spawn(move || {
        for life in lives {
            let listener = listener.take().unwrap_or_else(|| {
                let _ = std::fs::remove_file(&place);
                UnixListener::bind(&place).unwrap()
            });
            let (stream, _) = listener.accept().unwrap();
            life(&mut Peer::new(stream));
        }
    });
    (path, thread)
}

/// Answers a watch, with its first event.
fn takes_watch(peer: &mut Peer) {
    let (header, request) = peer.next().unwrap();
    assert!(
        matches!(&request, Request::Watch { path, .. } if path.as_str() == "/a"),
        "{request:?}"
    );
    peer.reply(&header, &ok(&request));
    peer.event("/a", "t");
}

fn answers(peer: &mut Peer, wanted: &[&str]) {
    for wanted in wanted {
        let (header, request) = peer.next().unwrap();
        assert_eq!(request.message_type().to_string(), *wanted);
        peer.reply(&header, &ok(&request));
    }
}

/// Takes a request, and ends.
fn dies_at(peer: &mut Peer, wanted: &str) {
    let (_, request) = peer.next().unwrap();
    assert_eq!(request.message_type().to_string(), wanted);
}

fn connect(path: &PathBuf) -> Client {
    let mut client = Client::connect_to(path).unwrap();
    client.outlive_store(PATIENCE);
    client.watch("/a", "t").unwrap();
    assert_eq!(client.next_event(Some(PATIENCE)).unwrap().unwrap().path.as_str(), "/a");
    client
}

#[test]
fn reads_are_repeated_and_writes_are_not() {
    let (path, store) = lives(
        "requests",
        vec![
            Box::new(|peer| {
                takes_watch(peer);
                dies_at(peer, "READ");
            }),
            Box::new(|peer| {
                takes_watch(peer);
                answers(peer, &["READ"]);
                dies_at(peer, "WRITE");
            }),
            Box::new(|peer| {
                takes_watch(peer);
                answers(peer, &["DIRECTORY"]);
            }),
        ],
    );
    let mut client = connect(&path);
    assert_eq!(client.read("/b").unwrap(), b"/b");
    assert_eq!(client.next_event(Some(PATIENCE)).unwrap().unwrap().path.as_str(), "/a");
    let lost = client.write("/b", "1").unwrap_err();
    assert!(matches!(lost, Error::Disconnected { .. }), "{lost}");
    assert_eq!(client.directory("/b").unwrap(), ["a"]);
    assert_eq!(client.next_event(Some(PATIENCE)).unwrap().unwrap().path.as_str(), "/a");
    store.join().unwrap();
}

#[test]
fn watches_are_set_again_while_their_events_are_awaited() {
    let end = |peer: &mut Peer| takes_watch(peer);
    let (path, store) = lives("watches", vec![Box::new(end), Box::new(end), Box::new(end)]);
    let mut client = connect(&path);
    for _ in 0..2 {
        assert_eq!(client.next_event(Some(PATIENCE)).unwrap().unwrap().path.as_str(), "/a");
    }
    store.join().unwrap();
    client.outlive_store(Duration::from_millis(10));
    assert!(client.next_event(Some(PATIENCE)).is_err(), "nobody is there");
}

/// Whoever has no patience left does not lose its watches with it.
#[test]
fn watches_outlive_patience() {
    let (path, store) = lives("patience", vec![Box::new(takes_watch)]);
    let mut client = connect(&path);
    store.join().unwrap();
    client.outlive_store(Duration::from_millis(10));
    let (start, soon) = (Instant::now(), PATIENCE / 2);
    for _ in 0..3 {
        assert!(client.read("/b").unwrap_err().is_unavailable());
        assert!(client.next_event(None).unwrap_err().is_unavailable());
    }
    assert!(start.elapsed() < soon, "patience is over");
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let store =
        std::thread::spawn(move || takes_watch(&mut Peer::new(listener.accept().unwrap().0)));
    assert_eq!(client.next_event(Some(PATIENCE)).unwrap().unwrap().path.as_str(), "/a");
    store.join().unwrap();
}

#[test]
fn a_wait_for_events_ends_in_time_while_nobody_serves() {
    let (path, store) = lives("in-time", vec![Box::new(takes_watch)]);
    let mut client = connect(&path);
    store.join().unwrap();
    let start = Instant::now();
    for timeout in [Duration::ZERO, Duration::from_millis(100)] {
        assert_eq!(client.next_event(Some(timeout)).unwrap(), None);
    }
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[test]
fn one_that_takes_connections_and_closes_them_is_not_asked_all_the_time() {
    let (path, store) = lives("closes", vec![Box::new(takes_watch)]);
    let mut client = connect(&path);
    store.join().unwrap();
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (ends, ended) = std::sync::mpsc::channel::<()>();
    let store = std::thread::spawn(move || {
        let mut count = 0;
        while matches!(ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            count += u32::from(listener.accept().is_ok());
            std::thread::yield_now();
        }
        count
    });
    assert_eq!(client.next_event(Some(Duration::from_secs(1))).unwrap(), None);
    drop(ends);
    let count = store.join().unwrap();
    assert!((2..=40).contains(&count), "{count} connections in a second");
}

#[test]
fn a_transaction_is_begun_again_unless_its_commit_was_lost() {
    let (path, store) = lives(
        "transactions",
        vec![
            Box::new(|peer| {
                takes_watch(peer);
                answers(peer, &["TRANSACTION_START"]);
                dies_at(peer, "WRITE");
            }),
            Box::new(|peer| {
                takes_watch(peer);
                answers(peer, &["TRANSACTION_START", "WRITE", "TRANSACTION_END"]);
                answers(peer, &["TRANSACTION_START", "WRITE"]);
                dies_at(peer, "TRANSACTION_END");
            }),
            Box::new(|peer| {
                takes_watch(peer);
                answers(peer, &["READ"]);
            }),
        ],
    );
    let mut client = connect(&path);
    for (runs_wanted, succeeds) in [(2, true), (1, false)] {
        let mut runs = 0;
        let done = client.transaction(|tx| {
            runs += 1;
            assert_ne!(tx.id(), TransactionId::NONE);
            tx.write("/b", "1")
        });
        assert_eq!((runs, done.is_ok()), (runs_wanted, succeeds), "{done:?}");
    }
    client.read("/b").unwrap();
    store.join().unwrap();
}

#[test]
fn a_client_that_was_not_told_to_stays_lost() {
    let (path, store) = lives("told", vec![Box::new(takes_watch)]);
    let mut client = Client::connect_to(&path).unwrap();
    client.watch("/a", "t").unwrap();
    store.join().unwrap();
    client.next_event(Some(PATIENCE)).unwrap().unwrap();
    assert!(client.next_event(Some(PATIENCE)).unwrap_err().is_disconnected());
    assert!(client.read("/a").unwrap_err().is_disconnected());
}
