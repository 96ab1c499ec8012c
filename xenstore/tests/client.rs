//! The blocking client against a peer that misbehaves.
#![forbid(unsafe_code)]

mod peer;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use peer::{error, ok, packet, serve};
use xenstore::client::{
    Client, Error, Framing, Loss, Nodes, ReplyError, Socket, TRANSACTION_ATTEMPTS_MAX, Transport,
};
use xenstore::wire::{ParseError, Reply, Request, RequestId};
use xenstore::{Errno, Failure};

fn client(stream: UnixStream) -> Client {
    let mut client = Client::over(Socket::new(stream).unwrap());
    client.set_request_timeout(Some(Duration::from_secs(20)));
    client
}

fn reads(count: usize) -> Vec<Request> {
    (0..count).map(|n| Request::read(format!("/{n}")).unwrap()).collect()
}

const NOW: Option<Duration> = Some(Duration::ZERO);
const SOON: Option<Duration> = Some(Duration::from_secs(20));

#[test]
fn replies_in_any_order_find_their_requests() {
    let (stream, _peer) = serve(|peer| {
        let requests: Vec<_> = (0..50).map(|_| peer.next().unwrap()).collect();
        for (header, request) in requests.iter().rev() {
            peer.reply(header, &ok(request));
        }
        peer.next();
    });
    let mut client = client(stream);
    let replies = client.batch_all(&reads(50)).unwrap();
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(*reply, Reply::Value(format!("/{n}").into_bytes()));
    }
    let counters = client.counters();
    assert_eq!((counters.requests, counters.round_trips), (50, 1));
}

#[test]
fn events_between_replies_are_kept_in_order() {
    let (stream, _peer) = serve(|peer| {
        for n in 0..100 {
            let (header, request) = peer.next().unwrap();
            peer.event(&format!("/w/{n}"), "t");
            peer.reply(&header, &ok(&request));
        }
        peer.next();
    });
    let mut client = client(stream);
    client.batch_all(&reads(100)).unwrap();
    assert_eq!(client.events_waiting(), 100);
    for n in 0..100 {
        let event = client.next_event(NOW).unwrap().unwrap();
        assert_eq!(event.path.as_str(), format!("/w/{n}"));
    }
    assert!(client.next_event(NOW).unwrap().is_none());
}

#[test]
fn events_without_room_are_reported_not_dropped_in_silence() {
    let (stream, _peer) = serve(|peer| {
        let (header, request) = peer.next().unwrap();
        (0..15).for_each(|n| peer.event(&format!("/{n}"), "t"));
        peer.reply(&header, &ok(&request));
        peer.next();
    });
    let mut client = client(stream);
    client.set_event_limit(10);
    client.read("/a").unwrap();
    for _ in 0..10 {
        assert!(client.next_event(NOW).unwrap().is_some());
    }
    let error = client.next_event(NOW).unwrap_err();
    assert!(matches!(error, Error::EventsLost { lost: 5, limit: 10 }), "{error}");
    assert_eq!(client.counters().events_lost, 5);
    assert!(client.next_event(NOW).unwrap().is_none(), "the client goes on");
}

#[test]
fn a_store_that_dies_in_a_burst_is_named_and_final() {
    let (stream, _peer) = serve(|peer| {
        let (header, request) = peer.next().unwrap();
        peer.event("/w", "t");
        peer.reply(&header, &ok(&request));
        peer.next();
    });
    let mut client = client(stream);
    let error = client.batch(&reads(3)).unwrap_err();
    assert!(matches!(&error, Error::Disconnected { loss: Loss::Closed, .. }), "{error:?}");
    assert!(error.is_disconnected());
    let text = error.to_string();
    assert!(text.contains("READ /1") && text.contains("xenstored closed"), "{text}");
    let error = client.write("/late", "").unwrap_err();
    assert!(matches!(error, Error::Broken { .. }) && error.is_disconnected());
    assert!(error.to_string().contains("WRITE /late was not sent"), "{error}");
    // What was heard before the end is given first.
    assert_eq!(client.next_event(SOON).unwrap().unwrap().path.as_str(), "/w");
    let error = client.next_event(SOON).unwrap_err();
    assert!(matches!(error, Error::WatchesLost { loss: Loss::Closed }), "{error}");
}

#[test]
fn an_end_right_behind_the_last_reply_spoils_nothing() {
    let (stream, peer) = serve(|peer| {
        let requests: Vec<_> = (0..3).map(|_| peer.next().unwrap()).collect();
        requests.iter().for_each(|(header, request)| peer.reply(header, &ok(request)));
    });
    let mut client = client(stream);
    let replies = client.batch_all(&reads(3)).unwrap();
    peer.join().unwrap();
    assert_eq!(replies.len(), 3);
    let mut events = client.events();
    assert!(matches!(events.next(), Some(Err(Error::WatchesLost { .. }))));
    assert!(events.next().is_none());
}

#[test]
fn an_end_while_waiting_for_events_gives_the_last_ones_first() {
    let (stream, _peer) = serve(|peer| peer.event("/last", "t"));
    let mut client = client(stream);
    assert_eq!(client.next_event(None).unwrap().unwrap().path.as_str(), "/last");
    assert!(client.next_event(None).unwrap_err().is_disconnected());
}

/// What one bad answer to a READ does.
fn check_bad(answer: Vec<u8>, wanted: impl Fn(&Error) -> bool, usable_after: bool) {
    let (stream, _peer) = serve(move |peer| {
        peer.next().unwrap();
        peer.raw(&answer);
        while let Some((header, request)) = peer.next() {
            peer.reply(&header, &ok(&request));
        }
    });
    let mut client = client(stream);
    let error = client.read("/a").unwrap_err();
    assert!(wanted(&error), "{error:?}");
    assert_eq!(client.read("/b").is_ok(), usable_after, "{error:?}");
}

#[test]
fn bad_answers() {
    let id = RequestId(1);
    let garbage = Loss::Garbage(ParseError::TooLong { kind: 2, len: u32::MAX });
    let mut long = packet(2, id, b"");
    long[12..].fill(0xff);
    let lost = |wanted: Loss| move |error: &Error| matches!(error, Error::Disconnected { loss, .. } if *loss == wanted);
    check_bad(long, lost(garbage), false);
    check_bad(packet(2, RequestId(2), b""), lost(Loss::Unasked(2)), false);
    check_bad(packet(2, RequestId(0), b""), lost(Loss::Unasked(0)), false);
    let bad = |error: &Error| matches!(error, Error::BadReply { .. });
    check_bad(
        packet(11, id, b"OK\0"),
        |error| matches!(error, Error::BadReply { source: ReplyError::Type(_), .. }),
        true,
    );
    check_bad(packet(20, id, b"OK\0"), bad, true);
    check_bad(packet(16, id, b"ENOENT"), bad, true);
    check_bad(
        packet(16, id, b"EQUOTA\0"),
        |error| error.errno().is_none() && error.to_string().contains("EQUOTA"),
        true,
    );
    check_bad(packet(16, id, b"ENOENT\0"), Error::is_not_found, true);
    check_bad(packet(16, id, b"EACCES\0"), Error::is_denied, true);
    check_bad(packet(16, id, b"EPERM\0"), Error::is_denied, true);
    // A second answer to the same request is an answer to nothing.
    let twice = [packet(16, id, b"ENOENT\0"), packet(16, id, b"ENOENT\0")].concat();
    check_bad(twice, Error::is_not_found, false);
    // An event that cannot be read is a lost one, and no reason to give up.
    let event = [packet(15, id, b"?"), packet(16, id, b"ENOENT\0")].concat();
    check_bad(event, Error::is_not_found, true);
}

#[test]
fn silence_ends_in_a_timeout() {
    let (stream, _peer) = serve(|peer| while peer.next().is_some() {});
    let mut client = client(stream);
    client.set_request_timeout(Some(Duration::from_millis(50)));
    let error = client.read("/a").unwrap_err();
    assert!(matches!(error, Error::Disconnected { loss: Loss::Timeout(_), .. }), "{error}");
    assert!(client.next_event(NOW).is_err());
}

#[test]
fn full_buffers_in_both_directions_do_not_lock() {
    const COUNT: usize = 2000;
    let value = vec![b'v'; 4000];
    let answer = Reply::Value(value.clone());
    // The peer writes each answer to its end before it reads on, as a simple server does.
    let (stream, _peer) = serve(move |peer| {
        while let Some((header, request)) = peer.next() {
            let reply = if matches!(request, Request::Read(_)) { &answer } else { &ok(&request) };
            peer.reply(&header, reply);
        }
    });
    let mut client = client(stream);
    let mut requests = Vec::new();
    for n in 0..COUNT {
        requests.push(Request::write(format!("/{n}"), value.clone()).unwrap());
        requests.push(Request::read(format!("/{n}")).unwrap());
    }
    let replies = client.batch_all(&requests).unwrap();
    assert_eq!(replies.len(), 2 * COUNT);
    assert!(replies.iter().skip(1).step_by(2).all(|reply| *reply == Reply::Value(value.clone())));
    assert_eq!(client.counters().round_trips, 1);
}

#[test]
fn nothing_is_sent_when_one_request_of_a_burst_is_too_long() {
    let (stream, peer) = serve(|peer| peer.next().map(|(_, request)| request));
    let mut client = client(stream);
    let mut burst = reads(2);
    burst.push(Request::write("/long", vec![0; 4096]).unwrap());
    let error = client.batch(&burst).unwrap_err();
    assert!(
        matches!(&error, Error::TooLong { len_bytes: 4102, limit_bytes: 4096, .. }),
        "{error:?}"
    );
    assert_eq!(client.counters().requests, 0);
    drop(client);
    assert_eq!(peer.join().unwrap(), None);
}

/// Answers EAGAIN to so many commits; returns all requests but the reads.
fn conflicts(count: u32) -> (UnixStream, std::thread::JoinHandle<Vec<(u32, Request)>>) {
    serve(move |peer| {
        let (mut seen, mut commits) = (Vec::new(), 0);
        while let Some((header, request)) = peer.next() {
            let commit = matches!(request, Request::TransactionEnd { commit: true });
            commits += u32::from(commit);
            let refuse = commit && commits <= count;
            let reply = if refuse { error(Errno::Eagain) } else { ok(&request) };
            peer.reply(&header, &reply);
            seen.push((header.transaction.0, request));
        }
        seen
    })
}

#[test]
fn a_transaction_is_tried_so_often_and_no_more() {
    let max = TRANSACTION_ATTEMPTS_MAX;
    for (refused, runs, committed) in [(0, 1, true), (max - 1, max, true), (max, max, false)] {
        let (stream, _peer) = conflicts(refused);
        let mut client = client(stream);
        let mut ran = 0;
        let result = client.transaction(|tx| {
            ran += 1;
            tx.read("/a")
        });
        assert_eq!((ran, result.is_ok()), (runs, committed), "{refused} refusals");
        assert_eq!(client.counters().conflicts, u64::from(refused));
        if let Err(error) = result {
            assert!(error.is_again() && matches!(error, Error::Conflict { .. }), "{error}");
        }
    }
}

/// C xenstored's answer where a change outside got in the way of a removal inside.
#[test]
fn a_transaction_that_is_torn_is_tried_again() {
    for (refused, removed) in [(1, true), (u32::MAX, false)] {
        let (stream, peer) = serve(move |peer| {
            let (mut removals, mut discarded) = (0, 0);
            while let Some((header, request)) = peer.next() {
                let is_removal = matches!(request, Request::Rm { .. });
                removals += u32::from(is_removal);
                discarded += u32::from(request == Request::TransactionEnd { commit: false });
                let torn = is_removal && removals <= refused;
                peer.reply(&header, &if torn { error(Errno::Eio) } else { ok(&request) });
            }
            (removals, discarded)
        });
        let mut client = client(stream);
        let result = client.transaction(|tx| tx.rm("/a"));
        assert_eq!(result.is_ok(), removed, "{result:?}");
        drop(client);
        let tries = if removed { 2 } else { TRANSACTION_ATTEMPTS_MAX };
        assert_eq!(peer.join().unwrap(), (tries, tries - u32::from(removed)));
    }
}

#[test]
fn a_transaction_ends_once_whatever_happens_inside() {
    let (stream, peer) = conflicts(0);
    let mut client = client(stream);
    let result = client.transaction(|tx| {
        tx.write("/a", "")?;
        Err::<(), _>(Error::Conflict { attempts: 0 })
    });
    assert!(result.is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        client.transaction(|_| -> Result<(), Error> { panic!("in the body") })
    }));
    assert!(panicked.is_err());
    client.transaction(|tx| tx.rm("/a")).unwrap();
    drop(client);
    let seen: Vec<_> = peer.join().unwrap();
    let end = |commit| (77, Request::TransactionEnd { commit });
    let start = (0, Request::TransactionStart);
    assert_eq!(
        seen,
        [
            start.clone(),
            (77, Request::write("/a", "").unwrap()),
            end(false),
            start.clone(),
            end(false),
            start,
            (77, Request::rm("/a").unwrap()),
            end(true),
        ]
    );
}

#[test]
fn a_batched_transaction_takes_three_round_trips() {
    let (stream, peer) = conflicts(1);
    let mut client = client(stream);
    let writes: Vec<_> = (0..20).map(|n| Request::write(format!("/{n}"), "").unwrap()).collect();
    client.transact(&writes).unwrap();
    assert_eq!(client.counters().round_trips, 6, "three, twice for the conflict");
    drop(client);
    assert_eq!(peer.join().unwrap().len(), 44);
}

#[test]
fn a_directory_that_changes_between_parts_is_read_anew() {
    let (stream, _peer) = serve(|peer| {
        let part = |generation, names: &[&str], last| Reply::DirectoryPart {
            generation,
            children: names.iter().map(ToString::to_string).collect(),
            last,
        };
        let script = [
            (0, part(1, &["aa", "b"], false)),
            (5, part(2, &["c"], true)),
            (0, part(2, &["b"], false)),
            (2, part(2, &["c"], true)),
        ];
        let (header, _) = peer.next().unwrap();
        peer.reply(&header, &error(Errno::E2big));
        for (wanted, reply) in script {
            let (header, request) = peer.next().unwrap();
            assert!(matches!(request, Request::DirectoryPart { offset, .. } if offset == wanted));
            peer.reply(&header, &reply);
        }
    });
    assert_eq!(client(stream).directory("/a").unwrap(), ["b", "c"]);
}

#[test]
fn a_store_that_knows_no_depth() {
    let (stream, _peer) = serve(|peer| {
        while let Some((header, request)) = peer.next() {
            let deep = matches!(request, Request::Watch { depth: Some(_), .. });
            let reply = if deep { error(Errno::Einval) } else { ok(&request) };
            if matches!(request, Request::Watch { depth: None, .. }) {
                // Events may overtake the reply.
                ["/a", "/a/b/c", "/a/b"].iter().for_each(|path| peer.event(path, "t"));
            }
            peer.reply(&header, &reply);
            if !deep {
                peer.event("/a/x/y", "t");
            }
        }
    });
    let mut client = client(stream);
    client.watch_depth("/a", "t", 1).unwrap();
    client.read("/sync").unwrap();
    let mut seen = Vec::new();
    while let Some(event) = client.next_event(NOW).unwrap() {
        seen.push(event.path.to_string());
    }
    assert_eq!(seen, ["/a", "/a/b"]);
    let special = client.watch_depth("@releaseDomain", "t", 1).unwrap_err();
    assert!(matches!(special, Error::Unsupported { .. }), "{special}");
    let requests = client.counters().requests;
    client.watch_depth("/b", "t", 1).unwrap();
    assert_eq!(client.counters().requests, requests + 1, "it is not asked twice");
}

#[test]
fn a_refused_watch_leaves_nothing_behind() {
    let (stream, _peer) = serve(|peer| {
        let (header, _) = peer.next().unwrap();
        peer.reply(&header, &error(Errno::Enospc));
        let (header, request) = peer.next().unwrap();
        // Beyond the depth of the refused watch, which is no reason to hold it back.
        peer.event("/a/b/c", "t");
        peer.reply(&header, &ok(&request));
        peer.next();
    });
    let mut client = client(stream);
    let refused = client.watch_depth("/a", "t", 1).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::Enospc));
    client.read("/sync").unwrap();
    assert_eq!(client.events_waiting(), 1);
}

#[test]
fn a_reply_of_another_type_is_none_in_a_burst_either() {
    let (stream, _peer) = serve(|peer| {
        let requests: Vec<_> = (0..3).map(|_| peer.next().unwrap()).collect();
        peer.reply(&requests[0].0, &ok(&requests[0].1));
        peer.reply(&requests[1].0, &Reply::Introduced(true));
        peer.reply(&requests[2].0, &ok(&requests[2].1));
        peer.next();
    });
    let replies = client(stream).batch(&reads(3)).unwrap();
    let kinds: Vec<_> = replies.iter().map(Result::is_ok).collect();
    assert_eq!(kinds, [true, false, true]);
    assert!(matches!(&replies[1], Err(Error::BadReply { source: ReplyError::Type(_), .. })));
}

#[test]
fn unwatch_takes_its_events_along() {
    let (stream, _peer) = serve(|peer| {
        while let Some((header, request)) = peer.next() {
            peer.event("/a/b", "gone");
            peer.event("/a/b", "kept");
            peer.reply(&header, &ok(&request));
        }
    });
    let mut client = client(stream);
    client.watch("/a", "gone").unwrap();
    client.watch("/a", "kept").unwrap();
    client.unwatch("/a", "gone").unwrap();
    let mut seen = 0;
    while let Some(event) = client.next_event(NOW).unwrap() {
        assert!(event.token == "kept", "{event:?}");
        seen += 1;
    }
    assert_eq!(seen, 3);
    client.reset_watches().unwrap();
    assert_eq!(client.events_waiting(), 0);
}

/// A transport as rude as the kernel's device: one packet per write, errors from `write`, and every
/// second call interrupted.
#[derive(Debug)]
struct Rude {
    stream: UnixStream,
    calls: u32,
    under_way: usize,
}

impl Rude {
    fn interrupted(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    }
}

impl Read for Rude {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        let count = self.stream.read(&mut buffer[..7])?;
        self.under_way = 0;
        Ok(count)
    }
}

impl Write for Rude {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupted()?;
        assert_eq!(self.under_way, 0, "a second request is under way");
        let len = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
        assert_eq!(bytes.len(), 16 + len as usize, "one packet in one write");
        match bytes[0] {
            4 => Err(io::Error::from_raw_os_error(Errno::Eexist.raw())),
            5 => Err(io::Error::from_raw_os_error(5000)),
            _ => {
                self.under_way = 1;
                self.stream.write_all(bytes).map(|()| bytes.len())
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Rude {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Transport for Rude {
    fn framing(&self) -> Framing {
        Framing::PacketPerWrite { packet_max: 4096 }
    }
}

#[test]
fn a_device_gets_one_packet_at_a_time_and_answers_by_errno() {
    let (stream, _peer) = serve(|peer| {
        while let Some((header, request)) = peer.next() {
            peer.reply(&header, &ok(&request));
        }
    });
    stream.set_nonblocking(true).unwrap();
    let mut client = Client::over(Rude { stream, calls: 0, under_way: 0 });
    let replies = client.batch_all(&reads(20)).unwrap();
    assert_eq!(replies[19], Reply::Value(b"/19".to_vec()));
    assert_eq!(client.counters().round_trips, 20);
    let error = client.watch("/a", "t").unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert!(matches!(
        client.write("/a", vec![0; 4080 - 2]),
        Err(Error::TooLong { len_bytes: 4081, limit_bytes: 4080, .. })
    ));
    client.write("/a", vec![0; 4080 - 3]).unwrap();
    assert!(matches!(client.reset_watches(), Err(Error::Unsupported { .. })));
    assert!(matches!(client.watch_depth("@x", "t", 1), Err(Error::Unsupported { .. })));
    assert_eq!(client.read("/still").unwrap(), b"/still");
    let error = client.unwatch("/a", "t").unwrap_err();
    assert!(matches!(error, Error::Disconnected { loss: Loss::Io(_), .. }), "{error:?}");
}

#[test]
fn a_dead_socket_is_told_from_a_missing_one() {
    let place = std::env::temp_dir().join(format!("xenstore-client-test-{}", std::process::id()));
    let missing = Client::connect_to(&place).unwrap_err();
    assert!(missing.is_unavailable() && missing.to_string().contains("No such file"), "{missing}");
    drop(UnixListener::bind(&place).unwrap());
    let dead = Client::connect_to(&place).unwrap_err();
    std::fs::remove_file(&place).unwrap();
    let text = dead.to_string();
    assert!(text.contains("refused") && text.contains("start xenstored"), "{text}");
    assert!(text.contains(&place.display().to_string()));
}

#[test]
fn text_and_optional_values() {
    let (stream, _peer) = serve(|peer| {
        while let Some((header, request)) = peer.next() {
            let reply = match &request {
                Request::Read(path) if path.as_str() == "/no" => error(Errno::Enoent),
                Request::Read(path) if path.as_str() == "/raw" => Reply::Value(vec![0xff]),
                Request::Read(path) if path.as_str() == "/odd" => {
                    Reply::Error(Failure::Unknown(b"EODD".to_vec()))
                }
                _ => ok(&request),
            };
            peer.reply(&header, &reply);
        }
    });
    let mut client = client(stream);
    assert_eq!(client.read_text("/a").unwrap(), "/a");
    assert_eq!(client.read_text_optional("/a").unwrap().as_deref(), Some("/a"));
    assert_eq!(client.read_text_optional("/no").unwrap(), None);
    assert!(client.exists("/a").unwrap() && !client.exists("/no").unwrap());
    assert!(matches!(client.read_text("/raw"), Err(Error::NotText { .. })));
    assert!(client.read_optional("/odd").is_err());
    assert!(client.batch(&[]).unwrap().is_empty());
}
