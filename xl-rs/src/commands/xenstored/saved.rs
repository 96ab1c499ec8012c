//! What the service leaves behind when it is killed, and how the next one begins with it.
//!
//! The directory lies in memory-backed storage (`/run`): it has to outlive the process, not the
//! machine. Should it outlive the machine all the same, the kernel's boot number says so, and it is
//! not taken up.

use std::io;
use std::path::Path;

use xenstore::saved::{Contents, Storage, StorageError, load};
use xenstore::server::{Entry, Journal, ReplayError, Revived, SavedLog, Server, ServerImage};

use super::error::{Unusable, XenstoredError, file};
use super::host::XenHost;
use super::steps::{self, Step};

/// Nodes of an image that are written between two rounds, and bytes from which on it is enough. The
/// longest directory or value may go beyond.
const PIECE_NODES: usize = 256;
const PIECE_BYTES: usize = 64 << 10;
/// Nodes after which the bytes are looked at.
const STEP_NODES: usize = 16;

/// The number that Linux gives each of its lives.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The directory, and the store that it holds, if it holds one of this life of the host.
pub fn open(directory: &Path) -> Result<(Log, Option<Revived>), XenstoredError> {
    let storage = Storage::open(directory)?;
    let boot = std::fs::read(BOOT).map_err(file("read", BOOT))?;
    let revived = match storage.read()? {
        Some(bytes) => {
            let unusable = |why| XenstoredError::Unusable { path: storage.path(), why };
            let contents = load(&bytes).map_err(|error| unusable(Unusable::File(error)))?;
            match contents.image.strip_prefix(boot.as_slice()) {
                Some(image) => {
                    let contents = Contents { image, ..contents };
                    let revived = Revived::read(&contents);
                    Some(revived.map_err(|error| unusable(Unusable::Contents(error)))?)
                }
                None => None,
            }
        }
        None => None,
    };
    Ok((Log { log: SavedLog::new(storage), boot, writing: None }, revived))
}

/// A state that cannot be taken up, in this directory.
pub fn unusable(directory: &Path, error: ReplayError) -> XenstoredError {
    XenstoredError::Unusable { path: directory.join("state"), why: Unusable::Contents(error) }
}

/// The journal of the service.
#[derive(Debug)]
pub struct Log {
    log: SavedLog,
    /// Stands before every image.
    boot: Vec<u8>,
    /// The image that is being written.
    writing: Option<Writing>,
}

impl Journal for Log {
    fn note(&mut self, entry: Entry<'_>) {
        self.log.note(entry);
    }

    fn answered(&mut self, message: &[u8]) {
        self.log.answered(message);
    }

    fn commit(&mut self) -> io::Result<()> {
        steps::passed(Step::Commit);
        self.log.commit()?;
        steps::passed(Step::Committed);
        Ok(())
    }
}

/// An image that is being written.
#[derive(Debug)]
struct Writing {
    image: ServerImage,
    /// Whether all of it has been handed to the storage.
    is_whole: bool,
    bytes: Vec<u8>,
}

/// What became of a piece of work.
enum Progress {
    More,
    Done,
}

/// Begins an image. Unless it is written `at_once`, the service may go on meanwhile.
fn begin(server: &mut Server<XenHost, Log>, at_once: bool) -> Result<(), StorageError> {
    server.journal_mut().log.begin()?;
    let mut bytes = server.journal_mut().boot.clone();
    bytes.reserve(PIECE_BYTES);
    let image = if at_once { server.image() } else { server.begin_image() };
    server.journal_mut().writing = Some(Writing { image, is_whole: false, bytes });
    Ok(())
}

/// Writes the next piece of the image that is begun.
fn go_on(server: &mut Server<XenHost, Log>) -> Result<Progress, StorageError> {
    let Log { log, writing, .. } = server.journal_mut();
    let Some(writing) = writing else { return Ok(Progress::Done) };
    if !writing.is_whole {
        let mut nodes = 0;
        while !writing.is_whole && nodes < PIECE_NODES && writing.bytes.len() < PIECE_BYTES {
            writing.is_whole = writing.image.write(STEP_NODES, &mut writing.bytes);
            nodes += STEP_NODES;
        }
        log.add(&writing.bytes)?;
        writing.bytes.clear();
        return Ok(Progress::More);
    }
    Ok(if log.finish()? { Progress::Done } else { Progress::More })
}

/// Lets go of an image that is in place or given up.
fn end(server: &mut Server<XenHost, Log>) {
    server.journal_mut().log.give_up();
    server.journal_mut().writing = None;
    server.end_image();
}

/// Leaves an image with nothing behind it.
pub fn finish(server: &mut Server<XenHost, Log>) -> Result<(), XenstoredError> {
    end(server);
    begin(server, true)?;
    while let Progress::More = go_on(server)? {}
    server.host_mut().flush();
    Ok(())
}

/// Whether an image is being written, so that there is something to do while nobody asks.
pub fn is_writing(server: &mut Server<XenHost, Log>) -> bool {
    server.journal_mut().writing.is_some()
}

/// Writes a piece of the image that is begun, or begins one where one is due, and says what went wrong.
pub fn keep(server: &mut Server<XenHost, Log>) {
    if let Some(error) = server.journal_mut().log.take_trouble() {
        let why = crate::commands::error::chain(&error);
        tracing::warn!("a restart of this service would lose the store: {why}");
    }
    if !server.journal_mut().log.has_begun() {
        if is_writing(server) {
            // A commit failed, and the image with it.
            end(server);
        }
        if !server.journal_mut().log.wants_image() {
            return;
        }
    }
    let was_kept = server.journal_mut().log.is_kept();
    if let Err(error) = piece(server, !was_kept) {
        end(server);
        let why = crate::commands::error::chain(&error);
        let lost = if was_kept { "" } else { ", and a restart of this service would lose it" };
        tracing::warn!("the state of the store cannot be saved anew{lost}: {why}");
    }
}

/// A piece of an image, or, `at_once`, all of it.
fn piece(server: &mut Server<XenHost, Log>, at_once: bool) -> Result<(), StorageError> {
    if !is_writing(server) {
        begin(server, at_once)?;
        steps::passed(Step::Image);
    }
    loop {
        match go_on(server)? {
            Progress::Done => break,
            Progress::More if at_once => {}
            Progress::More => {
                steps::passed(Step::Piece);
                return Ok(());
            }
        }
    }
    end(server);
    steps::passed(Step::Kept);
    Ok(())
}
