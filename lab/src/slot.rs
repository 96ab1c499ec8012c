//! Slots: at most two emulators run on one machine at once, whoever started them.
//!
//! An emulator keeps a processor busy; more of them than processors only make every time limit
//! wrong. A slot is a file lock, so it is free again however its holder ended.

use crate::error::{Context as _, Result};
use crate::report;
use std::fs::{File, OpenOptions, TryLockError};
use std::time::{Duration, Instant};

const SLOTS: usize = 2;

/// A held slot; dropping it frees it.
pub struct Slot {
    _file: File,
    /// How long it had to be waited for.
    pub waited: Duration,
}

/// Takes a free slot, waiting for one where needed.
pub fn take() -> Result<Slot> {
    let start = Instant::now();
    let mut told = false;
    loop {
        for index in 0..SLOTS {
            let path = std::env::temp_dir().join(format!("xlr-qemu-{index}.lock"));
            let existing = OpenOptions::new().read(true).open(&path);
            let file = existing.or_else(|_| File::create(&path)).on("open", &path)?;
            match file.try_lock() {
                Ok(()) => return Ok(Slot { _file: file, waited: start.elapsed() }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).on("lock", &path),
            }
        }
        if !told {
            report::note("waiting: two emulators run on this machine already");
            told = true;
        }
        // A lock on either of two files: the kernel offers no wait for that.
        std::thread::sleep(Duration::from_millis(200));
    }
}
