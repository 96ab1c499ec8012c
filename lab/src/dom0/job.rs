//! One command in dom0: its process, its streams, its end.
//!
//! All that the command wrote before it ended is sent before its exit code; a daemon that keeps
//! the streams open does not hold the command up.

use crate::dom0::init;
use crate::frame::{Frame, Kind, Order, PAYLOAD_MAX};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The way back to the host, shared by all jobs.
pub type Port = Arc<Mutex<File>>;

/// A running command, as the agent keeps it.
pub struct Job {
    /// The number the host gave it.
    pub id: u32,
    group: Pid,
    input: Option<File>,
    terminal: bool,
}

/// The exit code for a command that could not be started, as a shell has it.
pub const NOT_STARTED: i32 = 127;

impl Job {
    /// Starts the command and a thread that carries its output to the host.
    pub fn start(id: u32, order: &Order, port: &Port) -> io::Result<Job> {
        let [program, args @ ..] = &order.argv[..] else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let terminal = order.terminal.map(open_terminal).transpose()?;
        let mut command = match &terminal {
            // busybox's setsid makes the terminal the controlling one.
            Some(_) => {
                let mut command = init::command("/bin/busybox");
                command.args(["setsid", "-c", program]);
                command
            }
            None => {
                let mut command = init::command(program);
                command.process_group(0);
                command
            }
        };
        command.args(args).envs(order.env.iter().map(|(name, value)| (name, value)));
        let (mut child, input, streams) = spawn(&mut command, terminal.as_ref(), order.merged)?;
        let group = Pid::from_child(&child);
        let pidfd = pidfd_open(group, PidfdFlags::empty())?;
        let port = port.clone();
        std::thread::spawn(move || {
            let code = carry(id, &mut child, &pidfd, streams, &port).unwrap_or(NOT_STARTED);
            send(&port, &Frame::new(Kind::Exit, id, code.to_le_bytes()));
        });
        Ok(Job { id, group, input, terminal: terminal.is_some() })
    }

    /// Hands bytes to the command's input; an empty slice ends it.
    pub fn input(&mut self, bytes: &[u8]) {
        if bytes.is_empty() && !self.terminal {
            self.input = None;
        } else if let Some(input) = &mut self.input {
            // A command that no longer reads is no error of the lab.
            let _ = input.write_all(bytes);
        }
    }

    /// Kills the command and everything in its process group.
    pub fn kill(&self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

/// Sends a frame; the host's absence shows at the next read.
pub fn send(port: &Port, frame: &Frame) {
    if let Ok(mut port) = port.lock() {
        let _ = frame.write(&mut *port);
    }
}

struct Stream {
    kind: Kind,
    file: File,
}

struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

fn open_terminal((rows, columns): (u16, u16)) -> io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let size =
        rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size)?;
    Ok(Terminal { master, slave })
}

type Spawned = (Child, Option<File>, Vec<Stream>);

fn spawn(command: &mut Command, terminal: Option<&Terminal>, merged: bool) -> io::Result<Spawned> {
    if let Some(Terminal { master, slave }) = terminal {
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        let child = command.spawn()?;
        let input = File::from(master.try_clone()?);
        let stream = Stream { kind: Kind::Output, file: File::from(master.try_clone()?) };
        return Ok((child, Some(input), vec![stream]));
    }
    if merged {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the other ends of the pipe until it is dropped.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stream = Stream { kind: Kind::Output, file: File::from(OwnedFd::from(reader)) };
        return Ok((child, input, vec![stream]));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    let mut streams = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        streams.push(Stream { kind: Kind::Output, file: File::from(OwnedFd::from(pipe)) });
    }
    if let Some(pipe) = child.stderr.take() {
        streams.push(Stream { kind: Kind::Error, file: File::from(OwnedFd::from(pipe)) });
    }
    Ok((child, input, streams))
}

/// Carries output until the process has ended and its streams hold nothing more.
fn carry(
    id: u32,
    child: &mut Child,
    pidfd: &OwnedFd,
    mut streams: Vec<Stream>,
    port: &Port,
) -> io::Result<i32> {
    for stream in &streams {
        let flags = fcntl_getfl(&stream.file)?;
        fcntl_setfl(&stream.file, flags | OFlags::NONBLOCK)?;
    }
    let mut ended = false;
    while !ended {
        let mut fds: Vec<PollFd<'_>> =
            streams.iter().map(|stream| PollFd::new(&stream.file, PollFlags::IN)).collect();
        fds.push(PollFd::new(pidfd, PollFlags::IN));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ended = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        streams.retain_mut(|stream| forward(id, stream, port));
    }
    let status = child.wait()?;
    Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_STARTED))
}

/// Sends what the stream holds now; false at its end.
fn forward(id: u32, stream: &mut Stream, port: &Port) -> bool {
    let mut buffer = vec![0; PAYLOAD_MAX / 16];
    loop {
        match stream.file.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => send(port, &Frame::new(stream.kind, id, &buffer[..count])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal whose last user is gone reads as EIO.
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command writes to its two streams, by stream, each to its end.
    fn said(merged: bool) -> Vec<(Kind, String)> {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1; echo 2 >&2; echo 3"]);
        let (mut child, _, streams) = spawn(&mut command, None, merged).expect("started");
        let all = streams.into_iter().map(|mut stream| {
            let mut text = String::new();
            stream.file.read_to_string(&mut text).expect("read");
            (stream.kind, text)
        });
        let all = all.collect();
        assert!(child.wait().expect("waited").success());
        all
    }

    #[test]
    fn one_way_keeps_the_order_and_two_ways_the_streams() {
        assert_eq!(said(true), [(Kind::Output, "1\n2\n3\n".into())]);
        assert_eq!(said(false), [(Kind::Output, "1\n3\n".into()), (Kind::Error, "2\n".into())]);
    }
}
