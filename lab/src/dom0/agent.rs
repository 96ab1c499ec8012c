//! The agent: takes frames from the lab's channel, runs commands, sends back what they say.

use crate::dom0::init;
use crate::dom0::job::{Job, NOT_STARTED, Port, send};
use crate::frame::{Frame, Hello, Kind, Order};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The name of the virtio port between lab and agent.
pub const PORT_NAME: &str = "lab";

/// Serves until the host asks for power off or goes away.
pub fn main() -> io::Result<()> {
    let path = find_port()?;
    let port = OpenOptions::new().read(true).write(true).open(path)?;
    let reader = port.try_clone()?;
    let port: Port = Arc::new(Mutex::new(port));
    let trouble = std::fs::read_to_string(init::TROUBLE).unwrap_or_default();
    let hello = Hello {
        uptime_seconds: uptime_seconds(),
        trouble: trouble.lines().map(String::from).collect(),
    };
    send(&port, &Frame::json(Kind::Hello, 0, &hello)?);
    serve(reader, &port)
}

fn serve(mut reader: File, port: &Port) -> io::Result<()> {
    let mut jobs: Vec<Job> = Vec::new();
    while let Some(frame) = Frame::read(&mut reader)? {
        let id = frame.id;
        match frame.kind {
            Kind::Run => {
                let order: Order = serde_json::from_slice(&frame.payload)?;
                match Job::start(id, &order, port) {
                    Ok(job) => jobs.push(job),
                    Err(error) => {
                        let name = order.argv.first().cloned().unwrap_or_default();
                        refuse(port, id, &format!("{name}: {error}\n"));
                    }
                }
                // The host runs one command after the other, save a few in the background.
                if jobs.len() > 64 {
                    jobs.remove(0);
                }
            }
            Kind::Input => {
                if let Some(job) = jobs.iter_mut().find(|job| job.id == id) {
                    job.input(&frame.payload);
                }
            }
            Kind::Kill => jobs.iter().filter(|job| job.id == id).for_each(Job::kill),
            Kind::Put => match put(&frame.payload) {
                Ok(()) => send(port, &Frame::new(Kind::Exit, id, 0i32.to_le_bytes())),
                Err(error) => refuse(port, id, &format!("put: {error}\n")),
            },
            Kind::PowerOff => return Ok(()),
            Kind::Hello | Kind::Output | Kind::Error | Kind::Exit => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of the agent's"));
            }
        }
    }
    Ok(())
}

fn refuse(port: &Port, id: u32, text: &str) {
    send(port, &Frame::new(Kind::Error, id, text));
    send(port, &Frame::new(Kind::Exit, id, NOT_STARTED.to_le_bytes()));
}

/// Appends to a file: its path, a zero byte, what is added. The file becomes executable.
fn put(payload: &[u8]) -> io::Result<()> {
    let end = payload.iter().position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?;
    let name = std::str::from_utf8(&payload[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut file = OpenOptions::new().create(true).append(true).open(name)?;
    file.write_all(&payload[end + 1..])?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))
}

fn find_port() -> io::Result<PathBuf> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports")?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT_NAME {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the lab's virtio port is not there"))
}

fn uptime_seconds() -> f64 {
    std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
