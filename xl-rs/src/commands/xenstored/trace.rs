//! A log of all requests, replies and events, for whoever looks for a fault.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use xenstore::store::ConnectionId;
use xenstore::wire::{HEADER_LEN, Header, Packet};

/// Where it goes unless somebody says otherwise; the name is C xenstored's.
pub const FILE: &str = "/var/log/xen/xenstored-trace.log";

/// An open log.
#[derive(Debug)]
pub struct Trace {
    out: BufWriter<File>,
    start: Instant,
}

impl Trace {
    /// Opens a file to be added to.
    pub fn open(path: &Path, start: Instant) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { out: BufWriter::new(file), start })
    }

    /// A request.
    pub fn request(&mut self, connection: ConnectionId, packet: &Packet) {
        self.line("IN ", connection, &packet.header, &packet.payload);
    }

    /// A reply or an event.
    pub fn answer(&mut self, connection: ConnectionId, message: &[u8]) {
        if let Some((header, payload)) = message.split_first_chunk::<HEADER_LEN>() {
            self.line("OUT", connection, &Header::decode(header), payload);
        }
    }

    fn line(&mut self, way: &str, connection: ConnectionId, header: &Header, payload: &[u8]) {
        let seconds = self.start.elapsed().as_secs_f64();
        let kind = header.message_type().map_or("unknown", |kind| kind.name());
        let (request, transaction) = (header.request.0, header.transaction.0);
        // A log that cannot be written must not end the service.
        let _ = writeln!(
            self.out,
            "{seconds:.6} {way} {connection}: {kind} request {request} transaction {transaction} \"{}\"",
            payload.escape_ascii()
        );
    }

    /// Adds a text as it is.
    pub fn text(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
    }

    /// Writes out what was kept back.
    pub fn flush(&mut self) {
        let _ = self.out.flush();
    }
}
