//! `metrics`: what domains use, once or again for every request.
//!
//! In: the hypervisor, the store for names, dom0's kernel for devices, and xlr's own state. Out: text
//! for Prometheus: to standard output, into a file that is replaced at once, or over HTTP. Nothing is
//! measured between requests. Whoever connects and says nothing is let go after a second.

use super::error::CommandError;
use super::notify::tell_manager;
use super::{print, warn};
use crate::cli::MetricsArgs;
use crate::draft::Draft;
use crate::measure::Sample;
use crate::metrics::text::CONTENT_TYPE;
use crate::metrics::{Own, exposition};
use crate::state::State;
use crate::state::lock::Subject;
use libxc_safe::Xen;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one request may take, in both directions each.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest request that is read.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Runs the command.
pub fn run(arguments: &MetricsArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    if let Some(address) = &arguments.listen {
        return serve(&xen, address);
    }
    let text = gather(&xen)?;
    match &arguments.file {
        Some(file) => write(file, text.as_bytes()),
        None => print(text.as_bytes()),
    }
}

fn gather(xen: &Xen) -> Result<String, CommandError> {
    let sample = Sample::take(xen)?;
    let own = match State::existing()? {
        Some(state) => Own {
            supervise: state.is_locked(Subject::Supervisor)?,
            consoled: state.is_locked(Subject::Consoled)?,
            restarts: state.restarts_counted(),
            restarting: state.restarting_now()?.len() as u64,
        },
        None => Own::default(),
    };
    Ok(exposition(&sample, &xen.version()?.to_string(), own))
}

fn write(path: &Path, text: &[u8]) -> Result<(), CommandError> {
    let failed = |source| CommandError::Write { what: path.display().to_string(), source };
    let draft = Draft::of(path, 0o644).map_err(failed)?;
    let Some(draft) = draft else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    };
    draft.file().write_all(text).and_then(|()| draft.done()).map_err(failed)
}

/// Serves until it is ended.
fn serve(xen: &Xen, address: &str) -> Result<(), CommandError> {
    let failed = |source| CommandError::Listen { address: address.to_owned(), source };
    let listener = Listener::bind(address).map_err(failed)?;
    let at = listener.address().map_err(failed)?;
    print(format!("metrics: ready at {at}\n").as_bytes())?;
    if let Err(error) = tell_manager() {
        warn(format_args!("the service manager at $NOTIFY_SOCKET is not told: {error}"));
    }
    loop {
        let mut stream = match listener.accept() {
            Ok(stream) => stream,
            // It was gone before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(failed(error)),
        };
        let answer = match request(&mut stream) {
            // Nobody is left who could be told.
            Err(_) => continue,
            Ok(head) => match judge(&head) {
                Asked::Metrics { body } => match gather(xen) {
                    Ok(text) => response("200 OK", CONTENT_TYPE, &text, body),
                    Err(error) => {
                        let text = format!("{}\n", super::error::chain(&error));
                        warn(text.trim_end());
                        response("500 Internal Server Error", "text/plain", &text, body)
                    }
                },
                Asked::Wrong(status) => {
                    response(status, "text/plain", "Metrics are at /metrics.\n", true)
                }
            },
        };
        let _ = stream.write_all(&answer);
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Metrics, with or without what follows the head.
    Metrics { body: bool },
    /// Something else.
    Wrong(&'static str),
}

/// From the head of a request.
fn judge(head: &[u8]) -> Asked {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Asked::Wrong("400 Bad Request") };
    let mut words = line.split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Asked::Wrong("400 Bad Request");
    };
    let path = path.split('?').next().unwrap_or_default();
    match (method, path) {
        _ if !version.starts_with("HTTP/1.") => Asked::Wrong("505 HTTP Version Not Supported"),
        ("GET" | "HEAD", "/metrics" | "/") => Asked::Metrics { body: method == "GET" },
        ("GET" | "HEAD", _) => Asked::Wrong("404 Not Found"),
        _ => Asked::Wrong("405 Method Not Allowed"),
    }
}

fn response(status: &str, kind: &str, text: &str, body: bool) -> Vec<u8> {
    let length = text.len();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if body {
        answer.push_str(text);
    }
    answer.into_bytes()
}

/// The head of a request, up to its empty line.
fn request(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n")
        && !head.windows(2).any(|end| end == b"\n\n")
    {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > MAX_REQUEST_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_patience(left)?;
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend(&bytes[..count]),
        }
    }
    stream.set_patience(PATIENCE)?;
    Ok(head)
}

/// Where requests come in.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A request, and its answer.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    fn bind(address: &str) -> io::Result<Self> {
        let Some(path) = address.strip_prefix("unix:") else {
            return Ok(Self::Tcp(TcpListener::bind(address)?));
        };
        let path = PathBuf::from(path);
        let is_socket = |found: std::fs::Metadata| found.file_type().is_socket();
        if std::fs::symlink_metadata(&path).is_ok_and(is_socket)
            && UnixStream::connect(&path)
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        {
            // Left by one that was killed.
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self::Unix(listener, path))
    }

    fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, path) => Ok(format!("unix:{}", path.display())),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept()?.0)),
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

impl Stream {
    fn set_patience(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time)))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time)))
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let check = |head: &str, asked| assert_eq!(judge(head.as_bytes()), asked, "{head:?}");
        check("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Metrics { body: true });
        check("GET /metrics?a=b HTTP/1.0\n\n", Asked::Metrics { body: true });
        check("HEAD / HTTP/1.1\r\n\r\n", Asked::Metrics { body: false });
        check("GET /other HTTP/1.1\r\n\r\n", Asked::Wrong("404 Not Found"));
        check("POST /metrics HTTP/1.1\r\n\r\n", Asked::Wrong("405 Method Not Allowed"));
        check("GET /metrics HTTP/2\r\n\r\n", Asked::Wrong("505 HTTP Version Not Supported"));
        check("GET /metrics\r\n\r\n", Asked::Wrong("400 Bad Request"));
        check("\r\n\r\n", Asked::Wrong("400 Bad Request"));
    }

    #[test]
    fn a_request_has_an_end() {
        let read = |text: &[u8], closes: bool| {
            let (mut theirs, ours) = UnixStream::pair().unwrap();
            theirs.write_all(text).unwrap();
            let kept = (!closes).then_some(theirs);
            let head = request(&mut Stream::Unix(ours));
            drop(kept);
            head
        };
        assert!(read(b"GET / HTTP/1.1\r\n\r\n", false).is_ok());
        assert!(read(b"GET / HTTP/1.1\r\n", true).is_err(), "it is cut off");
        assert!(read(b"GET / HTTP/1.1\r\n", false).is_err(), "nothing more comes");
        assert!(read(&[b'a'; 20_000], false).is_err(), "it has no end");
        assert!(
            response("200 OK", "a", "xyz", false)
                .ends_with(b"Length: 3\r\nConnection: close\r\n\r\n")
        );
    }
}
