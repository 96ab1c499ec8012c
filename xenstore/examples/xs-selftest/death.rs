//! What the clients say when xenstored dies. It kills the real one: for a boot of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xenstore::client::{Client, DEVICE, Error, Loss, Nodes};
use xenstore::wire::Request;

use super::{Checked, ensure};

/// Runs the check; returns how many failed.
pub fn run(socket: &Path) -> usize {
    let start = Instant::now();
    let result = check(socket);
    let took = start.elapsed().as_millis();
    match result {
        Ok(detail) => println!("ok   death ({took} ms): {detail}"),
        Err(error) => {
            println!("FAIL death ({took} ms): {error}");
            return 1;
        }
    }
    0
}

fn check(socket: &Path) -> Checked {
    let mut idle = Client::connect_to(socket)?;
    idle.watch("/local", "idle")?;
    idle.next_event(None)?;
    let mut busy = Client::connect_to(socket)?;
    busy.read("/local/domain/0")?;
    let mut device = Client::connect_to(DEVICE)?;
    device.read("/local/domain/0")?;

    let xenstored = find_xenstored()?;
    kill_process(xenstored, Signal::KILL)?;

    // The waiting one is woken by the death itself.
    let woken = idle.next_event(Some(Duration::from_secs(20))).err().ok_or("no end was heard")?;
    ensure(matches!(woken, Error::WatchesLost { loss: Loss::Closed }), format!("idle: {woken}"))?;
    let reads = vec![Request::read("/local/domain/0")?; 100];
    let burst = busy.batch(&reads).err().ok_or("a dead store answered")?;
    ensure(burst.is_disconnected(), format!("busy: {burst}"))?;
    let after = busy.read("/local").err().ok_or("a dead store answered")?;
    ensure(matches!(after, Error::Broken { .. }), format!("after: {after}"))?;
    let anew = Client::connect().err().ok_or("a dead store took a connection")?;
    ensure(anew.is_unavailable(), format!("anew: {anew}"))?;
    // The kernel does not notice: only the timeout ends this.
    let patience = Duration::from_secs(2);
    device.set_request_timeout(Some(patience));
    let silent = device.read("/local").err().ok_or("a dead store answered the kernel")?;
    let timeout =
        matches!(&silent, Error::Disconnected { loss: Loss::Timeout(t), .. } if *t == patience);
    ensure(timeout, format!("device: {silent}"))?;
    Ok(format!("\"{woken}\"; \"{burst}\"; \"{after}\"; \"{anew}\"; \"{silent}\""))
}

fn find_xenstored() -> Result<Pid, Box<dyn std::error::Error>> {
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if matches!(name.trim(), "xenstored" | "oxenstored")
            && let Some(pid) = Pid::from_raw(pid)
        {
            return Ok(pid);
        }
    }
    Err("no process called xenstored".into())
}
