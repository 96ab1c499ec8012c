//! What the service leaves behind when it is killed, and how the next one begins with it.
//!
//! The directory lies in memory-backed storage (`/run`): it has to outlive the process, not the
//! machine. Should it outlive the machine all the same, the kernel's boot number says so, and it is
//! not taken up.

use std::io;
use std::path::Path;

use xenstore::saved::{Contents, Storage, load};
use xenstore::server::{Entry, Journal, ReplayError, Revived, SavedLog, Server};

use super::error::{Unusable, XenstoredError, file};
use super::host::XenHost;
use super::steps::{self, Step};

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
    Ok((Log { log: SavedLog::new(storage), boot }, revived))
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

/// Everything, as it is now.
fn image(server: &mut Server<XenHost, Log>) -> Vec<u8> {
    let mut image = server.journal_mut().boot.clone();
    server.save(&mut image);
    image
}

/// Leaves an image with nothing behind it.
pub fn finish(server: &mut Server<XenHost, Log>) -> Result<(), XenstoredError> {
    let image = image(server);
    server.journal_mut().log.keep(&image)?;
    server.host_mut().flush();
    Ok(())
}

/// Writes an image where one is due, and says what went wrong.
pub fn keep(server: &mut Server<XenHost, Log>) {
    if let Some(error) = server.journal_mut().log.take_trouble() {
        let why = crate::commands::error::chain(&error);
        tracing::warn!("a restart of this service would lose the store: {why}");
    }
    if !server.journal_mut().log.wants_image() {
        return;
    }
    let image = image(server);
    steps::passed(Step::Image);
    let was_kept = server.journal_mut().log.is_kept();
    match server.journal_mut().log.keep(&image) {
        Ok(()) => {}
        Err(error) => {
            let why = crate::commands::error::chain(&error);
            let lost = if was_kept { "" } else { ", and a restart of this service would lose it" };
            tracing::warn!("the state of the store cannot be saved anew{lost}: {why}");
        }
    }
    steps::passed(Step::Kept);
}
