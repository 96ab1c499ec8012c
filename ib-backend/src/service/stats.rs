//! Statistics: who connects to the socket is told what guests have and did, as JSON, and nothing else.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Device;
use super::nodes::Key;
use crate::error::{Error, Result};
use crate::usage::Resource;

/// What is told.
#[derive(Debug, Serialize)]
pub struct Report {
    devices: Vec<Row>,
}

/// One guest's device.
#[derive(Debug, Serialize)]
struct Row {
    domid: u16,
    devid: u32,
    device: String,
    contexts: u32,
    qps: u32,
    cqs: u32,
    mrs: u32,
    pages: u32,
    operations: u64,
    bytes: u64,
}

/// What guests have and did.
pub fn report(devices: &BTreeMap<Key, Device>) -> Report {
    let row = |(key, device): (&Key, &Device)| {
        let used = |resource| device.usage.used(resource);
        let (operations, bytes) = device.usage.done();
        Row {
            domid: key.domid,
            devid: key.number,
            device: device.backend_device.clone(),
            contexts: used(Resource::Contexts),
            qps: used(Resource::Qps),
            cqs: used(Resource::Cqs),
            mrs: used(Resource::Mrs),
            pages: used(Resource::Pages),
            operations,
            bytes,
        }
    };
    Report { devices: devices.iter().map(row).collect() }
}

/// The socket. Its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Socket {
    /// Listens, unless another daemon answers there. A dead one's socket is replaced.
    pub fn listen(path: &Path) -> Result<Self> {
        if UnixStream::connect(path).is_ok() {
            return Err(Error::Running { path: path.display().to_string() });
        }
        let failed = || Error::host(format!("listen at {}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed())?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed()(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers whoever has connected. Who does not read loses the answer, and delays nobody.
    pub fn serve(&self, report: impl Fn() -> Report) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let Ok(mut text) = serde_json::to_vec(&report()) else { return };
            text.push(b'\n');
            if stream.set_nonblocking(true).is_ok() {
                let _ = stream.write_all(&text);
            }
        }
    }
}
