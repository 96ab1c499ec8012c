//! Events that a program was told of and has not acknowledged: what they are about is not destroyed until
//! it has.

use crate::session::lock;
use std::sync::{Condvar, Mutex, PoisonError};

/// The events of one object.
#[derive(Debug, Default)]
pub struct Told {
    count: Mutex<u32>,
    fewer: Condvar,
}

impl Told {
    /// The program is told of one.
    pub fn tell(&self) {
        *lock(&self.count) += 1;
    }

    /// It has acknowledged as many.
    pub fn acknowledge(&self, events: u32) {
        let mut count = lock(&self.count);
        *count = count.saturating_sub(events);
        self.fewer.notify_all();
    }

    /// Waits until all are acknowledged.
    pub fn settle(&self) {
        let mut count = lock(&self.count);
        while *count > 0 {
            count = self.fewer.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
