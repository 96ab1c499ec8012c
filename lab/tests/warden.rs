//! An emulator must not outlive the lab, however the lab ends: `lab warden` sees to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whether a process still runs; one that only waits to be collected does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

#[test]
fn what_the_warden_started_dies_with_a_killed_parent() {
    let lab = env!("CARGO_BIN_EXE_lab");
    let line = format!("{lab} warden $$ /bin/sleep 60 >/dev/null 2>&1 & echo $!; wait");
    let mut parent = Command::new("/bin/sh")
        .args(["-c", &line])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut first = String::new();
    let out = parent.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut first).expect("the number of a process");
    let pid: u32 = first.trim().parse().expect("a number");
    let started = Instant::now();
    let name = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    while name().trim() != "sleep" {
        assert!(started.elapsed() < Duration::from_secs(20), "the warden became {:?}", name());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(runs(pid));
    parent.kill().expect("killed");
    parent.wait().expect("collected");
    let killed = Instant::now();
    while runs(pid) {
        assert!(killed.elapsed() < Duration::from_secs(20), "it outlives its parent");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_warden_whose_parent_is_gone_starts_nothing() {
    let lab = env!("CARGO_BIN_EXE_lab");
    let out = Command::new(lab).args(["warden", "1", "/bin/echo", "started"]).output();
    let out = out.expect("the lab");
    assert!(!out.status.success());
    assert!(out.stdout.is_empty(), "{}", String::from_utf8_lossy(&out.stdout));
}
