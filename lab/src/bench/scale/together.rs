//! Ten creates at once: the processor time of their processes, and of the floor ten times.
//!
//! The daemons' time is not in it, nor is what the hypervisor does by itself; waiting costs nothing.

use super::inside::{configuration, destroy, say};
use super::{GUEST_MIB, KERNEL, Work, gauge};
use crate::bench::create::cases::SMALL_ELF;
use crate::bench::create::inside::run_floor;
use crate::bench::quiet;
use std::fs::File;
use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

/// How many.
const CREATES: u32 = 10;
const RAMDISK: &str = "/guest/initramfs.gz";

/// A guest: its name, its kernel, its ramdisk and its memory.
struct Guest(&'static str, &'static str, Option<&'static str>, u64);

const GUESTS: [Guest; 2] =
    [Guest("micro", KERNEL, None, GUEST_MIB), Guest("small", SMALL_ELF, Some(RAMDISK), 256)];

/// Names of what is measured: ours and the floor, for each guest.
pub const PHASES: [(&str, &str, &str); GUESTS.len()] = [
    ("micro/8MiB", "together-micro", "floors-micro"),
    ("small/256MiB", "together-small", "floors-small"),
];

/// Measures it for each guest.
pub fn measure(work: &Work) -> io::Result<()> {
    for guest in &GUESTS {
        let name = guest.0;
        // Once for whatever the first does alone.
        creates(work, guest, 1)?;
        let (ran, took) = creates(work, guest, CREATES)?;
        let say = |phase: &str, time: Duration| {
            say(work, &format!("{phase}-{name}"), CREATES, ("ms", time.as_secs_f64() * 1e3))
        };
        say("together", ran)?;
        say("together-elapsed", took)?;
        say("floors", floors(guest)?)?;
    }
    Ok(())
}

fn path(guest: &Guest, number: u32) -> io::Result<String> {
    let Guest(name, kernel, ramdisk, memory_mib) = guest;
    let ramdisk = ramdisk.map_or_else(String::new, |path| format!("ramdisk = \"{path}\"\n"));
    configuration(&format!("{name}-{number}"), kernel, &ramdisk, *memory_mib)
}

/// The processor time of the creates, and how long all took.
fn creates(work: &Work, guest: &Guest, number: u32) -> io::Result<(Duration, Duration)> {
    let group = format!("{}-{number}", guest.0);
    let paths = (0..number).map(|number| path(guest, number)).collect::<io::Result<Vec<_>>>()?;
    quiet::wait()?;
    let start = Instant::now();
    let children = paths.iter().map(|path| {
        let said = File::create(path.replace(".cfg", ".said"))?;
        let words = [work.by.program(), "create", "-p", path];
        gauge::command_in(&group, &words)?.stdout(said.try_clone()?).stderr(said).spawn()
    });
    let children = children.collect::<io::Result<Vec<Child>>>()?;
    for (mut child, path) in children.into_iter().zip(&paths) {
        let status = child.wait()?;
        if !status.success() {
            let said = std::fs::read_to_string(path.replace(".cfg", ".said"))?;
            return Err(io::Error::other(format!("create {path}: {status}: {}", said.trim())));
        }
    }
    let took = start.elapsed();
    let ran = gauge::time_of_group(&group)?;
    for name in (0..number).map(|number| format!("{}-{number}", guest.0)) {
        destroy(work, &name)?;
    }
    Ok((ran, took))
}

fn floors(guest: &Guest) -> io::Result<Duration> {
    let path = path(guest, 0)?;
    // The first warms up.
    run_floor(&path, guest.1, guest.2)?;
    (0..CREATES).map(|_| Ok(run_floor(&path, guest.1, guest.2)?.0)).sum()
}
