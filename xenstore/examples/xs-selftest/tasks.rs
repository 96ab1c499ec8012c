//! The tokio client's checks.

use std::path::Path;
use std::time::{Duration, Instant};

use xenstore::aio::{Events, Store};
use xenstore::client::Error;
use xenstore::wire::Request;

use super::{Checked, ensure};

const PATIENCE: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_millis(300);

/// Runs all checks over the socket; returns how many failed.
pub fn run(way: &Path) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            println!("FAIL {} tokio: {error}", way.display());
            return 1;
        }
    };
    runtime.block_on(checks(way))
}

async fn checks(way: &Path) -> usize {
    let mut failed = 0;
    let mut report = |name: &str, start: Instant, result: Checked| {
        let (place, took) = (way.display(), start.elapsed().as_millis());
        match result {
            Ok(detail) => println!("ok   {place} tokio-{name} ({took} ms): {detail}"),
            Err(error) => {
                failed += 1;
                println!("FAIL {place} tokio-{name} ({took} ms): {error}");
            }
        }
    };
    let root = format!("/tool/xs-selftest-tokio-{}", std::process::id());
    let connected = Store::connect_to(way).await;
    let (store, mut events) = match connected {
        Ok(pair) => pair,
        Err(error) => {
            report("connect", Instant::now(), Err(error.into()));
            return failed;
        }
    };
    let start = Instant::now();
    report("concurrent", start, within(concurrent(&store, &root)).await);
    let start = Instant::now();
    report("transactions", start, within(transactions(&store, &root)).await);
    let start = Instant::now();
    report("watch", start, within(watch(&store, &mut events, &root)).await);
    let start = Instant::now();
    report("directory-long", start, within(directory_long(&store, &root)).await);
    let start = Instant::now();
    let removed = store.rm(&root).await.map(|()| "done".to_owned()).map_err(Into::into);
    report("clean-up", start, removed);
    println!("     {} tokio {:?}", way.display(), store.counters());
    failed
}

async fn within(check: impl Future<Output = Checked>) -> Checked {
    tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(|_| Err("no end in sight".into()))
}

async fn concurrent(store: &Store, root: &str) -> Checked {
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let (store, path) = (store.clone(), format!("{root}/concurrent/{n}"));
            tokio::spawn(async move {
                store.write(&path, n.to_string()).await?;
                store.read_text(&path).await
            })
        })
        .collect();
    for (n, caller) in callers.into_iter().enumerate() {
        let value = caller.await??;
        ensure(value == n.to_string(), format!("task {n} read {value}"))?;
    }
    Ok("200 tasks write and read over one connection".to_owned())
}

/// Tasks that count up one node: each commit spoils the transactions of the others.
async fn transactions(store: &Store, root: &str) -> Checked {
    let path = format!("{root}/sum");
    store.write(&path, "0").await?;
    let add = |path: String, store: Store| async move {
        store
            .transaction(|tx| {
                let path = path.clone();
                async move {
                    let sum: u32 = tx.read_text(&path).await?.parse().unwrap_or_default();
                    tx.write(&path, (sum + 1).to_string()).await?;
                    Ok::<_, Error>((tx, ()))
                }
            })
            .await
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(add(path.clone(), store.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    let sum = store.read_text(&path).await?;
    let conflicts = store.counters().conflicts;
    ensure(sum == "8", format!("the sum is {sum} after {conflicts} conflicts"))?;
    ensure(conflicts > 0, "no conflict: the check shows nothing")?;
    Ok(format!("8 tasks count up one node: {conflicts} conflicts, no update lost"))
}

async fn watch(store: &Store, events: &mut Events, root: &str) -> Checked {
    const COUNT: usize = 400;
    let path = format!("{root}/watch");
    store.mkdir(&path).await?;
    store.watch(&path, "tasks").await?;
    let first = events.next().await.ok_or("no first event")??;
    ensure(first.path.as_str() == path, format!("first {first:?}"))?;
    let writes: Vec<_> =
        (0..COUNT).map(|n| Request::write(format!("{path}/{n}"), "")).collect::<Result<_, _>>()?;
    store.batch_all(&writes).await?;
    for n in 0..COUNT {
        let event = events.next().await.ok_or("the events end")??;
        let wanted = format!("{path}/{n}");
        ensure(event.path.as_str() == wanted, format!("wanted {wanted}, got {}", event.path))?;
    }
    store.unwatch(&path, "tasks").await?;
    store.write(format!("{path}/late"), "").await?;
    let late = tokio::time::timeout(QUIET, events.next()).await;
    ensure(late.is_err(), format!("an event after unwatch: {late:?}"))?;
    Ok(format!("{COUNT} events in order, none after unwatch"))
}

async fn directory_long(store: &Store, root: &str) -> Checked {
    let path = format!("{root}/long");
    let names: Vec<String> = (0..400).map(|n| format!("child-with-a-long-name-{n:04}")).collect();
    let made: Vec<_> =
        names.iter().map(|n| Request::mkdir(format!("{path}/{n}"))).collect::<Result<_, _>>()?;
    store.batch_all(&made).await?;
    let mut found = store.directory(&path).await?;
    found.sort();
    ensure(found == names, format!("{} names of {}", found.len(), names.len()))?;
    Ok(format!("{} names", found.len()))
}
