//! Arithmetic on ring indices, as pure functions: how much waits, how much fits, where it lies.
//!
//! In: two free-running indices, one of which a peer writes and may set to anything. Out: counts
//! within the ring and ranges within its array, or [`BrokenRing`]. Never touches the shared page:
//! the caller reads each index once, asks here, copies, and publishes its own index afterwards.

use core::fmt;
use core::ops::Range;

use super::xs_wire::XENSTORE_RING_SIZE;

/// Capacity of a ring, a power of two: bytes in a byte ring, entries in a ring of requests.
///
/// No C counterpart: the headers have macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(u32);

/// Indices that no honest peer leaves: more waits than the ring holds.
///
/// No C counterpart: an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRing {
    /// Index of the consumer.
    pub cons: u32,
    /// Index of the producer.
    pub prod: u32,
    /// Capacity of the ring.
    pub size: u32,
}

impl fmt::Display for BrokenRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cons, prod, size } = self;
        write!(f, "ring indices make no sense: consumer {cons}, producer {prod}, size {size}")
    }
}

impl core::error::Error for BrokenRing {}

impl RingSize {
    /// Each direction of the xenstore page.
    pub const XENSTORE: Self = Self::new(XENSTORE_RING_SIZE as u32);
    /// The console page, towards the guest.
    pub const CONSOLE_IN: Self = Self::new(1024);
    /// The console page, from the guest.
    pub const CONSOLE_OUT: Self = Self::new(2048);

    /// A ring of `size` bytes or entries.
    ///
    /// # Panics
    ///
    /// Unless `size` is a power of two of at most 2³¹. Sizes are constants: a wrong one fails to
    /// compile where it is used in a constant.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        assert!(size.is_power_of_two());
        Self(size)
    }

    /// The capacity.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// What waits for the consumer.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] when more waits than the ring holds.
    pub const fn waiting(self, cons: u32, prod: u32) -> Result<u32, BrokenRing> {
        let waiting = prod.wrapping_sub(cons);
        if waiting <= self.0 { Ok(waiting) } else { Err(BrokenRing { cons, prod, size: self.0 }) }
    }

    /// What still fits in for the producer.
    ///
    /// # Errors
    ///
    /// [`BrokenRing`] when more waits than the ring holds.
    pub const fn room(self, cons: u32, prod: u32) -> Result<u32, BrokenRing> {
        match self.waiting(cons, prod) {
            Ok(waiting) => Ok(self.0 - waiting),
            Err(broken) => Err(broken),
        }
    }

    /// Where `count` bytes or entries from `index` on lie in the array: up to its end, and on from
    /// its start. The second range is empty where nothing wraps. A count beyond the capacity is cut.
    #[must_use]
    pub const fn spans(self, index: u32, count: u32) -> [Range<usize>; 2] {
        let count = if count < self.0 { count } else { self.0 };
        let start = index & (self.0 - 1);
        let straight = if count < self.0 - start { count } else { self.0 - start };
        [start as usize..(start + straight) as usize, 0..(count - straight) as usize]
    }
}
