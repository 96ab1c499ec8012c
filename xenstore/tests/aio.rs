//! The tokio client: concurrent callers, back-pressure, cancellation, and a peer that misbehaves.
#![forbid(unsafe_code)]

mod peer;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use peer::{error, ok, packet, serve};
use xenstore::Errno;
use xenstore::aio::{Events, Options, Store};
use xenstore::client::{Error, Loss, TRANSACTION_ATTEMPTS_MAX};
use xenstore::wire::{Reply, Request, RequestId, TransactionId};

fn store(stream: UnixStream, options: Options) -> (Store, Events) {
    stream.set_nonblocking(true).unwrap();
    Store::over(tokio::net::UnixStream::from_std(stream).unwrap(), options)
}

/// Runs a test in a runtime of two threads, with a limit on its time.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs")
    })
}

#[test]
fn callers_are_pipelined_and_get_their_own_replies() {
    let (stream, _peer) = serve(|peer| {
        // Nobody is answered before everybody has asked.
        let requests: Vec<_> = (0..64).map(|_| peer.next().unwrap()).collect();
        for (header, request) in requests.iter().rev() {
            peer.event("/w", "t");
            peer.reply(header, &ok(request));
        }
        peer.next();
    });
    run(async {
        let (store, mut events) = store(stream, Options::default());
        let callers: Vec<_> = (0..64)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { (n, store.read_text(format!("/{n}")).await.unwrap()) })
            })
            .collect();
        for caller in callers {
            let (n, value) = caller.await.unwrap();
            assert_eq!(value, format!("/{n}"));
        }
        for _ in 0..64 {
            assert_eq!(events.next().await.unwrap().unwrap().path.as_str(), "/w");
        }
        assert_eq!(store.counters().requests, 64);
        assert_eq!(store.counters().events, 64);
    });
}

#[test]
fn a_slow_receiver_holds_the_store_back_and_loses_nothing() {
    const COUNT: usize = 30_000;
    let (stream, peer) = serve(|peer| {
        let start = std::time::Instant::now();
        (0..COUNT).for_each(|n| peer.event(&format!("/{n}"), "t"));
        start.elapsed()
    });
    let pause = Duration::from_millis(300);
    run(async {
        // Room for far fewer than arrive.
        let options = Options { event_limit: 100_000, ..Options::default() };
        let (store, mut events) = store(stream, options);
        tokio::time::sleep(pause).await;
        let queued = store.counters().events;
        assert!(queued < COUNT as u64 / 2, "{queued} events were read with nobody to take them");
        for n in 0..COUNT {
            let event = events.next().await.unwrap().unwrap();
            assert_eq!(event.path.as_str(), format!("/{n}"));
        }
        assert!(matches!(events.next().await, Some(Err(Error::WatchesLost { .. }))));
        assert!(events.next().await.is_none());
        assert_eq!(store.counters().events_lost, 0);
    });
    assert!(peer.join().unwrap() > pause, "the store was held back");
}

#[test]
fn a_flood_does_not_hold_up_a_reply_and_is_reported() {
    const COUNT: usize = 20_000;
    let (stream, _peer) = serve(|peer| {
        let (header, request) = peer.next().unwrap();
        (0..COUNT).for_each(|n| peer.event(&format!("/{n}"), "t"));
        peer.reply(&header, &ok(&request));
        peer.next();
    });
    run(async {
        let options = Options { event_limit: 50, ..Options::default() };
        let (store, mut events) = store(stream, options);
        assert_eq!(store.read("/a").await.unwrap(), b"/a");
        let (mut seen, mut lost) = (0, 0);
        while seen + lost < COUNT as u64 {
            match events.next().await.unwrap() {
                Ok(_) => seen += 1,
                Err(Error::EventsLost { lost: count, limit: 50 }) => lost += count,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(seen + lost, COUNT as u64);
        assert_eq!(store.counters().events_lost, lost);
        assert!(lost > 0);
    });
}

#[test]
fn a_store_that_dies_tells_everybody() {
    let (stream, _peer) = serve(|peer| {
        for _ in 0..5 {
            peer.next().unwrap();
        }
        peer.event("/last", "t");
    });
    run(async {
        let (store, mut events) = store(stream, Options::default());
        let callers: Vec<_> = (0..5)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.write(format!("/{n}"), "").await })
            })
            .collect();
        for (n, caller) in callers.into_iter().enumerate() {
            let error = caller.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Disconnected { loss: Loss::Closed, .. }), "{error}");
            assert!(error.to_string().contains(&format!("WRITE /{n}")), "{error}");
        }
        let error = store.read("/late").await.unwrap_err();
        assert!(matches!(error, Error::Broken { loss: Loss::Closed, .. }), "{error}");
        assert_eq!(events.next().await.unwrap().unwrap().path.as_str(), "/last");
        assert!(matches!(events.next().await, Some(Err(Error::WatchesLost { .. }))));
        assert!(events.next().await.is_none());
    });
}

#[test]
fn silence_and_garbage_end_the_connection() {
    let (stream, _peer) = serve(|peer| while peer.next().is_some() {});
    run(async {
        let request_timeout = Some(Duration::from_millis(50));
        let options = Options { request_timeout, ..Options::default() };
        let (store, _events) = store(stream, options);
        let error = store.read("/a").await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { loss: Loss::Timeout(_), .. }), "{error}");
    });
    let (stream, _peer) = serve(|peer| {
        let (header, _) = peer.next().unwrap();
        peer.raw(&packet(2, header.request, b"good"));
        peer.next().unwrap();
        peer.raw(&[0xff; 64]);
        peer.next();
    });
    run(async {
        let (store, _events) = store(stream, Options::default());
        assert_eq!(store.read("/a").await.unwrap(), b"good");
        let error = store.read("/a").await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { loss: Loss::Garbage(_), .. }), "{error}");
    });
}

/// Refuses so many commits with EAGAIN; returns what was asked, with its transaction.
fn conflicts(count: u32) -> (UnixStream, std::thread::JoinHandle<Vec<(u32, Request)>>) {
    serve(move |peer| {
        let (mut seen, mut commits) = (Vec::new(), 0);
        while let Some((header, request)) = peer.next() {
            let commit = matches!(request, Request::TransactionEnd { commit: true });
            commits += u32::from(commit);
            let refuse = commit && commits <= count;
            peer.reply(&header, &if refuse { error(Errno::Eagain) } else { ok(&request) });
            seen.push((header.transaction.0, request));
        }
        seen
    })
}

#[test]
fn transactions_are_tried_again_also_in_spawned_tasks() {
    let (stream, peer) = conflicts(2);
    run(async {
        let (store, _events) = store(stream, Options::default());
        let task = store.clone();
        let mut runs = 0;
        let runs = tokio::spawn(async move {
            task.transaction(|tx| {
                runs += 1;
                async move {
                    tx.read("/a").await?;
                    tx.write("/a", "").await?;
                    Ok::<_, Error>((tx, runs))
                }
            })
            .await
        });
        assert_eq!(runs.await.unwrap().unwrap(), 3);
        assert_eq!(store.counters().conflicts, 2);
        store.transact(&[Request::write("/b", "").unwrap()]).await.unwrap();
    });
    assert_eq!(peer.join().unwrap().len(), 3 * 4 + 3);
    let (stream, _peer) = conflicts(u32::MAX);
    run(async {
        let (store, _events) = store(stream, Options::default());
        let result = store.transact(&[]).await;
        let attempts = TRANSACTION_ATTEMPTS_MAX;
        assert!(matches!(result, Err(Error::Conflict { attempts: a }) if a == attempts));
    });
}

#[test]
fn a_transaction_that_is_cancelled_or_fails_is_discarded() {
    let (stream, peer) = conflicts(0);
    run(async {
        let (store, _events) = store(stream, Options::default());
        let failed = store.transaction(async |tx| {
            tx.write("/a", "").await?;
            Err::<(_, ()), _>(Error::Conflict { attempts: 0 })
        });
        assert!(failed.await.is_err());
        let never = store.transaction(async |tx| {
            std::future::pending::<()>().await;
            Ok::<_, Error>((tx, ()))
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), never).await.is_err());
        store.read("/sync").await.unwrap();
    });
    let end = (77, Request::TransactionEnd { commit: false });
    let start = (0, Request::TransactionStart);
    let wanted = [
        start.clone(),
        (77, Request::write("/a", "").unwrap()),
        end.clone(),
        start,
        end,
        (0, Request::read("/sync").unwrap()),
    ];
    assert_eq!(peer.join().unwrap(), wanted);
}

#[test]
fn a_transaction_whose_start_was_cancelled_is_discarded() {
    let (go, gate) = std::sync::mpsc::channel();
    let (stream, peer) = serve(move |peer| {
        let (header, _) = peer.next().unwrap();
        gate.recv().unwrap();
        peer.reply(&header, &Reply::TransactionStarted(TransactionId(5)));
        let (header, request) = peer.next().unwrap();
        peer.reply(&header, &ok(&request));
        (header.transaction, request)
    });
    run(async {
        let (store, _events) = store(stream, Options::default());
        let never = store.transaction(async |tx| Ok::<_, Error>((tx, ())));
        assert!(tokio::time::timeout(Duration::from_millis(50), never).await.is_err());
        go.send(()).unwrap();
        let seen = tokio::task::spawn_blocking(|| peer.join().unwrap()).await.unwrap();
        assert_eq!(seen, (TransactionId(5), Request::TransactionEnd { commit: false }));
        drop(store);
    });
}

#[test]
fn large_bursts_in_both_directions() {
    let value = vec![b'v'; 4000];
    let answer = Reply::Value(value.clone());
    let (stream, _peer) = serve(move |peer| {
        while let Some((header, request)) = peer.next() {
            let read = matches!(request, Request::Read(_));
            let reply = if read { answer.clone() } else { ok(&request) };
            peer.reply(&header, &reply);
        }
    });
    run(async {
        let (store, _events) = store(stream, Options::default());
        let mut requests = Vec::new();
        for n in 0..1000 {
            requests.push(Request::write(format!("/{n}"), value.clone()).unwrap());
            requests.push(Request::read(format!("/{n}")).unwrap());
        }
        assert_eq!(store.batch_all(&requests).await.unwrap().len(), 2000);
        assert_eq!(store.counters().round_trips, 1);
        let long = store.write("/a", vec![0; 4096]).await.unwrap_err();
        assert!(matches!(long, Error::TooLong { .. }));
    });
}

#[test]
fn depths_are_kept_here_where_the_store_knows_none() {
    let (stream, _peer) = serve(|peer| {
        while let Some((header, request)) = peer.next() {
            let deep = matches!(request, Request::Watch { depth: Some(_), .. });
            peer.reply(&header, &if deep { error(Errno::Einval) } else { ok(&request) });
            peer.event("/a/b/c", "t");
            peer.event("/a/b", "t");
        }
    });
    run(async {
        let (store, mut events) = store(stream, Options::default());
        // The refused request leaves no watch behind, so that its events pass unfiltered.
        store.watch_depth("/a", "t", 1).await.unwrap();
        store.read("/sync").await.unwrap();
        let special = store.watch_depth("@x", "t", 1).await.unwrap_err();
        assert!(matches!(special, Error::Unsupported { .. }));
        let mut seen = Vec::new();
        while let Ok(Some(Ok(event))) =
            tokio::time::timeout(Duration::from_millis(200), events.next()).await
        {
            seen.push(event.path.to_string());
        }
        assert!(seen.iter().filter(|path| *path == "/a/b/c").count() <= 1, "{seen:?}");
        assert!(seen.iter().filter(|path| *path == "/a/b").count() >= 3, "{seen:?}");
        store.unwatch("/a", "t").await.unwrap();
    });
}

#[test]
fn the_connection_closes_with_its_last_handle() {
    let (stream, peer) = serve(|peer| {
        let (header, request) = peer.next().unwrap();
        peer.reply(&header, &ok(&request));
        peer.next().is_none()
    });
    run(async {
        let (store, mut events) = store(stream, Options::default());
        let other = store.clone();
        drop(store);
        other.read("/a").await.unwrap();
        drop(other);
        assert!(events.next().await.is_none());
    });
    assert!(peer.join().unwrap());
    // An id that was never asked for.
    let (stream, _peer) = serve(|peer| {
        peer.next();
        peer.raw(&packet(2, RequestId(9), b""));
        peer.next();
    });
    run(async {
        let (store, _events) = store(stream, Options::default());
        let error = store.read("/a").await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { loss: Loss::Unasked(9), .. }), "{error}");
    });
}
