//! Global state of a kernel with one vCPU and no interrupts.

use core::cell::{Cell, UnsafeCell};

/// A value that one piece of code uses at a time.
pub struct Single<T> {
    value: UnsafeCell<T>,
    busy: Cell<bool>,
}

// SAFETY: there is one vCPU and events stay masked, so there is one thread of execution. Re-entry
// (a panic inside `with`) is caught by the busy flag.
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), busy: Cell::new(false) }
    }

    /// Runs `f` on the value, or returns `None` when it is in use further up the stack.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.busy.replace(true) {
            return None;
        }
        // SAFETY: the busy flag was clear, so no other reference exists; it stays set until this
        // one is gone. A panic in `f` ends the domain and leaves the flag set.
        let result = f(unsafe { &mut *self.value.get() });
        self.busy.set(false);
        Some(result)
    }
}
