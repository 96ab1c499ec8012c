//! Process 1 of dom0: mounts, modules, a xenstored, the distribution's xenconsoled, the agent.
//!
//! What goes wrong here is handed to the agent, which reports it to the lab. When the agent
//! ends, the machine is powered off.

use crate::xenstored::Xenstored;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions};
use rustix::system::{RebootCommand, finit_module, reboot};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The file that holds what went wrong during the set-up, one line each.
pub const TROUBLE: &str = "/run/lab.trouble";

/// Environment of everything in dom0.
pub const PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin:/xen/bin";

const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("devpts", "/dev/pts", "devpts"),
    ("tmpfs", "/run", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tmpfs", "/dev/shm", "tmpfs"),
];

/// What udev adds to `/dev`; scripts count on it.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Runs as process 1; returns only by powering off.
pub fn main() -> ! {
    let mut trouble = Trouble(Vec::new());
    for (source, target, kind) in MOUNTS {
        trouble.of(&format!("mkdir {target}"), std::fs::create_dir_all(target));
        let mounted = mount(source, target, kind, MountFlags::empty(), None);
        trouble.of(&format!("mount {target}"), mounted.map_err(io::Error::from));
    }
    for (link, target) in LINKS {
        trouble.of(&format!("link {link}"), std::os::unix::fs::symlink(target, link));
    }
    modules(&mut trouble);
    let xenfs = mount("xenfs", "/proc/xen", "xenfs", MountFlags::empty(), None);
    trouble.of("mount /proc/xen", xenfs.map_err(io::Error::from));
    for dir in ["/run/xen", "/run/xenstored", "/run/lock", "/var/lib/xen", "/var/lib/xenstored"] {
        trouble.of(&format!("mkdir {dir}"), std::fs::create_dir_all(dir));
    }
    let _ = rustix::system::sethostname(b"dom0");
    loopback(&mut trouble);
    daemons(&mut trouble);
    let _ = std::fs::write(TROUBLE, trouble.0.join("\n"));
    let agent = command("/bin/lab").arg("agent").spawn();
    match agent {
        Ok(child) => reap_until(Pid::from_child(&child)),
        Err(error) => say(&format!("cannot start the agent: {error}")),
    }
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}

/// A command with dom0's environment and no input.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("HOME", "/root").env("TERM", "linux");
    command.current_dir("/").stdin(Stdio::null());
    command
}

struct Trouble(Vec<String>);

impl Trouble {
    fn of<T>(&mut self, what: &str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(format!("{what}: {error}"));
                say(&format!("{what}: {error}"));
                None
            }
        }
    }
}

fn say(text: &str) {
    println!("lab: {text}");
}

fn modules(trouble: &mut Trouble) {
    let order = std::fs::read_to_string("/lib/modules/order");
    let Some(order) = trouble.of("read /lib/modules/order", order) else { return };
    for name in order.lines() {
        let path = Path::new("/lib/modules").join(name);
        let Some(file) = trouble.of(&format!("open {name}"), File::open(&path)) else { continue };
        let loaded = finit_module(&file, c"", 0).map_err(io::Error::from);
        if !matches!(&loaded, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            trouble.of(&format!("load {name}"), loaded);
        }
    }
}

fn loopback(trouble: &mut Trouble) {
    let up = command("/bin/busybox").args(["ifconfig", "lo", "up"]).status();
    trouble.of("ifconfig lo up", up);
}

/// Starts the daemons as the distribution does. Each puts itself into the background when it
/// is ready to serve.
fn daemons(trouble: &mut Trouble) {
    if !Path::new("/xen/bin/xenstored").exists() {
        return;
    }
    let line = std::fs::read_to_string("/proc/cmdline");
    let line = trouble.of("read /proc/cmdline", line).unwrap_or_default();
    let steps: [(&str, &[&str]); 3] = [
        Xenstored::of(&line).command(),
        ("/xen/bin/xen-init-dom0", &[]),
        (
            "/xen/bin/xenconsoled",
            &["--pid-file=/run/xen/xenconsoled.pid", "--log=guest", "--timestamp=none"],
        ),
    ];
    for (program, args) in steps {
        let out = command(program).args(args).stdout(Stdio::null()).status();
        if let Some(status) = trouble.of(&format!("start {program}"), out)
            && !status.success()
        {
            trouble.0.push(format!("{program}: {status}"));
        }
    }
}

/// Collects every process whose parent is gone, until the agent ends.
fn reap_until(agent: Pid) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == agent => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
