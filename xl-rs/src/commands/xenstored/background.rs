//! The service as a process of its own, and how others learn that it is ready.

use super::error::{XenstoredError, file, system};
use crate::commands::notify::tell_manager;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// What the service says when it is ready.
const READY: &[u8] = b"ready\n";
/// Where a service in the background leaves its messages.
const LOG: &str = "/var/log/xen/xenstored.log";

/// Starts the same program again, in the background, and returns when it serves; prints its number
/// where that is wanted.
pub fn start(output_pid: bool) -> Result<(), XenstoredError> {
    // The running program, also after a newer build has taken its place.
    let mut command = Command::new("/proc/self/exe");
    let mut arguments = std::env::args_os();
    command.arg0(arguments.next().unwrap_or_else(|| "xlr".into()));
    command.args(arguments).args(["--foreground", "--detached"]);
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(system("start a process"))?;
    let mut said = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut said).map_err(system("hear whether it is ready"))?;
    }
    if said == READY {
        if output_pid {
            println!("{}", child.id());
        }
        return Ok(());
    }
    let status = child.wait().map_err(system("wait for a process"))?;
    Err(XenstoredError::NotStarted { status })
}

/// Becomes independent of whoever started this process.
pub fn leave_terminal() -> Result<(), XenstoredError> {
    rustix::process::setsid().map_err(system("begin a session"))?;
    Ok(())
}

/// Tells whoever waits that the store is served.
pub fn ready(detached: bool) -> Result<(), XenstoredError> {
    if let Err(error) = tell_manager() {
        tracing::warn!("cannot tell the service manager that the store is served: {error}");
    }
    if !detached {
        return Ok(());
    }
    let mut out = std::io::stdout();
    out.write_all(READY).and_then(|()| out.flush()).map_err(system("say that it is ready"))?;
    let null = OpenOptions::new().write(true).open("/dev/null");
    let null = null.map_err(file("open", "/dev/null"))?;
    rustix::stdio::dup2_stdout(&null).map_err(system("close standard output"))?;
    let log = std::fs::create_dir_all("/var/log/xen")
        .and_then(|()| OpenOptions::new().append(true).create(true).open(LOG))
        .unwrap_or(null);
    rustix::stdio::dup2_stderr(&log).map_err(system("redirect messages"))?;
    Ok(())
}
