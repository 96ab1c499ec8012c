//! Hotplug scripts of the user's own, run as xl runs them.
//!
//! In: a script, what it shall do and for which device. Out: what it made of it. It is given xl's
//! environment and no input, and its output goes to standard error. It has the time that xl gives it;
//! then, and when a signal comes, it is killed with all that it started.

use super::wait::{HOTPLUG, Woken, readable, wait_failed};
use super::{Address, DeviceError, Host};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use xenstore::client::Nodes;

/// What a script shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve a new device.
    Add,
    /// Give up what it did for one.
    Remove,
    /// Connect dom0's end of a network interface.
    Online,
    /// Take it apart.
    Offline,
}

impl Action {
    /// What else a script is called with.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Remove => &[],
            Self::Online | Self::Offline => &["type_if=vif"],
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// Why a script did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// There is no such program.
    #[error("script {} cannot be run", path.display())]
    Start {
        /// Where it should be.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It says that it failed.
    #[error("script {} {action}: {status}{}", path.display(), said(hotplug_error))]
    Failed {
        /// Where it is.
        path: PathBuf,
        /// What it was to do.
        action: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it left in `hotplug-error`.
        hotplug_error: Option<String>,
    },
    /// It did not end.
    #[error("script {} {action}: killed after {} s", path.display(), HOTPLUG.as_secs())]
    Late {
        /// Where it is.
        path: PathBuf,
        /// What it was to do.
        action: &'static str,
    },
}

fn said(error: &Option<String>) -> String {
    match error {
        Some(error) => format!(", it says «{}»", crate::printable::line(error)),
        None => String::new(),
    }
}

/// Makes sure that there is such a program.
///
/// # Errors
/// [`ScriptError::Start`].
pub fn check(path: &Path) -> Result<(), ScriptError> {
    let failed = |source| ScriptError::Start { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    match metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(failed(io::ErrorKind::PermissionDenied.into())),
    }
}

/// A script that shall run.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// What it shall do.
    pub action: Action,
    /// For which device.
    pub address: &'a Address,
    /// What it finds in its environment beside what every script does.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Script<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// [`ScriptError`], [`DeviceError::Interrupted`].
    pub fn run(&self, host: &mut Host<'_>) -> Result<(), DeviceError> {
        let Self { path, action, address, environment } = *self;
        let mut command = Command::new(path);
        command.arg(action.word()).args(action.arguments()).envs(environment.iter().copied());
        command.env("XENBUS_TYPE", address.kind.name());
        command.env("XENBUS_PATH", address.backend_path_in_domain());
        command.env("XENBUS_BASE_PATH", "backend");
        let failed = |source| ScriptError::Start { path: path.to_owned(), source };
        let output = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        // A group of its own: Ctrl-C is ours, and killed is all that it started.
        command.stdin(Stdio::null()).stdout(output).process_group(0);
        let child = command.spawn().map_err(failed)?;
        let status = wait(child, address, host)?;
        let (path, action) = (path.to_owned(), action.word());
        match status {
            None => Err(ScriptError::Late { path, action }.into()),
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let node = format!("{}/hotplug-error", address.backend_path());
                let value = host.store.read_optional(node)?;
                let hotplug_error = value.map(|text| String::from_utf8_lossy(&text).into_owned());
                Err(ScriptError::Failed { path, action, status, hotplug_error }.into())
            }
        }
    }
}

/// How it ended; none if it had to be killed.
fn wait(
    mut child: Child,
    address: &Address,
    host: &Host<'_>,
) -> Result<Option<ExitStatus>, DeviceError> {
    let failed = |source| DeviceError::Wait { device: *address, source };
    let pid = Pid::from_child(&child);
    let woken = pidfd_open(pid, PidfdFlags::empty())
        .and_then(|process| readable(process, host.interrupt(), Instant::now() + HOTPLUG));
    if !matches!(woken, Ok(Woken::Ready)) {
        // It is still ours, so that its number is nobody else's.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait().map_err(failed)?;
    match woken.map_err(|errno| wait_failed(address, errno))? {
        Woken::Ready => Ok(Some(status)),
        Woken::Signal => Err(DeviceError::Interrupted { device: *address }),
        Woken::Time => Ok(None),
    }
}
