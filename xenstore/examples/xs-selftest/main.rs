//! Runs the whole client against the store of this host, blocking over both ways to it and with tokio
//! over the socket, and prints a line per check. To be run as root in dom0; exits with 1 when a check failed.
//!
//! ```text
//! xs-selftest                    both ways (a way that is not there is a failure)
//! xs-selftest PATH…              these sockets or devices only
//! xs-selftest --domain A B        A is a shell line that makes a domain, B one that removes it
//! xs-selftest --kill-xenstored   kills xenstored and looks at what the clients make of it
//! ```
//!
//! All it writes lies below `/tool/xs-selftest-PID`, which it removes at the end.
#![forbid(unsafe_code)]

mod coming;
mod death;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use xenstore::client::{Client, DEVICE, Error, Nodes, SOCKETS, TRANSACTION_ATTEMPTS_MAX};
use xenstore::wire::{Reply, Request};
use xenstore::{Access, Domid, Permissions};

/// What a check says when it passed: a detail worth printing.
type Checked = Result<String, Box<dyn std::error::Error>>;
type Check = (&'static str, fn(&mut Bench) -> Checked);

const CHECKS: &[Check] = &[
    ("values", values),
    ("nodes", nodes),
    ("errors", errors),
    ("permissions", permissions),
    ("limits", limits),
    ("transaction-commit", transaction_commit),
    ("transaction-abort", transaction_abort),
    ("transaction-batched", transaction_batched),
    ("transaction-conflict", transaction_conflict),
    ("transaction-hopeless", transaction_hopeless),
    ("pipeline-1000", pipeline_1000),
    ("pipeline-full-buffers", pipeline_full_buffers),
    ("directory-long", directory_long),
    ("watch", watch),
    ("watch-during-burst", watch_during_burst),
    ("watch-depth", watch_depth),
    ("watch-special", watch_special),
    ("watch-removed-parent", watch_removed_parent),
    ("unwatch", unwatch),
    ("domains", domains),
    ("newer-requests", newer_requests),
    ("round-trip-time", round_trip_time),
];

/// The connection under test, another one that interferes, and where to write.
struct Bench {
    store: Client,
    other: Client,
    root: String,
    is_device: bool,
}

impl Bench {
    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.root)
    }

    fn fresh(&mut self, below: &str) -> Result<String, Error> {
        let path = self.path(below);
        self.store.mkdir(&path)?;
        Ok(path)
    }
}

fn main() -> ExitCode {
    let chosen: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let failed = match &chosen[..] {
        [flag] if flag == Path::new("--kill-xenstored") => death::run(&usual_ways()[0]),
        [flag, create, destroy] if flag == Path::new("--domain") => {
            let (create, destroy) = (create.to_string_lossy(), destroy.to_string_lossy());
            coming::run(&usual_ways()[0], &create, &destroy)
        }
        _ => everything(chosen),
    };
    println!("xs-selftest: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all checks over these ways; returns how many failed.
fn everything(chosen: Vec<PathBuf>) -> usize {
    let ways = if chosen.is_empty() { usual_ways() } else { chosen };
    let mut failed = 0;
    for way in &ways {
        failed += run(way);
        // Tasks go by sockets only.
        if way != Path::new(DEVICE) {
            failed += tasks::run(way);
        }
    }
    failed
}

fn usual_ways() -> Vec<PathBuf> {
    let present = |path: &&str| Path::new(path).exists();
    let socket = SOCKETS.iter().copied().find(|path| present(path)).unwrap_or(SOCKETS[0]);
    vec![PathBuf::from(socket), PathBuf::from(DEVICE)]
}

/// Runs all checks over one way; returns how many failed.
fn run(way: &Path) -> usize {
    let mut bench = match open(way) {
        Ok(bench) => bench,
        Err(error) => {
            println!("FAIL {} connect: {error}", way.display());
            return 1;
        }
    };
    let mut failed = 0;
    for (name, check) in CHECKS {
        let start = Instant::now();
        let result = check(&mut bench);
        let took = start.elapsed().as_millis();
        match result {
            Ok(detail) => println!("ok   {} {name} ({took} ms): {detail}", way.display()),
            Err(error) => {
                failed += 1;
                println!("FAIL {} {name} ({took} ms): {error}", way.display());
            }
        }
    }
    if let Err(error) = bench.store.rm(&bench.root) {
        failed += 1;
        println!("FAIL {} clean-up: {error}", way.display());
    }
    println!("     {} {:?}", way.display(), bench.store.counters());
    failed
}

fn open(way: &Path) -> Result<Bench, Error> {
    let mut store = Client::connect_to(way)?;
    let root = format!("/tool/xs-selftest-{}", std::process::id());
    store.mkdir(&root)?;
    Ok(Bench { store, other: Client::connect()?, root, is_device: way == Path::new(DEVICE) })
}

/// Fails with the text unless `ok`.
fn ensure(ok: bool, text: impl Into<String>) -> Result<(), Box<dyn std::error::Error>> {
    if ok { Ok(()) } else { Err(text.into().into()) }
}

fn values(bench: &mut Bench) -> Checked {
    let path = bench.path("values");
    let all: Vec<u8> = (0..=255).collect();
    for value in [b"".as_slice(), b"text", b"\0", b"nul\0inside", &all] {
        bench.store.write(&path, value)?;
        let back = bench.store.read(&path)?;
        ensure(back == value, format!("wrote {value:?}, read {back:?}"))?;
        ensure(bench.other.read(&path)? == value, "the other connection reads another value")?;
    }
    Ok("empty, text, NUL, all 256 bytes; the same from another connection".to_owned())
}

fn nodes(bench: &mut Bench) -> Checked {
    let root = bench.fresh("nodes")?;
    bench.store.write(format!("{root}/a/b/c"), "deep")?;
    bench.store.mkdir(format!("{root}/d"))?;
    bench.store.mkdir(format!("{root}/d"))?;
    let mut children = bench.store.directory(&root)?;
    children.sort();
    ensure(children == ["a", "d"], format!("children {children:?}"))?;
    ensure(bench.store.read(format!("{root}/a"))?.is_empty(), "a parent made on the way is empty")?;
    ensure(bench.store.directory(format!("{root}/d"))?.is_empty(), "d has children")?;
    bench.store.rm(format!("{root}/a"))?;
    ensure(!bench.store.exists(format!("{root}/a/b/c"))?, "rm left a child")?;
    bench.store.rm(format!("{root}/a"))?;
    Ok("write makes parents; mkdir and rm twice; directory".to_owned())
}

fn errors(bench: &mut Bench) -> Checked {
    let missing = bench.path("missing");
    let error = bench.store.read(&missing).err().ok_or("a missing node was read")?;
    ensure(error.is_not_found(), format!("{error}"))?;
    ensure(error.to_string().contains(&missing), "the error does not name the path")?;
    ensure(bench.store.read_optional(&missing)?.is_none(), "read_optional")?;
    let requests = bench.store.counters().requests;
    for bad in ["", "/a b", "/a//b", "/a/"] {
        ensure(matches!(bench.store.read(bad), Err(Error::Path(_))), format!("{bad:?} was sent"))?;
    }
    ensure(bench.store.counters().requests == requests, "a bad path was sent")?;
    let both = [Request::read(&missing)?, Request::read("/local/domain/0")?];
    let replies = bench.store.batch(&both)?;
    ensure(
        replies[0].as_ref().is_err_and(Error::is_not_found) && replies[1].is_ok(),
        "a refusal in a burst reached its neighbour",
    )?;
    Ok(format!("\"{error}\""))
}

fn permissions(bench: &mut Bench) -> Checked {
    let path = bench.fresh("permissions")?;
    let fresh = bench.store.get_perms(&path)?;
    ensure(fresh.owner == Domid::DOM0, format!("a fresh node is {fresh}"))?;
    let wanted = Permissions { others: Access::Read, ..Permissions::private(Domid::DOM0) };
    bench.store.set_perms(&path, &wanted)?;
    let found = bench.store.get_perms(&path)?;
    ensure(found == wanted, format!("set {wanted}, got {found}"))?;
    bench.store.mkdir(format!("{path}/child"))?;
    let inherited = bench.store.get_perms(format!("{path}/child"))?;
    ensure(inherited == wanted, format!("the child has {inherited}"))?;
    Ok(format!("fresh {fresh}, set {wanted}, a child inherits it"))
}

fn limits(bench: &mut Bench) -> Checked {
    let path = bench.path("limits");
    let payload_max: usize = if bench.is_device { 4080 } else { 4096 };
    let room = payload_max - path.len() - 1;
    bench.store.write(&path, vec![b'x'; room])?;
    ensure(bench.store.read(&path)?.len() == room, "the longest value came back shorter")?;
    let over = bench.store.write(&path, vec![b'x'; room + 1]);
    ensure(matches!(over, Err(Error::TooLong { .. })), "one byte too many was sent")?;
    bench.store.write(&path, "")?;
    Ok(format!("a payload of {payload_max} bytes passes, one more is refused here"))
}

fn transaction_commit(bench: &mut Bench) -> Checked {
    let path = bench.path("commit");
    let Bench { store, other, .. } = bench;
    store.transaction(|tx| {
        tx.write(&path, "inside")?;
        if other.exists(&path)? || tx.read(&path)? != b"inside" {
            return Err("isolation is broken".into());
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    ensure(other.read(&path)? == b"inside", "the commit did not arrive")?;
    Ok("seen inside at once, outside after the commit".to_owned())
}

fn transaction_abort(bench: &mut Bench) -> Checked {
    let path = bench.path("abort");
    let result = bench.store.transaction(|tx| {
        tx.write(&path, "never")?;
        tx.read(format!("{path}/missing"))
    });
    ensure(result.is_err_and(|error| error.is_not_found()), "the body's error was lost")?;
    ensure(!bench.store.exists(&path)?, "an aborted write is there")?;
    Ok("an error in the body discards the transaction".to_owned())
}

fn transaction_batched(bench: &mut Bench) -> Checked {
    let root = bench.fresh("batched")?;
    let writes = |count: usize| -> Result<Vec<Request>, Error> {
        let write = |n: usize| Ok(Request::write(format!("{root}/{n}"), n.to_string())?);
        (0..count).map(write).collect()
    };
    let before = bench.store.counters().round_trips;
    bench.store.transact(&writes(100)?)?;
    let trips = bench.store.counters().round_trips - before;
    ensure(trips == if bench.is_device { 102 } else { 3 }, format!("{trips} round trips"))?;
    ensure(bench.store.directory(&root)?.len() == 100, "not all are there")?;
    let mut bad = writes(3)?;
    bad.push(Request::read(format!("{root}/missing"))?);
    bad.push(Request::write(format!("{root}/after"), "")?);
    let refused = bench.store.transact(&bad);
    ensure(refused.is_err_and(|error| error.is_not_found()), "a refusal inside was lost")?;
    ensure(!bench.store.exists(format!("{root}/after"))?, "half a transaction was committed")?;
    Ok(format!("100 writes in {trips} round trips; one refusal discards all"))
}

fn transaction_conflict(bench: &mut Bench) -> Checked {
    let path = bench.path("conflict");
    bench.store.write(&path, "0")?;
    let Bench { store, other, .. } = bench;
    let before = store.counters().conflicts;
    let mut runs = 0;
    store.transaction(|tx| {
        runs += 1;
        let count: u32 = tx.read_text(&path)?.parse()?;
        if runs <= 2 {
            other.write(&path, (count + 10).to_string())?;
        }
        tx.write(&path, (count + 1).to_string())?;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let conflicts = store.counters().conflicts - before;
    let sum = store.read_text(&path)?;
    ensure(
        runs == 3 && conflicts == 2 && sum == "21",
        format!("{runs} runs, {conflicts} conflicts, sum {sum}"),
    )?;
    Ok("two changes from outside, three runs, no update lost".to_owned())
}

fn transaction_hopeless(bench: &mut Bench) -> Checked {
    let path = bench.path("hopeless");
    bench.store.write(&path, "")?;
    let Bench { store, other, .. } = bench;
    let result = store.transaction(|tx| {
        tx.read(&path)?;
        other.write(&path, "again")?;
        tx.write(format!("{path}-never"), "")
    });
    let error = result.err().ok_or("it was committed")?;
    ensure(
        matches!(error, Error::Conflict { attempts: TRANSACTION_ATTEMPTS_MAX }) && error.is_again(),
        error.to_string(),
    )?;
    Ok(format!("\"{error}\""))
}

fn pipeline_1000(bench: &mut Bench) -> Checked {
    let root = bench.fresh("pipeline")?;
    let path = |n: usize| format!("{root}/{}/{n}", n % 10);
    let writes: Vec<_> = (0..1000)
        .map(|n| Request::write(path(n), format!("value {n}")))
        .collect::<Result<_, _>>()?;
    let reads: Vec<_> =
        (0..1000).rev().map(|n| Request::read(path(n))).collect::<Result<_, _>>()?;
    let before = bench.store.counters();
    let start = Instant::now();
    bench.store.batch_all(&writes)?;
    let written = start.elapsed();
    let replies = bench.store.batch_all(&reads)?;
    let read = start.elapsed() - written;
    let after = bench.store.counters();
    for (n, reply) in (0..1000).rev().zip(&replies) {
        let wanted = Reply::Value(format!("value {n}").into_bytes());
        ensure(*reply == wanted, format!("{n}: {reply:?}"))?;
    }
    let trips = after.round_trips - before.round_trips;
    ensure(trips == if bench.is_device { 2000 } else { 2 }, format!("{trips} round trips"))?;
    ensure(after.requests - before.requests == 2000, "requests were not counted")?;
    let each = |time: Duration| time.as_micros() / 1000;
    Ok(format!(
        "write {} us, read {} us per request; {trips} round trips",
        each(written),
        each(read)
    ))
}

fn pipeline_full_buffers(bench: &mut Bench) -> Checked {
    let root = bench.fresh("full")?;
    let value = vec![b'v'; 3500];
    let mut requests = Vec::new();
    for n in 0..400 {
        let path = format!("{root}/{}", n % 20);
        requests.push(Request::write(&path, value.clone())?);
        requests.push(Request::read(&path)?);
    }
    let replies = bench.store.batch_all(&requests)?;
    let whole = |reply: &&Reply| matches!(reply, Reply::Value(read) if *read == value);
    let read = replies.iter().filter(whole).count();
    ensure(read == 400, format!("{read} of 400 values"))?;
    bench.store.rm(&root)?;
    Ok("1.4 MB in each direction in one burst".to_owned())
}

fn directory_long(bench: &mut Bench) -> Checked {
    let root = bench.fresh("long")?;
    let names: Vec<String> = (0..700).map(|n| format!("child-with-a-long-name-{n:04}")).collect();
    let made: Vec<_> =
        names.iter().map(|n| Request::mkdir(format!("{root}/{n}"))).collect::<Result<_, _>>()?;
    bench.store.batch_all(&made)?;
    let before = bench.store.counters().requests;
    let mut found = bench.store.directory(&root)?;
    let requests = bench.store.counters().requests - before;
    found.sort();
    ensure(found == names, format!("{} names of {}", found.len(), names.len()))?;
    ensure(requests > 2, "it fitted into one message")?;
    let inside = bench.store.transaction(|tx| tx.directory(&root))?;
    ensure(inside.len() == names.len(), "it is shorter inside a transaction")?;
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    bench.store.rm(&root)?;
    Ok(format!("{bytes} bytes of names in {requests} requests"))
}

/// Events up to a silence of `quiet`.
fn drain(store: &mut Client, quiet: Duration) -> Result<Vec<String>, Error> {
    let mut seen = Vec::new();
    while let Some(event) = store.next_event(Some(quiet))? {
        seen.push(format!("{} {}", event.path, event.token));
    }
    Ok(seen)
}

const QUIET: Duration = Duration::from_millis(300);
const SOON: Option<Duration> = Some(Duration::from_secs(20));

/// The next event, which must be this one.
fn expect_event(
    store: &mut Client,
    path: &str,
    token: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let event = store.next_event(SOON)?.ok_or(format!("no event for {path}"))?;
    let same = event.path.as_str() == path && event.token == token;
    ensure(same, format!("wanted {path} {token}, got {} {}", event.path, event.token))
}

fn watch(bench: &mut Bench) -> Checked {
    let root = bench.fresh("watch")?;
    let Bench { store, other, .. } = bench;
    store.watch(&root, "one")?;
    expect_event(store, &root, "one")?;
    other.write(format!("{root}/a"), "1")?;
    expect_event(store, &format!("{root}/a"), "one")?;
    other.transaction(|tx| {
        tx.write(format!("{root}/b"), "1")?;
        tx.write(format!("{root}/c"), "1")
    })?;
    let mut seen = drain(store, QUIET)?;
    seen.sort();
    ensure(seen == [format!("{root}/b one"), format!("{root}/c one")], format!("{seen:?}"))?;
    store.watch(&root, "two")?;
    expect_event(store, &root, "two")?;
    if !bench.is_device {
        let again = bench.store.watch(&root, "two");
        ensure(again.is_err_and(|error| error.is_exists()), "a duplicate watch was taken")?;
    }
    bench.store.unwatch(&root, "one")?;
    bench.store.unwatch(&root, "two")?;
    let gone = bench.store.unwatch(&root, "two");
    // The kernel says yes to an unwatch of nothing.
    ensure(bench.is_device || gone.is_err_and(|e| e.is_not_found()), "unwatch twice")?;
    Ok("first event, changes, a commit's changes, two tokens".to_owned())
}

fn watch_during_burst(bench: &mut Bench) -> Checked {
    let root = bench.fresh("burst")?;
    bench.store.watch(&root, "burst")?;
    expect_event(&mut bench.store, &root, "burst")?;
    let writes: Vec<_> =
        (0..500).map(|n| Request::write(format!("{root}/{n}"), "")).collect::<Result<_, _>>()?;
    bench.store.batch_all(&writes)?;
    for n in 0..500 {
        expect_event(&mut bench.store, &format!("{root}/{n}"), "burst")?;
    }
    bench.store.unwatch(&root, "burst")?;
    let lost = bench.store.counters().events_lost;
    ensure(lost == 0, format!("{lost} events lost"))?;
    Ok("500 events between the replies of a burst, in order, none lost".to_owned())
}

fn watch_depth(bench: &mut Bench) -> Checked {
    let root = bench.fresh("depth")?;
    bench.store.watch_depth(&root, "depth", 1)?;
    expect_event(&mut bench.store, &root, "depth")?;
    let paths = ["a", "a/b", "a/b/c", "d"].map(|below| format!("{root}/{below}"));
    let writes: Vec<_> =
        paths.iter().map(|path| Request::write(path, "")).collect::<Result<_, _>>()?;
    bench.other.batch_all(&writes)?;
    let seen = drain(&mut bench.store, QUIET)?;
    let wanted = [format!("{root}/a depth"), format!("{root}/d depth")];
    ensure(seen == wanted, format!("{seen:?}"))?;
    bench.store.unwatch(&root, "depth")?;
    Ok("depth 1 gives children and nothing deeper".to_owned())
}

fn watch_special(bench: &mut Bench) -> Checked {
    for special in ["@introduceDomain", "@releaseDomain"] {
        bench.store.watch(special, "special")?;
        expect_event(&mut bench.store, special, "special")?;
        bench.store.unwatch(special, "special")?;
    }
    let depth = match bench.store.watch_depth("@releaseDomain", "deep", 1) {
        Ok(()) => {
            expect_event(&mut bench.store, "@releaseDomain", "deep")?;
            bench.store.unwatch("@releaseDomain", "deep")?;
            "a depth is taken".to_owned()
        }
        Err(error @ Error::Unsupported { .. }) => format!("\"{error}\""),
        Err(error) => return Err(error.into()),
    };
    Ok(format!("@introduceDomain, @releaseDomain; {depth}"))
}

fn watch_removed_parent(bench: &mut Bench) -> Checked {
    let root = bench.fresh("removed")?;
    let leaf = format!("{root}/a/leaf");
    bench.store.write(&leaf, "")?;
    bench.store.watch(&leaf, "leaf")?;
    expect_event(&mut bench.store, &leaf, "leaf")?;
    bench.other.rm(format!("{root}/a"))?;
    expect_event(&mut bench.store, &leaf, "leaf")?;
    bench.store.unwatch(&leaf, "leaf")?;
    Ok("removing a parent fires with the watched path".to_owned())
}

fn unwatch(bench: &mut Bench) -> Checked {
    let root = bench.fresh("unwatch")?;
    bench.store.watch(&root, "gone")?;
    bench.store.watch(format!("{root}/kept"), "kept")?;
    bench.store.write(format!("{root}/kept"), "")?;
    bench.store.write(format!("{root}/other"), "")?;
    bench.store.unwatch(&root, "gone")?;
    let mut seen = drain(&mut bench.store, QUIET)?;
    seen.dedup();
    ensure(seen == [format!("{root}/kept kept")], format!("{seen:?}"))?;
    bench.store.unwatch(format!("{root}/kept"), "kept")?;
    Ok("the waiting events of a watch go with it, those of others stay".to_owned())
}

fn domains(bench: &mut Bench) -> Checked {
    let path = bench.store.get_domain_path(Domid(7))?;
    ensure(path.as_str() == "/local/domain/7", path.to_string())?;
    let introduced = bench.store.is_introduced(Domid(0x7fe0))?;
    ensure(!introduced, "a domain that never was is introduced")?;
    let missing = bench.store.release(Domid(0x7fe0));
    let error = missing.err().ok_or("a domain that never was is released")?;
    let help = bench.store.control("help", &[])?;
    Ok(format!("release of nothing: \"{error}\"; control help: {} bytes", help.len()))
}

fn newer_requests(bench: &mut Bench) -> Checked {
    let feature = match bench.store.get_feature(None) {
        Ok(bits) => format!("features {bits:#x}"),
        Err(error) if error.errno().is_some() => format!("\"{error}\""),
        Err(error) => return Err(error.into()),
    };
    let quota = match bench.store.quota_names() {
        Ok(names) => format!("quotas {names:?}"),
        Err(error) if error.errno().is_some() => format!("\"{error}\""),
        Err(error) => return Err(error.into()),
    };
    ensure(bench.store.exists("/local/domain/0")?, "the connection is in step no more")?;
    Ok(format!("{feature}; {quota}"))
}

fn round_trip_time(bench: &mut Bench) -> Checked {
    const COUNT: u32 = 200;
    let path = bench.path("time");
    bench.store.write(&path, "x")?;
    let start = Instant::now();
    for _ in 0..COUNT {
        bench.store.read(&path)?;
    }
    let one = start.elapsed() / COUNT;
    let reads = vec![Request::read(&path)?; COUNT as usize];
    let start = Instant::now();
    bench.store.batch_all(&reads)?;
    let burst = start.elapsed() / COUNT;
    Ok(format!("a read takes {} us alone, {} us in a burst", one.as_micros(), burst.as_micros()))
}
