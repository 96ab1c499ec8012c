//! What dom0 has and does, read from its kernel and from the hypervisor: processes and their memory,
//! processor time, wake-ups.
//!
//! The lab's own programs are left out of everything but the memory of dom0 as a whole, where they are
//! the same before and after.

use crate::dom0::init;
use libxc_safe::Xen;
use rustix::mount::{MountFlags, mount};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the cgroup file system is mounted.
const CGROUPS: &str = "/run/bench-cgroup";

/// What a process of dom0 is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It serves the store.
    Store,
    /// It serves consoles.
    Consoles,
    /// `xlr supervise`.
    Supervisor,
    /// A toolstack's process that stayed behind its command.
    Toolstack,
}

impl Role {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Consoles => "consoles",
            Self::Supervisor => "supervisor",
            Self::Toolstack => "toolstack",
        }
    }

    /// By the words of its command line; none for the lab's own and for what is no part of a toolstack.
    fn of(words: &[&str]) -> Option<Self> {
        let program = words.first()?.rsplit('/').next()?;
        match (program, words.get(1).copied()) {
            ("xenstored" | "oxenstored", _) | ("xlr", Some("xenstored")) => Some(Self::Store),
            ("xenconsoled", _) => Some(Self::Consoles),
            ("xlr", Some("supervise")) => Some(Self::Supervisor),
            ("xlr" | "xl", _) => Some(Self::Toolstack),
            _ => None,
        }
    }
}

/// The processes, with what they are there for.
pub fn processes() -> io::Result<Vec<(u32, Role)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // Kernel threads have no command line; a process may end while it is looked at.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line);
        let words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
        found.extend(Role::of(&words).map(|role| (pid, role)));
    }
    Ok(found)
}

/// What the threads of these processes have run so far, by role.
pub fn processor_time(processes: &[(u32, Role)]) -> io::Result<BTreeMap<Role, Duration>> {
    let mut sums = BTreeMap::new();
    for (pid, role) in processes {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let ran = text.split(' ').next().and_then(|word| word.parse().ok());
            let unknown = || io::Error::other(format!("schedstat of {pid} says {text:?}"));
            let sum: &mut Duration = sums.entry(*role).or_default();
            *sum += Duration::from_nanos(ran.ok_or_else(unknown)?);
        }
    }
    Ok(sums)
}

/// How often each thread gave up its processor by itself, by its number.
pub fn switches() -> io::Result<BTreeMap<u32, (Role, u64)>> {
    let mut switches = BTreeMap::new();
    for (pid, role) in processes()? {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let Ok(id) = thread.file_name().to_string_lossy().parse() else { continue };
            let status = fs::read_to_string(thread.path().join("status"))?;
            switches.insert(id, (role, value(&status, "voluntary_ctxt_switches:")?));
        }
    }
    Ok(switches)
}

/// What dom0 has, in KiB but for the number of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Processes of toolstacks that stayed behind a command.
    pub processes: u64,
    /// Proportional share of memory: of toolstacks and daemons.
    pub pss: u64,
    /// Of that, the toolstacks', the supervisor's included.
    pub pss_toolstack: u64,
    /// What the kernel charges to both for everything: page tables, sockets, files in memory, too.
    pub charged: u64,
    /// What dom0 has no more, of all that it can use.
    pub dom0: u64,
    /// What the hypervisor's heap has no more.
    pub heap: u64,
}

/// Reads all of it.
pub fn reading() -> io::Result<Reading> {
    let mut reading = Reading::default();
    for (pid, role) in processes()? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let pss = value(&rollup, "Pss:")?;
        reading.pss += pss;
        // A process for all guests is memory of the toolstack's like one for each.
        if matches!(role, Role::Toolstack | Role::Supervisor) {
            reading.pss_toolstack += pss;
        }
        reading.processes += u64::from(role == Role::Toolstack);
    }
    for group in [TOOLSTACKS, DAEMONS] {
        let text = fs::read_to_string(group_path(group).join("memory.current"))?;
        reading.charged += number(&text)? / 1024;
    }
    let memory = fs::read_to_string("/proc/meminfo")?;
    reading.dom0 = value(&memory, "MemTotal:")?.saturating_sub(value(&memory, "MemAvailable:")?);
    let host = Xen::open().and_then(|xen| xen.physinfo()).map_err(io::Error::other)?;
    reading.heap = (host.total_pages - host.free_pages) * 4;
    Ok(reading)
}

/// The cgroup of whatever the benchmark starts.
pub const TOOLSTACKS: &str = "toolstacks";
/// The cgroup of the daemons that were there before.
pub const DAEMONS: &str = "daemons";

/// Makes both cgroups, and puts this process and the daemons there. What they had before stays where
/// it is charged: only growth is told.
pub fn charge() -> io::Result<()> {
    fs::create_dir(CGROUPS)?;
    mount("cgroup2", CGROUPS, "cgroup2", MountFlags::empty(), None)?;
    fs::write(Path::new(CGROUPS).join("cgroup.subtree_control"), "+memory")?;
    for group in [TOOLSTACKS, DAEMONS] {
        fs::create_dir(group_path(group))?;
    }
    for (pid, _) in processes()? {
        fs::write(group_path(DAEMONS).join("cgroup.procs"), pid.to_string())?;
    }
    fs::write(group_path(TOOLSTACKS).join("cgroup.procs"), "0")
}

/// A command that runs in a cgroup of its own, which is made here. The shell that takes it there runs
/// outside of it.
pub fn command_in(group: &str, words: &[&str]) -> io::Result<std::process::Command> {
    let path = group_path(group);
    if !path.exists() {
        fs::create_dir(&path)?;
    }
    let enter = format!("echo 0 > {}/cgroup.procs && exec \"$@\"", path.display());
    let mut command = init::command("/bin/sh");
    command.args(["-c", &enter, "sh"]).args(words);
    Ok(command)
}

/// The processor time of everything that ever ran in a cgroup.
pub fn time_of_group(group: &str) -> io::Result<Duration> {
    let text = fs::read_to_string(group_path(group).join("cpu.stat"))?;
    value(&text, "usage_usec").map(Duration::from_micros)
}

fn group_path(group: &str) -> PathBuf {
    Path::new(CGROUPS).join(group)
}

/// The number behind a word at the beginning of a line.
fn value(text: &str, word: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let first = line.and_then(|rest| rest.split_whitespace().next());
    number(first.ok_or_else(|| io::Error::other(format!("no {word} in {text}")))?)
}

fn number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_| io::Error::other(format!("«{}» is no number", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_by_their_command_lines() {
        for (line, role) in [
            ("/xen/bin/xenstored --pid-file /run/xen/xenstored.pid", Some(Role::Store)),
            ("/bin/xlr xenstored", Some(Role::Store)),
            ("/xen/bin/xenconsoled --log=guest", Some(Role::Consoles)),
            ("/bin/xlr supervise", Some(Role::Supervisor)),
            ("/xen/bin/xl create -p /run/a.cfg", Some(Role::Toolstack)),
            ("xlr create -F a", Some(Role::Toolstack)),
            ("/bin/lab bench-dom0 scale", None),
            ("/bin/sh -c xl", None),
            ("", None),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(Role::of(&words), role, "{line}");
        }
    }

    #[test]
    fn a_value_stands_behind_its_word() {
        let text = "MemTotal:  1024 kB\nnr\nusage_usec 77\n";
        assert_eq!(value(text, "MemTotal:").unwrap(), 1024);
        assert_eq!(value(text, "usage_usec").unwrap(), 77);
        assert!(value(text, "MemFree:").is_err());
        assert!(value(text, "nr").is_err());
    }
}
