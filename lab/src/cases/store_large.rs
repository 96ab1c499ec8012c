//! A store of 50,000 nodes: nobody waits for its image to be written, memory stays what it was, and a
//! kill in the middle of the image loses nothing.

use super::store_lives::{end_first, server};
use crate::case::{Case, Group};
use crate::dom0::host::{Stop, Verdict};
use crate::xenstored::Xenstored;
use crate::{ensure, fail};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xenstore::client::{Client, Nodes as _};
use xenstore::wire::Request;

const STATE: &str = "/run/xlr/xenstored/state";
const NODES: usize = 50_000;
const NODES_OF_A_DIRECTORY: usize = 500;
/// How long a request may take while an image is written, in the emulator.
const WAIT_MAX: Duration = Duration::from_millis(150);

/// The cases of this topic.
pub const CASES: &[Case] = &[Case {
    xenstored: Xenstored::Xlr,
    wrecks: true,
    limit_seconds: 600,
    ci: false,
    ..Case::new("store-killed/large", Group::Store, large)
}];

fn failed(error: xenstore::client::Error) -> Stop {
    Stop::Failed(error.to_string())
}

/// A line of what the kernel says of the server's memory, in KiB.
fn memory_kib(server: &Child, what: &str) -> Result<u64, Stop> {
    let text = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.ok_or_else(|| Stop::Failed(format!("no {what} of the server")))
}

fn fill() -> Verdict {
    let mut store = Client::connect().map_err(failed)?;
    for directory in 0..NODES / NODES_OF_A_DIRECTORY {
        let write = |node| Request::write(format!("/lab/large/{directory}/{node}"), "value");
        let requests: Result<Vec<_>, _> = (0..NODES_OF_A_DIRECTORY).map(write).collect();
        let requests = requests.map_err(|error| Stop::Failed(error.to_string()))?;
        store.batch_all(&requests).map_err(failed)?;
    }
    Ok(())
}

/// Reads one after the other until told to end: how many, and how long the slowest took.
fn ask(ends: &AtomicBool) -> Result<(u32, Duration), String> {
    let mut store = Client::connect().map_err(|error| error.to_string())?;
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !ends.load(Ordering::Relaxed) {
        let start = Instant::now();
        let value = store.read_text("/lab/large/7/7").map_err(|error| error.to_string())?;
        longest = longest.max(start.elapsed());
        count += 1;
        if value != "value" {
            return Err(format!("{value:?} was read"));
        }
    }
    Ok((count, longest))
}

/// Writes until so many further images are in place; how many writes that took.
fn write_until(images: u32) -> Result<u32, Stop> {
    let mut store = Client::connect().map_err(failed)?;
    let value = "v".repeat(1900);
    let (mut image, mut left, mut writes) = (fs::metadata(STATE)?.ino(), images, 0_u32);
    while left > 0 {
        let write = |node| Request::write(format!("/lab/load/{node}"), value.clone());
        let requests: Result<Vec<_>, _> = (0..8).map(write).collect();
        store.batch_all(&requests.map_err(|e| Stop::Failed(e.to_string()))?).map_err(failed)?;
        writes += 8;
        let now = fs::metadata(STATE)?.ino();
        left -= u32::from(std::mem::replace(&mut image, now) != now);
        ensure!(writes < 100_000, "no new image after {writes} writes");
    }
    Ok(writes)
}

fn large() -> Verdict {
    end_first()?;
    let mut first = server(None)?;
    await_server()?;
    fill()?;
    // The next server has nothing in memory but the store.
    let _ = write_until(1)?;
    first.kill()?;
    first.wait()?;
    let mut server_now = server(None)?;
    await_server()?;
    let before = memory_kib(&server_now, "VmRSS")?;
    fs::write(format!("/proc/{}/clear_refs", server_now.id()), "5")?;
    let ends = AtomicBool::new(false);
    let (asked, written) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| ask(&ends));
        let written = write_until(2);
        ends.store(true, Ordering::Relaxed);
        (asker.join(), written)
    });
    let writes = written?;
    let (count, longest) = match asked {
        Ok(Ok(asked)) => asked,
        Ok(Err(why)) => fail!("the reader: {why}"),
        Err(_) => fail!("the reader panicked"),
    };
    let peak = memory_kib(&server_now, "VmHWM")?;
    eprintln!(
        "{NODES} nodes: {before} KiB, at most {peak} KiB while two images were written beside \
         {writes} writes; {count} reads, the slowest {longest:?}; the state has {} bytes",
        fs::metadata(STATE)?.len()
    );
    ensure!(peak < before + before / 4, "{before} KiB became {peak} KiB");
    ensure!(longest < WAIT_MAX, "a read took {longest:?}");
    server_now.kill()?;
    server_now.wait()?;
    killed_meanwhile()
}

/// Servers end at pieces of an image, and at its end.
fn killed_meanwhile() -> Verdict {
    for end in [("image", 1), ("piece", 1), ("piece", 100), ("kept", 2)] {
        // The first image is the one at the start.
        let mut server_now = server(Some(end))?;
        let mut number = 0_u32;
        let mut count = || -> Result<(), xenstore::client::Error> {
            let mut store = Client::connect()?;
            loop {
                store.write("/lab/number", (number + 1).to_string())?;
                number += 1;
                store.write("/lab/load/1", "v".repeat(1900))?;
            }
        };
        let start = Instant::now();
        while server_now.try_wait()?.is_none() {
            // It ends, and the connection with it.
            let _ = count();
            ensure!(start.elapsed() < Duration::from_secs(100), "{end:?} does not come");
        }
        let mut next = server(None)?;
        await_server()?;
        let mut store = Client::connect().map_err(failed)?;
        let found = match store.read_text("/lab/number") {
            Ok(text) => text.parse().unwrap_or(u32::MAX),
            Err(_) => 0,
        };
        // The last write may have been done without an answer.
        ensure!((number..=number + 1).contains(&found), "{end:?}: {found} after {number}");
        let last = NODES / NODES_OF_A_DIRECTORY - 1;
        let names = store.directory(format!("/lab/large/{last}")).map_err(failed)?;
        ensure!(names.len() == NODES_OF_A_DIRECTORY, "{end:?}: {} nodes are left", names.len());
        let check = store.control("check", &[]).map_err(failed)?;
        ensure!(check.starts_with(b"OK"), "{end:?}: {}", check.escape_ascii());
        store.rm("/lab/number").map_err(failed)?;
        eprintln!("{end:?}: {number} writes, {found} found");
        next.kill()?;
        next.wait()?;
    }
    Ok(())
}

/// Waits for an answer: a keeper takes connections also while no server is there.
fn await_server() -> Verdict {
    let answers = || Client::connect()?.directory("/").map(drop);
    let start = Instant::now();
    while answers().is_err() {
        ensure!(start.elapsed() < Duration::from_secs(60), "no server");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
